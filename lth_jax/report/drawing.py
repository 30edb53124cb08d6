"""Drawing: lines with bands, in panels with one legend."""

import itertools
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_jax.report import frames

STYLES = {
    "dense": ("#000000", "", "--"),
    "ticket": ("#0072B2", "o", "-"),
    "random_reinit": ("#D55E00", "s", "-"),
    "shuffled_mask": ("#009E73", "^", "-"),
    "random_mask": ("#CC79A7", "v", "-"),
    "rewind_0": ("#E69F00", "D", "-"),
    "fine_tune": ("#56B4E9", "P", "-"),
    "fine_tune_small": ("#56B4E9", "X", ":"),
    "long": ("#8C564B", "<", "-"),
    "cross_lr": ("#7F7F7F", ">", "-"),
}
_OTHERS = [*itertools.product("*hpd8", ("#AA3377", "#999933", "#332288", "#882255"))]
_taken: dict[int, str] = {}  # looks of others, by branches of one's own
_RUNS = [*zip(2 * ("-", "--", ":", "-.", (0, (5, 1))), "os^DvPX<>*")]
TEXT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
}
FEW = 4  # columns; rewind steps and levels that get panels of their own


class Curve(NamedTuple):
    """A line of a figure.

    Attributes:
        panel: title of the panel that it is in.
        label: in the legend.
        look: colour, marker and line.
        points: columns x, mean, std, n. With one x that is NaN, a level: the curve is
            a line across the panel.
    """

    panel: str
    label: str
    look: dict[str, Any]
    points: pd.DataFrame


def style(branch: str) -> dict[str, Any]:
    """Return how a branch is drawn, the same in every figure.

    Example:
        >>> style("ticket")
        {'color': '#0072B2', 'marker': 'o', 'linestyle': '-'}
    """
    look = STYLES.get(branch) or _other(branch)
    return dict(zip(("color", "marker", "linestyle"), look))


def _other(branch: str) -> tuple[str, str, str]:
    """Return the look that goes with a name, or the next one if another has that."""
    first = zlib.crc32(branch.encode())
    places = [(first + i) % len(_OTHERS) for i in range(len(_OTHERS))]
    free = (place for place in places if _taken.get(place, branch) == branch)
    place = next(free, places[0])
    _taken[place] = branch
    marker, color = _OTHERS[place]
    return color, marker, "-"


def of_run(number: int) -> dict[str, Any]:
    """Return what tells the lines of several runs apart, whatever their colours."""
    return dict(zip(("linestyle", "marker"), _RUNS[number % len(_RUNS)]))


def few(items: Iterable) -> list:
    """Return at most FEW of some items, evenly spread, the last one always.

    Example:
        >>> few(range(10))
        [0, 3, 6, 9]
    """
    items = list(items)
    if len(items) <= FEW:
        return items
    return [items[round(i * (len(items) - 1) / (FEW - 1))] for i in range(FEW)]


def draw(
    curves: Sequence[Curve],
    measure: str,
    x_label: str,
    scale: str,
    columns: int = FEW,
    share_y: Literal["all", "col"] = "all",
) -> Figure | None:
    """Draw curves in their panels, with one legend.

    Args:
        curves: panels and legend are in their order.
        measure: decides the unit and the label of the y axis.
        x_label: of the x axis.
        scale: "linear", "log" (falling, a tick at some of the points) or "symlog".
        columns: most panels side by side.
        share_y: which panels have the same y axis: "all", or "col", those of a column.

    Returns:
        The figure, or None if there is no curve.
    """
    curves = [curve for curve in curves if not curve.points.empty]
    if not curves:
        return None
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    columns = min(len(panels), columns)
    size = {1: (4.8, 3.0), 2: (3.6, 2.6)}.get(columns, (2.4, 2.3))
    with matplotlib.rc_context(TEXT):
        figure, axes = grid(len(panels), columns, size, share_y)
        for panel, ax in zip(panels, axes):
            ax.set_title(panel)
            for curve in curves:
                if curve.panel == panel:
                    _line(ax, curve, frames.unit(measure)[0])
        _scale_x(axes[0], curves, scale)
        for ax in axes:
            _scale_y(ax, curves, measure)
        figure.supxlabel(x_label, fontsize=8)
        figure.supylabel(frames.title(measure), fontsize=8)
        _legend(figure, curves)
    return figure


