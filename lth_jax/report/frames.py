"""Frames: from results.jsonl to pandas, and to tables.

A network is named by five columns: `run` (its folder), `setting` (learning rate and
weight decay, where a run has several; else empty), `rewind_step`, `level`, `branch`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

TRAINING = ["run", "setting", "rewind_step"]
NETWORK = [*TRAINING, "level", "branch"]

_COLUMNS = ["replicate", "copy", "density", "step", "measure", "value"]

DIVERGED = "diverged"  # as in `records`, which needs JAX

Rows = pd.DataFrame | Iterable[dict[str, Any]]

_SWEPT = {"learning_rate": "learning rate", "weight_decay": "weight decay"}
_UNITS = {"accuracy": (100, "%"), "error": (100, "%"), "instability": (100, "%")}
_UNITS |= {"overlap": (100, "%"), "angle": (1, "degrees"), "loss": (1, "nats")}
_COMPARED = [
    ("ticket", "random_reinit"),
    ("ticket", "shuffled_mask"),
    ("fine_tune", "ticket"),
    ("fine_tune", "long"),
]


def load(*workdirs: Path | str) -> pd.DataFrame:
    """Return the rows of some runs, as `tidy` does; a run may be on its way.

    Raises:
        FileNotFoundError: a folder has no results.jsonl.
        ValueError: a line of it is not a row.
    """
    rows = []
    for name, workdir in zip(names(*workdirs), workdirs):
        path = Path(workdir) / "results.jsonl"
        # What follows the last line's end is being written at this moment.
        for number, line in enumerate(path.read_text().split("\n")[:-1], 1):
            try:
                rows.append(json.loads(line) | {"run": name})
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}, is not a row") from error
    return tidy(rows) if rows else pd.DataFrame(columns=[*_COLUMNS, *NETWORK])


def names(*workdirs: Path | str) -> list[str]:
    """Return the shortest names of folders that tell them apart.

    Example:
        >>> names("runs/a/low", "runs/b/low")
        ['a/low', 'b/low']
    """
    parts = [Path(workdir).absolute().parts for workdir in workdirs]
    for length in range(1, max(map(len, parts), default=0)):
        found = ["/".join(part[-length:]) for part in parts]
        if len(set(found)) == len(set(parts)):
            return found
    return [str(workdir) for workdir in workdirs]


def tidy(rows: Rows) -> pd.DataFrame:
    """Return rows with the columns `run` and `setting`, one name for pairs of copies.

    What compares two copies (`distance_to_copy_1`) becomes one measure, whichever they
    are (`distance_between_copies`).
    """
    frame = pd.DataFrame(rows)
    if "setting" in frame or frame.empty:
        return frame
    swept = [
        frame[name].map(f"{text} {{:g}}".format, na_action="ignore")
        for name, text in _SWEPT.items()
        if name in frame
    ]
    frame["setting"] = [
        ", ".join(x for x in row if x == x) for row in zip(*swept)
    ] or ""
    frame["run"] = frame.get("run", "")
    found = frame["measure"].unique()
    renamed = {m: re.sub(r"_to_copy_\d+", "_between_copies", m) for m in found}
    frame["measure"] = frame["measure"].map(renamed)
    return frame


def measures(rows: Rows) -> list[str]:
    """Return the names of the measures in rows, in their order."""
    frame = tidy(rows)
    found = [] if frame.empty else dict.fromkeys(frame["measure"])
    return [measure for measure in found if measure != DIVERGED]


def branches(rows: Rows) -> list[str]:
    """Return the names of the branches in rows, in their order."""
    frame = tidy(rows)
    return [] if frame.empty else list(dict.fromkeys(frame["branch"]))


def frame(rows: Rows, measure: str) -> pd.DataFrame:
    """Return a measure at the end of every training, one row a replicate.

    Copies of a replicate, and pairs of copies, are averaged. A training that has not
    come as far as others of its branch is on its way, and left out; so is what ADMM
    trains before it prunes. `density` is that of the level's ticket.

    Columns: run, setting, rewind_step, level, branch, replicate, density, value.
    """
    keys, found = [*NETWORK, "replicate"], tidy(rows)
    if found.empty:
        return pd.DataFrame(columns=[*keys, "density", "value"])
    found = found[found["branch"] != "admm"]
    tickets = found[found["branch"].isin(["ticket", "dense"])]
    of_ticket = tickets.groupby([*TRAINING, "level"])["density"].mean()
    means = (
        _ends(found, measure).groupby(keys, as_index=False)[["density", "value"]].mean()
    )
    means = means.join(of_ticket.rename("of_ticket"), on=[*TRAINING, "level"])
    means["density"] = means.pop("of_ticket").fillna(means["density"])
    return means


def _ends(found: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return a measure's rows at the ends of trainings that are done."""
    lost = found[found["measure"] == DIVERGED]
    found = found[found["measure"] == measure]
    if not lost.empty:
        keys = [*NETWORK, "replicate", "copy"]
        left = found.merge(lost[keys], on=keys, how="left", indicator=True)["_merge"]
        found = found[(left == "left_only").to_numpy()]
    last = found.groupby(["run", "branch"])["step"].transform("max")
    return found[found["step"] == last]


