"""Tables: from numbers to text, for the terminal and the page.

Every generator yields (title, data frame of text).
"""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from lth_jax.numbers import frames
from lth_jax.numbers.rows import (
    NETWORK,
    TRAINING,
    Rows,
    branches,
    extras,
    measures,
    tidy,
    varying,
)
from lth_jax.numbers.titles import (
    in_words,
    is_metric,
    main,
    plain,
    title,
    unit,
    words_of,
)

Tables = Iterator[tuple[str, pd.DataFrame]]

_COMPARED = [("ticket", "random_reinit"), ("ticket", "shuffled_mask")]
_COMPARED += [("fine_tune", "ticket"), ("fine_tune", "long")]
_PARTS = {"bill": "bill", "to find": "find", "to train": "train"}


def table(rows: Rows, measure: str | None = None, **where: Any) -> str:
    """Return a measure by density and branch as text, a block for every rewind step.

    By default it is the task's error on the test or, in a run without that, what comes
    first.
    """
    rows = tidy(rows)
    there, usual = measures(rows), main(rows)
    measure = measure or (usual if usual in there else [*there, usual][0])
    numbers = frames.summary(rows, measure, **where)
    if numbers.empty:
        others = f"; there are {', '.join(there)}" if there else ""
        return f"no {title(rows, measure, **where)}{others}"
    n = int(numbers["n"].max())  # cells of fewer say so
    lines = [f"{title(rows, measure, **where)}, mean ± standard deviation, n = {n}"]
    for heading, cells in tables(rows, measure, **where):
        if "rewound" in heading or len(cells) > 1:
            lines += ["", f"{heading}:", cells.to_string(index=False, col_space=14)]
            continue
        for branch, (cell,) in cells.drop(columns="density").items():
            lines.append(f"{', '.join(filter(None, [heading, branch]))}: {cell}")
    return "\n".join(lines)


def tables(rows: Rows, measure: str, **where: Any) -> Tables:
    """Yield the tables of a measure: of dense networks, then one a training."""
    numbers, shown = frames.summary(rows, measure, **where), unit(rows, measure)
    if numbers.empty:
        return
    factor, text = shown.factor, _format(rows, measure, numbers["mean"])
    numbers["cell"] = _mean_and_std(numbers, text, factor)
    if (
        "pair" in numbers
        and numbers["pair"].isin(["copies", "dense", "end_to_dense"]).any()
    ):
        several = frames.samples(rows, measure, **where)
        several = numbers[[*NETWORK, *extras(numbers)]].merge(several)
        least, most = (factor * several[name] for name in ("min", "max"))
        said = f" ({{:{text}}} to {{:{text}}}, n = {{}})".format
        ends = pd.Series(map(said, least, most, several["n"]))
        numbers["cell"] += ends.where(several["n"] > 1, "")
    else:
        numbers["cell"] += _fewer(numbers)
    dense = _is_dense(numbers)
    yield from _by_level(numbers[dense], branches(rows), TRAINING[:2])
    yield from _by_level(numbers[~dense], branches(rows), TRAINING)


def bill_tables(rows: Rows) -> Tables:
    """Yield the tables of `bill`: what a measure took, in trainings of the dense one.

    A line a level and branch: the task's error on the test; and its bill in units of
    what the dense network took to train, with its two parts, as weights that are not
    pruned took it and as if dense.
    """
    measure, found = main(rows), {}
    numbers, as_dense = (frames.bill(rows, dense=dense) for dense in (False, True))
    if numbers.empty or as_dense.empty:
        return
    shown = _format(rows, measure, numbers["mean"])
    cell = _mean_and_std(numbers, shown, unit(rows, measure).factor)
    found[title(rows, measure)] = numbers.assign(cell=cell + _fewer(numbers))
    whole = numbers[_is_dense(numbers) & (numbers["branch"] == "dense")]
    whole = whole.groupby(TRAINING[:2])["train"].first().rename("x")
    for how, bills in (("", numbers), (", as if dense", as_dense)):
        bills = bills.join(whole, on=TRAINING[:2])
        for name, part in _PARTS.items():
            cell = (bills[part] / bills["x"]).map("{:,.3f}".format)
            found[name + how] = bills.assign(cell=cell.where(bills["x"].notna(), ""))
    numbers = pd.concat(found, names=["label"]).reset_index("label")
    dense = _is_dense(numbers)
    yield from _by_level(numbers[dense], [*found], TRAINING[:2], across="label")
    yield from _by_level(numbers[~dense], [*found], TRAINING, across="label")


