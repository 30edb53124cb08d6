"""Panels: a figure of several, or axes of a caller's own, with one legend."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from lth_jax.drawing.axes import few, log_ticks
from lth_jax.drawing.told import mark

Share = Literal["all", "col", "none"]
Drawn = Figure | Axes | Iterable[Axes]


class Asked(NamedTuple):
    """What a caller wants of a figure."""

    ax: Axes | Iterable[Axes] | None = None  # to draw into: one a panel
    branches: Sequence[str] | None = None  # these, in this order; else all
    labels: Mapping[str, str] | None = None  # of branches, in the legend
    title: str | None = None  # above all; "" for none, nor of panels

    def chosen(self, there: Sequence[str]) -> list[str]:
        """Return the branches to draw, or raise ValueError for one that is not."""
        for name in self.branches or ():
            if name not in there:
                known = ", ".join(there) or "none"
                raise ValueError(f"branches: {name!r} is not among them: {known}")
        return [*(there if self.branches is None else self.branches)]

    def label(self, name: str) -> str:
        """Return what a branch is called: words, or what the caller says."""
        before, _, branch = name.rpartition(", ")
        words = (self.labels or {}).get(branch, branch.replace("_", " "))
        return f"{before}, {words}" if before else words


def grid(
    titles: list[str],
    columns: int,
    size: tuple[float, float],
    share_y: Share = "all",
    asked: Asked = Asked(),  # noqa: B008  (it does not change)
    least: tuple[float, float] = (1.2, 0.0),
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel of a size in inches for every title, and those.

    If `figure.figsize` is set, it is the figure's width, and the height of a row, as
    far as panels are not below the `least` size then.
    """
    width, height = size
    if asked.ax is not None:
        axes = [asked.ax] if isinstance(asked.ax, Axes) else [*asked.ax]
        if len(axes) != len(titles):
            named = "; ".join(titles)
            raise ValueError(
                f"ax: {len(axes)} for {len(titles)} panels ({named}); give as many "
                "axes, or rows of one panel"
            )
        figure = axes[0].get_figure(root=True)
        assert figure is not None
    else:
        whole = [*matplotlib.rcParams["figure.figsize"]]
        if whole != [*matplotlib.rcParamsDefault["figure.figsize"]]:
            columns = min(columns, max(1, int((whole[0] - 0.5) / least[0])))
            width = (whole[0] - 0.5) / columns
            height = max(whole[1] - 0.9, least[1])
        rows, panels = -(-len(titles) // columns), len(titles)
        whole = (columns * width + 0.5, rows * height + 0.9)
        figure = Figure(whole, layout="constrained")
        share = {"sharex": True, "sharey": share_y, "squeeze": False}
        axes = figure.subplots(rows, columns, **share)
        for ax in axes.flat[panels:]:
            ax.remove()
        for ax in axes.flat[max(0, panels - columns) : panels]:
            ax.tick_params(labelbottom=True)
        axes = [*axes.flat[:panels]]
    for ax, text in zip(axes, titles):
        ax.set_title("" if asked.title == "" else text)
        if asked.ax is None:
            _wrap(ax, width)
    return figure, axes


def _wrap(ax: Axes, inches: float) -> None:
    """Break a panel's title into lines that are no longer than the panel."""
    letters = int(inches * 72 / (0.56 * float(ax.title.get_fontsize())))
    lines = ax.get_title().split("\n")
    broken = [part for line in lines for part in textwrap.wrap(line, max(8, letters))]
    ax.set_title("\n".join(broken))


def finish(
    figure: Figure, axes: list[Axes], asked: Asked, x: str = "", y: str = ""
) -> Drawn:
    """Label the axes, put the title, and return what was asked for."""
    for ax in axes if asked.ax is not None else ():
        ax.set_xlabel(x)
        ax.set_ylabel(y)
    if asked.ax is not None:
        if asked.title and len(axes) == 1:
            axes[0].set_title(asked.title)
        return asked.ax
    figure.supxlabel(x)
    figure.supylabel(y)
    if asked.title:
        figure.suptitle(asked.title)
    return figure


def legend(
    figure: Figure,
    axes: list[Axes],
    handles: list,
    labels: Sequence[str],
    title: str,
    asked: Asked = Asked(),  # noqa: B008
) -> None:
    """Put the legend above the figure, as wide as that is, or into an own axis."""
    if asked.ax is not None:
        made = axes[0].legend(handles, labels)
    else:
        look = {"loc": "outside upper center", "frameon": False, "title": title}
        columns = min(len(labels), 6)
        made = figure.legend(handles, labels, ncols=columns, **look)
        while columns > 1 and made.get_window_extent().width > figure.bbox.width:
            made.remove()
            lines = -(-len(labels) // columns) + 1
            columns = -(
                -len(labels) // lines
            )  # so that lines are as long as each other
            made = figure.legend(handles, labels, ncols=columns, **look)
    for label, *entry in zip(labels, made.legend_handles, made.get_texts()):
        mark(label, *filter(None, entry), entry=True)


def drawn(n: pd.Series) -> str:
    """Say what is drawn of how many numbers."""
    of = " to ".join(f"{number:.0f}" for number in sorted({n.min(), n.max()}))
    return f"mean ± standard deviation, n = {of}"


def heat_maps(
    panels: Mapping[str, pd.DataFrame],
    label: str,
    x: str,
    *,
    log: bool = False,
    top: float = 100.0,
    asked: Asked = Asked(),  # noqa: B008
) -> Drawn:
    """Draw numbers as shades: a line of `panels` a layer, a column a density or step.

    Shades go from 0 to `top` or, if `log`, from the least to it.
    """
    values = [panel.to_numpy(float) for panel in panels.values()]
    found = np.concatenate([value[np.isfinite(value)] for value in values])
    low = min(0.005 * top, found[found > 0].min()) if log else 0.0
    norm = colors.LogNorm(low, top) if log else colors.Normalize(low, top)
    lines = max(len(panel) for panel in panels.values())
    size = (3.4, max(1.9, 0.6 + 0.018 * matplotlib.rcParams["font.size"] * lines))
    columns, least = min(len(panels), 2), (2.6, size[1])
    figure, axes = grid([*panels], columns, size, asked=asked, least=least)
    for ax, (panel, shown) in zip(axes, zip(panels.values(), values)):
        shown = np.ma.masked_invalid(
            np.where(shown > 0, shown, np.nan) if log else shown
        )
        ax.imshow(shown, "cividis", norm, aspect="auto", interpolation="nearest")
        ax.grid(visible=False)
        names = [str(name).removesuffix("/kernel") for name in panel.index]
        ax.set_yticks(range(len(names)), names)
        places = few(range(panel.shape[1]))
        ticks = [panel.columns[i] for i in places]
        ticks = [f"{x:.3g}" if isinstance(x, float) else str(x) for x in ticks]
        ax.set_xticks(places, ticks)
    look: dict[str, Any] = {"label": label, "format": "{x:.3g}"}
    if log:
        look["ticks"] = log_ticks(low, top, tall=False)
    bar(figure, ScalarMappable(norm, "cividis"), axes, **look)
    return finish(figure, axes, asked, x)


def bar(figure: Figure, shades: ScalarMappable, axes: list[Axes], **look: Any) -> None:
    """Put beside axes what shades mean."""
    made = figure.colorbar(shades, ax=axes, **look)
    made.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    if made.solids:  # as the shades are: on a dark page both stay
        made.solids.set_rasterized(True)
