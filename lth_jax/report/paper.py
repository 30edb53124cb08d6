"""Paper: one figure as a file to be put into a paper."""

import shutil
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from lth_jax.errors import RunError
from lth_jax.paths import local
from lth_jax.report.results import Figures

ENDINGS = (".pdf", ".pgf", ".svg", ".png", ".eps")
_TEX = ("xelatex", "lualatex", "pdflatex")


def write(
    rows: pd.DataFrame,
    name: str,
    out: Path | str,
    *,
    width: float = 3.3,
    height: float | None = None,
    **which: Any,
) -> Path:
    """Write a figure of some rows in the style of a paper, and return its path.

    The style is that of `one_column.mplstyle`, or of `two_columns.mplstyle` from 5
    inches on: fonts are embedded as TrueType, and no text is below 7 points.

    Args:
        rows: as of `load`.
        name: as a method of `Results.figures`: "accuracy", "layers", "by_branch".
        out: file, whose ending says which format: .pdf, .pgf, .svg, .png or .eps.
        width: of the figure in inches; 0.5 at least.
        height: of a row of panels in inches; by default that of the style.
        which: what the figure takes: `branches`, `labels`, `title`, `split`, ...

    Raises:
        RunError: there is no such figure or format; one line says which there are.
    """
    path, figures = local(out, "--out"), Figures(rows)
    if path.suffix not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise RunError(f"--out: {path.name} has none of the endings {known}")
    if not 0.5 <= width <= 100 or not 0.5 <= (height or 1) <= 100:
        raise RunError("--width, --height: from 0.5 to 100 inches")
    name_of = "one_column" if width < 5 else "two_columns"
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        style.use(Path(__file__).with_name(f"{name_of}.mplstyle"))
        size = matplotlib.rcParams["figure.figsize"]
        matplotlib.rcParams["figure.figsize"] = (width, height or size[1])
        if path.suffix == ".pgf":
            matplotlib.rcParams["pgf.texsystem"] = _tex()
        try:
            figure = getattr(figures, name)(**which)
        except (AttributeError, TypeError, ValueError) as error:
            raise RunError(f"--figure: {name}: {error}") from error
        if not isinstance(figure, Figure):
            raise RunError(f"--figure: {name}: there are no numbers to draw")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def _tex() -> str:
    """Return a TeX that measures text for PGF, or raise RunError."""
    for name in _TEX:
        if shutil.which(name):
            return name
    raise RunError(f"--out: .pgf needs one of {', '.join(_TEX)}; or take .pdf")
