"""Figures: from rows to matplotlib.

A branch has one colour, marker and line everywhere. The colours are those of Okabe and
Ito (2008), which colour-blind people tell apart; the markers do so in print. Lines are
means over replicates, bands their standard deviation.
"""

import itertools
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from lth_jax.report import frames
from lth_jax.report.drawing import (
    FEW,
    TEXT,
    Curve,
    caption,
    draw,
    few,
    grid,
    of_run,
    style,
)
from lth_jax.report.frames import TRAINING, Rows


def by_density(rows: Rows, measure: str = "test_accuracy") -> Figure | None:
    """Draw a measure against the share of weights that remain, on a log axis.

    A panel for every rewind step (and setting), with a line for every branch and the
    dense networks as a level. Of several runs, a panel for every branch, with a line
    for every run, and the dense networks of a run in the same kind of line.

    Returns:
        The figure, or None if no sparse network has the measure.
    """
    numbers = frames.summary(rows, measure)
    sparse = numbers[numbers["level"] > 0].sort_values("level")
    sparse = sparse.assign(x=100 * sparse["density"])
    several = sparse["run"].nunique() > 1
    levels, curves = {}, []
    for i, (names, lines) in enumerate(sparse.groupby(TRAINING)):
        training = _name(numbers, names)
        for branch, points in _branches(rows, lines):
            panel, label, look = training, branch, style(branch)
            if several:
                panel, label, look = branch, training, style(branch) | of_run(i)
            curves.append(Curve(panel, label, look, points))
            for level in _levels(rows, numbers, names, panel):
                if several:
                    level.look["linestyle"] = look["linestyle"]
                levels.setdefault((panel, *names[:2], level.label), level)
    curves = [*levels.values(), *curves]
    return draw(curves, measure, "weights remaining in %", "log")


def by_rewind_step(rows: Rows, measure: str = "test_accuracy") -> Figure | None:
    """Draw a measure against the step that was rewound to.

    A panel for some of the levels (and every run and setting), with a line for every
    branch and the dense networks as a level.

    Returns:
        The figure, or None without two rewind steps.
    """
    numbers = frames.summary(rows, measure)
    numbers = numbers.assign(x=numbers["rewind_step"].astype(float))
    curves = []
    for names, networks in numbers.groupby(TRAINING[:2]):
        steps = networks.groupby("level")["x"].nunique()
        for level in few(steps.index[steps > 1]):
            lines = networks[networks["level"] == level].sort_values("x")
            panel = ", ".join(filter(None, [_name(numbers, names), _share(lines)]))
            if level:
                curves += _levels(rows, numbers, names, panel)
            for branch, points in _branches(rows, lines):
                curves.append(Curve(panel, branch, style(branch), points))
    return draw(curves, measure, "rewound to step", "symlog")


def along_paths(rows: Rows, split: str = "test") -> Figure | None:
    """Draw the error on the straight path between two copies (Frankle et al., 2020).

    Rows of panels are rewind steps, columns are levels: some of each.

    Returns:
        The figure, or None if no such error was measured.
    """
    numbers = _family(rows, f"{split}_error_between_copies_at_")
    numbers["x"] = numbers.pop("member").astype(float)
    return _by_training(
        rows, numbers, f"{split}_error", "way from one copy to the other"
    )


def while_training(rows: Rows, measure: str = "train_loss") -> Figure | None:
    """Draw a measure against the training step.

    Rows of panels are rewind steps, columns are levels: some of each.

    Returns:
        The figure, or None if no training of a sparse network (or of a dense one, where
        there is none) was measured on its way.
    """
    numbers = frames.tidy(rows)
    if numbers.empty:
        return None
    numbers = numbers[(numbers["measure"] == measure) & (numbers["branch"] != "admm")]
    keys = [*frames.NETWORK, "step"]
    copies = numbers.groupby([*keys, "replicate"], as_index=False)[["density", "value"]]
    numbers = frames.over_replicates(copies.mean(), keys)
    sparse = numbers[numbers["level"] > 0]
    looked_at = numbers if sparse.empty else sparse
    if looked_at.empty or looked_at.groupby(frames.NETWORK)["step"].nunique().max() < 2:
        return None
    numbers["x"] = numbers["step"]
    return _by_training(rows, numbers, measure, "step")


