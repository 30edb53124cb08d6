"""Ranking: all branches of a level beside each other, a line each."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lth_jax.report import drawing, frames
from lth_jax.report.drawing import few
from lth_jax.report.rows import Rows, branches
from lth_jax.report.titles import in_words, main, title, unit

MANY = 6  # branches of a level, from which lines by density are too many to read


@drawing.looks()
def by_branch(rows: Rows, measure: str = "", **where: Any) -> Figure | None:
    """Draw a measure of every branch of a level: what a ticket has lost, and what then.

    A panel for some of the levels (and every rewind step, run and setting), a line for
    each branch in the order of rows, from above: its mean and standard deviation, the
    replicates beside it, and the ticket's mean across. None where no level has many
    branches.
    """
    measure = measure or main(rows)
    numbers = frames.frame(rows, measure, **where)
    numbers = numbers[numbers["level"] > 0]
    shared = ["run", "setting", "rewind_step", "level"]
    several = numbers.groupby(shared, dropna=False)["branch"].transform("nunique")
    numbers = numbers[several >= MANY]
    numbers = numbers[numbers["level"].isin(few(numbers["level"]))]
    if numbers.empty:
        return None
    shown, order = unit(rows, measure), branches(rows)
    density = numbers.groupby(shared, dropna=False)["density"].transform("first")
    columns = [*shared[:3], "density"]
    panels = pd.Series(in_words(numbers.assign(density=density), columns))
    value = shown.factor * numbers["value"]
    numbers = numbers.assign(panel=panels.to_numpy(), value=value)
    names = sorted({*numbers["branch"]}, key=order.index)
    titles = [*numbers["panel"].unique()]
    size = (4.2, 0.4 + 0.2 * len(names))
    figure, axes = drawing.grid(titles, min(len(titles), 2), size, "all")
    for ax, (_, points) in zip(axes, numbers.groupby("panel", sort=False)):
        ticket = points["value"][points["branch"] == "ticket"].mean()
        ax.axvline(ticket, color=drawing.STYLES["ticket"][0], linewidth=0.8)
        for name, values in points.groupby("branch")["value"]:
            look, y = drawing.style(str(name), order), names.index(str(name))
            look |= {"linestyle": "", "capsize": 3}
            spread = 0.0 if len(values) == 1 else values.std()
            ax.errorbar(values.mean(), y, xerr=spread, **look)
            ax.plot(values, [y] * len(values), ".", color=look["color"], alpha=0.3)
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        ax.grid(visible=False, axis="x")
    axes[0].invert_yaxis()
    n = numbers.groupby(["panel", "branch"])["value"].count()
    figure.supxlabel(f"{title(rows, measure, **where)}: {drawing.drawn(n)}")
    return figure
