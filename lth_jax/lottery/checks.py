"""Checks: whether what a config names is known, and can be."""

from typing import TYPE_CHECKING

import jax
from ml_collections import ConfigDict

from lth_jax import given, scores
from lth_jax import masks as masks_lib
from lth_jax.branch_masks import FROM_ELSEWHERE, MASKS, PAIRED
from lth_jax.branches import BRANCHES, CLOCKS, WEIGHTS, Branch
from lth_jax.config.fields import field, known
from lth_jax.errors import ConfigError
from lth_jax.given import GIVEN
from lth_jax.movers import MOVERS
from lth_jax.train import moves
from lth_jax.train import state as state_lib
from lth_jax.train.state import TrainState

if TYPE_CHECKING:
    from lth_jax.lottery.methods import Method
    from lth_jax.lottery.plan import Plan


def check(config: ConfigDict, method: "Method") -> None:
    """Raise ConfigError unless branches are known, and can be."""
    sparse = [name for name, branch in BRANCHES.items() if not branch.first_copy]
    unmasked = [n for n, b in BRANCHES.items() if _is_dense(b)]
    for name in config.branches:
        known("branches", name, sparse)
    for name in config.dense_branches:
        known("dense_branches", name, unmasked)
    for name in config.copied_branches:
        known("copied_branches", name, (*config.branches, *config.dense_branches))
    for name in (*config.branches, *config.dense_branches):
        branch = BRANCHES[name]
        known(f"branches: weights of {name!r}", branch.weights, WEIGHTS)
        known(f"branches: clock of {name!r}", branch.clock, CLOCKS)
        known(f"branches: masks of {name!r}", branch.masks, MASKS)
        known(f"branches: mover of {name!r}", branch.mover, ("", *MOVERS))
        needs = {
            "two sweep.learning_rate": len(config.sweep.learning_rate) != 2
            and branch.masks == "other_rate",
            "two replicates": config.replicates < 2 and branch.masks in PAIRED,
            "prune.table": not config.prune.table and branch.masks == "table",
            "masks that are given (lottery.run(given=...), or judge)": not config.given
            and {branch.weights, branch.masks} & {*FROM_ELSEWHERE},
            "a prune.method of scores": not method.score and branch.masks == "inverted",
            "rewind.weights 'k', or prune.schedule 'one_shot': trained weights are 0 "
            "outside of the ticket's masks": config.rewind.weights == "trained"
            and config.prune.schedule == "iterative"
            and "params" not in config.rewind.fresh
            and max(config.branch_levels or (2,)) > 1
            and branch.weights == "k"
            and branch.masks not in ("own", "none"),
            "prune.scope 'global' or 'layer'": ":" in config.prune.scope
            and branch.masks == "transported",
        }
        for need in (need for need, is_missing in needs.items() if is_missing):
            raise ConfigError(f"config.branches: {name!r} needs {need}")
    if ":" in config.prune.scope and (not method.score or config.prune.rounds > 1):
        raise ConfigError(
            f"config.prune.scope: {config.prune.method!r} needs 'global' or 'layer'; "
            f"{config.prune.scope!r} is of methods that score once"
        )
    for name in ("at", "rounds"):
        if config.prune[name] and not method.at:
            raise ConfigError(
                f"config.prune.{name}: {config.prune.method!r} has its own; leave it "
                "out"
            )
    if "step" in config.rewind.fresh and config.rewind.clock == "end":
        raise ConfigError(
            "config.rewind.fresh: 'step' starts the schedule again, and "
            "config.rewind.clock 'end' stays at its last rate: leave one out"
        )
    if "ticket" not in config.branches:
        raise ConfigError("config.branches: 'ticket' is what is pruned, add it")


def check_shapes(plan: "Plan", like: TrainState) -> None:
    """Raise ConfigError for scopes and movers that layers of these shapes do not fit.

    Args:
        plan: of a run.
        like: the shapes of its networks.
    """
    if name := plan.config.given:
        if name not in GIVEN:
            raise ConfigError(f"config.given: {name!r} is not here: give it again")
        with field("given"):
            given.check(GIVEN[name], like.params, like.batch_stats)
    if not plan.levels:
        return
    rule = plan.rule(1)
    if rule.block:
        with field("prune.scope"):
            size = jax.eval_shape(scores.magnitude, like.params)
            jax.eval_shape(rule.shrink, size, like.masks)

    def begun(state: TrainState) -> TrainState:
        return state_lib.on_course(state, masks_lib.kept(rule.others(state.masks)), 1)

    moving = jax.eval_shape(begun, like)
    for mover in {BRANCHES[name].mover for name in plan.config.branches} - {""}:
        with field(f"branches: mover {mover!r}", Exception):
            moves.looks_at_gradient(MOVERS[mover], moving)


def _is_dense(branch: Branch) -> bool:
    """Return whether a branch may start from dense networks, at level 0."""
    trains = branch.masks == "none" and not branch.mover and branch.lengths
    return bool(trains or branch.after)
