"""Weights & Biases: online, or with WANDB_MODE=offline in files for `wandb sync`."""

import os
import shutil
from pathlib import Path
from typing import Any

from lth_jax.track.names import key
from lth_jax.track.tracker import Rows, State


class Wandb:
    """A run of the project that WANDB_PROJECT says, else of lth_jax.

    Row n is what it logs at its step n, which orders rows; what is drawn is drawn
    against `step`, that of training. Offline, a session that was killed, or that
    ended within a batch of rows, is thrown away: nobody knows which came to the disk.
    """

    forgets = False

    def __init__(self, workdir: Path, state: State, config: dict[str, Any]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self.artifact, self._first = wandb.Artifact, state.rows
        if lost := state.session:
            shutil.rmtree(lost["directory"], ignore_errors=True)
            self._first, state.kept = lost["first"], {}
        # What it measures of this process says nothing of the run.
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            quiet=True,
            show_errors=True,
            x_disable_stats=True,
        )
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lth_jax"),
            id=state.id,
            name=workdir.name,
            config=config,
            dir=os.environ.get("WANDB_DIR", str(workdir)),
            resume="allow",
            settings=settings,
        )
        self.run.define_metric("*", step_metric="step")
        if self.run.offline:
            folder = str(Path(self.run.dir).parent)
            state.session = {"directory": folder, "first": self._first}
            state.write()
            self.look = f"wandb sync {Path(folder).parent}/offline-run-*-{state.id}"
        else:
            self._first = self.run.step
            self.look = str(self.run.url)

    def there(self, rows: Rows) -> int:
        return self._first

    def write(self, rows: Rows, first: int) -> None:
        for number, row in enumerate(rows, first):
            self.run.log({key(row): row["value"], "step": row["step"]}, step=number)

    def keep(self, kind: str, files: list[Path]) -> None:
        artifact = self.artifact(f"{kind}-{self.run.id}", type=kind)
        for path in files:
            artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def close(self) -> None:
        self.run.finish()
