"""Records: the numbers of a run, a row each."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_jax import jsonl
from lth_jax import masks as masks_lib
from lth_jax.devices import processes
from lth_jax.errors import RecordsError
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member

# The measure of a network whose loss, or a weight, is not finite any more.
DIVERGED = "diverged"
_NUMBER = ("density", "value")  # all other columns tell a row from others


@dataclasses.dataclass(frozen=True)
class Records:
    """The rows of results.jsonl: one number a row, appended, never changed."""

    path: Path

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows, on disk when this returns; else none, and RecordsError."""
        lines = jsonl.text(rows)
        processes.by_first(lambda: self._append(lines))

    def _append(self, lines: str) -> None:
        size = self.size()
        try:
            with self.path.open("a") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.truncate(size)
            raise RecordsError(
                f"{self.path} cannot be written ({error.strerror}); with that put "
                "right, the same command goes on"
            ) from error

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, size: int) -> None:
        """Forget what was appended after the file had `size` bytes."""
        if processes.is_first() and self.size() > size:
            os.truncate(self.path, size)

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows; a last line that was cut off is none."""
        return jsonl.read(self.path) if self.path.exists() else []

    def diverged(self) -> dict[Member, int]:
        """Return the networks whose training ended early, and at which step."""
        return {
            member(row): row["step"]
            for row in self.rows()
            if row["measure"] == DIVERGED
        }


def row(
    member: Member,
    *,
    density: float,
    step: int,
    measure: str,
    value: float,
    **keys: Any,
) -> dict[str, Any]:
    """Return one number of one member as a row; rate and decay only if it has them.

    Args:
        member: which network; `density` is that of its masks.
        step: to which it was trained.
        measure: what was measured, and its `value`.
        keys: of what, where the measure alone does not say it: split, pair, other,
            alpha, p, layer, or a column of a study's own that no other row has.

    Example:
        >>> row(Member(0, 500, 3, "ticket", 0), density=0.512, step=30_000,
        ...     measure="test_accuracy", value=0.981)["branch"]
        'ticket'
    """
    of = member._asdict()
    found = {name: of.pop(name) for name in ("replicate", "rewind_step", "level")}
    found |= {"density": density, "branch": of.pop("branch"), "copy": of.pop("copy")}
    found |= {"step": step, "measure": measure, "value": value} | of
    if taken := found.keys() & keys:
        raise ValueError(f"{measure}: {min(taken)!r} is a column of every row")
    return {name: x for name, x in (found | keys).items() if x is not None}


def numbered(
    member: Member, network: TrainState, numbers: Iterable[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    """Return the rows of a network's (measure, value) or (measure, value, keys)."""
    density, step = masks_lib.density(network.masks), int(network.step)
    rows = []
    for measure, value, *rest in numbers:
        of = {"density": density, "step": step, "measure": measure}
        keys = rest[0] if rest else {}
        rows.append(row(member, **of, value=float(value), **keys))
    return rows


def member(row: dict[str, Any]) -> Member:
    """Return which network a row belongs to."""
    return Member(*(row.get(name) for name in Member._fields))  # pyright: ignore


def key(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return what tells a row from others: all columns but the number's own.

    Example:
        >>> key({"level": 1, "density": 0.8, "measure": "loss", "p": 0.2, "value": 1.0})
        (('level', 1), ('measure', 'loss'), ('p', 0.2))
    """
    return tuple((name, x) for name, x in row.items() if name not in _NUMBER)
