"""Scores: what a pruning criterion thinks of each weight; the lowest are pruned first.

A criterion is only a score function: ranking and counting live in `prune`. The score of
what is no number (keys, strings, functions) is None; so is that of integers where
gradients are asked for. Scores of complex weights are real.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params

Scores = PyTree  # of arrays; of what is no number, None


def magnitude(params: Params) -> Scores:
    """Score each weight by its absolute value (Han et al., 2015).

    >>> magnitude({"w": jnp.array([1.0, -2.0])})
    {'w': Array([1., 2.], dtype=float32)}
    """
    return jax.tree.map(lambda w: jnp.abs(w) if is_number(w) else None, params)


def lamp(params: Params, masks: Masks) -> Scores:
    """Score each weight by its share of its layer where all smaller ones are gone.

    Layer-adaptive magnitude (Lee et al., 2021, Equation 3): w^2 over the sum of squares
    of what is kept and no smaller; of equals, those of a lower flat index count as
    larger. Ranked over the whole network, which then keeps a weight of every layer, as
    long as it keeps as many weights as layers: the largest scores 1, even if it is 0.
    What is pruned scores 0, what has no mask None. NaN scores NaN.

    >>> params = {"w": jnp.array([3.0, -4.0, 5.0])}
    >>> lamp(params, {"w": jnp.array([True, True, False])})
    {'w': Array([0.36, 1.  , 0.  ], dtype=float32)}
    """

    def one(w, m):
        return None if m is None else _lamp(jnp.abs(w), m)

    return jax.tree.map(one, params, masks)


@jax.jit
def _lamp(sizes: Array, mask: Array) -> Array:
    double = sizes.dtype == jnp.float64
    sizes = sizes.astype(jnp.float64 if double else jnp.float32).ravel()
    first = jnp.where(mask.ravel(), -sizes, jnp.inf)
    first, place = jax.lax.sort((first, jnp.arange(sizes.size)), num_keys=1)
    kept = first != jnp.inf
    largest = jnp.where(kept, -first, 0)
    # A power of 2 makes the largest about 1, and rounds nothing.
    _, power = jnp.frexp(jnp.max(largest[:1], initial=0))
    squares = jnp.square(jnp.ldexp(largest, -power))
    # Sums of a parallel scan may fall by a rounding error.
    sums = jax.lax.cummax(jnp.cumsum(squares))
    shares = squares / jnp.where(sums == 0, 1, sums)
    shares = jnp.where((sums == 0) & (place == place[:1]), 1, shares)
    found = jnp.zeros_like(sizes).at[place].set(jnp.where(kept, shares, 0))
    return found.reshape(mask.shape)


def random(key: Key[Array, ""], params: Params) -> Scores:
    """Score each weight by an independent uniform draw from [0, 1).

    A leaf's draw depends only on `key` and its place in sorted path order.

    >>> random(jax.random.key(0), {"w": jnp.zeros((2, 3))})["w"].shape
    (2, 3)
    """
    number = {path: i for i, (path, _) in enumerate(masks_lib.leaves(params))}

    def one(path, w):
        if not is_number(w):
            return None
        place = number[masks_lib.name(path)]
        return jax.random.uniform(jax.random.fold_in(key, place), np.shape(w))

    return jax.tree_util.tree_map_with_path(one, params)


def snip(loss: Callable[[Params], Array], params: Params) -> Scores:
    """Score each weight by |gradient * weight|: how much the loss feels its loss.

    Connection sensitivity (Lee et al., 2019, Section 4.1), before training: `loss` is
    the mean loss of a training batch.

    >>> snip(lambda p: (p["w"] ** 2).sum(), {"w": jnp.array([1.0, -2.0])})
    {'w': Array([2., 8.], dtype=float32)}
    """
    weights, of, tree = _differentiable(loss, params)
    return tree([jnp.abs(_real(w * g)) for w, g in zip(weights, jax.grad(of)(weights))])


def grasp(loss: Callable[[Params], Array], params: Params, masks: Masks) -> Scores:
    """Score each weight by what its removal does to the gradient's norm.

    Gradient signal preservation (Wang et al., 2020, Section 4.2), before training: the
    weight times the Hessian's product with the gradient of what `masks` keep. Removing
    the lowest raises the gradient's norm the most. `loss` is as of `snip`.

    >>> params = {"w": jnp.array([1.0, -2.0])}
    >>> grasp(lambda p: (p["w"] ** 2).sum(), params, {"w": jnp.ones(2, bool)})
    {'w': Array([ 4., 16.], dtype=float32)}
    """

    weights, of, tree = _differentiable(loss, params)
    marks, _, _ = _differentiable(loss, params, masks)

    def one(g, m):
        return jnp.zeros_like(g) if m is None else g.conj() * m.astype(g.dtype)

    gradient = [one(g, m) for g, m in zip(jax.grad(of)(weights), marks)]
    _, product = jax.jvp(jax.grad(of), (weights,), (gradient,))
    return tree([_real(w * h) for w, h in zip(weights, product)])


def synflow(flow: Callable[[Params], Array], params: Params) -> Scores:
    """Score each weight by its share of the flow from inputs to outputs.

    Synaptic flow (Tanaka et al., 2020, Section 6): |weight| times the gradient of the
    summed outputs (`flow`) of the network with absolute weights, for an input of ones.
    Meant for many small rounds, each of which scores what the last one left, masked.

    >>> params = {"a": jnp.float32(-2), "b": jnp.float32(3)}
    >>> synflow(lambda p: p["a"] * p["b"], params)
    {'a': Array(6., dtype=float32), 'b': Array(6., dtype=float32)}
    """
    weights, of, tree = _differentiable(flow, params)
    absolute = list(map(jnp.abs, weights))
    gradient = jax.grad(lambda weights: of(weights).sum())(absolute)
    return tree(list(map(jnp.multiply, absolute, gradient)))


def synflow_shares(
    flow: Callable[[Params], Array], params: Params
) -> Callable[[Masks], Scores]:
    """Return the function from masks to `synflow` scores of the weights they keep.

    As shares of the largest, in float32, where the masks are; a round of pruning asks
    once. Flows are computed in double precision (as in the authors' code: those of deep
    networks exceed what float32 holds), where weights are put once, and `flow` is
    called within `jax.enable_x64`.

    >>> params = {"a": jnp.array([-2.0, 1.0]), "b": jnp.array([3.0, 1.0])}
    >>> shares = synflow_shares(lambda p: p["a"] * p["b"], params)
    >>> shares({"a": jnp.array([True, False]), "b": None})["a"]
    Array([1., 0.], dtype=float32)
    """
    try:  # a TPU's doubles hold no larger numbers than floats
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        device = None
    with jax.enable_x64(True):
        weights = jax.device_put(params, device)
        weights = jax.tree.map(lambda w: w.astype(np.float64), weights)

    def shares(masks: Masks) -> Scores:
        there = jax.device_put(masks, device)
        with jax.enable_x64(True), jax.default_device(device):
            found = _shares(flow, masks_lib.apply(weights, there), there)
        return jax.device_put(
            found, getattr(jax.tree.leaves(masks)[0], "sharding", None)
        )

    return shares


@partial(jax.jit, static_argnums=0)
def _shares(flow: Callable[[Params], Array], weights: Params, masks: Masks) -> Scores:
    found = synflow(flow, weights)
    by_path = dict(masks_lib.leaves(found))
    largest = jnp.stack([by_path[path].max() for path, _ in masks_lib.leaves(masks)])
    largest = largest.max()
    return jax.tree.map(lambda x: (x / largest).astype(jnp.float32), found)


def is_array(leaf: object) -> bool:
    """Return whether JAX can compute with a leaf: no string, function or the like."""
    try:
        return bool(jax.typeof(leaf))
    except TypeError:
        return False


def is_number(leaf: object) -> bool:
    """Return whether a leaf is of numbers: no string, and not of random keys."""
    extended = jax.dtypes.extended
    return is_array(leaf) and not jnp.issubdtype(jax.typeof(leaf).dtype, extended)


def _differentiable(loss: Callable[[Params], Array], params: Params, of: PyTree = None):
    """Return the weights that have gradients, the loss of them, and trees of scores.

    Instead of the weights, what another tree has in their places.
    """
    leaves, structure = jax.tree.flatten(params)
    places = [
        i
        for i, w in enumerate(leaves)
        if is_number(w) and jnp.issubdtype(jnp.result_type(w), jnp.inexact)
    ]

    def tree(new: list[Array], others: list[Any]) -> PyTree:
        by_place = dict(zip(places, new))
        return structure.unflatten(
            by_place.get(i, other) for i, other in enumerate(others)
        )

    found = leaves if of is None else structure.flatten_up_to(of)
    return (
        [found[i] for i in places],
        lambda weights: loss(tree(weights, leaves)),
        partial(tree, others=[None] * len(leaves)),
    )


def _real(x: Array) -> Array:
    return x.real if jnp.iscomplexobj(x) else x
