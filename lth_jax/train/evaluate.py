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
from lth_jax.data import NO_LABEL, Passage, Split, normalise
from lth_jax.models import Network
from lth_jax.train.devices import Layout
from lth_jax.train.state import TrainState
from lth_jax.train.step import Program, batch_loss


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

        def add(
            i: Array, totals: tuple[Array, Array]
        ) -> tuple[Int[Array, ""], Float[Array, ""]]:
            right, loss = totals
            position = (i * self.layout.parts + part) * size + jnp.arange(size)
            index = jnp.minimum(position, len(self.split) - 1)
            batch = normalise(images[index], self.mean, self.std)
            counted = jnp.where(position < len(self.split), labels[index], NO_LABEL)
            hits, nats, _ = _score(self.model, state, batch, counted)
            return right + hits, loss + nats

        batches = -(-len(self.split) // (size * self.layout.parts))
        totals = lax.fori_loop(0, batches, add, (jnp.int32(0), jnp.float32(0)))
        return lax.psum(totals, self.layout.axis) if self.layout.axis else totals


@dataclasses.dataclass(frozen=True, eq=False)
class StreamEvaluator:
    """Evaluates members on a split that is read from disk, once for every member.

    Every example counts exactly once, but for those that are skipped as corrupt.

    Attributes:
        model: network, called with images and train.
        split: what is read.
        layout: "data": members are evaluated one after another.
    """

    model: Network
    split: Passage
    layout: Layout

    def __call__(self, members: Sequence[TrainState]) -> list[Evaluation]:
        """Return the evaluation of every member."""
        return [self._evaluate(member) for member in members]

    def _evaluate(self, member: TrainState) -> Evaluation:
        state = self.layout.stack([member], of=1)
        totals = (0, 0.0, 0)
        scores: Any = ()
        for parts in self.split.batches():
            # One batch computes while the next is decoded.
            totals = _sum(totals, scores)
            scores = self._program(state, self.layout.scatter(parts))
        right, loss, examples = _sum(totals, scores)
        return Evaluation(right / max(1, examples), loss / max(1, examples))

    @cached_property
    def _program(self) -> Callable[[Any, Any], tuple[Array, Array, Array]]:
        return self.layout.spread(self._tally, axes=0)

    def _tally(
        self, state: TrainState, part: Int[Array, ""] | int, arrays: dict[str, Array]
    ) -> tuple[Int[Array, ""], Float[Array, ""], Int[Array, ""]]:
        """Return `_score` of a batch, summed over the devices that have its parts."""
        del part  # the arrays are of one part
        images = normalise(arrays["image"], self.split.mean, self.split.std)
        scores = _score(self.model, state, images, arrays["label"])
        return lax.psum(scores, self.layout.axis)


def _sum(
    totals: tuple[int, float, int], scores: tuple[Array, Array, Array] | tuple[()]
) -> tuple[int, float, int]:
    if not scores:
        return totals
    right, loss, examples = jax.device_get(scores)
    return totals[0] + int(right), totals[1] + float(loss), totals[2] + int(examples)


def _score(
    model: Network,
    state: TrainState,
    images: Float[Array, "b h w c"],
    labels: Int[Array, " b"],
) -> tuple[Int[Array, ""], Float[Array, ""], Int[Array, ""]]:
    """Return right answers, summed loss and number of the examples with a label."""
    variables = {
        "params": masks_lib.apply(state.params, state.masks),
        "batch_stats": state.batch_stats,
    }
    logits: Any = model.apply(variables, images, train=False)
    counts = labels != NO_LABEL
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    hits = counts & (logits.argmax(-1) == labels)
    return hits.sum(), jnp.where(counts, losses, 0).sum(), counts.sum()


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
            data_seed = int(group[0].data_seed)
            for step in range(self.batches):
                arrays = self.program.supply(data_seed, step)
                states = self._run(states, (arrays, np.int32(step)))
            refreshed += layout.unstack(states, len(group))
        return refreshed

    @cached_property
    def _run(self) -> Callable[[TrainState, Any], TrainState]:
        axes = (0 if self.program.feed.divided else None, None)
        return self.program.layout.spread(self._refresh, axes=axes)

    def _refresh(
        self, state: TrainState, part: Int[Array, ""] | int, shared: Any
    ) -> TrainState:
        program = self.program
        arrays, step = shared
        batch = program.feed.batch(
            arrays, state.data_seed, step, part, program.layout.parts
        )
        _, updates = batch_loss(state.params, state, batch, program, part=part)
        stats = updates["batch_stats"]
        if program.layout.axis:
            stats = lax.pmean(stats, program.layout.axis)
        return dataclasses.replace(state, batch_stats=stats)
