"""Figures: from rows to matplotlib.

A branch has one colour, marker and line everywhere. The colours are those of Okabe and
Ito (2008), which colour-blind people tell apart; the markers do so in print. Lines are
means over replicates, bands their standard deviation. Numbers that differ in an
optional column have panels of their own; `where` chooses, as in `frames`. Without a
measure, it is what the task calls its error, on the test. A figure is None where there
is nothing to draw.
"""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from lth_jax.report import drawing, frames
from lth_jax.report.drawing import FEW, draw, few
from lth_jax.report.rows import NETWORK, Rows, branches, extras, select, varying
from lth_jax.report.titles import in_words, main, words_of

_ENDS = {  # of a path, by pair
    "levels": "one level to the next",
    "replicates": "one replicate to another",
    "aligned": "one replicate, aligned, to another",
}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def by_density(rows: Rows, measure: str = "", **where: Any) -> Figure | None:
    """Draw a measure against the share of weights that remain, on a log axis.

    A panel for every rewind step (and setting), with a line for every branch and the
    dense networks as a level. Of several runs, a panel for every branch, with a line
    for every run, and the dense networks of a run in the same kind of line.
    """
    measure = measure or main(rows)
    numbers = frames.summary(rows, measure, **where)
    lines = _sparse(rows, numbers.assign(x=100 * numbers["density"]))
    lines = pd.concat([_dense(numbers, lines).assign(x=np.nan), lines])
    return draw(rows, lines, measure, where, "weights remaining in %", "falling")