def grid(
    panels: int,
    columns: int,
    size: tuple[float, float],
    share_y: Literal["all", "col"] = "all",
) -> tuple[Figure, list]:
    """Return a figure with panels of a size in inches, and the panels."""
    rows = -(-panels // columns)
    size = (columns * size[0] + 0.5, rows * size[1] + 0.9)
    figure = Figure(size, dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False)
    for ax in axes.flat[panels:]:
        ax.remove()
    for ax in axes.flat[max(0, panels - columns) : panels]:
        ax.tick_params(labelbottom=True)
    return figure, [*axes.flat[:panels]]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG; the same figure makes the same files.

    Args:
        figure: to write.
        path: without a suffix.
    """
    if engine := figure.get_layout_engine():  # once for both files
        engine.execute(figure)
        figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path.with_suffix(".png"))
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def caption(numbers: pd.DataFrame) -> str:
    """Return what is drawn of means, standard deviations and `n`, in words."""
    n = " to ".join(dict.fromkeys(f"{n:.0f}" for n in numbers["n"].agg(["min", "max"])))
    return f"mean ± standard deviation, n = {n}"


def _line(ax: Axes, curve: Curve, factor: int) -> None:
    points, color = curve.points, curve.look["color"]
    mean, spread = factor * points["mean"], factor * points["std"].fillna(0)
    if points["x"].isna().all():
        ax.axhline(mean.iloc[0], **curve.look)
        low, high = (mean + sign * spread for sign in (-1, 1))
        ax.axhspan(low.iloc[0], high.iloc[0], color=color, alpha=0.2, linewidth=0)
        return
    ax.plot(points["x"], mean, **curve.look, markevery=max(1, len(points) // 8))
    if len(points) == 1:  # a band would have no width
        ax.errorbar(points["x"], mean, spread, color=color, capsize=3)
    low, high = mean - spread, mean + spread
    ax.fill_between(points["x"], low, high, color=color, alpha=0.2, linewidth=0)


def _scale_x(ax: Axes, curves: Sequence[Curve], scale: str) -> None:
    xs = sorted({x for curve in curves for x in curve.points["x"].dropna()})
    if scale == "linear":
        return
    if scale == "symlog":
        ax.set_xscale("symlog", linthresh=min(x for x in xs if x > 0), linscale=0.5)
    else:
        ax.set_xscale("log")
        ax.invert_xaxis()
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.xaxis.set_major_locator(ticker.FixedLocator(few(xs)))
    ax.xaxis.set_major_formatter("{x:.3g}" if scale == "log" else "{x:,.0f}")


def _scale_y(ax: Axes, curves: Sequence[Curve], measure: str) -> None:
    if measure.endswith("loss"):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:.3g}")
        ax.yaxis.set_minor_locator(ticker.NullLocator())
    elif not measure.endswith("accuracy"):
        if _range(curves)[0] >= 0:
            ax.set_ylim(bottom=0)
    else:
        # Where controls fail, what matters would be a thin stripe: they may leave.
        of_interest = [c for c in curves if {c.panel, c.label} & {"ticket", "dense"}]
        best, worst = _range(curves)[1], _range(of_interest or curves)[0]
        bottom = max(_range(curves)[0], worst - 2 * (best - worst))
        margin = 0.05 * (best - bottom) or 0.01  # of numbers that are all the same
        ax.set_ylim(100 * (bottom - margin), 100 * (best + margin))


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    points = pd.concat([curve.points for curve in curves])
    spread = points["std"].fillna(0)
    return (points["mean"] - spread).min(), (points["mean"] + spread).max()


def _legend(figure: Figure, curves: Sequence[Curve]) -> None:
    looks: dict[str, dict[str, Any]] = {}
    for curve in curves:
        same = looks.setdefault(curve.label, curve.look)
        if same["color"] != curve.look["color"]:
            looks[curve.label] = same | {"color": "#555555"}  # of no branch
    figure.legend(
        handles=[Line2D([], [], label=label, **look) for label, look in looks.items()],
        title=caption(pd.concat([curve.points for curve in curves])),
        loc="outside upper center",
        ncols=max(1, int(figure.get_figwidth() / (0.5 + 0.06 * max(map(len, looks))))),
        frameon=False,
    )
