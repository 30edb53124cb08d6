"""Report: from results.jsonl to tables."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

_NETWORK = ["rewind_step", "level", "branch"]


def frame(rows: Iterable[dict[str, Any]], measure: str) -> pd.DataFrame:
    """Return a measure at the end of every training, one row a replicate.

    Copies of a replicate are averaged. Columns: rewind_step, level, branch, replicate,
    density, value.
    """
    numbers = pd.DataFrame(rows).query("measure == @measure").sort_values("step")
    ends = numbers.groupby([*_NETWORK, "replicate", "copy"], as_index=False).last()
    means = ends.groupby([*_NETWORK, "replicate"], as_index=False)
    return means[["density", "value"]].mean()


def table(rows: Iterable[dict[str, Any]], measure: str = "test_accuracy") -> str:
    """Return a measure by density and branch as text, one block a rewind step.

    Mean and sample standard deviation over the replicates; accuracies in percent.
    """
    rows = list(rows)
    branches = list(dict.fromkeys(row["branch"] for row in rows if row["level"]))
    numbers = frame(rows, measure)
    scale, unit = (100, " in %") if measure.endswith("accuracy") else (1, "")
    replicates = numbers["replicate"].nunique()
    numbers["value"] *= scale
    name = measure.replace("_", " ")
    lines = [f"{name}{unit}, mean ± standard deviation, n = {replicates}"]
    for branch, networks in numbers.query("level == 0").groupby("branch"):
        lines.append(f"{branch}: {_cell(networks['value'])}")
    for step, tickets in numbers.query("level > 0").groupby("rewind_step"):
        cells = tickets.groupby(["level", "branch"])["value"].apply(_cell).unstack()
        cells.insert(0, "density", tickets.groupby("level")["density"].mean())
        cells["density"] = cells["density"].map("{:.2%}".format)
        columns = ["density", *(b for b in branches if b in cells)]
        shown = cells[columns].to_string(index=False, col_space=14)
        lines += ["", f"rewound to step {step}:", shown]
    return "\n".join(lines)


def _cell(values: pd.Series) -> str:
    spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"
