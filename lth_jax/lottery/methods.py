"""Methods: how a level's masks are made from the networks of the level before."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Key

from lth_jax import masks as masks_lib
from lth_jax import prune, scores
from lth_jax.masks import Masks, Params
from lth_jax.scores import Scores
from lth_jax.train.state import TrainState
from lth_jax.workdir.records import Member

Fleet = dict[Member, TrainState]

_SYNFLOW_ROUNDS = 100  # Tanaka et al. (2020), Section 6
_GRASP_TEMPERATURE = 200.0  # as in the authors' code; with 1, tickets do not train


@dataclass(frozen=True)
class Round:
    """A pruning round: what there is to prune, and what to prune it by.

    Attributes:
        networks: trained networks to score, with the masks of the level before.
        shrink: from scores and masks to the level's masks, as many as configured.
        initial: from a member to its dense state at step 0.
        key: from a member to a key for its draws.
        loss: of a state on its next batch, at a temperature, as a function of the
            parameters.
        flow: logits for an input of ones, of parameters and batch statistics.
        draw: train networks towards masks (ADMM); to the networks they come to.
        scope: "global" or "layer".
    """

    networks: Fleet
    shrink: Callable[[Scores, Masks], Masks]
    initial: Callable[[Member], TrainState]
    key: Callable[[Member], Key[Array, ""]]
    loss: Callable[..., Callable[[Params], Array]]
    flow: Callable[[Params, Any], Array]
    draw: Callable[[Fleet, dict[Member, Masks]], Fleet]
    scope: prune.Scope


Method = Callable[[Round], dict[Member, Masks]]


def by_score(score: Callable[[Round, Member], Scores]) -> Method:
    """Return the method that prunes every network by scores of its own."""

    def method(round: Round) -> dict[Member, Masks]:
        return {
            member: round.shrink(score(round, member), network.masks)
            for member, network in round.networks.items()
        }

    return method


def _magnitude(round: Round, member: Member) -> Scores:
    return scores.magnitude(round.networks[member].params)


def _random(round: Round, member: Member) -> Scores:
    return scores.random(round.key(member), round.networks[member].params)


def _snip(round: Round, member: Member) -> Scores:
    initial = round.initial(member)
    return scores.snip(round.loss(initial), initial.params)


def _grasp(round: Round, member: Member) -> Scores:
    initial = round.initial(member)
    loss = round.loss(initial, _GRASP_TEMPERATURE)
    return scores.grasp(loss, initial.params, initial.masks)


magnitude = by_score(_magnitude)


def synflow(round: Round) -> dict[Member, Masks]:
    """Prune before training by synaptic flow, a little at a time.

    Tanaka et al. (2020), Algorithm 1: every round keeps the same share of what is left,
    and scores again.
    """
    made = {}
    for member, wanted in magnitude(round).items():
        initial = round.initial(member)
        kept, total = masks_lib.count(wanted)
        masks = initial.masks
        for i in range(1, _SYNFLOW_ROUNDS):
            left = max(kept, int(total * (kept / total) ** (i / _SYNFLOW_ROUNDS)))
            flow = _synflow(round.flow, initial, masks)
            masks = prune.to_density(flow, masks, Fraction(left, total), round.scope)
        flow = _synflow(round.flow, initial, masks)
        made[member] = prune.as_many(flow, wanted, round.scope)
    return made


@partial(jax.jit, static_argnums=0)
def _synflow(
    flow: Callable[[Params, Any], Array], initial: TrainState, masks: Masks
) -> Scores:
    return scores.synflow(
        lambda params: flow(params, initial.batch_stats),
        masks_lib.apply(initial.params, masks),
    )


def admm(round: Round) -> dict[Member, Masks]:
    """Prune by magnitude what ADMM has drawn towards as few weights (see `admm`)."""
    sparse = magnitude(round)
    return {
        member: prune.as_many(
            scores.magnitude(network.params), sparse[member], round.scope
        )
        for member, network in round.draw(round.networks, sparse).items()
    }


METHODS: dict[str, Method] = {
    "magnitude": magnitude,
    "random": by_score(_random),
    "snip": by_score(_snip),
    "grasp": by_score(_grasp),
    "synflow": synflow,
    "admm": admm,
}
