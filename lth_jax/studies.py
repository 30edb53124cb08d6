"""Studies: measures that compare networks of a level with each other or with the dense.

A study yields (member, measure, value), or (member, measure, value, keys), where keys
are columns of the row: of what the measure is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lth_jax import masks as masks_lib
from lth_jax import measures, siblings, symmetry
from lth_jax.correlation import correlation
from lth_jax.masks import Masks
from lth_jax.tasks import task as task_lib
from lth_jax.train.state import TrainState, evaluated
from lth_jax.workdir import records
from lth_jax.workdir.member import Member, Networks

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run

Numbers = Iterator[tuple[Member, str, float] | tuple[Member, str, float, dict]]


def stability(run: "Run") -> Numbers:
    """Stability to pruning and to data order (Frankle et al., 2019, Section 2).

    `distance` (L2), and `angle` in degrees, over surviving weights: of a network to the
    dense one from the same weights in the same data order, where there is one (pair
    "dense"), and of every two copies in different orders (pair "copies"), where those
    survive that do so in one of them.
    """
    for member, network in run.networks.items():
        if member.level and (dense := run.twin(member)):
            masks = _compared(run, network)
            yield from _apart(member, network, dense, masks, {"pair": "dense"})
    for member, other, keys in _copies(run):
        network = run.networks[member]
        masks = _compared(run, network, other)
        yield from _apart(member, network, other, masks, keys)


def instability(run: "Run") -> Numbers:
    """Linear mode connectivity of every two copies (Frankle et al., 2020, Section 2).

    The `error` at `alpha` on the straight path between them, and the `instability`, its
    highest value above the mean of the ends; of every split. Batch statistics on the
    path are those that `config.study.batch_stats` says.
    """
    for member, other, keys in _copies(run):
        yield from _along(run, other, member, keys)


def connectivity(run: "Run") -> Numbers:
    """Linear mode connectivity of successive levels (Paul et al., 2022, abstract).

    Their first finding: at high sparsity there is no barrier if, and only if, both
    match. As `instability`, of the trained ticket of the level before (`alpha` 0; at
    level 1 the dense network) and this level's (`alpha` 1), copy 0 of both: pair
    "levels". Each was trained under its own masks, from the same W_k and in the same
    data order (unless `rewind.reorder` or `rewind.fresh` say otherwise). On the path,
    weights that the level pruned go to 0 linearly.
    """
    for member in run.tickets if run.level else ():
        if before := run.before.get(member.previous):
            yield from _along(run, before, member, {"pair": "levels"})


def travel(run: "Run") -> Numbers:
    """How far copies end apart, and how far they went (Frankle et al., 2020, App. B).

    Of every two copies (pair "copies"), L2 over weights that survive in one of them:
    `travelled` from where both started, W_k under their masks, the mean of the two; and
    the distance between their ends as a share of that, `distance_share`. Copies that
    went the same way have 0, at right angles 1.41, in opposite directions 2.
    """
    for member, other, keys in _copies(run):
        network, start = run.networks[member], run.start(member)
        assert start is not None, "it was trained"
        ends = network.params, other.params
        masks = _compared(run, network, other)
        went = [float(measures.distance(start.params, end, masks)) for end in ends]
        travelled = sum(went) / 2
        yield member, "travelled", travelled, keys
        if travelled:
            share = float(measures.distance(*ends, masks)) / travelled
            yield member, "distance_share", share, keys


def last_weights(run: "Run") -> Numbers:
    """What networks reach by their last weights, where others are evaluated.

    With `train.average`, `last_test_accuracy` stands beside `test_accuracy`, which is
    of the moving averages; both are of the same trainings.
    """
    networks = run.networks.items()
    yield from _errors(run, "last", {m: replace(n, average=None) for m, n in networks})


def onset(run: "Run") -> Numbers:
    """When networks get good, as those that generalise late (Power et al., 2022).

    The first step at which the task's error on the test was measured
    (`measures`, `train.evaluate_every`) and reached `study.onset`: of accuracies at
    least that, of other errors at most. Where it was not `reached` (1 or 0) by the end,
    `onset` is the last step, which is a bound.
    """
    task, most = run.experiment.program.task, run.config.study.onset
    higher, first = task.units[task.error].higher_is_better, {}
    for row in run.workdir.records.rows():
        good = row["value"] >= most if higher else row["value"] <= most
        if row["measure"] == f"test_{task.error}" and good:
            member = records.member(row)
            first[member] = min(first.get(member, row["step"]), row["step"])
    for member, network in run.networks.items():
        yield member, "onset", float(first.get(member, int(network.step)))
        yield member, "reached", float(member in first)


def supermask(run: "Run") -> Numbers:
    """What networks reach before they are trained, by their masks alone.

    The task's error of where each sparse network starts (Zhou et al., 2019, Section 5),
    `untrained_test_accuracy` of classification: of copy 0, whose starts are all alike.
    Batch statistics are those of W_k (theirs has none), at k = 0 of no training at all.
    """
    members = [m for m in run.networks if m.level and not m.copy]
    starts = {m: start for m in members if (start := run.start(m)) is not None}
    yield from _errors(run, "untrained", starts)


def alignment(run: "Run") -> Numbers:
    """Linear mode connectivity modulo permutation (Ainsworth et al., 2023, Section 5).

    As `instability`, of dense networks at level 0: from the next replicate's (after the
    last the first) to one's own. Pair "replicates" has that one as it is, "aligned" its
    hidden units permuted to be most like one's own, by their weights. Of three
    replicates and more, each network is in two rows, which are not independent.
    """
    for member, other in siblings.followed(run) if not run.level else ():
        if before := run.networks.get(other):
            yield from _along(run, before, member, {"pair": "replicates"})
            yield from _along(
                run, siblings.aligned(run, member), member, {"pair": "aligned"}
            )


def mask_overlap(run: "Run") -> Numbers:
    """How far the masks of two replicates' tickets are the same (Adnan et al., 2025).

    The `mask_overlap` (`masks.overlap`) of a ticket's and of the next replicate's: as
    they are, and with that one's hidden units permuted as study `alignment` has them.
    And what is expected by chance of masks that keep as many weights of every layer.
    Rows are of pairs as in `alignment`.
    """
    for pair in siblings.followed(run) if run.level else ():
        member, (masks, other) = pair[0], map(run.masks, pair)
        if masks is None or other is None:
            continue
        order, found = siblings.alignment(run, member), run.groups
        aligned = symmetry.permute(other, order, found.params)
        overlaps = {
            "replicates": masks_lib.overlap(masks, other),
            "aligned": masks_lib.overlap(masks, aligned),
            "by_chance": siblings.overlap_by_chance(masks, other),
        }
        for pair, value in overlaps.items():
            yield member, "mask_overlap", value, {"pair": pair}


STUDIES: dict[str, Callable[["Run"], Numbers]] = {
    "stability": stability,
    "instability": instability,
    "connectivity": connectivity,
    "travel": travel,
    "correlation": correlation,
    "last_weights": last_weights,
    "onset": onset,
    "supermask": supermask,
    "alignment": alignment,
    "mask_overlap": mask_overlap,
}


def between(
    a: TrainState, b: TrainState, alphas: Float[np.ndarray, " points"]
) -> list[TrainState]:
    """Return networks on the line between two, batch statistics interpolated too.

    Each is (1 - alpha) * a + alpha * b, of moving averages where there are some, under
    masks that keep what one of them keeps, with everything else as in `a`.
    """
    a, b = evaluated(a), evaluated(b)
    one, two = ({"params": x.params, "batch_stats": x.batch_stats} for x in (a, b))
    line = measures.interpolate(one, two, jnp.asarray(alphas))
    points = (jax.tree.map(lambda x, i=i: x[i], line) for i in range(len(alphas)))
    masks = jax.tree.map(jnp.logical_or, a.masks, b.masks)
    return [replace(a, masks=masks, **point) for point in points]


def _errors(run: "Run", called: str, networks: Networks) -> Numbers:
    """Yield the task's error of networks on every split, under a name of its own."""
    name = run.experiment.program.task.error
    # Beside others, one that trains by a course of its own is not in their layout.
    some = [replace(network, course=None) for network in networks.values()]
    for split in run.experiment.evaluators if some else ():
        found = run.with_room(len(some), lambda e, s=split: e.evaluators[s](some))
        for member, numbers in zip(networks, found):
            yield member, f"{called}_{split}_{name}", numbers[name]


