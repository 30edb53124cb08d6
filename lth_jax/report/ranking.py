"""Ranking: all branches of a level beside each other, a line each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from lth_jax import drawing
from lth_jax.drawing import Asked, Drawn, few
from lth_jax.numbers import frames, titles
from lth_jax.numbers.rows import Rows
from lth_jax.numbers.rows import branches as branches_of
from lth_jax.numbers.titles import in_words, main, unit
from lth_jax.report.lines import agreeing

MANY = 6  # branches of a level, from which lines by density are too many to read


@drawing.plain_text()
def by_branch(
    rows: Rows,
    measure: str = "",
    *,
    least: int = MANY,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw a measure of every branch of a level: what a ticket has lost, and what then.

    A panel for some of the levels (and what else numbers differ in), a line for
    the dense network and each branch in the order of rows, from above: its mean and
    standard deviation, the replicates beside it, and the ticket's mean across. Of few
    branches that are far from all others, marks are at the edge. None where no level
    has as many branches as `least`.
    """
    measure = measure or main(rows)
    found = frames.frame(rows, measure, **where)
    numbers = found[found["level"] > 0]
    shared = [*agreeing(found), "rewind_step", "level"]
    several = numbers.groupby(shared, dropna=False)["branch"].transform("nunique")
    numbers = numbers[several >= least]
    numbers = numbers[numbers["level"].isin(few(numbers["level"]))]
    if numbers.empty:
        return None
    asked, order = Asked(ax, branches, labels, title), branches_of(rows)
    density = numbers.groupby(shared, dropna=False)["density"].transform("first")
    numbers = numbers.assign(density=density)
    numbers = pd.concat([_dense(found, numbers[[*shared, "density"]]), numbers])
    panel = in_words(numbers, [*shared[:-1], "density"])
    panel = [text.replace(", ", "\n") for text in panel]
    value = unit(rows, measure).factor * numbers["value"]
    numbers = numbers.assign(panel=panel, value=value)
    there = sorted({*numbers["branch"]}, key=order.index)
    names, panels = asked.chosen(there), [*numbers["panel"].unique()]
    size = (2.8, max(1.0, 0.4 + 0.2 * len(names)))
    columns = min(len(panels), 2)
    figure, axes = drawing.grid(panels, columns, size, "all", asked)
    ends = _ends(numbers)
    for one, (_, points) in zip(axes, numbers.groupby("panel", sort=False)):
        _lines(one, points, names, order, ends)
        one.set_yticks(range(len(names)), map(asked.label, names))
        one.grid(visible=False, axis="x")
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[0].set_xlim(*ends)
    far = ~numbers["value"].between(*ends)
    n = numbers.groupby(["panel", "branch"])["value"].count()
    text = drawing.drawn(n) + bool(far.any()) * "\nat the edge: further away"
    label = f"{titles.title(rows, measure, **where)}\n{text}"
    return drawing.finish(figure, axes, asked, label)


def _dense(found: pd.DataFrame, panels: pd.DataFrame) -> pd.DataFrame:
    """Return the dense networks' numbers, once for each panel of their run."""
    first = (found["level"] == 0) & (found["rewind_step"] == 0)  # and no copies of k
    dense = found[first & (found["branch"] == "dense")]
    dense = dense.drop(columns=["rewind_step", "level", "density"])
    return dense.merge(panels.drop_duplicates(), on=agreeing(found))


def _ends(numbers: pd.DataFrame) -> tuple[float, float]:
    """Return between which values to draw, so that what matters is no thin stripe.

    That is what three quarters of the branches need, and once as much to either side.
    """
    groups = numbers.groupby(["panel", "branch"])["value"]
    means, stds = groups.mean(), groups.std().fillna(0)
    lows, highs = means - stds, means + stds
    most, least = lows.quantile(0.25), highs.quantile(0.75)
    low = max(lows.min(), most - (highs.max() - most))
    high = min(highs.max(), least + (least - lows.min()))
    margin = 0.05 * (high - low) or 1  # of numbers that are all alike
    return low - margin, high + margin


def _lines(
    ax: Axes,
    points: pd.DataFrame,
    names: list[str],
    order: list[str],
    ends: tuple[float, float],
) -> None:
    """Draw a line for each of the names: mean, deviation and replicates."""
    ticket = points["value"][points["branch"] == "ticket"].mean()
    ax.axvline(ticket, color=drawing.STYLES["ticket"][0], linewidth=0.8)
    for y, name in enumerate(names):
        values = points["value"][points["branch"] == name]
        look = drawing.style(name, order) | {"linestyle": "", "capsize": 3}
        look["marker"] = look["marker"] or "D"  # of dense networks, elsewhere a line
        spread = 0.0 if len(values) == 1 else values.std()
        ax.errorbar(values.mean(), y, xerr=spread, **look)
        ax.plot(values, [y] * len(values), ".", color=look["color"], alpha=0.3)
        for end, mark, beyond in zip(ends, "<>", (values < ends[0], values > ends[1])):
            if beyond.any():
                ax.plot([end], [y], mark, color=look["color"], clip_on=False)
