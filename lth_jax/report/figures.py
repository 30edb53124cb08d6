"""Figures: from rows to matplotlib.

A branch has one colour, marker and line everywhere. The colours are those of Okabe and
Ito (2008), which colour-blind people tell apart; the markers do so in print. Lines are
means over replicates, bands their standard deviation. Numbers that differ in an
optional column have panels of their own; `where` chooses, as in `frames`. Without a
measure, it is what the task calls its error, on the test. A figure is None where there
is nothing to draw.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lth_jax import drawing
from lth_jax.drawing import FEW, Asked, Drawn, few
from lth_jax.numbers import frames
from lth_jax.numbers.rows import NETWORK, Rows, extras, select
from lth_jax.numbers.titles import in_words, main, words_of
from lth_jax.report.lines import (
    agreeing,
    by_training,
    dense_lines,
    draw,
    of_levels,
    sparse_lines,
)

_ENDS = {  # of a path, by pair
    "levels": "one level to the next",
    "replicates": "one replicate to another",
    "aligned": "one replicate, aligned, to another",
}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def by_density(
    rows: Rows,
    measure: str = "",
    *,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw a measure against the share of weights that remain, on a log axis.

    A panel for every rewind step (and setting), with a line for every branch and the
    dense networks as a level. Of several runs, a panel for every branch, with a line
    for every run, and the dense networks of a run in the same kind of line.
    """
    measure, asked = measure or main(rows), Asked(ax, branches, labels, title)
    numbers = frames.at_every_step(rows, frames.summary(rows, measure, **where))
    lines = sparse_lines(rows, numbers.assign(x=100 * numbers["density"]), asked)
    lines = pd.concat([dense_lines(numbers, lines).assign(x=np.nan), lines])
    return draw(rows, lines, measure, where, "weights remaining in %", "falling", asked)