def _copies(run: "Run") -> Iterator[tuple[Member, TrainState, dict[str, Any]]]:
    """Yield (copy, a lower copy's network, keys) of every two copies of a network."""
    fresh = run.config.rewind.fresh
    for member in sorted(run.networks):
        for copy in range(member.copy):
            other = member._replace(copy=copy)
            # The dense network, from which copies part at k, has none itself; it is
            # not one of copies that begin afresh there.
            is_dense = copy < run.branch(member).first_copy and not fresh
            other = other.dense if is_dense else other
            if other.branch == member.branch and other in run.networks:
                keys = {"pair": "copies", "other": copy}
                yield member, run.networks[other], keys


def _apart(
    member: Member, a: TrainState, b: TrainState, masks: Masks, keys: dict[str, Any]
) -> Numbers:
    distance = measures.distance(a.params, b.params, masks)
    yield member, "distance", float(distance), keys
    yield member, "angle", float(measures.angle(a.params, b.params, masks)), keys


def _compared(run: "Run", *networks: TrainState) -> Masks:
    """Return masks of the weights of which distances are taken: what any one keeps."""
    masks = jax.tree.map(
        lambda *each: reduce(jnp.logical_or, each), *(n.masks for n in networks)
    )
    if run.config.study.tensors == "masked":
        return masks
    full = partial(jnp.ones_like, dtype=bool)
    params = networks[0].params
    return jax.tree.map(lambda w, m: full(w) if m is None else m, params, masks)


def _along(run: "Run", a: TrainState, member: Member, keys: dict[str, Any]) -> Numbers:
    """Yield the error on the path from a network to a member's, and how it rises."""
    alphas = np.linspace(0, 1, run.config.study.points, dtype=np.float32)
    path = between(a, run.networks[member], alphas)
    for split, evaluations in run.evaluate(path).items():
        task = run.experiment.program.task
        errors = np.array([task_lib.error(task, found) for found in evaluations])
        of = {"split": split} | keys
        for alpha, error in zip(alphas, errors):
            position = {"alpha": round(float(alpha), 3)}
            yield member, "error", float(error), of | position
        barrier = float(measures.instability(jnp.asarray(errors)))
        yield member, "instability", barrier, of
