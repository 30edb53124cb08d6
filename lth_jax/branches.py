"""Branches: the controlled variations that are trained from a level's masks.

A branch is only a choice of start state and masks.
"""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array, Key

from lth_jax import prune, rewind
from lth_jax.masks import Masks
from lth_jax.state import TrainState


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a branch may start from.

    Attributes:
        dense: the dense, unmasked state after 0, `rewind_step` or `length` steps.
        rewind_step: k.
        length: steps of a full training.
        fresh: parts that are as at step 0 when the rest is rewound to k.
        initialise: a state at step 0, from a key.
        masks: the level's masks.
        key: for the branch's own draws.
    """

    dense: Callable[[int], TrainState]
    rewind_step: int
    length: int
    fresh: tuple[str, ...]
    initialise: Callable[[Key[Array, ""]], TrainState]
    masks: Masks
    key: Key[Array, ""]

    @property
    def rewound(self) -> TrainState:
        """The rewind state, W_k."""
        initial = self.dense(0)
        return dataclasses.replace(
            self.dense(self.rewind_step),
            **{part: getattr(initial, part) for part in self.fresh},
        )


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


def rewind_0(origin: Origin) -> TrainState:
    """Start the dense network's initial state under the masks, from step 0."""
    return rewind.to(origin.dense(0), origin.masks)


BRANCHES: dict[str, Callable[[Origin], TrainState]] = {
    "ticket": ticket,
    "random_reinit": random_reinit,
    "shuffled_mask": shuffled_mask,
    "rewind_0": rewind_0,
}
