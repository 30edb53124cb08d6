"""Methods: how a level's masks are made from the networks of the level before."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from lth_jax import masks as masks_lib
from lth_jax import prune, scores
from lth_jax.lottery import admm
from lth_jax.masks import Masks, Params, Patterns
from lth_jax.scores import Scores
from lth_jax.train import state as state_lib
from lth_jax.workdir.member import Member, Training

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.running import Run
    from lth_jax.train.step import Program

_SYNFLOW_ROUNDS = 100  # Tanaka et al. (2020), Section 6
_MOST_EQUAL = 0.01  # of the weights, that may share the score at which pruning stops
GRASP_TEMPERATURE = 200.0  # as in the authors' code; with 1, tickets do not train


@dataclass(frozen=True)
class Method:
    """How the masks of a level's tickets are made.

    Attributes:
        masks: from a run and its tickets that are to be pruned to their masks.
        trainings: what is trained before that, of a plan and a level.
        nested: whether what a level keeps was kept by the level before.
        check: raises ValueError for a network that it cannot score, before anything is
            trained, from the run's program and the shapes of parameters.
    """

    masks: Callable[["Run", list[Member]], dict[Member, Masks]]
    trainings: Callable[["Plan", int], list[Training]] = lambda plan, level: []
    nested: bool = True
    check: Callable[["Program", Params], object] = lambda program, params: None


def by_score(score: Callable[["Run", Member], Scores]) -> Method:
    """Return the method that prunes every network by scores of its own.

    Args:
        score: from a run and a ticket to a score for every weight; the lowest of those
            that `run.previous(ticket)` has left are pruned.
    """

    def masks(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
        return {ticket: _shrunk(run, ticket, score(run, ticket)) for ticket in tickets}

    return Method(masks)


def _shrunk(run: "Run", ticket: Member, scores: Scores) -> Masks:
    masks, rule = run.shrink(ticket, scores), run.rule
    before, after = map(rule.others, (run.previous(ticket).masks, masks))
    settled(scores, before, after, rule.scope, rule.stacked_in(after))
    return masks


def _magnitude(run: "Run", ticket: Member) -> Scores:
    return scores.magnitude(run.previous(ticket).params)


def _random(run: "Run", ticket: Member) -> Scores:
    key = run.key(ticket, state_lib.PRUNING, ticket.level)
    return scores.random(key, run.previous(ticket).params)


def _snip(run: "Run", ticket: Member) -> Scores:
    initial = run.dense(ticket, 0)
    return scores.snip(run.loss(initial), opened(initial.params))


def _grasp(run: "Run", ticket: Member) -> Scores:
    initial = run.dense(ticket, 0)
    loss = run.loss(initial, GRASP_TEMPERATURE)
    return scores.grasp(loss, opened(initial.params), initial.masks)


def opened(params: Params) -> Params:
    """Return parameters in which scales of normalisations that are all 0 are 1.

    Where the last scale of a residual block starts at 0, no weight of it has a gradient
    before training.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, w: jnp.where(
            masks_lib.name(path).endswith("scale") & ~w.any(), jnp.ones_like(w), w
        ),
        params,
    )


magnitude = by_score(_magnitude)


def synflow(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
    """Prune before training by synaptic flow, a little at a time.

    Tanaka et al. (2020), Algorithm 1: every round keeps the same share of what is left,
    and scores again. As in the authors' code, in double precision: without
    normalisation, flows of deep networks exceed what float32 holds.
    """

    def masks(ticket: Member, wanted: Masks) -> Masks:
        flow = scores.synflow_shares(run.flow, run.dense(ticket, 0).params)
        kept, total = masks_lib.count(wanted)
        masks = dense = jax.tree.map(jnp.ones_like, wanted)
        stacked = run.rule.stacked_in(wanted)
        for i in range(1, _SYNFLOW_ROUNDS):
            left = max(kept, int(total * (kept / total) ** (i / _SYNFLOW_ROUNDS)))
            share = Fraction(left, total)
            masks = prune.to_density(flow(masks), masks, share, scope, stacked)
        found = flow(masks)
        masks = prune.as_many(found, wanted, scope, stacked)
        settled(found, dense, masks, scope, stacked)
        return masks

    scope, sparse = run.config.prune.scope, magnitude.masks(run, tickets)
    return {t: run.rule.beside(m, partial(masks, t)) for t, m in sparse.items()}


def _flows(program: "Program", params: Params) -> None:
    with jax.enable_x64(True):
        jax.eval_shape(program.flow, params)


def _admm(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
    """Prune by magnitude what ADMM has drawn towards as few weights."""
    scope, sparse = run.config.prune.scope, magnitude.masks(run, tickets)
    drawn = admm.draw(run, {t: run.rule.others(m) for t, m in sparse.items()})

    def masks(ticket: Member, wanted: Masks) -> Masks:
        magnitudes = scores.magnitude(drawn[ticket].params)
        stacked = run.rule.stacked_in(wanted)
        return prune.as_many(magnitudes, wanted, scope, stacked)

    return {t: run.rule.beside(sparse[t], partial(masks, t)) for t in drawn}


def settled(
    scores: Scores,
    before: Masks,
    after: Masks,
    scope: prune.Scope,
    stacked: Patterns = (),
) -> None:
    """Raise ScoreError if scores leave it open which weights go.

    That is if more than a hundredth of them share the score at which pruning stops, of
    a layer or in all: those that stay would be the first by index.
    """
    equal, total = prune.undecided(scores, before, after, scope, stacked)
    if equal > _MOST_EQUAL * total:
        raise prune.ScoreError(
            f"scores: {equal:,} of {total:,} weights would stay, and others go, by "
            "their place alone: their scores are equal"
        )


METHODS: dict[str, Method] = {
    "magnitude": magnitude,
    "random": by_score(_random),
    "snip": by_score(_snip),
    "grasp": by_score(_grasp),
    "synflow": Method(synflow, nested=False, check=_flows),
    "admm": Method(_admm, admm.trainings, nested=False),
}
