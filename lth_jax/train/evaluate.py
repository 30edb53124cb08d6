"""Evaluate: the metrics of members on a whole split."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, PyTree
from ml_collections import ConfigDict

from lth_jax import masks as masks_lib
from lth_jax.data.dataset import Split
from lth_jax.data.stream import Stream
from lth_jax.devices import memory
from lth_jax.devices.layout import Layout
from lth_jax.models.network import Network, with_fields
from lth_jax.tasks.task import Batch, Task, Totals, means, totals
from lth_jax.train.state import TrainState, evaluated
from lth_jax.train.step import Program, averaged, batch_loss

_FORGETS = 0.9  # the highest momentum with which statistics are recomputed
_BATCHES = 50  # fewest: of what was before, 0.5 % remain

Evaluation = dict[str, float]  # a network's metrics on a split, means over examples


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates members on a split, in memory or on disk.

    Every example counts exactly once, whatever the batch size and number of devices,
    but for those on disk that are skipped as corrupt. A split in memory stays on the
    devices; one on disk is read once for every member, in layout "data".
    """

    network: Network
    task: Task
    split: Split | Stream
    prepare: Callable[[PyTree], PyTree]  # inputs, for the network
    layout: Layout
    # Of a split in memory, over devices that share it and members that go at a time.
    batch_size: int = 1000

    def __call__(self, members: Sequence[TrainState]) -> list[Evaluation]:
        """Return the evaluation of every member."""
        evaluations: list[Evaluation] = []
        for group in self.layout.groups(members):
            states = self.layout.stack(group, of=len(members))
            each = self.layout.each(len(members))
            sums: Any = None
            for batch in self._totals(states, each):
                found = jax.device_get(self.layout.unstack(batch, len(group)))
                found = jax.tree.map(np.float64, found)
                sums = jax.tree.map(np.add, sums, found) if sums else found
            evaluations += map(means, sums)
        return evaluations

    def going(self, layout: Layout) -> "Evaluator":
        """Return one of another layout of the same devices, on which its arrays are."""
        other = dataclasses.replace(self, layout=layout)
        if "_resident" in vars(self):
            vars(other)["_resident"] = self._resident
        return other

    @property
    def size(self) -> int:
        """The bytes of a split in memory, which lies on every device."""
        if not isinstance(self.split, Split):
            return 0
        return memory.size((self.split.inputs, self.split.targets))

    def _totals(self, states: TrainState, each: int) -> Iterator[Totals]:
        if isinstance(self.split, Split):
            yield self._program(each)(states, self._resident)
            return
        totals = []
        for parts in self.split.in_order():
            # One batch computes while the next is decoded.
            yield from totals
            totals = [self._program(each)(states, self.layout.scatter(parts))]
        yield from totals

    @cached_property
    def _resident(self) -> Any:
        assert isinstance(self.split, Split)
        arrays = {"inputs": self.split.inputs, "targets": self.split.targets}
        return self.layout.replicate(arrays)

    @cached_property
    def _programs(self) -> dict[int, Callable[[Any, Any], Totals]]:
        return {}

    def _program(self, each: int) -> Callable[[Any, Any], Totals]:
        """Return the program for so many members of a device at a time."""
        if each not in self._programs:
            axes = None if isinstance(self.split, Split) else 0
            tally = partial(self._tally, each=each)
            self._programs[each] = self.layout.spread(tally, axes=axes)
        return self._programs[each]

    def _tally(
        self, state: TrainState, part: Int[Array, ""] | int, arrays: Batch, each: int
    ) -> Totals:
        """Measure one member on a split in memory, or on a batch from disk."""
        if isinstance(self.split, Split):
            total = self._tally_split(state, part, arrays, each)
        else:  # the arrays are one part
            total = self._tally_batch(state, arrays)
        return lax.psum(total, self.layout.axis) if self.layout.axis else total

    def _tally_split(
        self, state: TrainState, part: Int[Array, ""] | int, arrays: Batch, each: int
    ) -> Totals:
        parts, examples = self.layout.parts, len(self.split)
        size = -(-min(max(1, self.batch_size // each), examples) // parts)

        def tally(i: Array | int) -> Totals:
            position = (i * parts + part) * size + jnp.arange(size)
            index = jnp.minimum(position, examples - 1)
            batch = jax.tree.map(lambda x: x[index], arrays)
            return self._tally_batch(state, batch, position < examples)

        def add(i: Array, total: Totals) -> Totals:
            return jax.tree.map(jnp.add, total, tally(i))

        like = jax.eval_shape(tally, 0)
        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return lax.fori_loop(0, -(-examples // (size * parts)), add, zero)

    def _tally_batch(
        self, state: TrainState, batch: Batch, counts: Array | None = None
    ) -> Totals:
        state = evaluated(state)
        params = masks_lib.apply(state.params, state.masks)
        batch = batch | {"inputs": self.prepare(batch["inputs"])}
        outputs, _ = self.network.apply(
            params, state.batch_stats, batch["inputs"], train=False, key=None
        )
        return totals(self.task, outputs, batch, counts)


@dataclasses.dataclass(frozen=True, eq=False)
class Refresher:
    """Recomputes batch statistics from training batches, with the weights as they are.

    Networks between two trained ones have statistics of their own. Members go through
    training batches in training mode; with the running averages' momentum of 0.9, what
    they had before counts for less than 1 % after 50 batches. Or all batches count the
    same, and what was before nothing (PyTorch's `momentum=None`, but for the variances,
    which are those of a batch, not estimates for all).
    """

    program: Program  # how members are trained
    batches: int  # full training batches
    mean: bool = False  # all count the same: the model's momentum is 0

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
        _, stats = batch_loss(state.params, state, batch, program, part=part)
        if self.mean:
            stats = jax.tree.map(
                lambda old, new: (step * old + new) / (step + 1),
                state.batch_stats,
                stats,
            )
        stats = averaged(stats, program.layout.axis)
        return dataclasses.replace(state, batch_stats=stats)


def refresher(program: Program, config: ConfigDict) -> Refresher:
    """Return a program's `Refresher`, of a config's study, which forgets what was."""
    mean, few = config.study.batch_stats == "recompute_mean", config.study.examples
    most, batches = 0.0 if mean else _FORGETS, -(-few // config.data.batch_size)
    momentum = norm_momentum(program.network)
    if momentum is not None and momentum > most:
        quick = with_fields(program.network, norm_momentum=most)
        program = dataclasses.replace(program, network=quick)
    return Refresher(program, batches if mean else max(_BATCHES, batches), mean)


def norm_momentum(network: Network) -> float | None:
    """Return the share of batch statistics that a network's field says it keeps."""
    return getattr(network, "fields", {}).get("norm_momentum")
