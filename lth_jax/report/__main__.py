"""The command line: python -m lth_jax.report WORKDIR [WORKDIR ...]."""

import argparse
import sys
from pathlib import Path

from lth_jax import console, pool, report
from lth_jax.errors import RunError, one_line
from lth_jax.report import paper


def main(arguments: list[str] | None = None) -> None:
    """Print the table of some runs and write their report; or write one figure."""
    chosen = _parser().parse_args(arguments)
    workdirs, out = chosen.workdir, chosen.out
    try:
        if chosen.pool:
            pooled = pool.read(*workdirs)
            for note in pooled.notes:
                print(f"warning: {note}", file=sys.stderr)
            folder = None if chosen.figure else out
            folder = pool.write(pooled, folder or Path(workdirs[0]) / "pooled")
            workdirs, out = [folder], folder
        rows = report.load(*workdirs)
        if chosen.figure:
            print(_figure(rows, chosen))
            return
        page = report.write(*workdirs, directory=out)
    except (FileNotFoundError, NotADirectoryError) as error:
        sys.exit(f"error: {error.filename}: no such file; is this the folder of a run?")
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    print(f"{report.table(rows)}\n\nreport: {page}")


def _figure(rows: object, chosen: argparse.Namespace) -> object:
    which = {"branches": chosen.branches and chosen.branches.split(",")}
    which["title"] = chosen.title
    which = {name: value for name, value in which.items() if value is not None}
    size = {"width": chosen.width, "height": chosen.height}
    out = chosen.out or f"{chosen.figure}.pdf"
    return paper.write(rows, chosen.figure, out, **size, **which)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lth_jax.report", None, main.__doc__)
    add = parser.add_argument
    text = "folder of the report, report/ in the first by default; with --figure, a "
    text += f"file that ends in one of {', '.join(paper.ENDINGS)}"
    add("workdir", nargs="+", help="folder of a run")
    add("--out", help=text)
    pooled = "folders are one experiment: replicates are divided over them; the joined "
    pooled += "rows and the report are in --out, by default pooled/ in the first"
    add("--pool", action="store_true", help=pooled)
    add("--figure", help="one figure alone: accuracy, by_rewind_step, layers, ...")
    add("--width", type=float, default=3.3, help="of the figure in inches, 3.3")
    add("--height", type=float, help="of a row of its panels in inches")
    add("--branches", help="these, in this order: ticket,dense")
    add("--title", help='above the figure; "" for none, nor of panels')
    return parser


if __name__ == "__main__":
    console.prepare()
    main()