def _is_dense(numbers: pd.DataFrame) -> pd.Series:
    """Return which networks are dense, and none of a rewind step's."""
    return (numbers["level"] == 0) & (numbers["rewind_step"] == 0)


def _fewer(numbers: pd.DataFrame) -> pd.Series:
    """Return of how many replicates a number is, where others are of more."""
    fewer = numbers["n"] < numbers["n"].max()
    return (", n = " + numbers["n"].astype(str)).where(fewer, "")


def _format(rows: Rows, measure: str, values: pd.Series) -> str:
    """Return how a measure's numbers are written, in their unit."""
    loss = is_metric(rows, measure) and unit(rows, measure).factor == 1
    digits = 4 if loss or measure.endswith("loss") else 2 if values.max() < 1000 else 0
    most = unit(rows, measure).factor * values.abs().max()
    if 0 < most < 0.01:  # three digits of what would be none
        digits = max(digits, 2 - math.floor(math.log10(most)))
    return f",.{digits}f"


def _mean_and_std(
    numbers: pd.DataFrame, shown: str, factor: float = 1.0, *, sign: str = ""
) -> pd.Series:
    """Return mean ± standard deviation as text, the mean alone of one replicate."""
    mean = (factor * numbers["mean"]).map(f"{{:{sign}{shown}}}".format)
    std = (factor * numbers["std"]).map(f" ± {{:{shown}}}".format)
    return mean + std.where(numbers["n"] > 1, "")


def _by_level(
    numbers: pd.DataFrame, columns: list[str], keys: list[str], across: str = "branch"
) -> Tables:
    """Yield a table of cells a training: a line a level, and what else differs."""
    lines = [*({"branch"} - {across}), *(n for n in varying(numbers) if n != across)]
    numbers = numbers.assign(panel=in_words(numbers, keys))
    for _, block in numbers.groupby(keys):
        cells = block.pivot(index=["level", *lines], columns=across, values="cell")
        cells = cells.reset_index().rename_axis(columns=None)
        first = cells[lines].map(plain)
        density = block.groupby("level")["density"].first().map("{:.2%}".format)
        first.insert(0, "density", cells["level"].map(density))
        networks = cells[[column for column in columns if column in cells]].fillna("")
        yield block["panel"].iloc[0], pd.concat([first, networks], axis=1)


def matching_tables(rows: Rows, reference: str = "dense") -> Tables:
    """Yield the tables of `matching`: `≥` where a mean reaches dense, `≈` matches."""
    numbers = frames.matching(rows, reference=reference)
    if numbers.empty:
        return
    numbers = numbers.rename(columns={"difference": "mean"})
    mark = numbers["matches"].map({True: " ≈", False: ""})
    mark = mark.mask(numbers["reaches_dense"], " ≥")
    mark = mark.str.replace(
        "≥", "≥" if unit(rows, main(rows)).higher_is_better else "≤"
    )
    numbers["cell"] = _difference(rows, numbers) + mark + _fewer(numbers)
    numbers = numbers[[*NETWORK, "density", "cell"]]
    yield from _by_level(numbers, branches(rows), TRAINING)


def _difference(rows: Rows, numbers: pd.DataFrame) -> pd.Series:
    """Return differences of the error on the test as text; of none, none."""
    shown = unit(rows, main(rows))
    how, factor = (".2%", shown.factor / 100) if shown.name == "%" else (".4f", 1.0)
    return _mean_and_std(numbers, how, factor, sign="+").astype(str)


def difference_tables(rows: Rows) -> Tables:
    """Yield the tables of `differences` of the task's error on the test."""
    found = {}
    for branch, other in _COMPARED:
        numbers = frames.differences(rows, branch, other)
        numbers["cell"] = _difference(rows, numbers) + _fewer(numbers)
        found[f"{branch} − {other}"] = numbers
    numbers = pd.concat(found, names=["branch"]).reset_index("branch")
    yield from _by_level(numbers, [*found], TRAINING)


def overlap_tables(rows: Rows, pair: str) -> Tables:
    """Yield the tables of `overlaps`: R_p in %, and what chance would give."""
    numbers = frames.overlaps(rows, pair)
    if numbers.empty:
        return
    by_chance = (100 * numbers["chance"]).map(" ({:.1f})".format)
    by_chance = by_chance.where(numbers["chance"].notna(), "")
    numbers["cell"] = _mean_and_std(numbers, ".1f", 100.0) + by_chance
    shares = [words_of("p", p) for p in sorted(numbers["p"].unique())]
    numbers["p"] = [words_of("p", p) for p in numbers["p"]]
    yield from _by_level(numbers, shares, TRAINING, across="p")
