"""Studies: measures that compare networks of a level with each other or with the dense.

A study yields (member, measure, value), or (member, measure, value, keys), where keys
are columns of the row: of what the measure is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import measures
from lth_jax.masks import Masks
from lth_jax.tasks import task as task_lib
from lth_jax.train.evaluate import between
from lth_jax.train.state import TrainState
from lth_jax.workdir import records
from lth_jax.workdir.member import Member, Networks

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run

Numbers = Iterator[tuple[Member, str, float] | tuple[Member, str, float, dict]]

_CORRELATIONS = {"pearson": measures.pearson, "cosine": measures.cosine}


def stability(run: "Run") -> Numbers:
    """Stability to pruning and to data order (Frankle et al., 2019, Section 2).

    `distance` (L2), and `angle` in degrees, over surviving weights: of a network to the
    dense one from the same weights in the same data order, where there is one (pair
    "dense"), and of every two copies in different orders (pair "copies").
    """
    for member, network in run.networks.items():
        if member.level and (dense := run.twin(member)):
            yield from _apart(run, member, network, dense, {"pair": "dense"})
    for member, other, keys in _copies(run):
        yield from _apart(run, member, run.networks[member], other, keys)


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

    Of every two copies (pair "copies"), L2 over surviving weights: `travelled` from
    where both started, W_k under their masks, the mean of the two; and the distance
    between their ends as a share of that, `distance_share`. Copies that went the same
    way have 0, at right angles 1.41, in opposite directions 2.
    """
    for member, other, keys in _copies(run):
        network, start = run.networks[member], run.start(member)
        assert start is not None, "it was trained"
        ends, masks = (network.params, other.params), _compared(run, network)
        went = [float(measures.distance(start.params, end, masks)) for end in ends]
        travelled = sum(went) / 2
        yield member, "travelled", travelled, keys
        if travelled:
            share = float(measures.distance(*ends, masks)) / travelled
            yield member, "distance_share", share, keys


def correlation(run: "Run") -> Numbers:
    """Weight correlation of networks (Liu et al., 2021, Section 4 and Appendix F).

    R_p for every p (`overlap`), with what chance would give (`chance_overlap`),
    `pearson` correlation and `cosine`, of the pairs

    - "start_to_end": a network before and after its training, of its surviving weights;
      of a dense network that is R_p(θ0, θT), and "rewound_to_end" R_p(θk, θT), both
      also layer by layer;
    - "start_to_fine_tuned": a network that starts as it was initialised, or rewound,
      and the fine-tuned one under the same masks, of their surviving weights (footnote
      3);
    - "end_to_initial", "end_to_dense": a fine-tuned network and the dense one that it
      was made from, of all prunable weights, before and after that was trained: for p
      up to the density of every layer (Table 1).

    By chance, a network has its largest weights anywhere among those it has, and masks
    know nothing of the other one: R_p is p. Not so where masks are made of the other
    one's magnitudes, as in "end_to_dense": then chance ignores magnitudes under them.
    """
    for member, network in run.networks.items():
        for keys, a, b, compared, anywhere in _pairs(run, member, network):
            layers = zip(jax.tree.leaves(a.masks), jax.tree.leaves(compared))
            least = min(float(mask.sum() / whole.sum()) for mask, whole in layers)
            for p in run.config.study.top:
                if p > least:
                    continue  # what is pruned is not among the largest
                shared = measures.top_overlap(a.params, b.params, p, compared)
                yield member, "overlap", float(shared), keys | {"p": p}
                chance = measures.chance_overlap(b.params, p, anywhere, compared)
                yield member, "chance_overlap", float(chance), keys | {"p": p}
            for name, measure in _CORRELATIONS.items():
                value = float(measure(a.params, b.params, compared))
                yield member, name, value, keys
            for name, measure, of in _layered(run, keys) if not member.level else ():
                layers = measures.by_layer(measure, a.params, b.params, b.masks)
                for path, value in layers.items():
                    yield member, name, float(value), of | {"layer": path}


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
    (`train.evaluate_every`) and reached `study.onset`: of accuracies at least that, of
    other errors at most. Where it was not `reached` (1 or 0) by the end, `onset` is the
    last step, which is a bound.
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
    """
    members = [m for m in run.networks if m.level and not m.copy]
    starts = {m: start for m in members if (start := run.start(m)) is not None}
    yield from _errors(run, "untrained", starts)


STUDIES: dict[str, Callable[["Run"], Numbers]] = {
    "stability": stability,
    "instability": instability,
    "connectivity": connectivity,
    "travel": travel,
    "correlation": correlation,
    "last_weights": last_weights,
    "onset": onset,
    "supermask": supermask,
}


def _errors(run: "Run", called: str, networks: Networks) -> Numbers:
    """Yield the task's error of networks on every split, under a name of its own."""
    name, some = run.experiment.program.task.error, [*networks.values()]
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


def _pairs(
    run: "Run", member: Member, network: TrainState
) -> Iterator[tuple[dict[str, Any], TrainState, TrainState, Masks, Masks]]:
    """Yield (keys, network, network, weights to compare, masks) of what to correlate.

    Under the masks the first network has, by chance, its largest weights anywhere.
    """
    start, masks = run.start(member), network.masks
    assert start is not None, "it was trained"
    yield {"pair": "start_to_end"}, start, network, masks, masks
    if member == member.dense:
        for k in filter(None, run.plan.rewind_steps):
            keys = {"pair": "rewound_to_end", "other": k}
            yield keys, run.dense(member, k), network, masks, masks
    if member.level == 0:
        return
    if member.branch == "fine_tune":
        whole = jax.tree.map(jnp.ones_like, masks)
        initial, final = (run.dense(member, step) for step in (0, run.plan.length))
        yield {"pair": "end_to_initial"}, network, initial, whole, whole
        yield {"pair": "end_to_dense"}, network, final, whole, masks
    fine_tuned = run.trained(member._replace(branch="fine_tune", copy=0))
    if not fine_tuned or run.branch(member).again:
        return
    if masks_lib.checksum(masks) == masks_lib.checksum(fine_tuned.masks):
        yield {"pair": "start_to_fine_tuned"}, start, fine_tuned, masks, masks


def _layered(run: "Run", keys: dict[str, Any]) -> Iterator[tuple[str, Any, dict]]:
    """Yield (name, measure, keys) of what is also measured layer by layer."""
    for p in run.config.study.top:
        yield "overlap", partial(measures.top_overlap, p=p), keys | {"p": p}
    yield from ((name, measure, keys) for name, measure in _CORRELATIONS.items())


def _apart(
    run: "Run", member: Member, a: TrainState, b: TrainState, keys: dict[str, Any]
) -> Numbers:
    masks = _compared(run, a)
    distance = measures.distance(a.params, b.params, masks)
    yield member, "distance", float(distance), keys
    yield member, "angle", float(measures.angle(a.params, b.params, masks)), keys


def _compared(run: "Run", network: TrainState) -> Masks:
    """Return masks of the weights of which distances are taken."""
    if run.config.study.tensors == "masked":
        return network.masks
    full = partial(jnp.ones_like, dtype=bool)
    return jax.tree.map(
        lambda w, m: full(w) if m is None else m, network.params, network.masks
    )


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
