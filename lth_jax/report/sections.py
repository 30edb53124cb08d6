"""Sections: what there is to draw and to tabulate of some runs, in its order."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from lth_jax.drawing import FEW, Drawn
from lth_jax.numbers import frames, tables, titles
from lth_jax.numbers.rows import Rows, extras, measures, select
from lth_jax.report import figures, ranking

GOOD, TOOK = "How good networks are", "What they took"
ALIKE = "What they have in common"


class Section(NamedTuple):
    """A figure, or a sentence, with tables under their headings."""

    group: str
    title: str
    name: str  # of the figure's files
    drawn: Drawn | str | None
    tables: list[tuple[str, tables.Tables]]


_MATCHING = (
    "matching: {} above dense networks {}, replicate by replicate "
    "({} reaches dense, ≈ within one standard deviation of dense or 0.2 points)"
)
_TRAININGS = {
    "dense": "of one whole training, whatever a branch had",
    "long": "of two trainings, as fine-tuned weights had",
}
_DIFFERENCES = "differences of {}, replicate by replicate"
_BILLS = "table of bills, in trainings of the dense network"
_BY_BILL = (("by bill", False), ("by bill as if dense", True))

_FIGURES = {  # by what follows the measure in the name of the file
    "": figures.by_density,
    "_by_rewind_step": figures.by_rewind_step,
    "_while_training": figures.while_training,
}
_LARGEST = {"pair": ..., "p": ..., "layer": None}
_OWN: dict[str, dict[str, Any]] = {  # what has figures of another kind
    "error": {"split": ..., "alpha": ...},
    "density": {"layer": ...},
    "overlap": _LARGEST,
    "chance_overlap": _LARGEST,
}
# Follow from the config, the network and the densities: sentences, and no figures.
_KNOWN = ("steps_trained", "steps_to_find", "parameters", "bytes", "multiply_adds")
_IN_BILLS = (*frames.COSTS, *frames.COSTS_AS_DENSE)
_MOST = 2 * FEW  # kinds of numbers of a measure


def sections(rows: pd.DataFrame) -> Iterator[Section]:
    """Yield a section for all that there are numbers for, the task's error first."""
    alone = rows["run"].nunique() == 1  # then what trainings do on their way is shown
    first = titles.main(rows).removeprefix("test")
    known: list[tuple[str, Section]] = []
    for measure in sorted(measures(rows), key=lambda m: not m.endswith(first)):
        group = GOOD if titles.is_metric(rows, measure) else ALIKE
        for where in kinds(rows, measure) if measure not in _IN_BILLS else ():
            if said := _said(rows, measure, where):
                known.append(said)
            else:
                yield from _of_measure(rows, measure, where, alone, group)
        if measure == titles.main(rows):
            if select(rows, measure)["level"].nunique() > 2:
                figure = ranking.by_branch(rows, measure)
                title = f"{titles.title(rows, measure)}, by branch"
                yield Section(GOOD, title, "by_branch", figure, [])
            yield from _of_bills(rows, measure)
    yield from _of_pairs(rows, alone)
    yield Section(ALIKE, "density of every layer", "layers", figures.layers(rows), [])
    if known:
        text = " ".join(text for text, _ in known)
        found = [table for _, section in known for table in section.tables]
        yield Section(TOOK, "in numbers", "in_numbers", text, found)


def _of_pairs(rows: pd.DataFrame, alone: bool) -> Iterator[Section]:
    """Yield errors on the paths between networks, and the weights that they share."""
    paths = select(rows, "error", **_OWN["error"])
    ends = paths.filter(["pair", "split"]).drop_duplicates()
    for where in ends.sort_values([*ends]).to_dict("records") if alone else ():
        title = titles.title(rows, "error", **{"pair": "copies"} | where)
        name = f"{where['split']}_paths_{where.get('pair', 'copies')}"
        figure = figures.along_paths(rows, **where)
        yield Section(ALIKE, title, name.removesuffix("_copies"), figure, [])
    for pair in frames.pairs(rows):
        title = f"largest weights in common, {titles.words_of('pair', pair)}"
        found = [("table", tables.overlap_tables(rows, pair))]
        figure = figures.overlaps(rows, pair)
        yield Section(ALIKE, title, f"overlap_{pair}", figure, found)


