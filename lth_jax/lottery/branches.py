"""Branches: the controlled variations that are trained from a level's masks.

A branch is only a choice of start state and masks, and of how long it trains.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from lth_jax import prune, rewind
from lth_jax.masks import Masks
from lth_jax.train.state import TrainState


@dataclass(frozen=True)
class Origin:
    """What a branch may start from.

    Attributes:
        dense: the dense, unmasked state after 0, `rewind_step` or `length` steps.
        rewind_step: k.
        length: steps of a full training.
        fresh: parts that are as at step 0 when the rest is rewound to k.
        initialise: a state at step 0, from a key.
        masks: the level's masks.
        others: the masks of the same level, seed and weight decay at the run's other
            learning rates.
        trained: what the level's ticket came to, for branches that come `after` it.
        key: for the branch's own draws.
    """

    dense: Callable[[int], TrainState]
    rewind_step: int
    length: int
    fresh: tuple[str, ...]
    initialise: Callable[[Key[Array, ""]], TrainState]
    masks: Masks
    others: tuple[Masks, ...]
    trained: TrainState | None
    key: Key[Array, ""]

    @property
    def rewound(self) -> TrainState:
        """The rewind state, W_k."""
        fresh = {part: getattr(self.dense(0), part) for part in self.fresh}
        return replace(self.dense(self.rewind_step), **fresh)

    @property
    def restarted(self) -> TrainState:
        """The trained dense network, with the optimizer and the step of the start."""
        start = self.dense(0)
        final = self.dense(self.length)
        return replace(final, opt_state=start.opt_state, step=start.step)


@dataclass(frozen=True)
class Branch:
    """A way to train from a level's masks.

    Attributes:
        start: chooses the start state, already under its masks.
        lengths: the step at which it stops, in full trainings.
        after: it starts from the level's trained ticket.
        across: it needs the masks of another learning rate.
        again: it trains weights that were trained before, in a data order of its own.
        copies_from: the first copy that is not the dense network itself.
    """

    start: Callable[[Origin], TrainState]
    lengths: int = 1
    after: bool = False
    across: bool = False
    again: bool = False
    copies_from: int = 0


def ticket(origin: Origin) -> TrainState:
    """Start the rewind state under the masks."""
    return rewind.to(origin.rewound, origin.masks)


def random_reinit(origin: Origin) -> TrainState:
    """Start new weights under the masks, for as many steps as the ticket."""
    fresh = origin.initialise(origin.key)
    return rewind.reinit(origin.rewound, fresh, origin.masks)


def shuffled_mask(origin: Origin) -> TrainState:
    """Start the rewind state under random masks with the ticket's layer densities."""
    return rewind.to(origin.rewound, prune.shuffle(origin.key, origin.masks))


def random_mask(origin: Origin) -> TrainState:
    """Start the rewind state under random masks with the ticket's global density."""
    masks = prune.shuffle(origin.key, origin.masks, "global")
    return rewind.to(origin.rewound, masks)


def rewind_0(origin: Origin) -> TrainState:
    """Start the dense network's initial state under the masks, from step 0."""
    return rewind.to(origin.dense(0), origin.masks)


def fine_tune(origin: Origin) -> TrainState:
    """Start the trained dense weights under the masks, the whole schedule again.

    Pruning & fine-tuning of Liu et al. (2021), Section 3.
    """
    return rewind.to(origin.restarted, origin.masks)


def fine_tune_small(origin: Origin) -> TrainState:
    """Start the trained dense weights under the masks, at the final learning rate.

    Fine-tuning of Renda et al. (2020), Section 2, for as long as a full training.
    """
    return rewind.to(origin.dense(origin.length), origin.masks)


def long(origin: Origin) -> TrainState:
    """Start the trained ticket, to train the whole schedule again.

    It gets as many steps in all as fine-tuned weights do.
    """
    assert origin.trained is not None, "this branch comes after the ticket"
    start = origin.dense(0)
    return replace(origin.trained, opt_state=start.opt_state, step=start.step)


def cross_lr(origin: Origin) -> TrainState:
    """Start the rewind state under the masks of the other learning rate."""
    return rewind.to(origin.rewound, origin.others[0])


def dense(origin: Origin) -> TrainState:
    """Start the rewind state without masks."""
    return origin.rewound


BRANCHES: dict[str, Branch] = {
    "dense": Branch(dense, copies_from=1),
    "ticket": Branch(ticket),
    "random_reinit": Branch(random_reinit),
    "shuffled_mask": Branch(shuffled_mask),
    "random_mask": Branch(random_mask),
    "rewind_0": Branch(rewind_0),
    "fine_tune": Branch(fine_tune, again=True),
    "fine_tune_small": Branch(fine_tune_small, lengths=2, again=True),
    "long": Branch(long, after=True, again=True),
    "cross_lr": Branch(cross_lr, across=True),
}


@functools.cache
def steps(
    name: str,
    rewind_step: int,
    length: int,
    fresh: tuple[str, ...] = (),
    sparse: bool = True,
) -> tuple[int, int]:
    """Return the steps that a branch takes, and those that its weights had before.

    Tried out on a network of one weight, which counts its steps.

    Args:
        name: of the branch.
        rewind_step: k.
        length: steps of a full training.
        fresh: as in `Origin`.
        sparse: what comes after a ticket comes after one that was rewound to step k;
            else after the dense network.

    Example:
        >>> steps("ticket", 500, 30_000), steps("fine_tune", 500, 30_000)
        ((29500, 500), (30000, 30000))
    """

    def at(step: int) -> TrainState:
        return TrainState(
            step=jnp.int32(step),
            params={"w": jnp.full((1, 1), float(step))},
            batch_stats={},
            opt_state=(),
            masks={"w": jnp.ones((1, 1), bool)},
            data_seed=jnp.uint32(0),
            learning_rate=jnp.float32(1),
            weight_decay=None,
            loss=jnp.float32(0),
            loss_from=jnp.int32(0),
        )

    trained = None
    if BRANCHES[name].after:
        ticket = steps("ticket", rewind_step, length, fresh)
        trained = at(sum(ticket) if sparse else length)
    origin = Origin(
        dense=at,
        rewind_step=rewind_step,
        length=length,
        fresh=fresh,
        initialise=lambda key: at(0),
        masks=at(0).masks,
        others=(at(0).masks,),
        trained=trained,
        key=jax.random.key(0),
    )
    branch = BRANCHES[name]
    start = branch.start(origin)
    return branch.lengths * length - int(start.step), int(start.params["w"][0, 0])
