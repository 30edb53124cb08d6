"""Methods: how a level's masks are made from the networks of the level before."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lth_jax import masks as masks_lib
from lth_jax import prune, scores
from lth_jax.lottery import admm
from lth_jax.masks import Masks, Params, Patterns
from lth_jax.rule import Rule
from lth_jax.scores import Scores
from lth_jax.train import state as state_lib
from lth_jax.workdir.member import Member, Training

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.running import Run
    from lth_jax.train.step import Program

_SYNFLOW_ROUNDS = 100  # Tanaka et al. (2020), Section 6
_MOST_EQUAL = 0.01  # of the weights, that may share the score at which pruning stops
# Of logits, as in the authors' code; with 1, tickets do not train.
GRASP_TEMPERATURE = 200.0


@dataclass(frozen=True)
class Method:
    """How the masks of a level's tickets are made.

    Attributes:
        masks: from a run and its tickets that are to be pruned to their masks.
        score: from a run and a ticket to a score for every weight, if that decides.
        at: the step whose weights are scored, "0", "k" or the "end", where `prune.at`
            may say another; else "".
        rounds: of scoring, where `prune.rounds` may say another number; else 0.
        passes: what a round costs, of a batch of so many examples: as many times what
            one example takes forward. A gradient is as much as three.
        trainings: what is trained before that, of a plan and a level.
        nested: whether what a level keeps was kept by the level before.
        check: raises ValueError for a network that it cannot score, before anything is
            trained, from the run's program and the shapes of parameters.
    """

    masks: Callable[["Run", list[Member]], dict[Member, Masks]]
    score: Callable[["Run", Member], Scores] | None = None
    at: str = ""
    rounds: int = 0
    passes: Callable[[int], float] = lambda batch: 0
    trainings: Callable[["Plan", int], list[Training]] = lambda plan, level: []
    nested: bool = True
    check: Callable[["Program", Params], object] = lambda program, params: None


def by_score(
    score: Callable[["Run", Member], Scores],
    at: str = "",
    passes: Callable[[int], float] = lambda batch: 0,
) -> Method:
    """Return the method that prunes every network by scores of its own.

    Args:
        score: from a run and a ticket to a score for every weight; the lowest of those
            that `run.previous(ticket)` has left are pruned.
        at: as of `Method`, where it scores what `run.scored(ticket)` is.
        passes: as of `Method`.
    """

    def masks(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
        return {ticket: _shrunk(run, ticket, score) for ticket in tickets}

    return Method(masks, score, at, 1, passes)


def _shrunk(
    run: "Run", ticket: Member, score: Callable[["Run", Member], Scores]
) -> Masks:
    """Return a ticket's masks, in rounds that each score what the last has left."""
    before, rule = run.previous(ticket).masks, run.rule
    found = score(run, ticket)
    for remaining in range(max(1, run.config.prune.rounds) - 1, 0, -1):
        left = run.left.get(ticket, before)
        wanted = rule.shrink(found, before)
        run.left[ticket] = _towards(found, left, wanted, 1 / (remaining + 1), rule)
        # What is gone does not come back.
        found = jax.tree.map(_out, score(run, ticket), run.left[ticket])
    run.left.pop(ticket, None)
    masks = rule.shrink(found, before)
    if not rule.block:
        others, after = map(rule.others, (before, masks))
        settled(found, others, after, rule.scope, rule.stacked_in(after))
    return masks


def _out(scores: Array, mask: Array | None) -> Array:
    return scores if mask is None else jnp.where(mask, scores, -jnp.inf)


def _towards(
    scores: Scores, left: Masks, wanted: Masks, share: float, rule: Rule
) -> Masks:
    """Return masks that keep fewer than what is left, on the way to what is wanted.

    Of the logarithm of how many weights are kept, that is a share of the way.
    """

    def some(now: int, then: int) -> int:
        return max(then, int(now * (then / now) ** share)) if now else 0

    def by(masks: Masks) -> Masks:
        now, then = rule.counts(masks), rule.counts(rule.others(wanted))
        if rule.scope == "layer":
            counts = {path: some(n, then[path][0]) for path, (n, _) in now.items()}
            return prune.to_counts(scores, masks, counts, rule.stacked_in(masks))
        kept, goal = (sum(n for n, _ in layers.values()) for layers in (now, then))
        return prune.drop(scores, masks, kept - some(kept, goal))

    return rule.beside(left, by)