def by_bill(
    rows: Rows,
    measure: str = "",
    *,
    dense: bool = False,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw a measure against the multiply-adds that it took, on a log axis.

    Those to find a network and to train it, of weights that are not pruned or, if
    `dense`, of all. Panels as of `by_density`: with a line for every branch, through
    its densities in their order, and a marker for dense networks: those of the panel's
    rewind step, or else those of step 0.
    """
    measure, asked = measure or main(rows), Asked(ax, branches, labels, title)
    numbers = frames.bill(rows, measure, dense=dense, **where)
    numbers = numbers[numbers["bill"] > 0]
    if numbers.empty:
        return None
    power = 3 * int(np.log10(numbers["bill"].max()) // 3)
    numbers = numbers.assign(x=numbers["bill"] / 10.0**power)
    lines = sparse_lines(rows, numbers, asked)
    own = dense_lines(numbers, lines, same_step=True)
    own = own[own["branch"] != "dense"]  # its copies are no other network
    whole = pd.concat([own, dense_lines(numbers, lines)])
    names = [*lines.filter(["panel", "label", "run_number"])]
    lines = pd.concat([whole.drop_duplicates(names), lines])
    label = "multiply-adds to find and to train" + ", as if dense" * dense
    label += f", in 10{str(power).translate(_RAISED)}" if power else ""
    return draw(rows, lines, measure, where, label, "log", asked)


def by_rewind_step(
    rows: Rows,
    measure: str = "",
    *,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw a measure against the step that was rewound to, if there are several.

    A panel for some of the levels (and every run and setting), with a line for every
    branch and the dense networks as a level.
    """
    measure, asked = measure or main(rows), Asked(ax, branches, labels, title)
    numbers = frames.summary(rows, measure, **where)
    shared = [*agreeing(numbers), "level"]
    steps = numbers.groupby(shared, dropna=False)["rewind_step"].transform("nunique")
    lines = numbers.assign(flat=False, x=numbers["rewind_step"])[steps > 1]
    lines = lines[lines["level"].isin(few(lines["level"]))]
    lines = of_levels(lines).sort_values([*shared, "x"])
    lines["panel"] = in_words(lines, [*agreeing(lines), "density"])
    dense = dense_lines(numbers, lines[lines["level"] > 0]).assign(x=np.nan)
    lines = pd.concat([dense, lines])
    return draw(rows, lines, measure, where, "rewound to step", "symlog", asked)


def along_paths(
    rows: Rows,
    split: str = "test",
    *,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw the error on the straight path between two copies (Frankle et al., 2020).

    Rows of panels are rewind steps, columns are levels: some of each. With
    `pair="levels"`, from the ticket of the level before (Paul et al., 2022); with
    "replicates" or "aligned", from another replicate (Ainsworth et al., 2023).
    """
    asked = Asked(ax, branches, labels, title)
    numbers = frames.summary(rows, "error", split=split, alpha=..., **where)
    numbers = numbers.rename(columns={"alpha": "x"})
    ends = _ENDS.get(where.get("pair", ""), "one copy to the other")
    label = f"way from {ends}"
    return by_training(rows, numbers, "error", {"split": split}, label, asked)


def while_training(
    rows: Rows,
    measure: str = "train_loss",
    *,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    **where: Any,
) -> Drawn | None:
    """Draw a measure against the training step, if it was measured on the way.

    Rows of panels are rewind steps, columns are levels: some of each.
    """
    asked = Asked(ax, branches, labels, title)
    numbers = frames.without_diverged(rows, select(rows, measure, **where))
    networks = [*NETWORK, *extras(numbers)]
    copies = numbers.groupby([*networks, "step", "replicate"], dropna=False)
    copies = copies[["density", "value"]].mean().reset_index()
    numbers = frames.statistics(copies, [*networks, "step"])
    sparse = numbers[numbers["level"] > 0]
    looked_at = (numbers if sparse.empty else sparse).groupby(networks, dropna=False)
    if not (looked_at["step"].nunique() > 1).any():
        return None
    numbers = numbers.assign(x=numbers["step"])
    return by_training(rows, numbers, measure, where, "step", asked)


@drawing.plain_text()
def layers(
    rows: Rows,
    *,
    ax: Axes | Iterable[Axes] | None = None,
    title: str | None = None,
) -> Drawn | None:
    """Draw what remains of every layer of the tickets, by level.

    A panel for every rewind step (and run and setting), of at most eight; of one level
    alone, by rewind step.
    """
    numbers = frames.summary(rows, "density", layer=...)
    numbers = numbers[(numbers["level"] > 0) & (numbers["branch"] == "ticket")]
    numbers = numbers[np.isfinite(numbers["mean"].astype(float))]
    if not (numbers["mean"] > 0).any():
        return None
    several = numbers["level"].nunique() > 1 or numbers["rewind_step"].nunique() == 1
    across, panel = ("level", ["rewind_step"]) if several else ("rewind_step", [])
    columns = [*agreeing(numbers.drop(columns="layer")), *panel]
    numbers = numbers.assign(panel=in_words(numbers, columns))
    names = [*dict.fromkeys(select(rows, "density", layer=...)["layer"])]
    panels = {}
    for name, ticket in [*numbers.groupby("panel", sort=False)][: 2 * FEW]:
        shown = 100 * ticket.pivot(index="layer", columns=across, values="mean")
        density = 100 * ticket.groupby("level")["density"].first()
        shown = shown.set_axis(density, axis="columns") if several else shown
        panels[name] = shown.reindex(names)
    x = "weights remaining in the network in %" if several else "rewound to step"
    label = "remaining in the layer in %"
    asked = Asked(ax, title=title)
    return drawing.heat_maps(panels, label, x, log=True, asked=asked)


@drawing.plain_text()
def overlaps(
    rows: Rows,
    pair: str,
    *,
    ax: Axes | Iterable[Axes] | None = None,
    branches: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Drawn | None:
    """Draw R_p (Liu et al., 2021) as bars, each with what chance would give.

    A panel for every rewind step (and setting). Of `start_to_end` the dense networks,
    for every p, beside those from W_k to the end; of other pairs some of the levels,
    for p = 0.2 or what is closest.
    """
    asked = Asked(ax, branches, labels, title)
    numbers = frames.overlaps(rows, pair)
    numbers = numbers[np.isfinite(numbers["mean"].astype(float))]
    if pair == "start_to_end":
        numbers = numbers[(numbers["level"] == 0) & (numbers["branch"] == "dense")]
    else:
        away = (numbers["p"] - 0.2).abs()
        levels = numbers["level"].isin(few(numbers["level"]))
        numbers = numbers[(away == away.min()) & levels]
    chosen = asked.chosen([*numbers["branch"].unique()])
    numbers = numbers[numbers["branch"].isin(chosen)]
    if numbers.empty:
        return None
    numbers = _grouped(numbers, asked)
    panels = dict(list(numbers.groupby("panel", sort=False)))
    shares = sorted(numbers["p"].unique())
    most = max(bars["group"].nunique() for bars in panels.values())
    size = (max(2.4, 0.4 + most * max(0.6, 0.25 * len(shares))), 2.6)
    figure, axes = drawing.grid([*panels], min(len(panels), 2), size, asked=asked)
    for one, bars in zip(axes, panels.values()):
        _bars(one, bars, shares)
    handles, names = axes[0].get_legend_handles_labels()
    drawing.legend(figure, axes, handles, names, drawing.drawn(numbers["n"]), asked)
    y = "overlap of the largest weights in %"
    return drawing.finish(figure, axes, asked, y=y)


def _grouped(numbers: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """Return numbers with their `panel` and, below their bars, their `group`."""
    share = (100 * numbers["density"]).map("{:.3g} %".format)
    group = numbers["branch"].map(asked.label).str.replace(" ", "\n") + "\n" + share
    start = numbers["other"].map("dense from\nstep {:g}".format)
    group = group.where(numbers["other"].isna(), start)
    rewound = numbers[["level", "rewind_step"]].any(axis=None)
    steps = ["rewind_step"] if rewound else []
    panel = in_words(numbers, ["run", "setting", *steps])
    numbers = numbers.assign(panel=panel, group=group)
    return numbers.sort_values("other", na_position="first", kind="stable")


def _bars(ax: Axes, numbers: pd.DataFrame, shares: list[float]) -> None:
    """Draw `mean`, `std` and `chance`: a place for a `group`, a shade for a `p`."""
    groups, width = numbers["group"].unique(), 0.8 / len(shares)
    shades = matplotlib.colormaps["cividis"](np.linspace(0.15, 0.85, len(shares)))
    for i, (p, shade) in enumerate(zip(shares, shades)):
        bars = numbers[numbers["p"] == p].set_index("group").reindex(groups)
        bars = 100 * bars[["mean", "std", "chance"]]
        x = np.arange(len(groups)) + (i - (len(shares) - 1) / 2) * width
        look = {"yerr": bars["std"].fillna(0), "color": shade}
        ax.bar(x, bars["mean"], 0.9 * width, label=words_of("p", p), **look)
        look = {"colors": "#D55E00", "linewidth": 2, "label": "_" if i else "by chance"}
        ax.hlines(bars["chance"], x - width / 2, x + width / 2, **look)
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(labelbottom=True)
    ax.grid(visible=False, axis="x")


# Those that take rows.
DRAWN = ("by_density", "by_rewind_step", "along_paths", "while_training", "layers")
DRAWN += ("overlaps", "by_bill")
