"""Evaluate: accuracy and loss of members on a whole split."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from lth_jax import masks as masks_lib
from lth_jax.data import Split, normalise
from lth_jax.fit import Program
from lth_jax.fleet import Layout
from lth_jax.models import Network
from lth_jax.state import TrainState


class Evaluation(NamedTuple):
    """What a network does on a split: fraction right, and mean loss in nats."""

    accuracy: float
    loss: float


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates members on a split that stays on the devices.

    Every example counts exactly once, whatever the batch size and number of devices.

    Attributes:
        model: network, called with images and train.
        split: images and labels.
        mean: of the training images, by channel, on the 0 to 1 scale.
        std: likewise.
        layout: how members lie on the devices.
        batch_size: examples at a time, over all devices that share them.
    """

    model: Network
    split: Split
    mean: np.ndarray
    std: np.ndarray
    layout: Layout
    batch_size: int = 1000

    def __call__(self, members: Sequence[TrainState]) -> list[Evaluation]:
        """Return the evaluation of every member."""
        evaluations: list[Evaluation] = []
        for group in self.layout.groups(members):
            states = self.layout.stack(group, of=len(members))
            totals = self._program(states, self._arrays)
            evaluations += [
                Evaluation(int(hits) / len(self.split), float(nats) / len(self.split))
                for hits, nats in self.layout.unstack(totals, len(group))
            ]
        return evaluations

    @cached_property
    def _arrays(self) -> Any:
        return self.layout.replicate((self.split.images, self.split.labels))

    @cached_property
    def _program(self) -> Callable[[Any, Any], tuple[Array, Array]]:
        return self.layout.spread(self._tally)

    def _tally(
        self, state: TrainState, part: Int[Array, ""] | int, arrays: tuple[Array, Array]
    ) -> tuple[Int[Array, ""], Float[Array, ""]]:
        """Return the number of right answers and the summed loss of one member."""
        images, labels = arrays
        size = -(-min(self.batch_size, len(self.split)) // self.layout.parts)
        variables = {
            "params": masks_lib.apply(state.params, state.masks),
            "batch_stats": state.batch_stats,
        }

        def add(
            i: Array, totals: tuple[Array, Array]
        ) -> tuple[Int[Array, ""], Float[Array, ""]]:
            right, loss = totals
            position = (i * self.layout.parts + part) * size + jnp.arange(size)
            counts = position < len(self.split)
            index = jnp.minimum(position, len(self.split) - 1)
            batch = normalise(images[index], self.mean, self.std)
            logits: Any = self.model.apply(variables, batch, train=False)
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, labels[index]
            )
            hits = counts & (logits.argmax(-1) == labels[index])
            return right + hits.sum(), loss + jnp.where(counts, losses, 0).sum()

        batches = -(-len(self.split) // (size * self.layout.parts))
        totals = lax.fori_loop(0, batches, add, (jnp.int32(0), jnp.float32(0)))
        return lax.psum(totals, self.layout.axis) if self.layout.axis else totals


@dataclasses.dataclass(frozen=True, eq=False)
class Refresher:
    """Recomputes batch statistics from training batches, with the weights as they are.

    Networks between two trained ones have statistics of their own. Members go through
    training batches in training mode; with the running averages' momentum of 0.9, what
    they had before counts for less than 1 % after 50 batches.

    Attributes:
        program: how members are trained.
        batches: number of training batches, each of a full training batch.
    """

    program: Program
    batches: int

    def __call__(self, members: Sequence[TrainState]) -> Sequence[TrainState]:
        """Return members with fresh batch statistics."""
        if not members[0].batch_stats:
            return members
        layout, refreshed = self.program.layout, []
        for group in layout.groups(members):
            states = layout.stack(group, of=len(members))
            states = self._run(states, self.program.arrays)
            refreshed += layout.unstack(states, len(group))
        return refreshed

    @cached_property
    def _run(self) -> Callable[[TrainState, Any], TrainState]:
        return self.program.layout.spread(self._refresh)

    def _refresh(
        self, state: TrainState, part: Int[Array, ""] | int, arrays: Any
    ) -> TrainState:
        program = self.program
        params = masks_lib.apply(state.params, state.masks)

        def one(step: Array, batch_stats: Any) -> Any:
            batch = program.feed.batch(
                arrays, state.data_seed, step, part, program.layout.parts
            )
            _, updates = program.model.apply(
                {"params": params, "batch_stats": batch_stats},
                batch["image"],
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return updates["batch_stats"]

        stats = lax.fori_loop(0, self.batches, one, state.batch_stats)
        if program.layout.axis:
            stats = lax.pmean(stats, program.layout.axis)
        return dataclasses.replace(state, batch_stats=stats)
