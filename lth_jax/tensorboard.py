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

from lth_jax.errors import RecordsError
from lth_jax.workdir.records import Member, Records

_SECONDS = 5  # between looks


def name(row: dict[str, Any]) -> str:
    """Return the name of a row's network: its folder of event files.

    Example:
        >>> name({"branch": "ticket", "replicate": 0, "rewind_step": 500, "level": 3})
        'ticket/replicate_0,rewind_step_500,level_3'
    """
    parts = [f"{part}_{row[part]}" for part in Member._fields if part in row]
    parts.remove(f"branch_{row['branch']}")
    folder = re.sub(r"\W", "_", row["branch"])
    return f"{folder}/{re.sub(r'[^.,+a-zA-Z0-9_-]', '_', ','.join(parts))}"


def write(rows: Iterable[dict[str, Any]], directory: Path) -> None:
    """Write rows as event files, a folder a network, a scalar a measure.

    Raises:
        ImportError: tensorboardX is not installed.
    """
    from tensorboardX import SummaryWriter

    for network, its in itertools.groupby(sorted(rows, key=name), name):
        with SummaryWriter(str(directory / network)) as writer:
            for row in its:
                writer.add_scalar(row["measure"], row["value"], row["step"])


def main() -> None:
    """Write the event files of the folder that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m lth_jax.tensorboard",
        description="Write a run's rows as event files.",
    )
    parser.add_argument("workdir", type=Path, help="folder of a run")
    parser.add_argument(
        "--follow", action="store_true", help="go on as the run does, until Ctrl-C"
    )
    options = parser.parse_args()
    directory, records = (
        options.workdir / "tensorboard",
        options.workdir / "results.jsonl",
    )
    if not (options.workdir / "config.json").exists():
        sys.exit(f"error: {options.workdir}: no run has begun there")
    print(f"to look at it: tensorboard --logdir={directory}", flush=True)
    written = None
    try:
        while True:
            rows = Records(records).rows()
            # At first; or the run was cut off, and does some of it again.
            if written is None or len(rows) < written:
                written = 0
                shutil.rmtree(directory, ignore_errors=True)
            write(rows[written:], directory)
            written = len(rows)
            if not options.follow:
                break
            time.sleep(_SECONDS)
    except RecordsError as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'lth_jax[tensorboard]'")
    except KeyboardInterrupt:
        pass
    print(f"{written or 0:,} rows are there")


if __name__ == "__main__":
    main()
