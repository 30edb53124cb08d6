"""Titles: what measures and networks are called in tables and figures."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd


class Unit(NamedTuple):
    """How a measure is shown, and what is better."""

    name: str = ""  # "%", "nats"
    factor: float = 1.0  # to multiply by before it is shown
    higher_is_better: bool = False


_OTHERS = {"overlap": Unit("%", 100.0), "angle": Unit("degrees")}
# Of classification: that of rows without a plan.
_USUAL = {"accuracy": Unit("%", 100.0, True), "loss": Unit("nats")}  # noqa: FBT003
_BEFORE = {"split": "on ", "other": "from ", "layer": "in ", "run": "", "setting": ""}
_BEFORE["rewind_step"] = "rewound to step "
_PAIRS = {"copies": "between copies", "dense": "to dense", "levels": "between levels"}
_PAIRS |= {"replicates": "between replicates", "aligned": "between aligned replicates"}


def units(rows: Any) -> dict[str, Unit]:
    """Return the units of the metrics of the rows' task, the error's first."""
    task = getattr(rows, "attrs", {}).get("task")
    if not task:
        return _USUAL
    found = {name: Unit(*unit) for name, unit in task["units"].items()}
    return {task["error"]: found[task["error"]]} | found


def main(rows: Any) -> str:
    """Return the measure that says how good a network is."""
    return f"test_{next(iter(units(rows)))}"


def unit(rows: Any, measure: str) -> Unit:
    """Return how a measure of some rows is shown."""
    metrics = units(rows)
    if measure in ("error", "instability"):
        return next(iter(metrics.values()))._replace(higher_is_better=False)
    found = [name for name in metrics if measure.endswith(f"_{name}")]
    if found:
        return metrics[max(found, key=len)]
    return next((u for name, u in _OTHERS.items() if name in measure), Unit())


def is_metric(rows: Any, measure: str) -> bool:
    """Return whether a measure is one of the metrics of the rows' task."""
    return any(measure.endswith(f"_{name}") for name in units(rows))


def title(rows: Any, measure: str, /, **where: Any) -> str:
    """Return what numbers are called: `instability on test, between copies, in %`."""
    words = {name: words_of(name, value) for name, value in where.items()}
    text = f"{measure.replace('_', ' ')} {words.pop('split', '')}".strip()
    text = ", ".join(filter(None, [text, *words.values()]))
    shown = unit(rows, measure).name
    shown = f" in {shown}" if shown else ""
    return text + ("," if shown and any(words.values()) else "") + shown


def file_name(measure: str, **where: Any) -> str:
    """Return what files of their figures are called: `test_error_between_copies`."""
    words = {name: words_of(name, value) for name, value in where.items()}
    split = words.pop("split", "").removeprefix("on ")
    return "_".join(filter(None, [split, measure, *words.values()])).replace(" ", "_")


def in_words(rows: pd.DataFrame, columns: list[str]) -> list[str]:
    """Return the values of columns in words, a text a row; a lone run is not named."""
    named = [c for c in columns if c != "run" or rows["run"].nunique() > 1]
    return [
        in_one(named, values) for values in zip(*(rows[column] for column in named))
    ]


def in_one(columns: list[str], values: Iterable[Any]) -> str:
    """Return a value of each of some columns in words."""
    return ", ".join(filter(None, map(words_of, columns, values)))


def words_of(column: str, value: Any) -> str:
    """Return the value of a column in words; `...` stands for all of them."""
    name = column.replace("_", " ")
    if not plain(value):
        return ""
    if value is ...:
        return f"by {name}"
    if column == "density":
        return f"{100 * value:.3g} % of the weights"
    if column == "pair":
        return _PAIRS.get(value, str(value).replace("_", " "))
    if column == "p" and not isinstance(value, str):
        return f"p = {100 * value:g} %"
    return _BEFORE.get(column, f"{name} ") + plain(value)


def plain(value: Any) -> str:
    """Return a value as text; nothing of one that is missing."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
