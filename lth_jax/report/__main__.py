"""The command line: python -m lth_jax.report WORKDIR [WORKDIR ...]."""

import argparse
import sys

from lth_jax import report


def main(arguments: list[str] | None = None) -> None:
    """Print the table of some runs and write their report."""
    parser = argparse.ArgumentParser(
        prog="python -m lth_jax.report", description=main.__doc__
    )
    parser.add_argument(
        "workdir", nargs="+", help="folder of a run, done or on its way"
    )
    parser.add_argument(
        "--out", help="folder of the report; report/ in the first by default"
    )
    chosen = parser.parse_args(arguments)
    try:
        rows = report.load(*chosen.workdir)
        page = report.write(*chosen.workdir, directory=chosen.out)
    except (FileNotFoundError, NotADirectoryError) as error:
        sys.exit(f"error: {error.filename}: no such file; is this the folder of a run?")
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(report.table(rows))
    print(f"\nreport: {page}")


if __name__ == "__main__":
    main()
