"""Branches: the controlled variations that are trained from a level's masks.

A branch is a row of a table: where its weights come from, where its clock starts, whose
masks it has; and at most a function of the state.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
from jaxtyping import Array, Key

from lth_jax import ablate, rewind
from lth_jax import masks as masks_lib
from lth_jax.branch_masks import COUNTED, MASKS
from lth_jax.given import GIVEN
from lth_jax.masks import Masks, Params
from lth_jax.train import state as state_lib
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run


CLOCKS = ("k", "0", "end")
NEW = ("init", "given", "before")  # not of the dense network: they have other moments
WEIGHTS = (*CLOCKS, *NEW, "ticket")


@dataclass(frozen=True)
class Branch:
    """A way to train from a level's masks.

    What is "k" here is what the config says: with `rewind.fresh`, parts of it are as at
    step 0; with `rewind.weights` and `rewind.clock`, those "before" or at the "end".

    Attributes:
        weights: of the dense network after "k" steps (W_k), at step "0" or at the
            "end"; a new "init"ialisation; "given"; of the level's trained "ticket", or
            of that of the level "before". With them come the batch statistics.
        clock: of the dense network at "k", "0" or "end": the step, on which learning
            rate and data depend, and the moments (`rewind.clock` is of the step
            alone). New and given weights have new ones, those "before" keep theirs.
        masks: a key of MASKS.
        mover: a key of MOVERS: how masks move during training; "" if they do not.
        change: at last, from the start state and a key for its draws to another state:
            of weights that are not masked yet, while `state.masks` are there already.
        lengths: the step at which it stops, in full trainings; None for the share of
            them that is the level's density.
        stretched: its schedule takes as many times the steps.
        again: it trains weights that were trained before, in a data order of its own.
        first_copy: the first copy that is trained; of dense networks, copy 0 is there.
    """

    weights: str
    clock: str
    masks: str = "own"
    mover: str = ""
    change: Callable[[TrainState, Key[Array, ""]], TrainState] | None = None
    lengths: int | float | None = 1
    stretched: bool = False
    again: bool = False
    first_copy: int = 0

    @property
    def after(self) -> bool:
        """Whether it starts from the level's trained ticket."""
        return self.weights == "ticket"

    @property
    def from_dense(self) -> bool:
        """Whether it starts from weights that the dense network had, in its order."""
        trained = self.weights in CLOCKS and self.lengths == 1
        return trained and self.change is None and not self.again

    @property
    def once(self) -> bool:
        """Whether it is the same whatever the rewind step."""
        rewound = {self.weights, self.clock} & {"k", "ticket", "before"}
        return not rewound and self.masks in COUNTED

    @property
    def has_course(self) -> bool:
        """Whether its states have a `course`."""
        return bool(self.mover) or self.stretched


