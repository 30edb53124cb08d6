"""The command line: python -m lth_jax.pictures WORKDIR."""

import argparse
import sys

from lth_jax import console, pictures, report
from lth_jax.errors import RunError, one_line


def main(arguments: list[str] | None = None) -> None:
    """Write pictures of a run's tickets to its folder, and put them on its page."""
    parser = argparse.ArgumentParser("python -m lth_jax.pictures", None, main.__doc__)
    parser.add_argument("workdir", help="folder of a run; it may be on its way")
    parser.add_argument("--rewind_step", type=int, help="by default the run's first")
    parser.add_argument("--learning_rate", type=float, help="of a run with several")
    parser.add_argument("--weight_decay", type=float, help="of a run with several")
    chosen = vars(parser.parse_args(arguments))
    try:
        for path in pictures.write(**chosen):
            print(path)
        print(f"\nreport: {report.write(chosen['workdir'])}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: no such file; is this the folder of a run?")
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")


if __name__ == "__main__":
    console.prepare()
    main()
