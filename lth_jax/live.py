"""Live: in a notebook, curves of a run that grow while it trains."""

import io
import sys
from pathlib import Path

from lth_jax.errors import one_line


class Curves:
    """A figure below the cell: the task's error by density, of the levels so far.

    Elsewhere than in a notebook there is none. Nothing that goes wrong with it stops
    the run.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._shown = directory, None
        self._is_watched = "ipykernel" in sys.modules  # as the bar has it

    def draw(self) -> None:
        """Show what there is, in the place of what was shown before."""
        if not self._is_watched:
            return
        try:
            if (picture := self._picture()) is None:
                return
            from IPython.display import Image, display

            if self._shown is None:
                self._shown = display(Image(picture), display_id=True)
            else:
                self._shown.update(Image(picture))
        except Exception as error:
            self._is_watched = False
            print(f"warning: no live curves: {one_line(error)}", file=sys.stderr)

    def _picture(self) -> bytes | None:
        from matplotlib.figure import Figure

        from lth_jax import report

        rows = report.load(self._directory)
        if rows.empty or not rows["level"].max():
            return None  # a point is no curve
        drawn, content = report.figures.by_density(rows), io.BytesIO()
        if not isinstance(drawn, Figure):
            return None
        drawn.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()
