"""Lines: means over replicates with bands, in panels with one legend."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lth_jax import drawing, intervals
from lth_jax.drawing import Asked, Drawn, few
from lth_jax.drawing.panels import Share
from lth_jax.numbers.rows import Rows, varying
from lth_jax.numbers.rows import branches as branches_of
from lth_jax.numbers.titles import in_words, is_metric, title, unit


@drawing.plain_text()
def draw(
    rows: Rows,
    lines: pd.DataFrame,
    measure: str,
    where: dict[str, Any],
    label: str,
    scale: str,
    asked: Asked,
    columns: int = 2,
    share_y: Share = "all",
) -> Drawn | None:
    """Draw lines in their panels, with one legend; None if no number is finite.

    Points have columns branch, mean, std, n and: `panel`, its title; `label`, in the
    legend; `x`, NaN for a level across the panel; `flat`, of dense networks; and where
    runs are told apart `run_number`. The scale of x is linear, log, falling (log, too)
    or symlog. On one that is log, lines may be upright: bars, not bands. Dense networks
    of one x are a marker. Points below a panel are marks at its lower edge.
    """
    branches = branches_of(rows)
    lines = lines[np.isfinite(lines["mean"].astype(float))]
    chosen = asked.chosen(branches)
    lines = lines[lines["branch"].isin(chosen)]
    if lines.empty:
        return None
    panels = [*lines["panel"].unique()]
    lines = _to_draw(lines, unit(rows, measure).factor, chosen, asked)
    columns, looks = min(len(panels), columns), {}
    size = {1: (4.0, 2.8), 2: (3.2, 2.4)}.get(columns, (2.4, 2.3))
    figure, axes = drawing.grid(panels, columns, size, share_y, asked)
    keys = ["panel", "label", *lines.filter(["run_number"])]
    upright = scale == "log"
    for (panel, name, *_), points in lines.groupby(keys, sort=False):
        look = _look(points, branches)
        _line(axes[panels.index(panel)], str(name), points, look, bars=upright)
        if looks.setdefault(name, look)["color"] != look["color"]:
            looks[name] = looks[name] | {"color": "#555555"}  # of no branch
    for ax in axes:
        drawing.scale_x(ax, lines["x"].dropna(), scale)
    tops = [ax.get_ylim()[1] for ax in axes]
    for ax, top in zip(axes, tops):
        _scale_y(ax, lines, _kind(rows, measure), top)
    below = [
        _mark_below(ax, lines[lines["panel"] == panel], branches)
        for panel, ax in zip(panels, axes)
    ]
    text = drawing.drawn(lines["n"]) + any(below) * "; at the edge: further down"
    handles = [Line2D([], [], **look) for look in looks.values()]
    drawing.legend(figure, axes, handles, [*looks], text, asked)
    return drawing.finish(figure, axes, asked, label, title(rows, measure, **where))


def _to_draw(
    lines: pd.DataFrame, factor: float, chosen: list[str], asked: Asked
) -> pd.DataFrame:
    """Return lines in units and in the order of branches, with what points tell."""
    mean, spread = factor * lines["mean"], factor * lines["std"].fillna(0)
    lines = lines.assign(mean=mean, low=mean - spread, high=mean + spread)
    lines["x"] = lines["x"].astype(float)
    lines["label"] = lines["label"].map(asked.label)
    lines["order"] = lines["branch"].map(chosen.index)
    spread = factor * lines["std"]
    lines["told"] = [*map(_told, lines["x"], lines["mean"], spread, lines["n"])]
    return lines.sort_values(["flat", "order"], ascending=[False, True], kind="stable")


def _told(x: float, mean: float, std: float, n: int) -> str:
    """Return what a point says: where it is, its mean, interval and n."""
    found = intervals.of(mean, std, n)
    at = "" if math.isnan(x) else f" at {x:,.4g}"
    ends = "" if math.isnan(found.low) else f" ({found.low:.4g} to {found.high:.4g})"
    return f"{at}: {mean:.4g}{ends}, n = {n}"


def _look(points: pd.DataFrame, branches: list[str]) -> dict[str, Any]:
    point = points.iloc[0]
    look = drawing.style(point["branch"], branches)
    if "run_number" in point:
        run = int(point["run_number"]) % len(drawing.RUNS)
        look["linestyle"], look["marker"] = drawing.RUNS[run]
    elif point["flat"]:
        look["linestyle"] = "--"
    if len(points) == 1 and not np.isnan(point["x"]):
        return look | {"marker": look["marker"] or "o"}
    return look | ({"marker": ""} if point["flat"] else {})


def _line(
    ax: Axes, name: str, points: pd.DataFrame, look: dict[str, Any], *, bars: bool
) -> None:
    x, mean, low, high = (points[name] for name in ("x", "mean", "low", "high"))
    band = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
    mark: Callable[..., None] = lambda *artists: drawing.mark(name, *artists)  # noqa: E731
    told = [name + text for text in points["told"]]
    if x.isna().all():
        level = ax.axhline(mean.iloc[0], **look)
        mark(level, ax.axhspan(low.iloc[0], high.iloc[0], **band))
        drawing.tell(level, [told[0]] * 2)
        return
    (line,) = ax.plot(x, mean, **look, markevery=max(1, len(points) // 8))
    mark(line)
    drawing.tell(line, told)
    if bars or len(points) == 1:  # a band would have no width
        style = "none" if bars else "-"
        its = {"color": look["color"], "capsize": 3, "linestyle": style}
        mark(*ax.errorbar(x, mean, high - mean, **its).get_children())
    if not bars:
        mark(ax.fill_between(x, low, high, **band))


def _mark_below(ax: Axes, lines: pd.DataFrame, branches: list[str]) -> bool:
    """Put a mark at the lower edge for every point below it; say whether there are."""
    bottom, _ = ax.get_ylim()
    below = lines[(lines["mean"] < bottom) & lines["x"].notna()]
    for (name, branch), points in below.groupby(["label", "branch"], sort=False):
        look = {
            "color": drawing.style(str(branch), branches)["color"],
            "clip_on": False,
        }
        marks = ax.plot(points["x"], [bottom] * len(points), "v", **look)
        drawing.mark(str(name), *marks)
    return not below.empty


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
        ax.yaxis.set_major_locator(drawing.log_ticks(least, most, tall=True))
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


def by_training(
    rows: Rows,
    numbers: pd.DataFrame,
    measure: str,
    where: dict[str, Any],
    label: str,
    asked: Asked,
) -> Drawn | None:
    """Draw numbers against their `x`: some rewind steps by some levels."""
    if numbers.empty:
        return None
    sparse = numbers["level"] > 0
    lines = numbers[sparse | (not sparse.any())].assign(flat=False)
    steps, levels = few(lines["rewind_step"]), few(lines["level"])
    lines = lines[lines["rewind_step"].isin(steps) & lines["level"].isin(levels)]
    lines = lines.sort_values([*agreeing(numbers), "rewind_step", "level", "x"])
    lines = of_levels(lines)
    names = in_words(lines, [*agreeing(lines), "rewind_step"])
    lines["panel"] = [*map("\n".join, zip(names, in_words(lines, ["density"])))]
    if sparse.any():
        own = dense_lines(numbers, lines, same_step=True)  # or else those of step 0
        others = dense_lines(numbers, lines[~lines["panel"].isin(own["panel"])])
        lines = pd.concat([own, others, lines])
    columns = len(levels) if len(levels) > 1 else len(steps)
    share_y = "col" if len(levels) > 1 and measure == "error" else "all"
    its = (label, "linear", asked, columns, share_y)
    return draw(rows, lines, measure, where, *its)


def agreeing(numbers: pd.DataFrame) -> list[str]:
    """Return the columns in which the networks of a panel and its dense ones agree."""
    return ["run", "setting", *varying(numbers)]


def sparse_lines(rows: Rows, numbers: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """Return sparse networks in panels: rewind steps or, of several runs, branches."""
    panel = in_words(numbers, [*agreeing(numbers), "rewind_step"])
    lines = numbers.assign(panel=panel, label=numbers["branch"], flat=False)
    lines = lines[lines["level"] > 0]
    if lines["run"].nunique() > 1:
        panel = lines["branch"].map(asked.label)
        lines = lines.assign(label=lines["panel"], panel=panel)
        lines["run_number"] = pd.factorize(lines["label"])[0]
        order = lines["branch"].map(branches_of(rows).index)
        lines = lines.iloc[order.argsort(kind="stable")]
    return lines


def dense_lines(
    numbers: pd.DataFrame, lines: pd.DataFrame, *, same_step: bool = False
) -> pd.DataFrame:
    """Return the dense networks of the panels of lines: of step 0, or the same step."""
    shared, dense = agreeing(numbers), numbers[numbers["level"] == 0]
    if same_step:
        shared += ["rewind_step"]
    else:
        dense = dense[dense["rewind_step"] == 0]
    label = ("dense, " + dense["branch"]).str.replace("dense, dense", "dense")
    panels = lines.drop_duplicates([*shared, "panel"])
    panels = panels.filter([*shared, "panel", "run_number"])
    return panels.merge(dense.assign(flat=True, label=label), on=shared)


def of_levels(lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines with one density a level, and branches as labels."""
    density = lines.groupby(["run", "setting", "level"])["density"].transform("first")
    return lines.assign(density=density, label=lines["branch"])
