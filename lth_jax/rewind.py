"""Rewind: where a masked network starts again.

A state is any dataclass pytree with the fields `params`, `opt_state` and `step` (as
`train.state.TrainState`); `to` also takes bare parameters, or any pytree that holds
them. States are never changed: each function returns a new one.
"""

import dataclasses
import math
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from lth_jax import masks as masks_lib
from lth_jax import scores
from lth_jax.masks import Masks

State = TypeVar("State", bound=PyTree)

_UNMASKABLE = {
    "GaLoreState": "has moments of sums of weights, which no mask fits: begin it anew",
    "COCOBState": "divides by its moments, which a mask makes 0: begin it anew",
}


def to(state: State, masks: Masks) -> State:
    """Return a dense state under `masks`: the ticket, where `state` is W_k.

    Every part of the state that is shaped like the masks is put under them: the
    parameters, the optimizer's moments, and the state's own masks if it has some. Step,
    batch statistics and seeds stay as they are. Frankle et al. (2019), Algorithm 1,
    step 6.

    A part may have holes (None, `optax.MaskedNode`): moments of some parameters. Of an
    optax state, what has a leading axis (L-BFGS) or is flattened with all parameters
    (`optax.flatten`) is put under them, too. What is less than a number a weight (rows
    and columns of Adafactor) stays as it is: it is no weight's own.

    Raises ValueError if nothing in `state` is shaped like the masks, and for moments of
    which it cannot be told whose they are; names them.

    >>> to({"w": jnp.array([[1.0, 2.0]])}, {"w": jnp.array([[True, False]])})
    {'w': Array([[1., 0.]], dtype=float32)}
    """
    arrays = jax.tree.map(lambda x: x if scores.is_array(x) else None, state)
    return jax.tree.map(
        lambda new, old: old if new is None else new,
        _to(arrays, masks),
        state,
        is_leaf=lambda x: x is None,
    )


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


def over(state: PyTree, masks: Masks) -> list[Any]:
    """Return the mask over each leaf of a state, or None, in the order of its leaves.

    Raises as `to`.

    >>> over(({"b": 1, "w": jnp.ones(1)}, 0), {"b": None, "w": jnp.array([True])})
    [None, Array([ True], dtype=bool), None]
    """
    search = _Search(state, masks)
    found = search.visit(state, "", moments=False)
    if not search.found:
        raise ValueError("rewind: nothing in the state is shaped like the masks")
    return found


@jax.jit
def _to(state: State, masks: Masks) -> State:
    def one(w, m):
        m = m if m is None else jnp.broadcast_to(m, w.shape)
        return masks_lib.apply(w, m)

    leaves, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, map(one, leaves, over(state, masks)))


class _Search:
    """Looks for what is shaped like the masks."""

    def __init__(self, state: PyTree, masks: Masks):
        self.masks, self.found = masks, False
        self.least = min((m.size for m in jax.tree.leaves(masks)), default=0)
        self.flat = _flat(state, masks)

    def visit(self, tree: PyTree, path: str, *, moments: bool) -> list[Any]:
        """Return the mask over each leaf; `moments` are within a state of optax."""
        here = _copy(tree, self.masks, loose=moments)
        if here and (not moments or any(m is not None for m in here)):
            shapes = map(jnp.shape, jax.tree.leaves(tree))
            exact = any(m is not None and m.shape == s for m, s in zip(here, shapes))
            self.found |= exact or not moments
            return here
        if jax.tree_util.all_leaves([tree]):
            return [None]
        ours, kind = _is_optax(tree), type(tree).__name__
        if ours and kind in _UNMASKABLE:
            raise ValueError(f"rewind: {path or 'the state'} {_UNMASKABLE[kind]}")
        fields = [(f"{path}/{n}".lstrip("/"), child) for n, child in _children(tree)]
        found = [self.visit(x, at, moments=moments or ours) for at, x in fields]
        if ours and here is None:
            own = [i for i, (_, x) in enumerate(fields) if not _has_optax(x)]
            if not any(m is not None for i in own for m in found[i]):
                for i in own:
                    found[i] = self._flattened(fields[i][1])
            if not any(m is not None for i in own for m in found[i]):
                for i in own:
                    self._refuse(*fields[i])
        return [m for masks in found for m in masks]

    def _flattened(self, tree: PyTree) -> list[Any]:
        """Return the mask over each leaf: that of all parameters over a vector."""
        shapes = [np.shape(w) for w in jax.tree.leaves(tree)]
        if self.flat is None:
            return [None] * len(shapes)
        self.found |= self.flat.shape in shapes
        return [self.flat if s[-1:] == self.flat.shape else None for s in shapes]

    def _refuse(self, path: str, tree: PyTree) -> None:
        """Raise ValueError for moments of some parameters, it cannot be told which."""
        for part, masks in _parts(self.masks):
            if _fits(tree, masks):
                raise ValueError(
                    f"rewind: {path} has moments of {part} alone: put that part of the "
                    "parameters, its state and its masks through `to` by themselves"
                )
        shape = np.shape(tree) if jax.tree_util.all_leaves([tree]) else ()
        if len(shape) == 1 and 0 < self.least <= shape[0]:
            raise ValueError(
                f"rewind: {path} is a vector of unknown parameters' moments: flatten "
                "all parameters or none, and give `to` the parameters, too"
            )


