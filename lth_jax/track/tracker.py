"""Tracker: what `feed` asks of a tracker, and keeps of it in a run's folder."""

import dataclasses
import json
import secrets
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lth_jax.track.names import digest

Rows = list[dict[str, Any]]


@dataclasses.dataclass
class State:
    """What is known of a tracker's run: a file in the folder of ours.

    Attributes:
        path: of the file.
        id: the name of the tracker's run, drawn once.
        rows: so many were given to it, with this checksum.
        kept: checksums of the files that were.
        session: what a tracker has to know if it is not closed.
    """

    path: Path
    id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(4))
    rows: int = 0
    checksum: str = digest(())
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    session: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "State":
        """Return what a file says, or what is known of none."""
        return cls(path, **(json.loads(path.read_text()) if path.exists() else {}))

    def write(self) -> None:
        """Write the file, whole or not at all."""
        told = dataclasses.asdict(self)
        del told["path"]
        self.path.parent.mkdir(exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(told, indent=2) + "\n")
        unfinished.replace(self.path)


@runtime_checkable
class Tracker(Protocol):
    """One run of a tracker, open to be written."""

    look: str  # how to look at it
    forgets: bool  # whether it is made anew where rows are not what they were

    def __init__(self, workdir: Path, state: State, config: dict[str, Any]) -> None:
        """Begin a run that is called `state.id`, or go on with it."""

    def there(self, rows: Rows) -> int:
        """Return how many rows it has, the first ones."""
        ...

    def write(self, rows: Rows, first: int) -> None:
        """Append rows, of which the first is number `first`."""

    def keep(self, kind: str, files: list[Path]) -> None:
        """Keep files as they are now: the "report", or "tickets"."""

    def close(self) -> None:
        """Return when all is there."""
