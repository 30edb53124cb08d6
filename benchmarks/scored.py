"""Scored: python -m benchmarks.scored [NAME ...] looks at scores of untrained networks.

Networks are those of the configs, at their real size, with weights of one seed; a
batch is of normal noise with random labels: 64 images, or 8 of ImageNet's size. It
prints, by network and method: weights that can be pruned, shares of scores that are
exactly 0 and that are not finite, the share kept after pruning all layers together to a
fifth, and of how many layers that keep some of their weights those that stay are the
first by index.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import config as config_lib
from lth_jax import masks, models, prune, scores
from lth_jax.lottery import methods
from lth_jax.masks import Masks, Params
from lth_jax.scores import Scores
from lth_jax.tasks.classification import cross_entropy
from lth_jax.train import step

IMAGENET, CIFAR = ((224, 224, 3), 1000), ((32, 32, 3), 10)
NETWORKS = {  # config: shape of an image, and classes
    "lenet": ((28, 28, 1), 10),
    **dict.fromkeys(
        ["resnet20", "vgg11", "vgg16", "vgg19", "mobilenet_v2", "vit"], CIFAR
    ),
    **dict.fromkeys(["resnet50", "squeezenet"], IMAGENET),
    "inception_v3": ((299, 299, 3), 1000),
}
DENSITY = 0.2


class Line(NamedTuple):
    """What scores are like."""

    network: str
    method: str
    weights: int
    zero: float
    not_finite: float
    kept: float
    first: str


def network(name: str) -> Any:
    """Return the network of a config."""
    options = config_lib.load(f"configs/{name}.py").model
    return models.create(
        options.name,
        num_classes=NETWORKS[name][1],
        init=options.init,
        norm_scale=options.norm_scale,
        **options.options,
    )


def score(name: str) -> Iterator[tuple[str, Scores, Masks]]:
    """Yield (method, scores, masks of all that can be pruned)."""
    model, (shape, classes) = network(name), NETWORKS[name]
    keys = jax.random.split(jax.random.key(0), 4)
    examples = 64 if shape[0] <= 32 else 8
    images = jax.random.normal(keys[0], (examples, *shape))
    labels = jax.random.randint(keys[1], (examples,), 0, classes)
    params, batch_stats = jax.jit(model.init)(keys[2], images)
    full = masks.full(params)

    def loss(params: Params, temperature: float = 1.0) -> jax.Array:
        logits, _ = model.apply(params, batch_stats, images, train=True, key=keys[3])
        heads = jax.tree.leaves(logits)
        return sum(cross_entropy(head / temperature, labels).mean() for head in heads)

    start = methods.opened(params)
    yield "snip", jax.jit(partial(scores.snip, loss))(start), full
    tempered = partial(loss, temperature=methods.GRASP_TEMPERATURE)
    yield "grasp", jax.jit(partial(scores.grasp, tempered))(start, full), full
    feed = SimpleNamespace(example=jax.ShapeDtypeStruct(shape, jnp.float32))
    flow = partial(step.flow, program=SimpleNamespace(network=model, feed=feed))
    yield "synflow", scores.synflow_shares(flow, params)(full), full


def look(name: str, method: str, scored: Scores, full: Masks) -> Line:
    """Return what scores are like, and what pruning by them leaves."""
    by_path = dict(masks.leaves(scored))
    numbers = np.concatenate(
        [np.ravel(by_path[path]) for path, _ in masks.leaves(full)]
    )
    kept = prune.to_density(jax.tree.map(jnp.nan_to_num, scored), full, DENSITY)
    layers = [np.ravel(mask) for _, mask in masks.leaves(kept)]
    cut = [mask for mask in layers if 0 < mask.sum() < mask.size]
    first = sum(bool(mask[: mask.sum()].all()) for mask in cut)
    zero, finite = (numbers == 0).mean(), np.isfinite(numbers).mean()
    share = masks.density(kept)
    return Line(
        name, method, numbers.size, zero, 1 - finite, share, f"{first} of {len(cut)}"
    )


def main() -> None:
    """Print a table of the networks that the command line names, or of all."""
    parser = argparse.ArgumentParser("python -m benchmarks.scored", None, __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    names = parser.parse_args().names or list(NETWORKS)
    print("| " + " | ".join(Line._fields).replace("_", " ") + " |")
    print("|" + " --- |" * len(Line._fields))
    for name in names:
        for found in score(name):
            *texts, first = look(name, *found)
            shown = [x if isinstance(x, str) else f"{x:,.4g}" for x in texts[3:]]
            print(
                "| " + " | ".join([*texts[:2], f"{texts[2]:,}", *shown, first]) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
