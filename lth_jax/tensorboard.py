"""Tensorboard: the rows of a run as event files, without TensorFlow.

    python -m lth_jax.tensorboard WORKDIR --follow
    tensorboard --logdir=WORKDIR/tensorboard

It reads what the run writes: start it whenever the run is to be watched.
"""

import argparse
import itertools
import re
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_jax.errors import RunError
from lth_jax.report import rows as rows_lib

_SECONDS = 5  # between looks


def name(row: dict[str, Any]) -> str:
    """Return the folder of a row's network: `ticket/replicate_0,rewind_step_5,...`."""
    parts = [f"{part}_{row[part]}" for part in rows_lib.MEMBER if part in row]
    parts.remove(f"branch_{row['branch']}")
    folder = re.sub(r"\W", "_", row["branch"])
    return f"{folder}/{re.sub(r'[^.,+a-zA-Z0-9_-]', '_', ','.join(parts))}"


def tag(row: dict[str, Any]) -> str:
    """Return the name of a row's scalar.

    Example:
        >>> tag({"measure": "error", "value": 0.1, "split": "test", "alpha": 0.5})
        'error/split_test/alpha_0.5'
    """
    others = [f"{key}_{row[key]}" for key in row if key not in rows_lib.FIXED]
    return "/".join([row["measure"], *others])


def write(rows: Iterable[dict[str, Any]], directory: Path) -> None:
    """Write rows as event files: a folder a network, a scalar a measure.

    Raises:
        ImportError: tensorboardX is not installed.
    """
    from tensorboardX import SummaryWriter

    for network, its in itertools.groupby(sorted(rows, key=name), name):
        with SummaryWriter(str(directory / network)) as writer:
            for row in its:
                writer.add_scalar(tag(row), row["value"], row["step"])


def main() -> None:
    """Write a run's rows as event files."""
    parser = argparse.ArgumentParser(
        prog="python -m lth_jax.tensorboard", description=main.__doc__
    )
    parser.add_argument("workdir", type=Path, help="folder of a run")
    text = "go on as the run does, until Ctrl-C"
    parser.add_argument("--follow", action="store_true", help=text)
    options = parser.parse_args()
    directory, path = (options.workdir / n for n in ("tensorboard", "results.jsonl"))
    if not (options.workdir / "config.json").exists():
        sys.exit(f"error: {options.workdir}: no run has begun there")
    print(f"to look at it: tensorboard --logdir={directory}", flush=True)
    written = None
    try:
        while written is None or options.follow:
            if written is not None:
                time.sleep(_SECONDS)
            rows = rows_lib.read(path) if path.exists() else []
            # At first; or the run was cut off, and does some of it again.
            if written is None or len(rows) < written:
                written = 0
                shutil.rmtree(directory, ignore_errors=True)
            write(rows[written:], directory)
            written = len(rows)
    except RunError as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'lth_jax[tensorboard]'")
    except KeyboardInterrupt:
        pass
    print(f"{written or 0:,} rows are there")


if __name__ == "__main__":
    main()
