"""Scores: what a pruning criterion thinks of each weight; the lowest are pruned first.

A criterion is only a score function: ranking and counting live in `prune`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, Shaped

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params

Scores = PyTree[Shaped[Array | np.ndarray, "..."]]


def magnitude(params: Params) -> Scores:
    """Score each weight by its absolute value (Han et al., 2015).

    >>> magnitude({"w": jnp.array([1.0, -2.0])})
    {'w': Array([1., 2.], dtype=float32)}
    """
    return jax.tree.map(jnp.abs, params)


def random(key: Key[Array, ""], params: Params) -> Scores:
    """Score each weight by an independent uniform draw from [0, 1).

    A leaf's draw depends only on `key` and its place in sorted path order.

    >>> random(jax.random.key(0), {"w": jnp.zeros((2, 3))})["w"].shape
    (2, 3)
    """
    number = {path: i for i, (path, _) in enumerate(masks_lib.leaves(params))}

    def one(path, w):
        place = number[masks_lib.name(path)]
        return jax.random.uniform(jax.random.fold_in(key, place), w.shape)

    return jax.tree_util.tree_map_with_path(one, params)


def snip(loss: Callable[[Params], Array], params: Params) -> Scores:
    """Score each weight by |gradient * weight|: how much the loss feels its loss.

    Connection sensitivity (Lee et al., 2019, Section 4.1), before training: `loss` is
    the mean loss of a training batch.

    >>> snip(lambda p: (p["w"] ** 2).sum(), {"w": jnp.array([1.0, -2.0])})
    {'w': Array([2., 8.], dtype=float32)}
    """
    gradient = jax.grad(loss)(params)
    return jax.tree.map(lambda w, g: jnp.abs(w * g), params, gradient)


def grasp(loss: Callable[[Params], Array], params: Params, masks: Masks) -> Scores:
    """Score each weight by what its removal does to the gradient's norm.

    Gradient signal preservation (Wang et al., 2020, Section 4.2), before training: the
    weight times the Hessian's product with the gradient of what `masks` keep. Removing
    the lowest raises the gradient's norm the most. `loss` is as of `snip`.

    >>> params = {"w": jnp.array([1.0, -2.0])}
    >>> grasp(lambda p: (p["w"] ** 2).sum(), params, {"w": jnp.ones(2, bool)})
    {'w': Array([ 4., 16.], dtype=float32)}
    """

    def one(g, m):
        return jnp.zeros_like(g) if m is None else g * m

    gradient = jax.tree.map(one, jax.grad(loss)(params), masks)
    _, product = jax.jvp(jax.grad(loss), (params,), (gradient,))
    return jax.tree.map(jnp.multiply, params, product)


def synflow(flow: Callable[[Params], Array], params: Params) -> Scores:
    """Score each weight by its share of the flow from inputs to outputs.

    Synaptic flow (Tanaka et al., 2020, Section 6): |weight| times the gradient of the
    summed outputs (`flow`) of the network with absolute weights, for an input of ones.
    Meant for many small rounds, each of which scores what the last one left, masked.

    >>> params = {"a": jnp.float32(-2), "b": jnp.float32(3)}
    >>> synflow(lambda p: p["a"] * p["b"], params)
    {'a': Array(6., dtype=float32), 'b': Array(6., dtype=float32)}
    """
    absolute = magnitude(params)
    gradient = jax.grad(lambda params: flow(params).sum())(absolute)
    return jax.tree.map(jnp.multiply, absolute, gradient)
