"""Scores: what a pruning criterion thinks of each weight; the lowest are pruned first.

A criterion is only a score function: ranking and counting live in `prune`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, Shaped

from lth_jax import masks as masks_lib
from lth_jax.masks import Params

Scores = PyTree[Shaped[Array | np.ndarray, "..."]]


def magnitude(params: Params) -> Scores:
    """Score each weight by its absolute value (Han et al., 2015).

    Example:
        >>> magnitude({"w": jnp.array([1.0, -2.0])})
        {'w': Array([1., 2.], dtype=float32)}
    """
    return jax.tree.map(jnp.abs, params)


def random(key: Key[Array, ""], params: Params) -> Scores:
    """Score each weight by an independent uniform draw from [0, 1).

    Every leaf's draw depends only on `key` and its place in sorted path order.

    Example:
        >>> random(jax.random.key(0), {"w": jnp.zeros((2, 3))})["w"].shape
        (2, 3)
    """
    number = {path: i for i, (path, _) in enumerate(masks_lib.leaves(params))}
    return jax.tree_util.tree_map_with_path(
        lambda path, w: jax.random.uniform(
            jax.random.fold_in(key, number[masks_lib.name(path)]), w.shape
        ),
        params,
    )
