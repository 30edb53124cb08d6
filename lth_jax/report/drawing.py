"""Drawing: lines with bands, in panels with one legend."""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_jax.report.rows import Rows
from lth_jax.report.rows import branches as branches_of
from lth_jax.report.titles import is_metric, title, unit

Share = Literal["all", "col"]

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
    "dense_equal_bill": ("#6A3D9A", "s", ":"),
    "uniform_mask": ("#999933", "s", ":"),
    "erk_mask": ("#999933", "o", "-"),
    "table_mask": ("#999933", "^", "-."),
    "set": ("#AA3377", "^", "-"),
    "rigl": ("#AA3377", "o", "-"),
    "rigl_3": ("#AA3377", "D", ":"),
    "gmp": ("#332288", "o", "-"),
    "inverted_mask": ("#882255", "v", "-"),
    "sibling_mask": ("#882255", "o", "-"),
    "transported": ("#882255", "D", "-."),
    "union_mask": ("#882255", "^", ":"),
    "intersection_mask": ("#882255", "s", ":"),
    "signs": ("#117733", "o", "-"),
    "magnitudes": ("#117733", "^", ":"),
    "permuted": ("#117733", "v", ":"),
    "noise_0.5": ("#117733", "s", "-."),
    "noise_1": ("#117733", "D", "-."),
    "noise_2": ("#117733", "P", "-."),
}
_COLORS = ("#AA3377", "#999933", "#332288", "#882255")
_OTHERS = [(color, marker, "-") for marker in "*hpd8" for color in _COLORS]
_RUNS = [*zip(2 * ("-", "--", ":", "-.", (0, (5, 1))), "os^DvPX<>*")]
_TEXT: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "figure.labelsize": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # names may have dollars
}
FEW = 4  # columns; rewind steps and levels that get panels of their own


@contextlib.contextmanager
def looks() -> Iterator[None]:
    """Draw alike everywhere: as here, whatever a matplotlibrc or a notebook has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_TEXT)
        yield


def style(branch: str, own: Iterable[str] = ()) -> dict[str, Any]:
    """Return how a branch is drawn: the same in all figures, unlike others of `own`."""
    looks = dict(STYLES)
    for name in sorted({branch, *own} - STYLES.keys()):
        first = zlib.crc32(name.encode()) % len(_OTHERS)
        places = [*_OTHERS[first:], *_OTHERS[:first]]
        looks[name] = next((p for p in places if p not in looks.values()), places[0])
    return dict(zip(("color", "marker", "linestyle"), looks[branch]))


def few(values: Iterable) -> list:
    """Return at most FEW of some values, sorted and evenly spread, with both ends."""
    values = sorted(set(values))
    places = np.linspace(0, len(values) - 1, min(FEW, len(values))).round()
    return [values[int(place)] for place in places]


@looks()
def draw(
    rows: Rows,
    lines: pd.DataFrame,
    measure: str,
    where: dict[str, Any],
    label: str,
    scale: str,
    columns: int = FEW,
    share_y: Share = "all",
) -> Figure | None:
    """Draw lines in their panels, with one legend; None if no number is finite.

    Points have columns branch, mean, std, n and: `panel`, its title; `label`, in the
    legend; `x`, NaN for a level across the panel; `flat`, of dense networks; and where
    runs are told apart `run_number`. The scale of x is linear, log, falling (log, too)
    or symlog. On one that is log, lines may be upright: bars, not bands. Dense networks
    of one x are a marker.
    """
    branches = branches_of(rows)
    lines = lines[np.isfinite(lines["mean"].astype(float))]
    if lines.empty:
        return None
    panels, shown = [*lines["panel"].unique()], unit(rows, measure)
    mean = shown.factor * lines["mean"]
    spread = shown.factor * lines["std"].fillna(0)
    lines = lines.assign(mean=mean, low=mean - spread, high=mean + spread)
    lines["x"] = lines["x"].astype(float)
    lines["order"] = lines["branch"].map(branches.index)
    lines = lines.sort_values(["flat", "order"], ascending=[False, True], kind="stable")
    columns, looks = min(len(panels), columns), {}
    size = {1: (4.8, 3.0), 2: (3.6, 2.6)}.get(columns, (2.4, 2.3))
    figure, axes = grid(panels, columns, size, share_y)
    keys = ["panel", "label", *lines.filter(["run_number"])]
    for (panel, name, *_), points in lines.groupby(keys, sort=False):
        look = _look(points, branches)
        _line(axes[panels.index(panel)], points, look, bars=scale == "log")
        if looks.setdefault(name, look)["color"] != look["color"]:
            looks[name] = looks[name] | {"color": "#555555"}  # of no branch
    _scale_x(axes[0], lines["x"].dropna(), scale)
    tops = [ax.get_ylim()[1] for ax in axes]
    for ax, top in zip(axes, tops):
        _scale_y(ax, lines, _kind(rows, measure), top)
    figure.supxlabel(label)
    figure.supylabel(title(rows, measure, **where))
    handles = [Line2D([], [], **look) for look in looks.values()]
    space = 0.5 + 0.06 * max(map(len, looks))  # inches
    legend(figure, handles, [*looks], lines["n"], int(figure.get_figwidth() / space))
    return figure


def grid(
    titles: list[str], columns: int, size: tuple[float, float], share_y: Share = "all"
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel of a size in inches for every title, and those."""
    rows, panels = -(-len(titles) // columns), len(titles)
    size = (columns * size[0] + 0.5, rows * size[1] + 0.9)
    figure = Figure(size, dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False)
    for ax in axes.flat[panels:]:
        ax.remove()
    for ax in axes.flat[max(0, panels - columns) : panels]:
        ax.tick_params(labelbottom=True)
    for ax, text in zip(axes.flat, titles):
        ax.set_title(text)
    return figure, [*axes.flat[:panels]]


def legend(
    figure: Figure, handles: list, labels: list, n: pd.Series, columns: int
) -> None:
    """Put the legend above, with what is drawn of how many numbers."""
    look = {"loc": "outside upper center", "ncols": max(1, columns), "frameon": False}
    figure.legend(handles, labels, title=drawn(n), **look)


def drawn(n: pd.Series) -> str:
    """Say what is drawn of how many numbers."""
    of = " to ".join(f"{number:.0f}" for number in sorted({n.min(), n.max()}))
    return f"mean ± standard deviation, n = {of}"


@looks()
def save(figure: Figure, path: Path) -> None:
    """Write PNG and SVG at a path without suffix; equal figures make equal files."""
    if engine := figure.get_layout_engine():  # once for both files
        engine.execute(figure)
        figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path.with_suffix(".png"))
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def _look(points: pd.DataFrame, branches: list[str]) -> dict[str, Any]:
    point = points.iloc[0]
    look = style(point["branch"], branches)
    if "run_number" in point:
        run = int(point["run_number"]) % len(_RUNS)
        look["linestyle"], look["marker"] = _RUNS[run]
    elif point["flat"]:
        look["linestyle"] = "--"
    if len(points) == 1 and not np.isnan(point["x"]):
        return look | {"marker": look["marker"] or "o"}
    return look | ({"marker": ""} if point["flat"] else {})