def _copy(tree: PyTree, masks: Masks, *, loose: bool) -> list[Any] | None:
    """Return the mask over each leaf of a tree if it is shaped like the masks.

    It may have holes. A `loose` one may have leading axes, or fewer numbers, over which
    there is no mask.
    """
    leaves = jax.tree.leaves(tree)
    if masks is None or not leaves:
        return [None] * len(leaves)
    if not jax.tree_util.all_leaves([masks]):
        if _kind(tree) != _kind(masks):
            return None
        pairs = zip(_children(tree), _children(masks))
        parts = [_copy(part, mask, loose=loose) for (_, part), (_, mask) in pairs]
        if any(part is None for part in parts):
            return None
        return [m for part in parts for m in part or ()]
    found = []
    for shape in map(jnp.shape, leaves):
        if shape == masks.shape or (loose and shape[-masks.ndim :] == masks.shape):
            found.append(masks)
        elif loose and math.prod(shape) < max(2, masks.size):
            found.append(None)
        else:
            return None
    return found


def _flat(state: PyTree, masks: Masks) -> Array | None:
    """Return the masks of all parameters, one after another; None if not known."""

    def copy(tree):
        return _copy(tree, masks, loose=False) or []

    found = jax.tree.leaves(state, is_leaf=lambda tree: bool(copy(tree)))
    copies = [*filter(copy, found)] or [masks]
    params = max(copies, key=lambda tree: len(jax.tree.leaves(tree)))
    over = zip(jax.tree.leaves(params), copy(params))
    parts = [
        jnp.ones(jnp.size(w), bool) if m is None else jnp.ravel(m) for w, m in over
    ]
    return jnp.concatenate(parts) if parts else None


def _parts(masks: Masks) -> list[tuple[str, Masks]]:
    """Return what the masks' tree contains, by path, but for the whole."""
    found = []
    for name, part in _children(masks):
        inner = [(f"{name}/{path}", x) for path, x in _parts(part)]
        found += [(name, part), *inner]
    return [(path, part) for path, part in found if jax.tree.leaves(part)]


def _children(tree: PyTree) -> list[tuple[str, PyTree]]:
    pairs = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: x is not tree)
    return [(masks_lib.name(path), child) for path, child in pairs if path]


def _kind(tree: PyTree) -> Any:
    return jax.tree.structure(tree, is_leaf=lambda x: x is not tree)


def _is_optax(tree: PyTree) -> bool:
    return isinstance(tree, tuple) and type(tree).__module__.startswith("optax.")


def _has_optax(tree: PyTree) -> bool:
    nodes = filter(_is_optax, jax.tree.leaves(tree, is_leaf=_is_optax))
    return any(jax.tree.leaves(node) for node in nodes)  # not holes


def _fits(tree: PyTree, masks: Masks) -> bool:
    flat = partial(jax.tree.flatten, is_leaf=lambda x: x is None)
    (ws, structure), (ms, wanted) = flat(tree), flat(masks)
    return structure == wanted and all(
        m is None or np.shape(w) == m.shape for w, m in zip(ws, ms)
    )
