"""Names: what a tracker calls a row: groups that branch and level make, and a metric.

ticket/level_3/test_accuracy/replicate_0.rewind_step_500.copy_0
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from lth_jax.numbers import rows as rows_lib

_OTHERS = ("replicate", "rewind_step", "copy", "learning_rate", "weight_decay")
_LONGEST = 250  # of MLflow


def part(text: object) -> str:
    """Return a text as one part of a name that every tracker takes.

    Where characters are lost, some of a checksum tell it from others.

    Example:
        >>> part("noise_0.5"), part("fc1/kernel")
        ('noise_0.5', 'fc1_kernel-3ae9e6')
    """
    found = re.sub(r"[^a-zA-Z0-9_.-]|^\.+", "_", str(text))
    return found if found == str(text) else f"{found}-{_checksum(str(text))}"


def key(row: dict[str, Any]) -> str:
    """Return the metric's name of a row, which no other row of its step has.

    Example:
        >>> row = {"replicate": 1, "branch": "ticket", "level": 2, "measure": "error"}
        >>> key(row | {"alpha": 0.5, "step": 100, "value": 0.25})
        'ticket/level_2/error/alpha_0.5/replicate_1'
    """
    others = (n for n in row if n not in rows_lib.FIXED)
    parts = [row["branch"], f"level_{row['level']}", row["measure"]]
    parts += [f"{name}_{row[name]}" for name in others]
    whose = ".".join(f"{name}_{row[name]}" for name in _OTHERS if name in row)
    found = "/".join(map(part, [*parts, whose]))
    if len(found) <= _LONGEST:
        return found
    return f"{found[: _LONGEST - 7]}-{_checksum(found)}"


def digest(rows: Iterable[dict[str, Any]]) -> str:
    """Return a checksum of rows, in their order."""
    return hashlib.sha256(repr([*rows]).encode()).hexdigest()


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
