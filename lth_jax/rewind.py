"""Rewind: where a masked network starts again.

A state is any dataclass pytree with the fields `params`, `opt_state` and `step` (as
`train.state.TrainState`); `to` also takes bare parameters, or any pytree that holds
them. States are never changed: each function returns a new one.
"""

import dataclasses
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks

State = TypeVar("State", bound=PyTree)


@jax.jit
def to(state: State, masks: Masks) -> State:
    """Return a dense state under `masks`: the ticket, where `state` is W_k.

    Every part of the state that is shaped like the masks is put under them: the
    parameters, the optimizer's moments, and the state's own masks if it has some. Step,
    batch statistics and seeds stay as they are. Frankle et al. (2019), Algorithm 1,
    step 6. Raises ValueError if nothing in `state` is shaped like the masks.

    >>> to({"w": jnp.array([[1.0, 2.0]])}, {"w": jnp.array([[True, False]])})
    {'w': Array([[1., 0.]], dtype=float32)}
    """
    fits = partial(_fits, masks=masks)
    if not any(map(fits, jax.tree.leaves(state, is_leaf=fits))):
        raise ValueError("rewind: nothing in the state is shaped like the masks")

    def one(tree):
        return masks_lib.apply(tree, masks) if fits(tree) else tree

    return jax.tree.map(one, state, is_leaf=fits)


def reinit(state: State, fresh: State, masks: Masks) -> State:
    """Return newly initialised weights under `masks`, at the step of `state`.

    The control "random reinitialisation": the ticket's structure without its weights.
    It trains for as many steps as the ticket, on the same part of the schedule. `fresh`
    is a state of the same network from another seed, at step 0.

    >>> State = dataclasses.make_dataclass("State", ["params", "step"])
    >>> _ = jax.tree_util.register_dataclass(State, ["params", "step"], [])
    >>> rewound = State({"w": jnp.array([1.0, 2.0])}, step=jnp.int32(500))
    >>> fresh = State({"w": jnp.array([3.0, 4.0])}, step=jnp.int32(0))
    >>> start = reinit(rewound, fresh, {"w": jnp.array([True, False])})
    >>> start.params, int(start.step)
    ({'w': Array([3., 0.], dtype=float32)}, 500)
    """
    return to(dataclasses.replace(fresh, step=state.step), masks)


def learning_rate(final: State, masks: Masks, step: int | Int[Array, ""] = 0) -> State:
    """Return the trained weights under `masks`, with only the schedule rewound.

    Learning-rate rewinding (Renda et al., 2020, Section 2): weights, batch statistics
    and moments of the trained, dense state; learning rate and data order from `step`.

    >>> State = dataclasses.make_dataclass("State", ["params", "step"])
    >>> _ = jax.tree_util.register_dataclass(State, ["params", "step"], [])
    >>> final = State({"w": jnp.array([1.0, 2.0])}, step=jnp.int32(500))
    >>> start = learning_rate(final, {"w": jnp.array([True, False])}, step=100)
    >>> start.params, int(start.step)
    ({'w': Array([1., 0.], dtype=float32)}, 100)
    """
    step = jnp.asarray(step, final.step.dtype)
    return to(dataclasses.replace(final, step=step), masks)


def _fits(tree: PyTree, masks: Masks) -> bool:
    flat = partial(jax.tree.flatten, is_leaf=lambda x: x is None)
    (ws, structure), (ms, wanted) = flat(tree), flat(masks)
    return structure == wanted and all(
        m is None or jnp.shape(w) == m.shape for w, m in zip(ws, ms)
    )
