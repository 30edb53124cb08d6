"""Siblings: another replicate of a network, as it is or with its units permuted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks
from lth_jax.symmetry import matching
from lth_jax.symmetry.matching import Permutation
from lth_jax.train import state as state_lib
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.running import Run

COMPARED = ("alignment", "mask_overlap")  # the studies of siblings


def sibling(plan: "Plan", member: Member) -> Member:
    """Return the same of the next replicate; after the last comes the first."""
    seeds = sorted({dense.replicate for dense in plan.dense})
    after = seeds[(seeds.index(member.replicate) + 1) % len(seeds)]
    return member._replace(replicate=after)


def followed(run: "Run") -> Iterator[tuple[Member, Member]]:
    """Yield each ticket with its sibling; two replicates are one pair, and not two."""
    for member in run.tickets:
        other = sibling(run.plan, member)
        if other.replicate > member.replicate or sibling(run.plan, other) != member:
            yield member, other


def alignment(run: "Run", member: Member) -> Permutation:
    """Return how to permute the sibling's hidden units, to be most like a member's.

    Matched by their weights are the two dense networks as they are trained, at the end
    of level 0: whatever the level and the rewind step, it is the same.
    """
    dense = member.dense
    if dense not in run.alignments:
        other = sibling(run.plan, dense)
        a, b = (run.dense(one, run.plan.length).params for one in (dense, other))
        key = run.key(dense, state_lib.MATCHING)
        run.alignments[dense] = matching.match(a, b, run.groups, key)
    return run.alignments[dense]


def aligned(run: "Run", member: Member) -> TrainState:
    """Return the sibling's trained dense network, its units permuted as a member's."""
    found, order = run.groups, alignment(run, member)
    network = run.dense(sibling(run.plan, member), run.plan.length)
    network = state_lib.evaluated(network)
    params = matching.permute(network.params, order, found.params)
    batch_stats = matching.permute(network.batch_stats, order, found.state)
    return replace(network, params=params, batch_stats=batch_stats)


def overlap_by_chance(a: Masks, b: Masks) -> float:
    """Return the `masks.overlap` that is expected if each layer keeps as many anywhere.

    >>> import numpy as np
    >>> overlap_by_chance({"w": np.arange(4) < 2}, {"w": np.arange(4) > 2})
    0.5
    """
    one, other = masks_lib.by_layer(a), masks_lib.by_layer(b)
    both = sum(kept * other[path][0] / of for path, (kept, of) in one.items())
    return both / min(sum(kept for kept, _ in x.values()) for x in (one, other))
