"""Step: what one training step of one member on one device does."""

import dataclasses
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt32

from lth_jax import masks as masks_lib
from lth_jax.data import keys
from lth_jax.devices import processes
from lth_jax.models.classifier import Classifier, without_norm
from lth_jax.models.network import Network, over, with_fields
from lth_jax.tasks.task import Batch, Task
from lth_jax.train.state import Proximal, TrainState

if TYPE_CHECKING:
    from lth_jax.devices.layout import Layout, Spread

State = TypeVar("State", bound=PyTree)


@runtime_checkable
class Feed(Protocol):
    """Where batches come from: a pure function of data seed and step."""

    # Arrays are the batch of one member and step, of which every device holds its part
    # alone; otherwise they are the same on all devices, for all members and steps.
    divided: bool

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def example(self) -> PyTree: ...  # shapes and types of one example's inputs

    def batch(
        self,
        arrays: PyTree,
        data_seed: UInt32[Array, ""],
        step: int | Int[Array, ""],
        part: int | Int[Array, ""] = 0,
        parts: int = 1,
    ) -> Batch:
        """Return the `part`-th of `parts` equal parts of a step's batch."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """What all trainings of a run have in common; compiled once."""

    network: Network
    task: Task
    optimizer: Callable[..., optax.GradientTransformation]  # of rate and weight decay
    schedule: Callable[[int | Int[Array, ""]], Float[Array, ""]]  # rate of a step
    feed: Feed
    # From data seed and step to the feed's arrays for the call that starts there.
    supply: Callable[[int, int], PyTree]
    layout: "Layout"
    steps_per_call: int = 500  # at most; 1 compiles no loop over steps
    # Microbatches: equal parts of a device's batch, whose gradients are averaged, and
    # which batch normalisation sees one at a time.
    accumulate: int = 1
    unroll: bool = False  # compile no loop over microbatches
    average: float = 0.0  # what moving averages keep at a step, where a state has some
    # From an optimizer and masks to one that leaves pruned weights and moments at 0,
    # where the optimizer alone would not.
    guard: Callable[..., optax.GradientTransformation] | None = None

    @cached_property
    def advance(self) -> "Spread":
        """Map (states, (arrays, steps)) to (states, whether they are finite)."""
        return self.spread(advance)

    @cached_property
    def spread(self) -> "Callable[[Callable[..., Any]], Spread]":
        """Map a function to a program of (states, (arrays, others)), compiled once.

        Of (state, part, (arrays, others), program), on one device and member.
        """
        axes, of = (0 if self.feed.divided else None, None), self.layout.spread
        return cache(lambda fn: of(partial(fn, program=self), axes=axes, donate=True))

    @cached_property
    def flow(self) -> Callable[[PyTree], Any]:
        """Map parameters to what flows from inputs to outputs, as `flow`."""
        return partial(flow, program=self)


def advance(
    state: TrainState, part: Int[Array, ""] | int, shared: Any, *, program: Program
) -> tuple[TrainState, Bool[Array, ""]]:
    """Take some steps of one member on one device; also return whether it is finite.

    `part` is the device's part of the batch, `shared` the feed's arrays and the number
    of steps, which is 1 if `steps_per_call` is.
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
    if state.proximal is not None:
        grads = _attracted(grads, state, state.proximal)
    # As if masks were multiplied into weights, which are 0 there already.
    grads = masks_lib.apply(grads, state.masks)
    at = state.step
    if state.course is not None:
        at = (at / state.course.stretch).astype(at.dtype)
    learning_rate = program.schedule(at) * state.learning_rate
    optimizer = program.optimizer(learning_rate, state.weight_decay)
    if program.guard is not None:
        optimizer = program.guard(optimizer, state.masks)
    changes, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, changes)
    total, average = state.loss + loss, None
    if state.average is not None:
        now = {"params": params, "batch_stats": batch_stats}
        keep = program.average
        average = jax.tree.map(
            lambda old, new: keep * old + (1 - keep) * new if is_float(new) else new,
            state.average,
            now,
        )
    return dataclasses.replace(
        state,
        step=state.step + jnp.isfinite(total),
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        loss=total,
        average=average,
    )


