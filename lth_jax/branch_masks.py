"""Branch masks: under which masks a branch trains."""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from lth_jax import densities, prune, scores, siblings, symmetry
from lth_jax import masks as masks_lib
from lth_jax.given import GIVEN
from lth_jax.masks import Masks
from lth_jax.siblings import sibling
from lth_jax.workdir.member import Member

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.running import Run

# From a run, a ticket and a key to masks; None if those of a network that diverged.
Source = Callable[["Run", Member, Key[Array, ""]], Masks | None]
Shapes = dict[str, tuple[int, ...]]


def _own(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
    return run.masks(ticket)


def _given(run: "Run", ticket: Member, key: Key[Array, ""], after: int = 0) -> Masks:
    """Return masks from elsewhere, of the replicate or of one that comes after it."""
    return GIVEN[run.config.given].of(ticket.replicate + after)


def shuffled(source: Source) -> Source:
    """Return a source of random masks that keep as many weights of every layer."""

    def drawn(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
        masks = source(run, ticket, key)
        return prune.shuffle(key, masks, stacked=run.rule.stacked_in(masks))

    return drawn


def random(source: Source) -> Source:
    """Return a source of random masks that keep as many weights in all."""

    def drawn(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
        shuffle = partial(prune.shuffle, key, scope="global")
        return run.rule.beside(source(run, ticket, key), shuffle)

    return drawn


def _shape(path: str, mask: Array) -> tuple[int, ...]:
    """Return the sides of a kernel; of heads of attention, inputs and outputs."""
    heads = re.search(r"(?:^|/)(query|key|value|out)/kernel(/value)?$", path)
    if not heads or mask.ndim != 3:
        return mask.shape
    first, middle, last = mask.shape
    is_out = heads[1] == "out"  # of Flax, with its heads first; others have them second
    return (first * middle, last) if is_out else (first, middle * last)


def allocated(divide: Callable[["Run", Shapes, Fraction], dict[str, int]]) -> Source:
    """Return a source of random masks of which layers keep given numbers of weights.

    Args:
        divide: from a run, the layers' shapes, and what tickets keep of all their
            weights, to how many each layer keeps.
    """

    def source(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
        def drawn(masks: Masks) -> Masks:
            whole = masks_lib.leaves(masks)
            paths = [path for path, _ in whole]
            stacked = masks_lib.matching(run.rule.stacked_in(masks), paths)
            shapes = {p: m.shape if p in stacked else _shape(p, m) for p, m in whole}
            kept = divide(run, shapes, Fraction(*masks_lib.count(masks)))
            dense = jax.tree.map(jnp.ones_like, masks)
            return prune.to_counts(scores.random(key, masks), dense, kept)

        return run.rule.beside(run.masks(ticket), drawn)

    return source


def _other_rate(plan: "Plan", ticket: Member) -> Member:
    """Return the ticket of the same seed and decay at the other learning rate."""
    (rate,) = {*plan.config.sweep.learning_rate} - {ticket.learning_rate}
    return ticket._replace(learning_rate=rate)


def _of(other: Callable[["Plan", Member], Member]) -> Source:
    """Return a source of another ticket's masks."""
    return lambda run, ticket, key: run.masks(other(run.plan, ticket))


def _inverted(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
    """Return masks of as many weights, of which the method thinks least.

    The ablation of Frankle et al. (2021), Section 5: the highest scores are pruned.
    What went before comes first; where its score is 0, the smaller it was when dense.
    """
    del key
    before = run.previous(ticket).masks
    dense = run.dense(ticket, run.plan.length).params

    def least(w: Array, m: Array | None, score: Array | None) -> Array | None:
        if m is None or score is None:
            return None
        return jnp.where(m | (score != 0), -score, 1 / jnp.abs(w))

    lowest = jax.tree.map(least, dense, before, run.score(ticket))
    return run.rule.as_many(lowest, run.masks(ticket))


def _mixed(choose: Callable[[Array, Array], Array]) -> Source:
    """Return a source of masks, of a ticket's number, mixed of two replicates'.

    Args:
        choose: from the masks of a leaf, the ticket's and its sibling's, to which
            weights come first. Of these, and then of all others, those whose magnitudes
            in both trained networks have the highest sum.
    """

    def source(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks | None:
        del key
        other = sibling(run.plan, ticket)
        if run.masks(other) is None:
            return None
        both = [run.rule.others(run.masks(one)) for one in (ticket, other)]
        sizes = [scores.magnitude(run.previous(t).params) for t in (ticket, other)]

        def ranked(a: Array, b: Array, m: Any, n: Any) -> Array | None:
            if m is None:
                return None
            return jnp.where(choose(m, n), a + b, -1 / (a + b))  # in the same order

        rank = jax.tree.map(ranked, *sizes, *both)
        return run.rule.as_many(rank, run.masks(ticket))

    return source


def _transported(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks | None:
    """Return the masks of the next replicate's ticket, permuted to this one's network.

    As Adnan et al. (2025) align masks, who match activations; here `siblings.alignment`
    matches the weights of both dense networks, trained. No layer keeps more or fewer.
    """
    del key
    masks = run.masks(sibling(run.plan, ticket))
    if masks is None:
        return None
    found, order = run.groups, siblings.alignment(run, ticket)
    return symmetry.permute(masks, order, found.params)


MASKS: dict[str, Source] = {
    "own": _own,
    "none": lambda run, ticket, key: run.dense(ticket, 0).masks,
    "shuffled": shuffled(_own),
    "random": random(_own),
    "uniform": allocated(lambda run, *layers: densities.uniform(*layers)),
    "erk": allocated(lambda run, *layers: densities.erk(*layers)),
    "table": allocated(lambda run, layers, _: densities.table(layers, run.plan.table)),
    "other_rate": _of(_other_rate),
    "inverted": _inverted,
    "sibling": _of(sibling),
    "transported": _transported,
    "union": _mixed(jnp.logical_or),
    "intersection": _mixed(jnp.logical_and),
    "given": _given,
    "given_shuffled": shuffled(_given),
    "given_random": random(_given),
    "given_sibling": partial(_given, after=1),
}
PAIRED = ("sibling", "transported", "union", "intersection")  # of another replicate
FROM_ELSEWHERE = ("given", "given_shuffled", "given_random", "given_sibling")
# From a plan and a ticket to the other one at which masks look.
OTHERS = {"other_rate": _other_rate, **dict.fromkeys(PAIRED, sibling)}
# To the ticket of the same seed that has paid for a mask.
FINDERS = {"other_rate": _other_rate}
# Those that look at trained weights, whenever scores are taken: dense, or of the level
# before.
OF_DENSE, OF_PREVIOUS = ("transported", "inverted"), ("union", "intersection")
# Those that look at how many weights tickets keep in all, and no further.
COUNTED = ("none", "random", "uniform", "erk", "table")
