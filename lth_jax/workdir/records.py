"""Records: what a run leaves in its folder besides checkpoints."""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lth_jax.errors import RecordsError
from lth_jax.train import processes

# Modules and packages that change no number of a run.
HARMLESS = ("check", "configs", "dry_run", "export", "main", "report", "sparse")
HARMLESS += ("tensorboard",)


# The measure of a network whose loss, or a weight, is not finite any more.
DIVERGED = "diverged"


class Member(NamedTuple):
    """Which network a number belongs to.

    Attributes:
        replicate: which seed.
        rewind_step: step k of the ticket's rewind state; 0 for the dense network.
        level: number of pruning rounds; 0 for the dense network.
        branch: the controlled variation.
        copy: which data order.
        learning_rate: initial rate, where a run has several; else None.
        weight_decay: L2 coefficient, where a run has several; else None.
    """

    replicate: int
    rewind_step: int
    level: int
    branch: str
    copy: int
    learning_rate: float | None = None
    weight_decay: float | None = None

    @property
    def setting(self) -> tuple[float | None, float | None]:
        """Learning rate and weight decay, where a run has several."""
        return self.learning_rate, self.weight_decay

    @property
    def ticket(self) -> "Member":
        """The ticket of this level and rewind step; at level 0 the dense network."""
        return self._replace(branch="ticket" if self.level else "dense", copy=0)

    @property
    def is_ticket(self) -> bool:
        """Whether this is a ticket, or at level 0 a dense network."""
        return self == self.ticket

    @property
    def origin(self) -> "Member":
        """The dense network of the same seed and setting."""
        return self._replace(rewind_step=0, level=0, branch="dense", copy=0)


# What tells a row from others.
KEY = (*Member._fields, "step", "measure")


def text(key: Sequence[Any]) -> str:
    """Return the first parts of a row's key in words.

    Example:
        >>> text(Member(0, 500, 3, "ticket", 0))
        'replicate 0, rewind_step 500, level 3, branch ticket, copy 0'
    """
    named = zip(KEY, key)
    return ", ".join(f"{name} {value}" for name, value in named if value is not None)


@dataclasses.dataclass(frozen=True)
class Records:
    """The rows of results.jsonl: one number a row, appended, never changed.

    Attributes:
        path: of the file.
    """

    path: Path

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows; they are on disk when this returns.

        Raises:
            RecordsError: they cannot be written; none of them is in the file.
        """
        lines = "".join(json.dumps(row) + "\n" for row in rows)
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
        """Return all rows; a last line that was cut off is none.

        Raises:
            RecordsError: a line is not a row.
        """
        if not self.path.exists():
            return []
        rows = []
        *lines, _ = self.path.read_text(errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RecordsError(
                    f"{self.path}, line {number}, is not a row: {line[:40]!r}"
                ) from error
        return rows

    def diverged(self) -> dict[Member, int]:
        """Return the networks whose training ended early, and at which step."""
        found = {}
        for row in self.rows():
            if row["measure"] == DIVERGED:
                named: dict[str, Any] = {name: row.get(name) for name in Member._fields}
                found[Member(**named)] = row["step"]
        return found


def row(
    member: Member, *, density: float, step: int, measure: str, value: float
) -> dict[str, Any]:
    """Return one number of one member as a row; rate and decay only if it has them.

    Example:
        >>> row(Member(0, 500, 3, "ticket", 0), density=0.512, step=30_000,
        ...     measure="test_accuracy", value=0.981)["branch"]
        'ticket'
    """
    found = {
        "replicate": member.replicate,
        "rewind_step": member.rewind_step,
        "level": member.level,
        "density": density,
        "branch": member.branch,
        "copy": member.copy,
        "step": step,
        "measure": measure,
        "value": float(value),
        "learning_rate": member.learning_rate,
        "weight_decay": member.weight_decay,
    }
    return {name: content for name, content in found.items() if content is not None}


def environment() -> dict[str, Any]:
    """Return what a run's numbers may depend on besides its config."""
    packages = ["lth_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint"]
    packages += ["tensorflow-datasets", "numpy", "opencv-python-headless"]
    return {
        "command": sys.argv,
        "git_commit": _git_commit(),
        "code": code(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
    }


def code() -> str:
    """Return the SHA-256 of the package's source, but for the modules in HARMLESS."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.removesuffix(".py").split("/")[0] not in HARMLESS:
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _git_commit() -> str | None:
    """Return the commit of this source tree, marked if it has been changed."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