def _changed(
    change: Callable[[Key[Array, ""], Params, Masks], Params],
) -> Callable[[TrainState, Key[Array, ""]], TrainState]:
    """Return a change of a state's weights, from a key and the masks, too."""
    return lambda state, key: replace(
        state, params=change(key, state.params, state.masks)
    )


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
    # Sparse from the start, under random masks, of which the last two move: sparse
    # evolutionary training (Mocanu et al., 2018), and RigL (Evci et al., 2020).
    "uniform_mask": Branch("0", "0", masks="uniform"),
    "erk_mask": Branch("0", "0", masks="erk"),
    "table_mask": Branch("0", "0", masks="table"),
    "set": Branch("0", "0", masks="erk", mover="set"),
    "rigl": Branch("0", "0", masks="erk", mover="rigl"),
    "rigl_3": Branch("0", "0", masks="erk", mover="rigl", lengths=3, stretched=True),
    # Gradual magnitude pruning (Zhu & Gupta, 2017).
    "gmp": Branch("0", "0", masks="none", mover="gmp"),
    # As many multiply-adds as training has with the level's share of the weights.
    "dense_equal_bill": Branch("0", "0", masks="none", lengths=None, stretched=True),
    # What of masks matters: Frankle et al. (2021), Section 5, and other replicates'.
    "inverted_mask": Branch("k", "k", masks="inverted"),
    "sibling_mask": Branch("k", "k", masks="sibling"),
    "transported": Branch("k", "k", masks="transported"),
    "union_mask": Branch("k", "k", masks="union"),
    "intersection_mask": Branch("k", "k", masks="intersection"),
    # What of W_k matters: Zhou et al. (2019), Section 4; Frankle et al. (2020b).
    "signs": Branch("k", "k", change=_changed(ablate.signs)),
    "magnitudes": Branch("k", "k", change=_changed(ablate.magnitudes)),
    "permuted": Branch("k", "k", change=_changed(ablate.permuted)),
    "noise_0.5": Branch("k", "k", change=_changed(partial(ablate.noise, share=0.5))),
    "noise_1": Branch("k", "k", change=_changed(partial(ablate.noise, share=1.0))),
    "noise_2": Branch("k", "k", change=_changed(partial(ablate.noise, share=2.0))),
    # What masks from elsewhere are worth: the trials of `judge`.
    "given": Branch("given", "k", masks="given"),
    "given_reinit": Branch("init", "k", masks="given"),
    "given_shuffled": Branch("given", "k", masks="given_shuffled"),
    "given_random": Branch("given", "k", masks="given_random"),
    "given_sibling": Branch("given", "k", masks="given_sibling"),
}


def origins(branch: Branch, level: int, rewind: Any) -> dict[str, str]:
    """Return of which state each part of a branch's start is, by `config.rewind`.

    Of WEIGHTS: what is of W_k at level 0 may be of others at those that follow.
    """
    weights, clock = branch.weights, branch.clock
    if level and weights == "k" and rewind.weights == "trained":
        weights = "before"
    moments = weights if weights in NEW else clock
    if level and clock == "k":
        clock = rewind.clock
    parts = {"params": weights, "batch_stats": weights, "opt_state": moments}
    return {
        part: "0" if origin in ("k", "before") and part in rewind.fresh else origin
        for part, origin in (parts | {"step": clock}).items()
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
    if branch.masks not in ("own", "given"):  # weights are drawn by themselves
        key = jax.random.fold_in(key, 2**31)
    sources: dict[str, Callable[[], Any]] = {
        "k": lambda: run.dense(member, member.rewind_step),
        "0": lambda: run.dense(member, 0),
        "end": lambda: run.dense(member, run.plan.length),
        "init": functools.cache(lambda: run.initial(member, key)),
        "given": functools.cache(lambda: _given(run, member)),
        "ticket": lambda: run.trained(ticket),
        "before": lambda: run.previous(ticket),
    }
    parts = {
        part: getattr(sources[origin](), part)
        for part, origin in origins(branch, ticket.level, run.config.rewind).items()
    }
    begun = replace(run.dense(member, 0), **parts, masks=masks)
    if branch.change:
        begun = replace(branch.change(begun, key), step=begun.step)
    begun = rewind.to(begun, masks)
    if begun.average is not None:
        begun = state_lib.with_average(begun)
    if not branch.has_course:
        return begun
    goal = masks_lib.kept(run.rule.others(run.masks(ticket)))
    lengths = run.plan.lengths(branch, ticket.level)
    return state_lib.on_course(begun, goal, lengths if branch.stretched else 1)


def _given(run: "Run", member: Member) -> TrainState:
    """Return a dense state of given weights, at step 0; where there are none, W_k."""
    found, own = GIVEN[run.config.given], run.dense(member, member.rewind_step)
    params = found.whole(member.replicate, own.params)
    stats = found.of(member.replicate, "batch_stats")
    if params is None:
        return own
    begun = replace(run.dense(member, 0), params=params)
    return begun if stats is None else replace(begun, batch_stats=stats)
