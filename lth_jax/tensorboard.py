"""Tensorboard: the rows of a run as event files, without TensorFlow.

    python -m lth_jax.tensorboard WORKDIR --follow
    tensorboard --logdir=WORKDIR/tensorboard

It reads what the run writes: start it whenever the run is to be watched.
"""

import argparse
import itertools
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lth_jax import console, jsonl
from lth_jax.errors import RunError
from lth_jax.numbers import rows as rows_lib
from lth_jax.paths import local

_SECONDS = 5  # between looks


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


def write(rows: Iterable[dict[str, Any]], directory: Path) -> None:
    """Write rows as event files: a folder a network, a scalar a measure."""
    from tensorboardX import SummaryWriter  # an extra

    for network, its in itertools.groupby(sorted(rows, key=name), name):
        with SummaryWriter(str(directory / network)) as writer:
            for row in its:
                writer.add_scalar(tag(row), row["value"], row["step"])


def main() -> None:
    """Write a run's rows as event files."""
    parser = argparse.ArgumentParser(
        "python -m lth_jax.tensorboard", None, main.__doc__
    )
    parser.add_argument("workdir", help="folder of a run")
    follow = "go on as the run does, until Ctrl-C"
    parser.add_argument("--follow", action="store_true", help=follow)
    options, written = parser.parse_args(), -1  # not even none
    try:
        workdir = local(options.workdir)
        directory, path = (workdir / name for name in ("tensorboard", "results.jsonl"))
        if not (workdir / "config.json").exists():
            raise RunError(f"{workdir}: no run has begun there")
        print(
            f"to look at it: tensorboard --logdir={shlex.quote(str(directory))}",
            flush=True,
        )
        while True:
            rows = jsonl.read(path) if path.exists() else []
            # At first; or the run was cut off, and does some of it again.
            if not 0 <= written <= len(rows):
                shutil.rmtree(directory, ignore_errors=True)
                written = 0
            write(rows[written:], directory)
            written = len(rows)
            if not options.follow:
                break
            time.sleep(_SECONDS)
    except (OSError, RunError) as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'lth_jax[tensorboard]'")
    except KeyboardInterrupt:
        pass
    print(f"{max(0, written):,} rows are there")


if __name__ == "__main__":
    console.prepare()
    main()