def summary(rows: Rows, measure: str) -> pd.DataFrame:
    """Return a measure by network: mean and standard deviation over n replicates.

    The deviation is that of a sample, NaN for one replicate.

    Columns: run, setting, rewind_step, level, branch, density, mean, std, n.
    """
    return over_replicates(frame(rows, measure), NETWORK)


def samples(rows: Rows, measure: str) -> pd.DataFrame:
    """Return a comparison of networks over all its samples, as the papers count them.

    A sample is a pair of copies of a replicate, or a copy and the dense network of the
    same data order. Replicates have the same number of samples, so that the mean is
    that of `summary`.

    Columns: run, setting, rewind_step, level, branch, mean, min, max, n.
    """
    found = _ends(tidy(rows), measure)
    return found.groupby(NETWORK, as_index=False).agg(
        mean=("value", "mean"),
        min=("value", "min"),
        max=("value", "max"),
        n=("value", "count"),
    )


def over_replicates(numbers: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return mean, std (of a sample) and n of `value`, over what shares `keys`."""
    return numbers.groupby(keys, as_index=False).agg(
        density=("density", "mean"),
        mean=("value", "mean"),
        std=("value", "std"),
        n=("value", "count"),
    )


def matching(
    rows: Rows, measure: str = "test_accuracy", reference: str = "dense"
) -> pd.DataFrame:
    """Return whether sparse networks match dense ones: replicates in pairs.

    Dense networks are those of a branch at level 0: "dense", which had one training, or
    "long", which had as many steps in all as fine-tuned weights.

    Columns: run, setting, rewind_step, level, branch, density; `difference` to the
    dense network of the same replicate, its mean over `n` replicates, and `std` (of a
    sample); and what the papers call a match, of the means:

    - `reaches_dense`: at least as high as dense (Frankle et al., 2019, Section 1);
    - `within_std`: at most one standard deviation of dense below it (Frankle et al.,
      2020, Section 4); None where one replicate leaves that unknown;
    - `within_0.2_points`: less than 0.2 points below it (Section 4.4 there);
    - `matches`: one of the last two.

    Dense networks are those of copy 0, whether there are others or not.
    """
    found = tidy(rows)
    if not found.empty:
        found = found[(found["branch"] != "dense") | (found["copy"] == 0)]
    numbers = frame(found, measure)
    dense = numbers[(numbers["level"] == 0) & (numbers["branch"] == reference)]
    keys = ["run", "setting", "replicate"]
    dense = dense.drop_duplicates(keys)  # trained from step 0, whatever k is
    paired = _subtract(numbers[numbers["level"] > 0], dense, keys)
    found = over_replicates(paired, NETWORK).rename(columns={"mean": "difference"})
    found["difference"] = found["difference"].round(9) + 0.0  # of equal means exactly 0
    spread = dense.groupby(keys[:2], as_index=False).agg(spread=("value", "std"))
    found = found.merge(spread, on=keys[:2])
    found["reaches_dense"] = found["difference"] >= 0
    within_std = found["difference"] >= -found["spread"]
    found["within_std"] = within_std.where(found["spread"].notna(), None)
    found["within_0.2_points"] = found["difference"] > -0.002
    found["matches"] = within_std | found["within_0.2_points"]
    return found.drop(columns="spread")


def differences(
    rows: Rows, branch: str, other: str, measure: str = "test_accuracy"
) -> pd.DataFrame:
    """Return how much more a branch has than another one: replicates in pairs.

    Columns: run, setting, rewind_step, level, density, mean, std (of a sample), n.
    """
    numbers, keys = frame(rows, measure), [*TRAINING, "level"]
    one, two = (numbers[numbers["branch"] == name] for name in (branch, other))
    return over_replicates(_subtract(one, two, [*keys, "replicate"]), keys)


def _subtract(
    numbers: pd.DataFrame, others: pd.DataFrame, keys: list[str]
) -> pd.DataFrame:
    """Return numbers with `value` less that of the other with the same keys."""
    paired = numbers.merge(others[[*keys, "value"]], on=keys, suffixes=("", "_other"))
    return paired.assign(value=paired["value"] - paired.pop("value_other"))


def pairs(rows: Rows) -> list[str]:
    """Return of what pairs of networks R_p was measured, as `start_to_end`."""
    found = [re.match(r"overlap_(\w+)_top_", measure) for measure in measures(rows)]
    return list(dict.fromkeys(match[1] for match in found if match))


def overlaps(rows: Rows, pair: str) -> pd.DataFrame:
    """Return R_p (Liu et al., 2021) of a pair of networks, beside what chance gives.

    Columns: run, setting, rewind_step, level, branch, p, density, mean, std, n, chance.
    """
    pattern, found = re.compile(rf"overlap_{pair}_top_([\d.]+)"), []
    for measure in measures(rows):
        if match := pattern.fullmatch(measure):
            chance = summary(rows, f"{measure}_by_chance")[[*NETWORK, "mean"]]
            chance = chance.rename(columns={"mean": "chance"})
            numbers = summary(rows, measure).merge(chance, on=NETWORK)
            found.append(numbers.assign(p=float(match[1])))
    columns = [*NETWORK, "p", "density", "mean", "std", "n", "chance"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def unit(measure: str) -> tuple[int, str]:
    """Return what to multiply a measure by to show it, and the unit then.

    Example:
        >>> unit("test_accuracy"), unit("distance_to_dense")
        ((100, '%'), (1, ''))
    """
    known = [shown for name, shown in _UNITS.items() if name in measure]
    return known[0] if known else (1, "")


def title(measure: str) -> str:
    """Return a measure's name and unit in words.

    Example:
        >>> title("test_accuracy")
        'test accuracy in %'
    """
    shown = unit(measure)[1]
    return measure.replace("_", " ") + (f" in {shown}" if shown else "")


def tables(rows: Rows, measure: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, table of text) of a measure: dense networks, then every ticket's.

    Cells are mean ± standard deviation over replicates, of comparisons with the range
    and number of their samples; branches stand in the order of the rows.
    """
    rows, (factor, _) = tidy(rows), unit(measure)
    numbers = summary(rows, measure)
    if numbers.empty:
        return
    digits = 4 if measure.endswith("loss") else 2 if numbers["mean"].max() < 1000 else 0
    shown = "{:,." + str(digits) + "f}"
    mean, std = ((factor * numbers[name]).map(shown.format) for name in ("mean", "std"))
    numbers["cell"] = mean + (" ± " + std).where(numbers["n"] > 1, "")
    if measure.endswith(("_between_copies", "_to_dense")):
        several = numbers[NETWORK].merge(samples(rows, measure), on=NETWORK)
        least, most = ((factor * several[m]).map(shown.format) for m in ("min", "max"))
        ends = " (" + least + " to " + most + ", n = " + several["n"].map(str) + ")"
        numbers["cell"] += ends.where(several["n"] > 1, "")
    elif (fewer := numbers["n"] < numbers["n"].max()).any():
        numbers["cell"] += (", n = " + numbers["n"].map(str)).where(fewer, "")
    dense = (numbers["level"] == 0) & (numbers["rewind_step"] == 0)
    for networks, keys in ((numbers[dense], 2), (numbers[~dense], 3)):
        yield from _by_level(networks, branches(rows), TRAINING[:keys])


def _by_level(
    numbers: pd.DataFrame, columns: list[str], keys: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, table) of cells, a line for every level, a column a branch."""
    several = numbers["run"].nunique() > 1
    for (run, *names), block in numbers.groupby(keys):
        cells = block.pivot(index="level", columns="branch", values="cell")
        cells = cells[[column for column in columns if column in cells]].fillna("")
        density = block.groupby("level")["density"].first()
        cells.insert(0, "density", density.map("{:.2%}".format))
        heading = name(run if several else "", *names)
        yield heading, cells.reset_index(drop=True).rename_axis(columns=None)


def matching_tables(
    rows: Rows, reference: str = "dense"
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, table of text) of `matching`, a table for every ticket's training.

    Cells are points of test accuracy above dense, mean ± standard deviation of the
    differences; `≥` where that reaches dense, `≈` where it matches by one standard
    deviation of dense or by 0.2 points.
    """
    numbers = matching(rows, reference=reference)
    if numbers.empty:
        return
    mark = (
        numbers["matches"]
        .map({True: " ≈", False: ""})
        .mask(numbers["reaches_dense"], " ≥")
    )
    numbers["cell"] = _points(numbers, "difference") + mark
    yield from _by_level(numbers, branches(rows), TRAINING)


def difference_tables(rows: Rows) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, table of text) of `differences`, a table for every training.

    Of test accuracy in points: a ticket and its controls, fine-tuned weights and
    tickets, which had as many steps in all as those if they are of the branch `long`.
    """
    found, columns = [], []
    for branch, other in _COMPARED:
        numbers = differences(rows, branch, other)
        columns.append(f"{branch} − {other}")
        cells = _points(numbers, "mean")
        found.append(numbers.assign(branch=columns[-1], cell=cells))
    yield from _by_level(pd.concat(found), columns, TRAINING)


def _points(numbers: pd.DataFrame, difference: str) -> pd.Series:
    """Return differences in points, with their standard deviations, as text."""
    spread = numbers["std"].map(" ± {:.2%}".format).where(numbers["n"] > 1, "")
    return numbers[difference].map("{:+.2%}".format) + spread


def overlap_tables(rows: Rows, pair: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (title, table of text) of `overlaps`, a table for every training.

    Cells are R_p in %, mean ± standard deviation, and what chance would give.
    """
    numbers, shown = overlaps(rows, pair), "{:.1f}".format
    if numbers.empty:
        return
    columns = ("mean", "std", "chance")
    mean, std, chance = ((100 * numbers[column]).map(shown) for column in columns)
    spread = (" ± " + std).where(numbers["n"] > 1, "")
    numbers["cell"] = mean + spread + " (" + chance + ")"
    numbers["p"] = numbers["p"].map("p = {:.0%}".format)
    several = numbers["run"].nunique() > 1
    for (run, *names), block in numbers.groupby(TRAINING):
        networks = ["level", "density", "branch"]
        cells = block.pivot(index=networks, columns="p", values="cell").fillna("")
        cells = cells.reset_index().drop(columns="level").rename_axis(columns=None)
        cells["density"] = cells["density"].map("{:.2%}".format)
        yield name(run if several else "", *names), cells


def name(run: str, setting: str, rewind_step: int | None = None) -> str:
    """Return trainings in words, as the title of a table or a plot.

    Example:
        >>> name("", "learning rate 0.1", 500)
        'learning rate 0.1, rewound to step 500'
    """
    rewound = "" if rewind_step is None else f"rewound to step {rewind_step}"
    return ", ".join(filter(None, [run, setting, rewound]))


def table(rows: Rows, measure: str = "test_accuracy") -> str:
    """Return a measure by density and branch as text, a block for every rewind step."""
    rows = tidy(rows)
    replicates = frame(rows, measure)["replicate"].nunique()
    if not replicates:
        return f"no {title(measure)}"
    lines = [f"{title(measure)}, mean ± standard deviation, n = {replicates}"]
    for heading, cells in tables(rows, measure):
        if "rewound" in heading:
            lines += ["", f"{heading}:", cells.to_string(index=False, col_space=14)]
            continue
        for branch, (cell,) in cells.drop(columns="density").items():
            lines.append(f"{', '.join(filter(None, [heading, branch]))}: {cell}")
    return "\n".join(lines)