def _magnitude(run: "Run", ticket: Member) -> Scores:
    return scores.magnitude(run.scored(ticket).params)


def _lamp(run: "Run", ticket: Member) -> Scores:
    return scores.lamp(run.scored(ticket).params, run.previous(ticket).masks)


def _random(run: "Run", ticket: Member) -> Scores:
    key = run.key(ticket, state_lib.PRUNING, ticket.level)
    return scores.random(key, run.previous(ticket).params)


def _snip(run: "Run", ticket: Member) -> Scores:
    scored = run.scored(ticket)
    return scores.snip(run.loss(scored), opened(scored.params))


def _grasp(run: "Run", ticket: Member) -> Scores:
    scored = run.scored(ticket)
    has_logits = "accuracy" in run.experiment.program.task.units
    loss = run.loss(scored, GRASP_TEMPERATURE if has_logits else 1.0)
    return scores.grasp(loss, opened(scored.params), scored.masks)


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


magnitude = by_score(_magnitude, at="end")


def synflow(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
    """Prune before training by synaptic flow, a little at a time.

    Tanaka et al. (2020), Algorithm 1: every round keeps the same share of what is left,
    and scores again. As in the authors' code, in double precision: without
    normalisation, flows of deep networks exceed what float32 holds.
    """

    def masks(ticket: Member, wanted: Masks) -> Masks:
        flow = scores.synflow_shares(run.flow, run.scored(ticket).params)
        kept, total = masks_lib.count(wanted)
        masks = dense = jax.tree.map(jnp.ones_like, wanted)
        _check_flow(whole := flow(dense), dense)
        stacked = run.rule.stacked_in(wanted)
        for i in range(1, rounds):
            left = max(kept, int(total * (kept / total) ** (i / rounds)))
            share = Fraction(left, total)
            flows = whole if i == 1 else flow(masks)
            masks = prune.to_density(flows, masks, share, scope, stacked)
        found = flow(masks) if rounds > 1 else whole
        masks = prune.as_many(found, wanted, scope, stacked)
        settled(found, dense, masks, scope, stacked)
        return masks

    rounds = run.config.prune.rounds or _SYNFLOW_ROUNDS
    scope, sparse = run.config.prune.scope, _by_magnitude(run, tickets)
    return {t: run.rule.beside(m, partial(masks, t)) for t, m in sparse.items()}


def _check_flow(flows: Scores, masks: Masks) -> None:
    """Raise ScoreError where flows of masks are below 0, or a scale's are all 0."""
    of = dict(masks_lib.leaves(flows))
    for path, flow in ((path, of[path]) for path, _ in masks_lib.leaves(masks)):
        is_negative = bool(flow.min() < 0)
        if is_negative or (flow.ndim < 2 and not flow.any()):
            what = "negative" if is_negative else "0, as it is no part of the flow"
            raise prune.ScoreError(
                f"scores: SynFlow's are {what}, in {path}; it is of networks without "
                "LayerNorm, and of kernels"
            )


def _by_magnitude(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
    """Return masks of which only is looked at how many weights they keep."""
    return {t: run.shrink(t, scores.magnitude(run.previous(t).params)) for t in tickets}


def _flows(program: "Program", params: Params) -> None:
    with jax.enable_x64(True):
        jax.eval_shape(program.flow, params)


def _admm(run: "Run", tickets: list[Member]) -> dict[Member, Masks]:
    """Prune by magnitude what ADMM has drawn towards as few weights."""
    sparse = _by_magnitude(run, tickets)
    drawn = admm.draw(run, {t: run.rule.others(m) for t, m in sparse.items()})
    sizes = {t: scores.magnitude(network.params) for t, network in drawn.items()}
    return {t: run.rule.as_many(size, sparse[t]) for t, size in sizes.items()}


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
    "lamp": by_score(_lamp, at="end"),
    "random": by_score(_random, at="0"),  # it needs none
    "snip": by_score(_snip, at="0", passes=lambda batch: 3 * batch),
    "grasp": by_score(_grasp, at="0", passes=lambda batch: 9 * batch),
    "synflow": Method(
        synflow,
        at="0",
        rounds=_SYNFLOW_ROUNDS,
        passes=lambda batch: 3,  # of one example
        nested=False,
        check=_flows,
    ),
    "admm": Method(_admm, trainings=admm.trainings, nested=False),
}
