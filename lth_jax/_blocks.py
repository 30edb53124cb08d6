"""Blocks: the jittable kernel that keeps n of every m weights in a row."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lth_jax._lowest import ordered


@partial(jax.jit, static_argnames=("n", "m", "axis"))
def highest(
    scores: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    n: int,
    m: int,
    axis: int,
) -> Bool[Array, "*shape"]:
    """Return a mask that keeps the n highest of every m, of those that it keeps.

    >>> highest(jnp.arange(4.0), jnp.ones(4, bool), 1, 2, axis=0)
    Array([False,  True, False,  True], dtype=bool)
    """
    axis %= mask.ndim
    before, after = mask.shape[:axis], mask.shape[axis + 1 :]
    shape = *before, mask.shape[axis] // m, m, *after
    kept, place = mask.reshape(shape), lax.broadcasted_iota(jnp.int32, shape, axis + 1)
    rank = ordered(scores).reshape(shape)

    def passed(i, above):
        """Count one more weight of each block, where it goes before others."""
        there, high = (
            lax.dynamic_slice_in_dim(x, i, 1, axis + 1) for x in (kept, rank)
        )
        first = (high > rank) | ((high == rank) & (i < place))
        return above + (there & first).astype(jnp.int32)

    above = lax.fori_loop(0, m, passed, jnp.zeros(shape, jnp.int32))
    return (kept & (above < n)).reshape(mask.shape)
