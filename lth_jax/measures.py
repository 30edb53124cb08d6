"""Measures: how far apart two networks are, and in which direction.

Every measure takes two parameter pytrees and optionally masks. With masks, only the
weights that survive are looked at: parameters without a mask (biases, normalisation) do
not enter. Without masks, every parameter does.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params


@jax.jit
def distance(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the L2 distance over surviving weights, both sides masked.

    Frankle et al. (2019), Section 2: stability is small distance.

    Example:
        >>> a, b = {"w": jnp.array([1.0, 2, 3])}, {"w": jnp.array([1.0, 0, 0])}
        >>> float(distance(a, b, {"w": jnp.array([True, True, False])}))
        2.0
    """
    return _norm([x - y for x, y in _pairs(a, b, masks)])


@jax.jit
def angle(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the angle between the surviving weights, in degrees, 0 to 180.

    Frankle et al. (2019), Appendix B. Exactly 0 for equal weights (the half-angle form,
    which arccos is not near 0); NaN if either side is all 0.

    Example:
        >>> a, b = {"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([4.0, -3.0])}
        >>> round(float(angle(a, b)))
        90
    """
    xs, ys = zip(*_pairs(a, b, masks))
    xs = [x / _norm(xs) for x in xs]
    ys = [y / _norm(ys) for y in ys]
    apart = _norm([x - y for x, y in zip(xs, ys)])
    together = _norm([x + y for x, y in zip(xs, ys)])
    return 2 * jnp.degrees(jnp.arctan2(apart, together))


def _pairs(
    a: Params, b: Params, masks: Masks | None
) -> list[tuple[Float[Array, "..."], Float[Array, "..."]]]:
    if masks is not None:
        prunable = {path for path, _ in masks_lib.leaves(masks)}
        a, b = (masks_lib.apply(tree, masks) for tree in (a, b))
    else:
        prunable = {path for path, _ in masks_lib.leaves(a)}
    return [
        (x.astype(jnp.float32), y.astype(jnp.float32))
        for (path, x), (_, y) in zip(masks_lib.leaves(a), masks_lib.leaves(b))
        if path in prunable
    ]


def _norm(leaves: Sequence[Float[Array, "..."]]) -> Float[Array, ""]:
    return jnp.sqrt(sum((jnp.sum(x * x) for x in leaves), start=jnp.float32(0)))
