"""Fit: the one function that trains."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt32

from lth_jax import masks as masks_lib
from lth_jax.data import keys
from lth_jax.tasks.classification import cross_entropy
from lth_jax.train import processes
from lth_jax.train.devices import Layout
from lth_jax.train.state import Proximal, TrainState

Batch = dict[str, Array]

# Pauses come between calls: these have few steps first, and more while they are short.
_STEPS, _SECONDS = 16, 0.5


@runtime_checkable
class Feed(Protocol):
    """Where batches come from.

    Attributes:
        divided: its arrays are batches, of which every device holds its part alone;
            otherwise they are the same on all devices. Divided arrays are those of one
            member and one step.
    """

    divided: bool

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in which the data is seen once."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        ...

    def batch(
        self,
        arrays: PyTree,
        data_seed: UInt32[Array, ""],
        step: int | Int[Array, ""],
        part: int | Int[Array, ""] = 0,
        parts: int = 1,
    ) -> Batch:
        """Return the `part`-th of `parts` equal parts of a step's batch.

        Of divided arrays it returns the part that they are.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """What all trainings of a run have in common; compiled once.

    Attributes:
        model: network, called with images and train.
        optimizer: from learning rate and weight decay (both traced) to an optax one.
        schedule: learning rate of a step.
        feed: where batches come from.
        supply: from data seed and step to the feed's arrays for the call that starts
            there, on the devices of the layout.
        layout: how members lie on the devices.
        steps_per_call: most steps in one compiled call; 1 compiles no loop over steps.
        label_smoothing: mass that is spread over all classes.
        aux_weight: of the losses of auxiliary heads, whose logits come after the first.
        accumulate: number of microbatches, equal parts of a device's batch, whose
            gradients are averaged. Batch normalisation sees one at a time.
        unroll: compile no loop over microbatches.
    """

    model: nn.Module
    optimizer: Callable[..., optax.GradientTransformation]
    schedule: Callable[[int | Int[Array, ""]], Float[Array, ""]]
    feed: Feed
    supply: Callable[[int, int], PyTree]
    layout: Layout
    steps_per_call: int = 500
    label_smoothing: float = 0.0
    aux_weight: float = 0.4
    accumulate: int = 1
    unroll: bool = False

    @cached_property
    def advance(self) -> Callable[[TrainState, Any], tuple[TrainState, Array]]:
        """Map (states, (arrays, steps)) to (states, whether they are finite)."""
        return self.layout.spread(
            partial(advance, program=self),
            axes=(0 if self.feed.divided else None, None),
            donate=True,
        )

    @cached_property
    def flow(self) -> Callable[[PyTree, PyTree], Any]:
        """Map (parameters, batch statistics) to the logits for an image of ones."""
        return partial(flow, program=self)


def fit(
    members: Sequence[TrainState],
    stop: int,
    program: Program,
    progress: Callable[[int], object] = lambda steps: None,
    pause: Callable[[], bool] = lambda: False,
) -> list[TrainState]:
    """Train members to step `stop`.

    Members train in the groups of the layout, one group after another. Where a fit is
    cut into several makes no difference to the last bit.

    Args:
        members: states; those of a group are at the same step. They are not changed.
        stop: step at which to stop, the number of steps taken since step 0.
        program: what and how to train.
        progress: called with the number of steps done, summed over members.
        pause: called between compiled calls, and gives one answer in all processes;
            where it returns True, members are returned as they are: groups at `stop`,
            on their way, or not begun.

    Returns:
        The members at `stop`, if there was no pause. One whose loss is not finite any
        more stays at the step at which that was so first, while others go on.

    Raises:
        ValueError: members of a group are at different steps, or past `stop`.
    """
    trained: list[TrainState] = []
    for group in program.layout.groups(members):
        trained += _fit_group(group, len(members), stop, program, progress, pause)
    return trained


def _fit_group(
    group: Sequence[TrainState],
    fleet_size: int,
    stop: int,
    program: Program,
    progress: Callable[[int], object],
    pause: Callable[[], bool],
) -> Sequence[TrainState]:
    at = sorted({int(member.step) for member in group if np.isfinite(member.loss)})
    if len(at) > 1 or at[-1:] > [stop]:
        raise ValueError(f"fit: members at steps {at} cannot go to {stop} together")
    if at in ([], [stop]) or pause():
        return group
    (start,) = at
    states = program.layout.stack(group, of=fleet_size)
    data_seed = int(group[0].data_seed)  # only a feed of one member looks at it
    finite, step, since = np.array(True), start, time.monotonic()
    most = min(_STEPS, program.steps_per_call)
    while step < stop:
        steps = min(most, stop - step)
        arrays = program.supply(data_seed, step)
        # One call computes while the next is prepared, and no more: progress stays true
        # and memory bounded.
        going = bool(np.any(finite))
        if program.layout.axis is None:  # else all have the same loss
            going = processes.agree(going)
        states, finite = program.advance(states, (arrays, steps))
        step += steps
        progress(steps * len(group))
        if not going or pause():
            break
        before, since = since, time.monotonic()
        if most < program.steps_per_call:
            slow = processes.agree(since - before > _SECONDS)
            most = most if slow else min(2 * most, program.steps_per_call)
    return program.layout.unstack(states, len(group))