def layers(rows: Rows) -> Figure | None:
    """Draw what remains of every layer of the tickets, by level.

    Returns:
        The figure, or None if layers were not recorded.
    """
    numbers = _family(rows, "density_of_")
    numbers = numbers[(numbers["level"] > 0) & (numbers["branch"] == "ticket")]
    trainings = list(numbers.groupby(TRAINING))[: 2 * FEW]
    if not trainings:
        return None
    names = list(dict.fromkeys(numbers["member"]))
    least = numbers.loc[numbers["mean"] > 0, "mean"].min()
    norm = colors.LogNorm(100 * min(least, 0.5), 100)
    with matplotlib.rc_context({**TEXT, "axes.grid": False}):
        columns = min(len(trainings), FEW)
        figure, axes = grid(len(trainings), columns, (3.4, 0.8 + 0.15 * len(names)))
        for ax, (training, ticket) in zip(axes, trainings):
            shown = ticket.pivot(index="member", columns="level", values="mean")
            shown = np.ma.masked_less_equal(100 * shown.loc[names], 0)
            ax.imshow(shown, "cividis", norm, aspect="auto")
            ax.set_title(_name(numbers, training))
            paths = [name.removesuffix("/kernel") for name in names]
            ax.set_yticks(range(len(names)), paths, fontsize=6)
            density = ticket.groupby("level")["density"].first()
            ticks = few(range(len(density)))
            ax.set_xticks(ticks, [f"{100 * density.iloc[i]:.3g}" for i in ticks])
        figure.supxlabel("weights remaining in the network in %", fontsize=8)
        bar = figure.colorbar(
            ScalarMappable(norm, "cividis"),
            ax=axes,
            label="remaining in the layer in %",
        )
        bar.ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter("{x:.3g}")
        bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    return figure


def overlaps(rows: Rows, pair: str) -> Figure | None:
    """Draw R_p (Liu et al., 2021) as bars, each with what chance would give.

    A panel for every rewind step (and setting). Of `start_to_end` the dense networks,
    for every p; of other pairs some of the levels, for p = 0.2 or what is closest.

    Returns:
        The figure, or None if the pair was not measured.
    """
    numbers = frames.overlaps(rows, pair)
    if pair == "start_to_end":
        numbers = numbers[(numbers["level"] == 0) & (numbers["branch"] == "dense")]
    else:
        away = (numbers["p"] - 0.2).abs()
        levels = few(sorted(numbers["level"].unique()))
        numbers = numbers[(away == away.min()) & numbers["level"].isin(levels)]
    if numbers.empty:
        return None
    share = (100 * numbers["density"]).map("{:.3g} %".format)
    numbers = numbers.assign(
        group=numbers["branch"].str.replace("_", "\n") + "\n" + share
    )
    from_0 = not numbers[["level", "rewind_step"]].any(axis=None)
    panels = list(numbers.groupby(TRAINING[:2] if from_0 else TRAINING))
    shares = sorted(numbers["p"].unique())
    most = max(bars["group"].nunique() for _, bars in panels)
    with matplotlib.rc_context(TEXT):
        size = (max(2.4, 0.4 + most * max(0.6, 0.25 * len(shares))), 2.6)
        figure, axes = grid(len(panels), min(len(panels), 2), size)
        for ax, (training, bars) in zip(axes, panels):
            ax.set_title(_name(numbers, training))
            _bars(ax, bars.sort_values(["level", "branch"]), shares)
        figure.supylabel("overlap of the largest weights, $R_p$ in %", fontsize=8)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            title=caption(numbers),
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )
    return figure


