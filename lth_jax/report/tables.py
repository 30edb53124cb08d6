"""Tables: from numbers to text, for the terminal and the page.

Every generator yields (title, data frame of text).
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lth_jax.report import frames
from lth_jax.report.rows import NETWORK, TRAINING, Rows, branches, extras, tidy, varying
from lth_jax.report.titles import join, plain, title, unit, words_of

Tables = Iterator[tuple[str, pd.DataFrame]]

_COMPARED = [("ticket", "random_reinit"), ("ticket", "shuffled_mask")]
_COMPARED += [("fine_tune", "ticket"), ("fine_tune", "long")]


def table(rows: Rows, measure: str = "test_accuracy", **where: Any) -> str:
    """Return a measure by density and branch as text, a block for every rewind step."""
    rows, measured = tidy(rows), title(measure, **where)
    replicates = frames.frame(rows, measure, **where)["replicate"].nunique()
    if not replicates:
        return f"no {measured}"
    lines = [f"{measured}, mean ± standard deviation, n = {replicates}"]
    for heading, cells in tables(rows, measure, **where):
        if "rewound" in heading or len(cells) > 1:
            text = cells.to_string(index=False, col_space=14)
            lines += ["", f"{heading or 'dense'}:", text]
            continue
        for branch, (cell,) in cells.drop(columns="density").items():
            lines.append(f"{', '.join(filter(None, [heading, branch]))}: {cell}")
    return "\n".join(lines)


def tables(rows: Rows, measure: str, **where: Any) -> Tables:
    """Yield the tables of a measure: dense networks, then every ticket's.

    Cells are mean ± standard deviation over replicates, of comparisons with the range
    and number of their samples; branches stand in the order of the rows.
    """
    numbers, (factor, _) = frames.summary(rows, measure, **where), unit(measure)
    if numbers.empty:
        return
    digits = 4 if measure.endswith("loss") else 2 if numbers["mean"].max() < 1000 else 0
    shown = f"{{:,.{digits}f}}".format
    mean, std = ((factor * numbers[name]).map(shown) for name in ("mean", "std"))
    numbers["cell"] = mean + (" ± " + std).where(numbers["n"] > 1, "")
    if "pair" in numbers and numbers["pair"].isin(["copies", "dense"]).any():
        several = frames.samples(rows, measure, **where)
        several = numbers[[*NETWORK, *extras(numbers)]].merge(several)
        least, most = ((factor * several[m]).map(shown) for m in ("min", "max"))
        ends = " (" + least + " to " + most + ", n = " + several["n"].map(str) + ")"
        numbers["cell"] += ends.where(several["n"] > 1, "")
    elif (fewer := numbers["n"] < numbers["n"].max()).any():
        numbers["cell"] += (", n = " + numbers["n"].map(str)).where(fewer, "")
    dense = (numbers["level"] == 0) & (numbers["rewind_step"] == 0)
    for networks, keys in ((numbers[dense], 2), (numbers[~dense], 3)):
        yield from _by_level(networks, branches(rows), TRAINING[:keys])


def _by_level(
    numbers: pd.DataFrame, columns: list[str], keys: list[str], across: str = "branch"
) -> Tables:
    """Yield a table of cells a training: a line a level, and what else differs."""
    first = 0 if numbers["run"].nunique() > 1 else 1
    lines = [*({"branch"} - {across}), *(n for n in varying(numbers) if n != across)]
    for names, block in numbers.groupby(keys):
        cells = block.pivot(index=["level", *lines], columns=across, values="cell")
        cells = cells.reset_index()
        density = block.groupby("level")["density"].first().map("{:.2%}".format)
        left = pd.DataFrame({"density": cells["level"].map(density)})
        for name in lines:
            left[name] = [plain(value) for value in cells[name]]
        networks = cells[[column for column in columns if column in cells]].fillna("")
        heading = join(keys[first:], names[first:])
        yield heading, pd.concat([left, networks], axis=1)


def matching_tables(rows: Rows, reference: str = "dense") -> Tables:
    """Yield the tables of `matching`, one for every ticket's training.

    Cells are points of test accuracy above dense, mean ± standard deviation of the
    differences; `≥` where that reaches dense, `≈` where it matches by one standard
    deviation of dense or by 0.2 points.
    """
    numbers = frames.matching(rows, reference=reference)
    if numbers.empty:
        return
    mark = numbers["matches"].map({True: " ≈", False: ""})
    mark = mark.mask(numbers["reaches_dense"], " ≥")
    numbers["cell"] = _points(numbers, "difference") + mark
    numbers = numbers[[*NETWORK, "density", "cell"]]
    yield from _by_level(numbers, branches(rows), TRAINING)


def difference_tables(rows: Rows) -> Tables:
    """Yield the tables of `differences`, one for every training.

    Of test accuracy in points: a ticket and its controls, fine-tuned weights and
    tickets, which had as many steps in all as those if they are of the branch `long`.
    """
    found = {}
    for branch, other in _COMPARED:
        numbers, column = frames.differences(rows, branch, other), f"{branch} − {other}"
        found[column] = numbers.assign(branch=column, cell=_points(numbers, "mean"))
    yield from _by_level(pd.concat(found.values()), [*found], TRAINING)


def _points(numbers: pd.DataFrame, difference: str) -> pd.Series:
    """Return differences in points, with their standard deviations, as text."""
    spread = numbers["std"].map(" ± {:.2%}".format).where(numbers["n"] > 1, "")
    return numbers[difference].map("{:+.2%}".format) + spread


def overlap_tables(rows: Rows, pair: str) -> Tables:
    """Yield the tables of `overlaps`, one for every training.

    Cells are R_p in %, mean ± standard deviation, and what chance would give.
    """
    numbers, shown = frames.overlaps(rows, pair), "{:.1f}".format
    if numbers.empty:
        return
    columns = ("mean", "std", "chance")
    mean, std, chance = ((100 * numbers[column]).map(shown) for column in columns)
    spread = (" ± " + std).where(numbers["n"] > 1, "")
    by_chance = (" (" + chance + ")").where(numbers["chance"].notna(), "")
    numbers["cell"] = mean + spread + by_chance
    shares = [words_of("p", p) for p in sorted(numbers["p"].unique())]
    numbers["p"] = [words_of("p", p) for p in numbers["p"]]
    yield from _by_level(numbers, shares, TRAINING, across="p")
