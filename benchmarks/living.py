"""Living: python -m benchmarks.living WORKDIR counts the units that sparsity leaves.

A unit lives if kept weights lead from the image through it to the logits. All others
could be removed: what they hand on is the same for every image. Of the first ticket of
a run, whose layers have to follow one another as LeNet's and VGG's do, it prints by
level: the density, the share of multiply-adds that is left without the others, and the
units that live in the image and in each layer.
"""

import argparse
from pathlib import Path

import numpy as np

from lth_jax import export, masks, models
from lth_jax.config import from_json
from lth_jax.layers import summary
from lth_jax.train import inputs
from lth_jax.workdir import Workdir, read


def living(kernels: list[np.ndarray]) -> list[np.ndarray]:
    """Return which units live: those of the image, and those of every layer.

    Args:
        kernels: masks [..., in, out] of layers that follow one another.

    Example:
        >>> first, second = np.array([[1, 0], [1, 1]]), np.array([[0], [1]])
        >>> [units.tolist() for units in living([first, second])]
        [[False, True], [False, True], [True]]
    """
    links = [kernel.reshape(-1, *kernel.shape[-2:]).any(0) for kernel in kernels]
    reached = [np.ones(len(links[0]), bool)]
    for link in links:
        reached.append(link[reached[-1]].any(0))
    needed = [np.ones(links[-1].shape[1], bool)]
    for link in reversed(links):
        needed.append(link[:, needed[-1]].any(1))
    return [a & b for a, b in zip(reached, reversed(needed))]


def main() -> None:
    """Print a line a level."""
    parser = argparse.ArgumentParser(prog="benchmarks.living", description=__doc__)
    parser.add_argument("workdir", type=Path, help="folder of a run")
    workdir = parser.parse_args().workdir
    config = from_json(read(workdir / "config.json"))
    shape, num_classes = inputs.describe(config)
    model = models.create(
        config.model.name, num_classes=num_classes, **config.model.options
    )
    layers = [layer for layer in summary.layers(model, shape) if layer.multiply_adds]
    for level in Workdir(workdir).levels.numbers():
        ticket = export.find(workdir, level)
        params, kept = (
            dict(masks.leaves(tree)) for tree in (ticket.params, ticket.masks)
        )
        names = [f"{layer.path}/kernel" for layer in layers]
        kernels = [np.asarray(kept.get(n, np.ones(params[n].shape))) for n in names]
        units = [int(alive.sum()) for alive in living(kernels)]
        left = sum(
            layer.multiply_adds * a * b / np.prod(kernel.shape[-2:])
            for layer, kernel, a, b in zip(layers, kernels, units, units[1:])
        )
        share = left / sum(layer.multiply_adds for layer in layers)
        print(f"{ticket.about['density']:.2%}: {share:.1%} of multiply-adds, {units}")


if __name__ == "__main__":
    main()