def _line(ax: Axes, points: pd.DataFrame, look: dict[str, Any], *, bars: bool) -> None:
    x, mean, low, high = (points[name] for name in ("x", "mean", "low", "high"))
    band = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
    if x.isna().all():
        ax.axhline(mean.iloc[0], **look)
        ax.axhspan(low.iloc[0], high.iloc[0], **band)
        return
    ax.plot(x, mean, **look, markevery=max(1, len(points) // 8))
    if bars or len(points) == 1:  # a band would have no width
        line = "none" if bars else "-"
        ax.errorbar(x, mean, high - mean, color=look["color"], capsize=3, ls=line)
    if not bars:
        ax.fill_between(x, low, high, **band)


def log_ticks(low: float, high: float, *, tall: bool) -> ticker.Locator:
    """Return ticks of a log axis, a tall one or not: as many as can be read."""
    decades = np.log10(high / low)
    many = (1, 1.5, 2, 3, 5, 7) if tall and decades < 1.5 else (1, 2, 5)
    return ticker.LogLocator(subs=many if decades < 3 else (1,))


def _scale_x(ax: Axes, xs: pd.Series, scale: str) -> None:
    if scale == "linear":
        return
    if scale == "symlog":
        above = min(xs[xs > 0], default=1)
        ax.set_xscale("symlog", linthresh=above, linscale=0.5)
    else:
        if xs.nunique() == 1:  # there is no range: in the middle
            ax.set_xlim(xs.iloc[0] / 2, 2 * xs.iloc[0])
        ax.set_xscale("log")
        if scale == "falling":
            ax.invert_xaxis()
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ticks = _round_ticks(xs) if scale == "log" else few(xs)
    ax.xaxis.set_major_locator(ticker.FixedLocator(_apart(ax, ticks)))
    ax.xaxis.set_major_formatter("{x:,.0f}" if scale == "symlog" else "{x:.3g}")


def _round_ticks(xs: pd.Series) -> list[float]:
    """Return round numbers among those of a log axis, or else some of its own."""
    low, high = xs.min(), xs.max()
    found = log_ticks(low, high, tall=True).tick_values(low, high)
    found = [tick for tick in found if low <= tick <= high]
    return found if len(found) > 1 else few(xs)


def _apart(ax: Axes, ticks: list[float]) -> list[float]:
    """Return ticks of x without those whose labels others would cover; both ends."""
    places = ax.xaxis.get_transform().transform(np.array(ticks, float))
    near, kept = 0.15 * (places[-1] - places[0]), [0]
    for i in range(1, len(ticks) - 1):
        if min(places[i] - places[kept[-1]], places[-1] - places[i]) >= near:
            kept.append(i)
    return [ticks[i] for i in dict.fromkeys([*kept, len(ticks) - 1])]


def _kind(rows: Rows, measure: str) -> Literal["loss", "accuracy", "other"]:
    """Return which scale a measure has: of losses or of accuracies, or from 0."""
    metric = is_metric(rows, measure)
    if metric and unit(rows, measure).higher_is_better:
        return "accuracy"
    return "loss" if metric or measure.endswith("loss") else "other"


def _scale_y(ax: Axes, lines: pd.DataFrame, kind: str, top: float) -> None:
    low, high = lines["low"].min(), lines["high"].max()
    if kind == "loss" and lines["mean"].min() > 0:
        ax.set_yscale("log")
        least, most = lines["mean"].min(), lines["mean"].max()
        ax.yaxis.set_major_locator(log_ticks(least, most, tall=True))
        ax.yaxis.set_major_formatter("{x:.3g}")
        ax.yaxis.set_minor_locator(ticker.NullLocator())
    elif kind == "accuracy":
        # Where controls fail, what matters would be a thin stripe: they may leave.
        worst = lines["low"][lines["branch"].isin(["ticket", "dense"])].min()
        worst = low if np.isnan(worst) else worst
        bottom = max(low, worst - 2 * (high - worst))
        margin = 0.05 * (high - bottom) or 1  # of numbers that are all alike
        ax.set_ylim(bottom - margin, high + margin)
    elif low >= 0:
        ax.set_ylim(0, 1.04 * top)  # so that no marker is cut