def advance(
    state: TrainState, part: Int[Array, ""] | int, shared: Any, *, program: Program
) -> tuple[TrainState, Bool[Array, ""]]:
    """Take some steps of one member on one device; also return whether it is finite.

    Args:
        state: the member.
        part: the device's part of the batch.
        shared: (the feed's arrays, number of steps); with `steps_per_call` 1 the number
            is 1.
        program: what and how to train.
    """
    arrays, steps = shared
    state = dataclasses.replace(
        state, params=masks_lib.apply(state.params, state.masks)
    )

    def one(_: Array | int, state: TrainState) -> TrainState:
        batch = program.feed.batch(
            arrays, state.data_seed, state.step, part, program.layout.parts
        )
        return train_step(state, batch, part, program=program)

    if program.steps_per_call == 1:
        state = one(0, state)
    else:
        state = lax.fori_loop(0, steps, one, state)
    return state, jnp.isfinite(state.loss)


def train_step(
    state: TrainState,
    batch: Batch,
    part: int | Int[Array, ""] = 0,
    *,
    program: Program,
) -> TrainState:
    """Take one step of one member on its batch, or on the `part`-th part of it.

    Gradients, loss and batch statistics are averaged over the devices that share the
    batch. A weight whose mask is False, its gradient and its moments stay exactly 0.
    Where the loss is not finite, the step does not count: nor does any later one.
    """
    loss, grads, batch_stats = gradients(state, batch, part, program)
    if program.layout.axis is not None:
        loss, grads, batch_stats = lax.pmean(
            (loss, grads, batch_stats), program.layout.axis
        )
    if state.proximal is not None:
        grads = _attracted(grads, state, state.proximal)
        grads = masks_lib.apply(grads, state.masks)
    learning_rate = program.schedule(state.step) * state.learning_rate
    optimizer = program.optimizer(learning_rate, state.weight_decay)
    changes, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, changes)
    total = state.loss + loss
    return dataclasses.replace(
        state,
        step=state.step + jnp.isfinite(total),
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        loss=total,
    )


def gradients(
    state: TrainState, batch: Batch, part: int | Int[Array, ""], program: Program
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Return a batch's mean loss, its gradients and the batch statistics after it.

    Gradients are 0 where a weight is pruned, as if masks were multiplied in here: since
    such weights are 0 already, that would only be a copy of all weights.
    """
    graded = jax.value_and_grad(batch_loss, has_aux=True)

    def add(totals: Any, numbered: tuple[Int[Array, ""], Batch]) -> tuple[Any, None]:
        number, microbatch = numbered
        loss, grads, batch_stats = totals
        (new_loss, updates), new_grads = graded(
            state.params,
            dataclasses.replace(state, batch_stats=batch_stats),
            microbatch,
            program,
            part=part * program.accumulate + number,
        )
        grads = jax.tree.map(jnp.add, grads, new_grads)
        return (loss + new_loss, grads, updates.get("batch_stats", {})), None

    number = program.accumulate
    microbatches = jax.tree.map(lambda x: x.reshape(number, -1, *x.shape[1:]), batch)
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    totals = (jnp.float32(0), zeros, state.batch_stats)
    numbered = (jnp.arange(number), microbatches)
    if program.unroll or number == 1:  # a scan of one would be a loop
        for i in range(number):
            totals, _ = add(totals, jax.tree.map(lambda x, i=i: x[i], numbered))
    else:
        totals, _ = lax.scan(add, totals, numbered)
    loss, grads, batch_stats = totals
    grads = masks_lib.apply(grads, state.masks)
    return loss / number, jax.tree.map(lambda g: g / number, grads), batch_stats


def batch_loss(
    params: PyTree,
    state: TrainState,
    batch: Batch,
    program: Program,
    *,
    part: int | Int[Array, ""] = 0,
    temperature: float = 1.0,
) -> tuple[Float[Array, ""], PyTree]:
    """Return a batch's mean loss in training mode, and what it changes in the state.

    Args:
        params: parameters, 0 where the member's masks are False.
        state: the member, whose own parameters are not looked at.
        batch: images and labels.
        program: what and how to train.
        part: the number of the batch among those that make a step: each has its own
            dropout.
        temperature: that logits are divided by.
    """
    step_key = keys.derive(state.data_seed, keys.DROPOUT, state.step)
    logits, updates = program.model.apply(
        {
            "params": params,
            "batch_stats": state.batch_stats,
        },
        batch["image"],
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.fold_in(step_key, part)},
    )
    loss, *auxiliary = (
        cross_entropy(head / temperature, batch["label"], program.label_smoothing)
        for head in jax.tree.leaves(logits)
    )
    return loss + program.aux_weight * sum(auxiliary), updates


def next_loss(
    state: TrainState, temperature: float = 1.0, *, program: Program
) -> Callable[[PyTree], Float[Array, ""]]:
    """Return the loss on a state's next batch, as a function of the parameters."""
    if program.layout.axis is not None:  # the whole batch is here
        alone = program.model.clone(axis_name=None)
        program = dataclasses.replace(program, model=alone)
    arrays = program.supply(int(state.data_seed), int(state.step))
    batch = program.feed.batch(arrays, state.data_seed, state.step)
    batch = jax.device_put(batch, program.layout.local[0])
    return lambda params: batch_loss(
        params, state, batch, program, temperature=temperature
    )[0]


def flow(params: PyTree, batch_stats: PyTree, *, program: Program) -> Any:
    """Return the logits for an image of ones, normalised by the statistics given."""
    ones = jnp.ones((1, *program.feed.shape))
    variables = {"params": params, "batch_stats": batch_stats}
    return program.model.apply(variables, ones, train=False)


def _attracted(grads: PyTree, state: TrainState, proximal: Proximal) -> PyTree:
    """Add the gradient of the proximal term, which only prunable weights feel."""
    return jax.tree.map(
        lambda g, m, w, z, u: g if m is None else g + proximal.strength * (w - z + u),
        grads,
        state.masks,
        state.params,
        proximal.target,
        proximal.dual,
    )
