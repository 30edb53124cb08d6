"""Trackio: a local database (TRACKIO_DIR), looked at with `trackio show`; or elsewhere.

What a Space (TRACKIO_SPACE_ID) or a server (TRACKIO_SERVER_URL) has cannot be counted
here: it is what they were given.
"""

import os
from pathlib import Path
from typing import Any

from lth_jax.track.names import key
from lth_jax.track.tracker import Rows, State


class Trackio:
    """A run of the project that TRACKIO_PROJECT says, else of lth_jax."""

    forgets = False

    def __init__(self, workdir: Path, state: State, config: dict[str, Any]) -> None:
        import trackio  # pyright: ignore[reportMissingImports]
        from trackio import sqlite_storage  # pyright: ignore[reportMissingImports]

        project = os.environ.get("TRACKIO_PROJECT", "lth_jax")
        self.look = f"trackio show --project {project}"
        name = f"{workdir.name}-{state.id}"
        if any(map(os.environ.get, ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"))):
            self._there = state.rows
        else:  # before `init`: what it was told and had not written is lost, told again
            self._there = sqlite_storage.SQLiteStorage.get_log_count(project, name)
        self.artifact, self.finish = trackio.Artifact, trackio.finish
        self.run = trackio.init(
            project,
            name,
            config=config,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def there(self, rows: Rows) -> int:
        return self._there

    def write(self, rows: Rows, first: int) -> None:
        for row in rows:
            self.run.log({key(row): row["value"]}, step=row["step"])

    def keep(self, kind: str, files: list[Path]) -> None:
        artifact = self.artifact(f"{kind}-{self.run.name}", type=kind)
        for path in files:
            artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def close(self) -> None:
        self.finish()