def _bars(ax: Axes, numbers: pd.DataFrame, shares: Sequence[float]) -> None:
    """Draw `mean`, `std` and `chance`: a place for a `group`, a shade for a `p`."""
    groups, width = numbers["group"].unique(), 0.8 / len(shares)
    shades = matplotlib.colormaps["cividis"](np.linspace(0.15, 0.85, len(shares)))
    for i, (p, shade) in enumerate(zip(shares, shades)):
        bars = numbers[numbers["p"] == p].set_index("group").reindex(groups)
        x = np.arange(len(groups)) + (i - (len(shares) - 1) / 2) * width
        heights, chance = 100 * bars["mean"], 100 * bars["chance"]
        spread, label = 100 * bars["std"].fillna(0), f"p = {100 * p:g} %"
        ax.bar(x, heights, 0.9 * width, yerr=spread, color=shade, label=label)
        ends, label = (x - width / 2, x + width / 2), "_" if i else "by chance"
        ax.hlines(chance, *ends, colors="#D55E00", linewidth=2, label=label)
    ax.set_xticks(range(len(groups)), groups, fontsize=7)
    ax.tick_params(labelbottom=True)
    ax.grid(visible=False, axis="x")


def _by_training(
    rows: Rows, numbers: pd.DataFrame, measure: str, x_label: str
) -> Figure | None:
    """Draw numbers against their `x`: some rewind steps by some levels.

    The dense networks are in every panel: those of the rewind step, or else of step 0.
    """
    curves, columns = [], 1
    for names, networks in numbers.sort_values("x").groupby(TRAINING[:2]):
        dense = networks[networks["level"] == 0]
        sparse = networks.drop(dense.index) if networks["level"].any() else networks
        levels, steps = few(sorted(sparse["level"].unique())), few(_steps(sparse))
        columns = max(columns, len(levels) if len(levels) > 1 else len(steps))
        for step, level in itertools.product(steps, levels):
            lines = sparse[(sparse["rewind_step"] == step) & (sparse["level"] == level)]
            if lines.empty:
                continue
            panel = f"{_name(numbers, (*names, step))}\n{_share(lines)}"
            own = dense[dense["rewind_step"] == (step if step in _steps(dense) else 0)]
            if level:
                lines = pd.concat([lines, own])
            for branch, points in _branches(rows, lines):
                curves.append(Curve(panel, branch, style(branch), points))
    several = numbers.loc[numbers["level"] > 0, "level"].nunique() > 1
    share_y = "col" if several and measure.endswith("error") else "all"
    return draw(curves, measure, x_label, "linear", columns, share_y)


def _steps(numbers: pd.DataFrame) -> list[int]:
    return sorted(numbers["rewind_step"].unique().tolist())


def _family(rows: Rows, start: str) -> pd.DataFrame:
    """Return the summaries of measures that share a start; `member`: what follows."""
    found = [m for m in frames.measures(rows) if m.startswith(start)]
    members = [frames.summary(rows, m).assign(member=m[len(start) :]) for m in found]
    return pd.concat(members or [frames.summary([], "").assign(member="")])


def _levels(
    rows: Rows, numbers: pd.DataFrame, names: Sequence, panel: str
) -> Iterator[Curve]:
    """Yield the dense networks of a run and setting, as levels of a panel."""
    dense = numbers[
        (numbers["run"] == names[0])
        & (numbers["setting"] == names[1])
        & (numbers["level"] == 0)
        & (numbers["rewind_step"] == 0)
    ]
    for branch, points in _branches(rows, dense.assign(x=np.nan)):
        label = branch if branch == "dense" else f"dense, {branch}"
        look = style(branch) | {"marker": "", "linestyle": style("dense")["linestyle"]}
        yield Curve(panel, label, look, points)


def _branches(rows: Rows, lines: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (branch, lines) in the order of the rows."""
    for branch in frames.branches(rows):
        points = lines[lines["branch"] == branch]
        if not points.empty:
            yield branch, points


def _name(numbers: pd.DataFrame, names: Sequence) -> str:
    """Return a training's name, with its run only where there are several."""
    run, *others = names
    return frames.name(run if numbers["run"].nunique() > 1 else "", *others)


def _share(lines: pd.DataFrame) -> str:
    return f"{100 * lines['density'].iloc[0]:.3g} % of the weights"
