"""JSON lines: rows of numbers as text that any reader of JSON takes.

JSON has no number that is not finite: NaN is null, and infinities are "Infinity" and
"-Infinity". `read` returns the numbers; it also takes NaN as Python's json writes it.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_jax.errors import RecordsError


def text(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as text, a line each.

    Example:
        >>> text([{"value": 0.5}, {"value": float("nan")}, {"value": -float("inf")}])
        '{"value": 0.5}\\n{"value": null}\\n{"value": "-Infinity"}\\n'
    """
    return "".join(json.dumps(_plain(row), allow_nan=False) + "\n" for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; a last line that has no end is none.

    Raises:
        RecordsError: a line is not a row.
    """
    rows = []
    *lines, _ = path.read_text(errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = dict(json.loads(line))
            value = row["value"]
            rows.append(row | {"value": float("nan" if value is None else value)})
        except (KeyError, TypeError, ValueError) as error:
            raise RecordsError(
                f"{path}, line {number}, is not a row: {line[:40]!r}"
            ) from error
    return rows