def gradients(
    state: TrainState, batch: Batch, part: int | Int[Array, ""], program: Program
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Return a batch's mean loss, its gradients and the batch statistics after it.

    Averaged over the devices that share the batch; gradients of pruned weights, too.
    """
    graded = jax.value_and_grad(batch_loss, has_aux=True)

    def add(totals: Any, numbered: tuple[Int[Array, ""], Batch]) -> tuple[Any, None]:
        number, microbatch = numbered
        loss, grads, batch_stats = totals
        (new_loss, batch_stats), new_grads = graded(
            state.params,
            dataclasses.replace(state, batch_stats=batch_stats),
            microbatch,
            program,
            part=part * program.accumulate + number,
        )
        grads = jax.tree.map(jnp.add, grads, new_grads)
        return (loss + new_loss, grads, batch_stats), None

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
    found = loss / number, jax.tree.map(lambda g: g / number, grads), batch_stats
    return averaged(found, program.layout.axis)


def batch_loss(
    params: PyTree,
    state: TrainState,
    batch: Batch,
    program: Program,
    *,
    part: int | Int[Array, ""] = 0,
    temperature: float = 1.0,
) -> tuple[Float[Array, ""], PyTree]:
    """Return a batch's mean loss in training mode, and the batch statistics after it.

    Of `params`, not the state's own; `part` is the batch's number among those that make
    a step, each of which has its own dropout; outputs are divided by `temperature`.
    """
    step_key = keys.derive(state.data_seed, keys.DROPOUT, state.step)
    outputs, batch_stats = program.network.apply(
        params,
        state.batch_stats,
        batch["inputs"],
        train=True,
        key=jax.random.fold_in(step_key, part),
    )
    if temperature != 1:
        outputs = jax.tree.map(lambda x: x / temperature, outputs)
    return program.task.losses(outputs, batch).mean(), batch_stats


def next_loss(
    state: TrainState, temperature: float = 1.0, *, program: Program
) -> Callable[[PyTree], Float[Array, ""]]:
    """Return the loss on a state's next batch, as a function of the parameters."""
    if program.layout.axis:  # the whole batch is here
        program = dataclasses.replace(program, network=over(program.network, None))
    # Arrays may be on more devices than the state is.
    seed, step = jax.device_get((state.data_seed, state.step))
    arrays = program.supply(int(seed), int(step))
    if program.feed.divided and processes.several():
        arrays = processes.gather(arrays)  # every process has its own part
    batch = program.feed.batch(arrays, seed, step)
    batch = jax.device_put(batch, program.layout.local[0])
    return lambda params: batch_loss(
        params, state, batch, program, temperature=temperature
    )[0]


def flow(params: PyTree, *, program: Program) -> Array:
    """Return what flows from inputs of equal numbers to the outputs, summed.

    That is inputs times their gradients: biases and positions are no inputs. In double
    precision, without batch normalisations (LayerNorm stays), of numbers so small that
    they saturate no activation. Raises ValueError outside of `jax.enable_x64`, and
    where inputs are integers, of which nothing is linear.
    """
    wide = jnp.zeros((), float)
    if wide.dtype != jnp.float64:
        raise ValueError("flow: needs double precision (jax.enable_x64)")
    network = program.network
    if isinstance(getattr(network, "module", None), Classifier):
        network = with_fields(network, norm=without_norm, dtype=wide.dtype)
    small = jnp.sqrt(jnp.finfo(wide.dtype).tiny)

    def equal(x: jax.ShapeDtypeStruct) -> Array:
        if not is_float(x):
            raise ValueError(f"flow: inputs are {x.dtype}, of which nothing is linear")
        return jnp.full((1, *x.shape), small, wide.dtype)

    apply = partial(network.apply, params, {}, train=False, key=None)
    inputs = jax.tree.map(equal, program.feed.example)
    return optax.tree.vdot(inputs, jax.grad(lambda x: apply(x)[0].sum())(inputs))


def averaged(tree: State, axis: str | None) -> State:
    """Return numbers averaged over an axis of devices, if there is one.

    What counts, as integers do, is the same on all.
    """
    if axis is None:
        return tree
    return jax.tree.map(lambda x: lax.pmean(x, axis) if is_float(x) else x, tree)


def is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


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
