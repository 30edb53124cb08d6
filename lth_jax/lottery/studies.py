"""Studies: measures that compare networks of a level with each other or with the dense.

A study yields (member, measure, value), one number a row of the records.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import measures
from lth_jax.lottery.branches import BRANCHES
from lth_jax.masks import Masks
from lth_jax.train.evaluate import Evaluation
from lth_jax.train.state import TrainState
from lth_jax.workdir.records import Member

Numbers = Iterator[tuple[Member, str, float]]

_CORRELATIONS = (("pearson", measures.pearson), ("cosine", measures.cosine))


@dataclass(frozen=True)
class Scene:
    """What a study may look at.

    Attributes:
        trained: networks at the end of their training.
        dense: the dense network that was trained from the same weights at the same step
            in the same data order as a member, or None if there is none.
        start: a member as it was before it was trained, under its masks.
        initial: the dense network of a member's replicate and setting at step 0.
        final: the same network at the end of its training.
        evaluate: evaluations of networks by split, after their batch statistics have
            been recomputed if that is configured.
        points: number of points on an interpolated path, ends included.
        top: the shares p of the largest weights.
        every_tensor: biases and normalisation enter distances and angles, too.
    """

    trained: dict[Member, TrainState]
    dense: Callable[[Member], TrainState | None]
    start: Callable[[Member], TrainState]
    initial: Callable[[Member], TrainState]
    final: Callable[[Member], TrainState]
    evaluate: Callable[[Sequence[TrainState]], dict[str, list[Evaluation]]]
    points: int
    top: tuple[float, ...]
    every_tensor: bool


def stability(scene: Scene) -> Numbers:
    """Stability to pruning and to data order (Frankle et al., 2019, Section 2).

    L2 distance, and angle in degrees, over surviving weights: of a network to the dense
    one from the same weights in the same data order, where there is one
    (`distance_to_dense`), and of every two copies in different orders
    (`distance_to_copy_1`, a row of copy 0).
    """
    for member, network in scene.trained.items():
        if member.level and (dense := scene.dense(member)):
            yield from _apart(scene, member, network, dense, "dense")
    for member, other in _pairs(scene):
        a, b = scene.trained[member], scene.trained[other]
        yield from _apart(scene, member, a, b, f"copy_{other.copy}")


def instability(scene: Scene) -> Numbers:
    """Linear mode connectivity of every two copies (Frankle et al., 2020, Section 2).

    The error on the straight path between them (`test_error_to_copy_1_at_0.500`), and
    its highest value above the mean of the ends (`test_instability_to_copy_1`).
    """
    alphas = np.linspace(0, 1, scene.points, dtype=np.float32)
    for member, other in _pairs(scene):
        path = _path(scene.trained[member], scene.trained[other], alphas)
        for split, evaluations in scene.evaluate(path).items():
            errors = np.array([1 - found.accuracy for found in evaluations])
            name = f"to_copy_{other.copy}"
            for alpha, error in zip(alphas, errors):
                yield member, f"{split}_error_{name}_at_{alpha:.3f}", float(error)
            barrier = measures.instability(jnp.asarray(errors))
            yield member, f"{split}_instability_{name}", float(barrier)


def correlation(scene: Scene) -> Numbers:
    """Weight correlation of networks (Liu et al., 2021, Section 4 and Appendix F).

    R_p for every p, with what chance would give (`overlap_start_to_end_top_0.2` and
    `..._top_0.2_by_chance`), Pearson correlation and cosine, of

    - a network before and after its training, of its surviving weights
      (`start_to_end`; of a dense network that is R_p(θ0, θT), from step k R_p(θk, θT),
      also layer by layer, `..._top_0.2_of_conv1/kernel`);
    - a network that starts as it was initialised, or rewound, and the fine-tuned one
      under the same masks, of their surviving weights (`start_to_fine_tuned`, footnote
      3);
    - a fine-tuned network and the dense one that it was made from, of all prunable
      weights, before (`end_to_initial`) and after (`end_to_dense`) that was trained:
      for p up to the density of every layer (Table 1).

    By chance, a network has its largest weights anywhere among those it has, and masks
    know nothing of the other one: R_p is p. Not so where masks are made of the other
    one's magnitudes, as in `end_to_dense`: then chance ignores magnitudes under them.
    """
    for member, network in scene.trained.items():
        for name, a, b, compared, anywhere in _relatives(scene, member, network):
            least = min(_densities(a.masks, compared))
            for p in scene.top:
                overlap = f"overlap_{name}_top_{p:g}"
                if p > least:
                    continue  # what is pruned is not among the largest
                shared = measures.top_overlap(a.params, b.params, p, compared)
                yield member, overlap, float(shared)
                chance = measures.chance_overlap(b.params, p, anywhere, compared)
                yield member, f"{overlap}_by_chance", float(chance)
            for which, measure in _CORRELATIONS:
                value = measure(a.params, b.params, compared)
                yield member, f"{which}_{name}", float(value)
            if member.level == 0:
                yield from _by_layer(scene, member, name, a, b)


STUDIES: dict[str, Callable[[Scene], Numbers]] = {
    "stability": stability,
    "instability": instability,
    "correlation": correlation,
}


def _pairs(scene: Scene) -> Iterator[tuple[Member, Member]]:
    """Yield every two copies of a network, the lower copy first."""
    for a, b in itertools.combinations(sorted(scene.trained), 2):
        if a._replace(copy=b.copy) == b:
            yield a, b


def _relatives(
    scene: Scene, member: Member, network: TrainState
) -> Iterator[tuple[str, TrainState, TrainState, Masks, Masks]]:
    """Yield (name, network, network, weights to compare, masks) of what to correlate.

    Under the masks the first network has, by chance, its largest weights anywhere.
    """
    start, masks = scene.start(member), network.masks
    yield "start_to_end", start, network, masks, masks
    if member.level == 0:
        return
    if member.branch == "fine_tune":
        whole = jax.tree.map(jnp.ones_like, masks)
        yield "end_to_initial", network, scene.initial(member), whole, whole
        yield "end_to_dense", network, scene.final(member), whole, masks
    fine_tuned = scene.trained.get(member._replace(branch="fine_tune", copy=0))
    if not fine_tuned or BRANCHES[member.branch].again:
        return
    if masks_lib.checksum(masks) == masks_lib.checksum(fine_tuned.masks):
        yield "start_to_fine_tuned", start, fine_tuned, masks, masks


def _by_layer(
    scene: Scene, member: Member, name: str, a: TrainState, b: TrainState
) -> Numbers:
    """Yield what two networks have in common, layer by layer."""
    found = {
        f"overlap_{name}_top_{p:g}": partial(measures.top_overlap, p=p)
        for p in scene.top
    }
    found |= {f"{which}_{name}": measure for which, measure in _CORRELATIONS}
    for measure, function in found.items():
        layers = measures.by_layer(function, a.params, b.params, b.masks)
        for path, value in layers.items():
            yield member, f"{measure}_of_{path}", float(value)


def _densities(masks: Masks, compared: Masks) -> Iterator[float]:
    """Yield the share of the compared weights that survive, of every layer."""
    for mask, whole in zip(jax.tree.leaves(masks), jax.tree.leaves(compared)):
        yield float(mask.sum() / whole.sum())


def _apart(
    scene: Scene, member: Member, a: TrainState, b: TrainState, name: str
) -> Numbers:
    masks = _all_tensors(a) if scene.every_tensor else a.masks
    distance = measures.distance(a.params, b.params, masks)
    yield member, f"distance_to_{name}", float(distance)
    angle = measures.angle(a.params, b.params, masks)
    yield member, f"angle_to_{name}", float(angle)


def _all_tensors(network: TrainState) -> Masks:
    return jax.tree.map(
        lambda w, m: jnp.ones(w.shape, bool) if m is None else m,
        network.params,
        network.masks,
    )


def _path(a: TrainState, b: TrainState, alphas: np.ndarray) -> list[TrainState]:
    """Return networks on the line between two, batch statistics interpolated too."""
    ends = (a.params, a.batch_stats), (b.params, b.batch_stats)
    line = measures.interpolate(*ends, jnp.asarray(alphas))
    points = [jax.tree.map(lambda x, i=i: x[i], line) for i in range(len(alphas))]
    return [replace(a, params=params, batch_stats=stats) for params, stats in points]
