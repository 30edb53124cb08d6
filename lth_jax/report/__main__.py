"""The command line: python -m lth_jax.report WORKDIR [WORKDIR ...]."""

import argparse
import sys
from pathlib import Path

from lth_jax import console, pool, report
from lth_jax.errors import RunError, one_line


def main(arguments: list[str] | None = None) -> None:
    """Print the table of some runs and write their report."""
    parser = argparse.ArgumentParser("python -m lth_jax.report", None, main.__doc__)
    parser.add_argument("workdir", nargs="+", help="folder of a run")
    text = "folder of the report; report/ in the first by default"
    parser.add_argument("--out", help=text)
    text = "folders are one experiment: replicates are divided over them; the joined "
    text += "rows and the report are in --out, by default pooled/ in the first"
    parser.add_argument("--pool", action="store_true", help=text)
    chosen = parser.parse_args(arguments)
    workdirs, out = chosen.workdir, chosen.out
    try:
        if chosen.pool:
            pooled = pool.read(*workdirs)
            for note in pooled.notes:
                print(f"warning: {note}", file=sys.stderr)
            out = pool.write(pooled, out or Path(workdirs[0]) / "pooled")
            workdirs = [out]
        rows = report.load(*workdirs)
        page = report.write(*workdirs, directory=out)
    except (FileNotFoundError, NotADirectoryError) as error:
        sys.exit(f"error: {error.filename}: no such file; is this the folder of a run?")
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    print(f"{report.table(rows)}\n\nreport: {page}")


if __name__ == "__main__":
    console.prepare()
    main()
