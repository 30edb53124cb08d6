"""Drawing: lines with bands, in panels with one legend."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_jax.report.titles import unit

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
_COLORS = ("#AA3377", "#999933", "#332288", "#882255")
_OTHERS = [(color, marker, "-") for marker in "*hpd8" for color in _COLORS]
_RUNS = [*zip(2 * ("-", "--", ":", "-.", (0, (5, 1))), "os^DvPX<>*")]
TEXT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # names may have dollars
}
FEW = 4  # columns; rewind steps and levels that get panels of their own


def style(branch: str, own: Iterable[str] = ()) -> dict[str, Any]:
    """Return how a branch is drawn, the same in every figure.

    One that is not known here has the look that goes with its name, or the next one if
    that is another's of `own`, all branches of a report.

    Example:
        >>> style("ticket")
        {'color': '#0072B2', 'marker': 'o', 'linestyle': '-'}
    """
    looks = dict(STYLES)
    for name in sorted({branch, *own} - STYLES.keys()):
        first = zlib.crc32(name.encode()) % len(_OTHERS)
        places = [*_OTHERS[first:], *_OTHERS[:first]]
        looks[name] = next((p for p in places if p not in looks.values()), places[0])
    return dict(zip(("color", "marker", "linestyle"), looks[branch]))


def few(items: Iterable) -> list:
    """Return at most FEW of some items, evenly spread, the last one always."""
    items = list(items)
    if len(items) <= FEW:
        return items
    return [items[round(i * (len(items) - 1) / (FEW - 1))] for i in range(FEW)]


def draw(
    lines: pd.DataFrame,
    branches: list[str],
    measure: str,
    labels: tuple[str, str],
    scale: str,
    columns: int = FEW,
    share_y: Literal["all", "col"] = "all",
) -> Figure | None:
    """Draw lines in their panels, with one legend; None if no number is finite.

    Lines have a row a point, with columns branch, mean, std, n and: `panel`, its title;
    `label`, in the legend; `x`, NaN for a level across the panel; `flat`: of dense
    networks; and where runs are told apart `run_number`. The measure decides the unit
    and the limits of y. Labels are those of x and y; the scale is that of x: "linear",
    "log" (falling) or "symlog".
    """
    lines = lines[np.isfinite(lines["mean"].astype(float))]
    if lines.empty:
        return None
    panels, factor = [*lines["panel"].unique()], unit(measure)[0]
    order = lines["branch"].map(branches.index)
    lines = lines.assign(x=lines["x"].astype(float), order=order)
    lines = lines.sort_values(["flat", "order"], ascending=[False, True], kind="stable")
    numbers = ["x", "mean", "std", "n"]
    columns, looks = min(len(panels), columns), {}
    size = {1: (4.8, 3.0), 2: (3.6, 2.6)}.get(columns, (2.4, 2.3))
    with matplotlib.rc_context(TEXT):
        figure, axes = grid(len(panels), columns, size, share_y)
        for panel, ax in zip(panels, axes):
            ax.set_title(panel)
        for (panel, label), points in lines.groupby(["panel", "label"], sort=False):
            look = _look(points.iloc[0], branches)
            _line(axes[panels.index(panel)], points[numbers], factor, look)
            if looks.setdefault(label, look)["color"] != look["color"]:
                looks[label] = looks[label] | {"color": "#555555"}  # of no branch
        _scale_x(axes[0], sorted(lines["x"].dropna().unique()), scale)
        for ax in axes:
            _scale_y(ax, lines, measure)
        figure.supxlabel(labels[0], fontsize=8)
        figure.supylabel(labels[1], fontsize=8)
        handles = [Line2D([], [], **look) for look in looks.values()]
        space = 0.5 + 0.06 * max(map(len, looks))  # inches
        beside = max(1, int(figure.get_figwidth() / space))
        legend(figure, handles, [*looks], lines, beside)
    return figure


def grid(
    panels: int,
    columns: int,
    size: tuple[float, float],
    share_y: Literal["all", "col"] = "all",
) -> tuple[Figure, list[Axes]]:
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


def legend(
    figure: Figure, handles: list, labels: list, numbers: pd.DataFrame, columns: int
) -> None:
    """Put the legend above, with what is drawn of how many numbers."""
    least, most = numbers["n"].min(), numbers["n"].max()
    n = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
    title, place = f"mean ± standard deviation, n = {n}", "outside upper center"
    figure.legend(handles, labels, title=title, loc=place, ncols=columns, frameon=False)


def save(figure: Figure, path: Path) -> None:
    """Write PNG and SVG at a path without suffix; equal figures make equal files."""
    if engine := figure.get_layout_engine():  # once for both files
        engine.execute(figure)
        figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path.with_suffix(".png"))
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def _look(point: pd.Series, branches: list[str]) -> dict[str, Any]:
    look = style(point["branch"], branches)
    line = ("--", "") if point["flat"] else (look["linestyle"], look["marker"])
    if "run_number" in point:
        line = _RUNS[int(point["run_number"]) % len(_RUNS)]
    return look | {"linestyle": line[0], "marker": "" if point["flat"] else line[1]}


def _line(ax: Axes, points: pd.DataFrame, factor: int, look: dict[str, Any]) -> None:
    mean, spread = factor * points["mean"], factor * points["std"].fillna(0)
    low, high, color = mean - spread, mean + spread, look["color"]
    if points["x"].isna().all():
        ax.axhline(mean.iloc[0], **look)
        ax.axhspan(low.iloc[0], high.iloc[0], color=color, alpha=0.2, linewidth=0)
        return
    ax.plot(points["x"], mean, **look, markevery=max(1, len(points) // 8))
    if len(points) == 1:  # a band would have no width
        ax.errorbar(points["x"], mean, spread, color=color, capsize=3)
    ax.fill_between(points["x"], low, high, color=color, alpha=0.2, linewidth=0)


def _scale_x(ax: Axes, xs: list[float], scale: str) -> None:
    if scale == "linear":
        return
    if scale == "symlog":
        above = min((x for x in xs if x > 0), default=1)
        ax.set_xscale("symlog", linthresh=above, linscale=0.5)
    else:
        ax.set_xscale("log")
        ax.invert_xaxis()
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.xaxis.set_major_locator(ticker.FixedLocator(few(xs)))
    ax.xaxis.set_major_formatter("{x:.3g}" if scale == "log" else "{x:,.0f}")


def _scale_y(ax: Axes, lines: pd.DataFrame, measure: str) -> None:
    spread = lines["std"].fillna(0)
    low, high = lines["mean"] - spread, lines["mean"] + spread
    if measure.endswith("loss") and lines["mean"].min() > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:.3g}")
        ax.yaxis.set_minor_locator(ticker.NullLocator())
    elif measure.endswith("accuracy"):
        # Where controls fail, what matters would be a thin stripe: they may leave.
        worst = low[lines["branch"].isin(["ticket", "dense"])].min()
        worst = low.min() if np.isnan(worst) else worst
        bottom = max(low.min(), worst - 2 * (high.max() - worst))
        margin = 0.05 * (high.max() - bottom) or 0.01  # of numbers that are all alike
        ax.set_ylim(100 * (bottom - margin), 100 * (high.max() + margin))
    elif low.min() >= 0:
        ax.set_ylim(bottom=0)
