"""Titles: what measures and networks are called in tables and figures."""

from typing import Any

import pandas as pd

_UNITS = {"accuracy": (100, "%"), "error": (100, "%"), "instability": (100, "%")}
_UNITS |= {"overlap": (100, "%"), "angle": (1, "degrees"), "loss": (1, "nats")}
_BEFORE = {"split": "on ", "other": "from ", "layer": "in ", "run": "", "setting": ""}
_BEFORE["rewind_step"] = "rewound to step "
_PAIRS = {"copies": "between copies", "dense": "to dense", "levels": "between levels"}


def unit(measure: str) -> tuple[int, str]:
    """Return what to multiply a measure by to show it, and the unit then."""
    return next((_UNITS[name] for name in _UNITS if name in measure), (1, ""))


def title(measure: str, **where: Any) -> str:
    """Return what numbers are called: `instability on test, between copies, in %`."""
    words = {name: words_of(name, value) for name, value in where.items()}
    text = f"{measure.replace('_', ' ')} {words.pop('split', '')}".strip()
    text = ", ".join(filter(None, [text, *words.values()]))
    shown = f" in {unit(measure)[1]}" if unit(measure)[1] else ""
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
        ", ".join(filter(None, map(words_of, named, values)))
        for values in zip(*(rows[column] for column in named))
    ]


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
