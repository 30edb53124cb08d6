"""Axes: scales, and ticks whose labels do not cover each other."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes

FEW = 4  # rewind steps and levels that get panels of their own


def few(values: Iterable) -> list:
    """Return at most FEW of some values, sorted and evenly spread, with both ends."""
    values = sorted(set(values))
    places = np.linspace(0, len(values) - 1, min(FEW, len(values))).round()
    return [values[int(place)] for place in places]


def log_ticks(low: float, high: float, *, tall: bool) -> ticker.Locator:
    """Return ticks of a log axis, a tall one or not: as many as can be read."""
    decades = np.log10(high / low)
    many = (1, 1.5, 2, 3, 5, 7) if tall and decades < 1.5 else (1, 2, 5)
    return ticker.LogLocator(subs=many if decades < 3 else (1,))


def scale_x(ax: Axes, xs: pd.Series, scale: str) -> None:
    """Scale x: linear, log, falling (log, too) or symlog."""
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
            ax.xaxis.set_inverted(True)
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
