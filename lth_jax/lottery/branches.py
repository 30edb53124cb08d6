"""Branches: the controlled variations that are trained from a level's masks.

A branch is a row of a table: where its weights come from, where its clock starts, whose
masks it has; and at most a function of the state.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jaxtyping import Array, Key

from lth_jax import prune, rewind
from lth_jax.masks import Masks
from lth_jax.train import state as state_lib
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run


CLOCKS = ("k", "0", "end")
WEIGHTS = (*CLOCKS, "init", "ticket")


@dataclass(frozen=True)
class Branch:
    """A way to train from a level's masks.

    With `rewind.fresh`, parts that come from "k" are as at step 0 instead.

    Attributes:
        weights: of the dense network after "k" steps (W_k), at step "0" or at the
            "end"; a new "init"ialisation; or of the level's trained "ticket". With them
            come the batch statistics.
        clock: of the dense network at "k", "0" or "end": the step, on which learning
            rate and data depend, and the moments. New weights have new moments.
        masks: a key of MASKS.
        change: at last, from the start state and a key for its draws to another state:
            of weights that are not masked yet, while `state.masks` are there already.
        lengths: the step at which it stops, in full trainings.
        again: it trains weights that were trained before, in a data order of its own.
        first_copy: the first copy that is trained; of dense networks, copy 0 is there.
    """

    weights: str
    clock: str
    masks: str = "own"
    change: Callable[[TrainState, Key[Array, ""]], TrainState] | None = None
    lengths: int = 1
    again: bool = False
    first_copy: int = 0

    @property
    def after(self) -> bool:
        """Whether it starts from the level's trained ticket."""
        return self.weights == "ticket"

    @property
    def from_dense(self) -> bool:
        """Whether it starts from weights that the dense network had, in its order."""
        trained = self.weights in CLOCKS
        return trained and self.change is None and not self.again


BRANCHES: dict[str, Branch] = {
    "dense": Branch("k", "k", masks="none", first_copy=1),
    "ticket": Branch("k", "k"),
    "random_reinit": Branch("init", "k"),
    "shuffled_mask": Branch("k", "k", masks="shuffled"),
    "random_mask": Branch("k", "k", masks="random"),
    "rewind_0": Branch("0", "0"),
    # Pruning & fine-tuning of Liu et al. (2021), Section 3: the whole schedule again.
    "fine_tune": Branch("end", "0", again=True),
    # Of Renda et al. (2020), Section 2: at the final rate, for a full training.
    "fine_tune_small": Branch("end", "end", lengths=2, again=True),
    # As many steps in all as fine-tuned weights had.
    "long": Branch("ticket", "0", again=True),
    "cross_lr": Branch("k", "k", masks="other_rate"),
}


def _other_rate(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks | None:
    """Return the masks of the same seed and decay at the other learning rate."""
    del key
    (rate,) = {*run.config.sweep.learning_rate} - {ticket.learning_rate}
    return run.masks(ticket._replace(learning_rate=rate))


def _shuffled(run: "Run", ticket: Member, key: Key[Array, ""]) -> Masks:
    """Return random masks that keep as many weights of every layer."""
    masks = run.masks(ticket)
    return prune.shuffle(key, masks, stacked=run.rule.stacked_in(masks))


# From a run, a ticket and a key to masks; None if those of a network that diverged.
MASKS: dict[str, Callable[["Run", Member, Key[Array, ""]], Masks | None]] = {
    "own": lambda run, ticket, key: run.masks(ticket),
    "none": lambda run, ticket, key: run.dense(ticket, 0).masks,
    "shuffled": _shuffled,
    "random": lambda run, ticket, key: run.rule.beside(
        run.masks(ticket), lambda masks: prune.shuffle(key, masks, "global")
    ),
    "other_rate": _other_rate,
}


def start(run: "Run", member: Member) -> TrainState | None:
    """Return the state from which a branch starts; None where that diverged.

    Frankle et al. (2019), Algorithm 1, step 6, for the ticket.
    """
    branch, ticket = BRANCHES[member.branch], member.ticket
    number = zlib.crc32(member.branch.encode())  # other branches change no draws
    key = run.key(ticket, state_lib.BRANCH, ticket.level, number)
    if run.masks(ticket) is None or branch.after and run.trained(ticket) is None:
        return None
    masks = MASKS[branch.masks](run, ticket, key)
    if masks is None:
        return None
    sources: dict[str, Callable[[], Any]] = {
        "k": lambda: run.dense(member, member.rewind_step),
        "0": lambda: run.dense(member, 0),
        "end": lambda: run.dense(member, run.plan.length),
        "init": functools.cache(lambda: run.initial(member, key)),
        "ticket": lambda: run.trained(ticket),
    }
    moments = "init" if branch.weights == "init" else branch.clock
    origins = {"params": branch.weights, "batch_stats": branch.weights}
    origins |= {"opt_state": moments, "step": branch.clock}
    fresh = run.config.rewind.fresh
    parts = {
        part: getattr(
            sources["0" if origin == "k" and part in fresh else origin](), part
        )
        for part, origin in origins.items()
    }
    begun = replace(run.dense(member, 0), **parts, masks=masks)
    if branch.change:
        begun = replace(branch.change(begun, key), step=begun.step)
    begun = rewind.to(begun, masks)
    return begun if begun.average is None else state_lib.with_average(begun)
