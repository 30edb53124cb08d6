"""The command line: python -m lth_jax.track WORKDIR --to=wandb [--follow]."""

import argparse
import sys

from lth_jax import console
from lth_jax.errors import RunError
from lth_jax.track.feed import TRACKERS, track


def main(arguments: list[str] | None = None) -> None:
    """Write a run's config, rows, page and tickets to a tracker."""
    parser = argparse.ArgumentParser("python -m lth_jax.track", None, main.__doc__)
    parser.add_argument("workdir", help="folder of a run")
    parser.add_argument("--to", required=True, choices=TRACKERS, help="which tracker")
    follow = "go on as the run does, until Ctrl-C"
    parser.add_argument("--follow", action="store_true", help=follow)
    chosen = parser.parse_args(arguments)
    try:
        number = track(chosen.workdir, chosen.to, follow=chosen.follow)
    except (OSError, RunError) as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'lth_jax[{chosen.to}]'")
    print(f"{number:,} rows are there")


if __name__ == "__main__":
    console.prepare()
    main()
