"""The command line: python -m lth_jax.report WORKDIR [WORKDIR ...]."""

import argparse
import sys

from lth_jax import console, report
from lth_jax.errors import RunError, one_line


def main(arguments: list[str] | None = None) -> None:
    """Print the table of some runs and write their report."""
    parser = argparse.ArgumentParser("python -m lth_jax.report", None, main.__doc__)
    parser.add_argument("workdir", nargs="+", help="folder of a run")
    text = "folder of the report; report/ in the first by default"
    parser.add_argument("--out", help=text)
    chosen = parser.parse_args(arguments)
    try:
        rows = report.load(*chosen.workdir)
        page = report.write(*chosen.workdir, directory=chosen.out)
    except (FileNotFoundError, NotADirectoryError) as error:
        sys.exit(f"error: {error.filename}: no such file; is this the folder of a run?")
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    print(f"{report.table(rows)}\n\nreport: {page}")


if __name__ == "__main__":
    console.prepare()
    main()
