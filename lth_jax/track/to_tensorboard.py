"""TensorBoard: event files, without TensorFlow: a folder a network."""

import itertools
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_jax.numbers import rows as rows_lib
from lth_jax.track.tracker import Rows, State


def name(row: dict[str, Any]) -> str:
    """Return the folder of a row's network: `ticket/replicate_0,rewind_step_5,...`."""
    others = [key for key in rows_lib.MEMBER if key in row and key != "branch"]
    text = ",".join(f"{key}_{row[key]}" for key in others)
    folder = re.sub(r"\W", "_", row["branch"])
    return f"{folder}/{re.sub(r'[^.,+a-zA-Z0-9_-]', '_', text)}"


def tag(row: dict[str, Any]) -> str:
    """Return the name of a row's scalar, as `error/split_test/alpha_0.5`."""
    others = [f"{key}_{row[key]}" for key in row if key not in rows_lib.FIXED]
    return "/".join([row["measure"], *others])


def write(rows: Iterable[dict[str, Any]], directory: Path, first: int = 0) -> None:
    """Write rows as event files: a folder a network, a scalar a measure.

    `first`, the number of the first row, tells a file from those of rows before, which
    may be made in the same second.
    """
    from tensorboardX import SummaryWriter  # an extra

    for network, its in itertools.groupby(sorted(rows, key=name), name):
        file = f".{first}"
        with SummaryWriter(str(directory / network), filename_suffix=file) as writer:
            for row in its:
                writer.add_scalar(tag(row), row["value"], row["step"])


class Tensorboard:
    """Event files in the run's folder. They are made anew whenever it is opened."""

    forgets = True

    def __init__(self, workdir: Path, state: State, config: dict[str, Any]) -> None:
        self.directory = workdir / "tensorboard"
        self.look = f"tensorboard --logdir={shlex.quote(str(self.directory))}"
        shutil.rmtree(self.directory, ignore_errors=True)

    def there(self, rows: Rows) -> int:
        return 0

    def write(self, rows: Rows, first: int) -> None:
        write(rows, self.directory, first)

    def keep(self, kind: str, files: list[Path]) -> None:
        """It shows no files."""

    def close(self) -> None:
        """All is there already."""