def _said(
    rows: pd.DataFrame, measure: str, where: dict[str, Any]
) -> tuple[str, Section] | None:
    """Return in a sentence what is known beforehand, or the same everywhere."""
    numbers = frames.summary(rows, measure, **where)
    means = numbers["mean"].dropna()
    values = frames.frame(rows, measure, **where)["value"].dropna()
    alike = values.nunique() == 1 and not titles.is_metric(rows, measure)
    if means.empty or not (alike or measure in _KNOWN):
        return None
    title = titles.title(rows, measure, **where)
    shown, name = titles.unit(rows, measure), titles.title(rows, measure, **where)
    text = _number(shown.factor * means.iloc[0])
    if alike:
        text = f"{name.capitalize()}: {text} everywhere."
    else:
        ends = (numbers.loc[find()] for find in (means.idxmin, means.idxmax))
        texts = [f"{_number(shown.factor * end['mean'])} ({_who(end)})" for end in ends]
        text = f"{name.capitalize()}: {' to '.join(texts)}."
    found = [(title, tables.tables(rows, measure, **where))]
    return text, Section(TOOK, title, "", None, found)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _who(network: pd.Series) -> str:
    """Return which network a number is of: its branch and, unless dense, its share."""
    branch = network["branch"].replace("_", " ")
    return (
        f"{branch} at {100 * network['density']:.3g} %" if network["level"] else branch
    )


def _of_measure(
    rows: pd.DataFrame, measure: str, where: dict[str, Any], alone: bool, group: str
) -> Iterator[Section]:
    """Yield a measure's figures and tables; tables alone where a column has many."""
    title = titles.title(rows, measure, **where)
    name = titles.file_name(measure, **where)
    found = [("table", tables.tables(rows, measure, **where))]
    if measure == titles.main(rows):
        words = measure.replace("_", " ")
        reaches = "≥" if titles.unit(rows, measure).higher_is_better else "≤"
        for branch, training in _TRAININGS.items():
            matching = tables.matching_tables(rows, branch)
            found.append((_MATCHING.format(words, training, reaches), matching))
        found.append((_DIFFERENCES.format(words), tables.difference_tables(rows)))
    for suffix, draw in _drawn(rows, measure, where, alone).items():
        if figure := draw(rows, measure, **where):
            words = suffix.replace("_", " ") or " by density"
            yield Section(group, f"{title},{words}", name + suffix, figure, found)
            found = []
    if found:
        yield Section(group, title, name, None, found)


def _drawn(
    rows: pd.DataFrame, measure: str, where: dict[str, Any], alone: bool
) -> dict[str, Callable[..., Drawn | None]]:
    """Return what a measure is drawn by: of one density, not by that."""
    if ... in where.values():
        return {}
    if not alone:
        return {"": figures.by_density}
    numbers = frames.summary(rows, measure, **where)
    sparse = numbers[numbers["level"] > 0]
    if sparse["level"].nunique() != 1:
        return _FIGURES
    found = {name: draw for name, draw in _FIGURES.items() if name}
    if sparse["rewind_step"].nunique() == 1:
        return {"_by_branch": partial(ranking.by_branch, least=1)} | found
    return found


def _of_bills(rows: pd.DataFrame, measure: str) -> Iterator[Section]:
    """Yield a measure against what it took, and against that as if dense."""
    bills = [*tables.bill_tables(rows)]
    found = [(_BILLS, iter(bills))]
    for words, dense in _BY_BILL if bills else ():
        title = f"{titles.title(rows, measure)}, {words}"
        name = f"{titles.file_name(measure)}_{words.replace(' ', '_')}"
        figure = figures.by_bill(rows, measure, dense=dense)
        yield Section(TOOK, title, name, figure, found)
        found = []


def kinds(rows: Rows, measure: str) -> list[dict[str, Any]]:
    """Return what tells a measure's numbers apart, as arguments of `frames.frame`.

    A column of more than FEW values, or one too many for _MOST kinds, is `...`.
    """
    found = select(rows, measure)
    columns = extras(found)
    if measure in _OWN:
        found = found.drop(select(rows, measure, **_OWN[measure]).index)
    found = found[columns].astype(object).where(found[columns].notna(), None)
    for name in sorted(columns, key=lambda n: found[n].nunique(), reverse=True):
        if found[name].nunique() > FEW or len(found.drop_duplicates()) > _MOST:
            found[name] = [None if value is None else ... for value in found[name]]
    # Of no columns pandas 2 has no tuples.
    values = dict.fromkeys(map(tuple, found.to_numpy()))
    return [dict(zip(columns, its)) for its in values]
