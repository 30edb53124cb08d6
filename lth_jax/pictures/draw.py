"""Draw: pictures of tickets from small arrays; None where there is nothing to see."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

from lth_jax import drawing
from lth_jax.drawing import Asked, Drawn, few
from lth_jax.pictures.seen import Seen

Ax = Axes | Iterable[Axes] | None
_X = "weights remaining in the network in %"


@drawing.plain_text()
def inputs(seen: Seen, *, ax: Ax = None, title: str | None = None) -> Drawn | None:
    """Draw kept connections of every input pixel: a panel for some of the levels.

    Of a convolution, of every position of its kernel.
    """
    levels = few(seen.inputs)[::-1]
    if not levels:
        return None
    asked, names = (
        Asked(ax, title=title),
        [f"{at:.3g} % of the weights" for at in levels],
    )
    figure, axes = drawing.grid(names, min(len(levels), 2), (2.2, 1.9), asked=asked)
    for one, at in zip(axes, levels):
        shown = one.imshow(seen.inputs[at], "cividis", vmin=0, interpolation="nearest")
        one.set_xticks([])
        one.set_yticks([])
        one.grid(visible=False)
        drawing.bar(figure, shown, [one])
    return drawing.finish(figure, axes, asked, "kept connections")


@drawing.plain_text()
def flipped(seen: Seen, *, ax: Ax = None, title: str | None = None) -> Drawn | None:
    """Draw how many of every layer's kept weights have another sign than in W_k."""
    return _shares(seen, "flipped", "kept weights with another sign in %", ax, title)


@drawing.plain_text()
def dead(seen: Seen, *, ax: Ax = None, title: str | None = None) -> Drawn | None:
    """Draw how many of every layer's units have no kept connection to their inputs."""
    return _shares(seen, "dead", "units without a connection in %", ax, title)


def _shares(
    seen: Seen, what: str, label: str, ax: Ax, title: str | None
) -> Drawn | None:
    shown = getattr(seen, what)
    top = max(1.0, float(np.nanmax(shown.to_numpy(), initial=0.0)))
    asked = Asked(ax, title=title)
    return drawing.heat_maps({seen.name: shown}, label, _X, top=top, asked=asked)


@drawing.plain_text()
def shared(seen: Seen, *, ax: Ax = None, title: str | None = None) -> Drawn | None:
    """Draw the overlap of two replicates' masks, beside that by chance.

    As `masks.overlap`, the mean over all pairs; by chance, of masks that keep as much
    of every layer.
    """
    numbers = seen.shared.dropna(axis="columns")
    if numbers.empty:
        return None
    asked = Asked(ax, title=title)
    figure, axes = drawing.grid([seen.name], 1, (3.4, 2.4), asked=asked)
    for (name, values), line in zip(numbers.iterrows(), ("o-", "--")):
        axes[0].plot(values.index, values, line, label=str(name), color="#0072B2")
    drawing.scale_x(axes[0], numbers.columns.to_series(), "falling")
    axes[0].set_ylim(0, 105)
    handles, names = axes[0].get_legend_handles_labels()
    drawing.legend(figure, axes, handles, names, "mean over pairs of replicates", asked)
    return drawing.finish(figure, axes, asked, _X, "kept by both, in %")


@drawing.plain_text()
def times_chance(
    seen: Seen, *, ax: Ax = None, title: str | None = None
) -> Drawn | None:
    """Draw every layer's overlap of replicates' masks, over that by chance."""
    shown = seen.times_chance / 100
    if shown.isna().all(axis=None):
        return None
    top = max(2.0, float(np.nanmax(shown.to_numpy())))
    label, asked = "kept by both: times as many as by chance", Asked(ax, title=title)
    return drawing.heat_maps({seen.name: shown}, label, _X, top=top, asked=asked)


@drawing.plain_text()
def weights(seen: Seen, *, ax: Ax = None, title: str | None = None) -> Drawn | None:
    """Draw histograms of the last level's kept weights, in W_k and W_T.

    Of at most four layers, from the first to the last.
    """
    names = [*seen.weights]
    names = [names[i] for i in few(range(len(names)))]
    asked, titles = Asked(ax, title=title), [n.removesuffix("/kernel") for n in names]
    figure, axes = drawing.grid(titles, min(len(names), 2), (2.6, 1.8), "none", asked)
    for one, name in zip(axes, names):
        edges, start, end = seen.weights[name]
        one.stairs(start, edges, label="before training (W_k)", color="#D55E00")
        one.stairs(end, edges, label="after it (W_T)", color="#0072B2")
        one.tick_params(labelbottom=True, labelleft=True)
    at = f"kept at {seen.kept.columns[-1]:.3g} % of the weights"
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(figure, axes, handles, labels, at, asked)
    return drawing.finish(figure, axes, asked, "weight", "weights")


# What `write` draws, and what stands above it on the page.
PICTURES = {
    inputs: "kept connections of every input",
    weights: "weights of tickets, before and after training",
    flipped: "signs that flipped in training",
    dead: "units that are dead",
    shared: "masks of replicates in common",
    times_chance: "masks of replicates in common, by layer",
}