def by_bill(
    rows: Rows, measure: str = "", *, dense: bool = False, **where: Any
) -> Figure | None:
    """Draw a measure against the multiply-adds that it took, on a log axis.

    Those to find a network and to train it, of weights that are not pruned or, if
    `dense`, of all. Panels as of `by_density`: with a line for every branch, through
    its densities in their order, and a marker for dense networks: those of the panel's
    rewind step, or else those of step 0.
    """
    measure = measure or main(rows)
    numbers = frames.bill(rows, measure, dense=dense, **where)
    numbers = numbers[numbers["bill"] > 0]
    if numbers.empty:
        return None
    power = 3 * int(np.log10(numbers["bill"].max()) // 3)
    numbers = numbers.assign(x=numbers["bill"] / 10.0**power)
    lines = _sparse(rows, numbers)
    own = _dense(numbers, lines, same_step=True)
    own = own[own["branch"] != "dense"]  # its copies are no other network
    whole = pd.concat([own, _dense(numbers, lines)])
    names = [*lines.filter(["panel", "label", "run_number"])]
    lines = pd.concat([whole.drop_duplicates(names), lines])
    label = "multiply-adds to find and to train" + ", as if dense" * dense
    label += f", in 10{str(power).translate(_RAISED)}" if power else ""
    return draw(rows, lines, measure, where, label, "log")


def by_rewind_step(rows: Rows, measure: str = "", **where: Any) -> Figure | None:
    """Draw a measure against the step that was rewound to, if there are several.

    A panel for some of the levels (and every run and setting), with a line for every
    branch and the dense networks as a level.
    """
    measure = measure or main(rows)
    numbers = frames.summary(rows, measure, **where)
    shared = [*_shared(numbers), "level"]
    steps = numbers.groupby(shared, dropna=False)["rewind_step"].transform("nunique")
    lines = numbers.assign(flat=False, x=numbers["rewind_step"])[steps > 1]
    lines = lines[lines["level"].isin(few(lines["level"]))]
    lines = _of_levels(lines).sort_values([*shared, "x"])
    lines["panel"] = in_words(lines, [*_shared(lines), "density"])
    dense = _dense(numbers, lines[lines["level"] > 0]).assign(x=np.nan)
    lines = pd.concat([dense, lines])
    return draw(rows, lines, measure, where, "rewound to step", "symlog")


def along_paths(rows: Rows, split: str = "test", **where: Any) -> Figure | None:
    """Draw the error on the straight path between two copies (Frankle et al., 2020).

    Rows of panels are rewind steps, columns are levels: some of each. With
    `pair="levels"`, from the ticket of the level before (Paul et al., 2022); with
    "replicates" or "aligned", from another replicate (Ainsworth et al., 2023).
    """
    numbers = frames.summary(rows, "error", split=split, alpha=..., **where)
    numbers = numbers.rename(columns={"alpha": "x"})
    ends = _ENDS.get(where.get("pair", ""), "one copy to the other")
    return _by_training(rows, numbers, "error", {"split": split}, f"way from {ends}")


def while_training(
    rows: Rows, measure: str = "train_loss", **where: Any
) -> Figure | None:
    """Draw a measure against the training step, if it was measured on the way.

    Rows of panels are rewind steps, columns are levels: some of each.
    """
    numbers = select(rows, measure, **where)
    networks = [*NETWORK, *extras(numbers)]
    copies = numbers.groupby([*networks, "step", "replicate"], dropna=False)
    copies = copies[["density", "value"]].mean().reset_index()
    numbers = frames.statistics(copies, [*networks, "step"])
    sparse = numbers[numbers["level"] > 0]
    looked_at = (numbers if sparse.empty else sparse).groupby(networks, dropna=False)
    if not (looked_at["step"].nunique() > 1).any():
        return None
    numbers = numbers.assign(x=numbers["step"])
    return _by_training(rows, numbers, measure, where, "step")


def _by_training(
    rows: Rows, numbers: pd.DataFrame, measure: str, where: dict[str, Any], label: str
) -> Figure | None:
    """Draw numbers against their `x`: some rewind steps by some levels."""
    if numbers.empty:
        return None
    sparse = numbers["level"] > 0
    lines = numbers[sparse | (not sparse.any())].assign(flat=False)
    steps, levels = few(lines["rewind_step"]), few(lines["level"])
    lines = lines[lines["rewind_step"].isin(steps) & lines["level"].isin(levels)]
    lines = lines.sort_values([*_shared(numbers), "rewind_step", "level", "x"])
    lines = _of_levels(lines)
    names = in_words(lines, [*_shared(lines), "rewind_step"])
    lines["panel"] = [*map("\n".join, zip(names, in_words(lines, ["density"])))]
    if sparse.any():
        own = _dense(numbers, lines, same_step=True)  # or else those of step 0
        others = _dense(numbers, lines[~lines["panel"].isin(own["panel"])])
        lines = pd.concat([own, others, lines])
    columns = len(levels) if len(levels) > 1 else len(steps)
    share_y = "col" if len(levels) > 1 and measure == "error" else "all"
    return draw(rows, lines, measure, where, label, "linear", columns, share_y)


@drawing.looks()
def layers(rows: Rows) -> Figure | None:
    """Draw what remains of every layer of the tickets, by level."""
    numbers = frames.summary(rows, "density", layer=...)
    numbers = numbers[(numbers["level"] > 0) & (numbers["branch"] == "ticket")]
    if numbers.empty:
        return None
    columns = [*_shared(numbers.drop(columns="layer")), "rewind_step"]
    numbers = numbers.assign(panel=in_words(numbers, columns))
    panels = dict(list(numbers.groupby("panel", sort=False))[: 2 * FEW])
    names = [*dict.fromkeys(select(rows, "density", layer=...)["layer"])]
    least = numbers.loc[numbers["mean"] > 0, "mean"].min()
    low, high = 100 * min(0.5, least), 100.0
    norm = colors.LogNorm(low, high)
    size = (3.4, 0.8 + 0.15 * len(names))
    figure, axes = drawing.grid([*panels], min(len(panels), FEW), size)
    for ax, ticket in zip(axes, panels.values()):
        shown = ticket.pivot(index="layer", columns="level", values="mean")
        shown = 100 * shown.where(shown > 0).reindex(names).to_numpy()
        ax.imshow(np.ma.masked_invalid(shown), "cividis", norm, aspect="auto")
        ax.grid(visible=False)
        paths = [name.removesuffix("/kernel") for name in names]
        ax.set_yticks(range(len(names)), paths, fontsize=6)
        density = ticket.groupby("level")["density"].first()
        places = few(range(len(density)))
        ax.set_xticks(places, [f"{100 * density.iloc[i]:.3g}" for i in places])
    figure.supxlabel("weights remaining in the network in %")
    shades, label = ScalarMappable(norm, "cividis"), "remaining in the layer in %"
    ticks = drawing.log_ticks(low, high, tall=False)
    bar = figure.colorbar(shades, ax=axes, label=label, ticks=ticks, format="{x:.3g}")
    bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    return figure


@drawing.looks()
def overlaps(rows: Rows, pair: str) -> Figure | None:
    """Draw R_p (Liu et al., 2021) as bars, each with what chance would give.

    A panel for every rewind step (and setting). Of `start_to_end` the dense networks,
    for every p, beside those from W_k to the end; of other pairs some of the levels,
    for p = 0.2 or what is closest.
    """
    numbers = frames.overlaps(rows, pair)
    numbers = numbers[np.isfinite(numbers["mean"].astype(float))]
    if pair == "start_to_end":
        numbers = numbers[(numbers["level"] == 0) & (numbers["branch"] == "dense")]
    else:
        away = (numbers["p"] - 0.2).abs()
        chosen = numbers["level"].isin(few(numbers["level"]))
        numbers = numbers[(away == away.min()) & chosen]
    if numbers.empty:
        return None
    share = (100 * numbers["density"]).map("{:.3g} %".format)
    group = numbers["branch"].str.replace("_", "\n") + "\n" + share
    start = numbers["other"].map("dense from\nstep {:g}".format)
    group = group.where(numbers["other"].isna(), start)
    rewound = numbers[["level", "rewind_step"]].any(axis=None)
    steps = ["rewind_step"] if rewound else []
    panel = in_words(numbers, ["run", "setting", *steps])
    numbers = numbers.assign(panel=panel, group=group)
    numbers = numbers.sort_values("other", na_position="first", kind="stable")
    panels = dict(list(numbers.groupby("panel", sort=False)))
    shares = sorted(numbers["p"].unique())
    most = max(bars["group"].nunique() for bars in panels.values())
    size = (max(2.4, 0.4 + most * max(0.6, 0.25 * len(shares))), 2.6)
    figure, axes = drawing.grid([*panels], min(len(panels), 2), size)
    for ax, bars in zip(axes, panels.values()):
        _bars(ax, bars, shares)
    figure.supylabel("overlap of the largest weights, $R_p$ in %", parse_math=True)
    drawing.legend(figure, *axes[0].get_legend_handles_labels(), numbers["n"], 3)
    return figure


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
    ax.set_xticks(range(len(groups)), groups, fontsize=7)
    ax.tick_params(labelbottom=True)
    ax.grid(visible=False, axis="x")


def _shared(numbers: pd.DataFrame) -> list[str]:
    """Return the columns in which the networks of a panel and its dense ones agree."""
    return ["run", "setting", *varying(numbers)]


def _sparse(rows: Rows, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return sparse networks in panels: rewind steps or, of several runs, branches."""
    panel = in_words(numbers, [*_shared(numbers), "rewind_step"])
    lines = numbers.assign(panel=panel, label=numbers["branch"], flat=False)
    lines = lines[lines["level"] > 0]
    if lines["run"].nunique() > 1:
        lines = lines.rename(columns={"panel": "label", "label": "panel"})
        lines["run_number"] = pd.factorize(lines["label"])[0]
        order = lines["branch"].map(branches(rows).index)
        lines = lines.iloc[order.argsort(kind="stable")]
    return lines


def _dense(
    numbers: pd.DataFrame, lines: pd.DataFrame, *, same_step: bool = False
) -> pd.DataFrame:
    """Return the dense networks of the panels of lines: of step 0, or the same step."""
    shared, dense = _shared(numbers), numbers[numbers["level"] == 0]
    if same_step:
        shared += ["rewind_step"]
    else:
        dense = dense[dense["rewind_step"] == 0]
    label = ("dense, " + dense["branch"]).str.replace("dense, dense", "dense")
    panels = lines.drop_duplicates([*shared, "panel"])
    panels = panels.filter([*shared, "panel", "run_number"])
    return panels.merge(dense.assign(flat=True, label=label), on=shared)


def _of_levels(lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines with one density a level, and branches as labels."""
    density = lines.groupby(["run", "setting", "level"])["density"].transform("first")
    return lines.assign(density=density, label=lines["branch"])


# Those that take rows.
DRAWN = ("by_density", "by_rewind_step", "along_paths", "while_training", "layers")
DRAWN += ("overlaps", "by_bill")
