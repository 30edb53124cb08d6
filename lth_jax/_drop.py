"""Drop: the jittable kernel of pruning, to exact numbers of weights."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Integer, PyTree

from lth_jax import masks as masks_lib
from lth_jax._lowest import Ranked, parted, without
from lth_jax.masks import Masks
from lth_jax.scores import Scores
from lth_jax.stacked import together


def drop(scores: Scores, masks: Masks, n: PyTree[int | Integer[Array, ""]]) -> Masks:
    """Remove exactly the `n` lowest-scored kept weights of the whole tree.

    The jittable kernel of every pruning function: `n` may be traced, and no value is
    checked. NaN ranks highest. With `n` at or above the number of kept weights nothing
    is left.

    Args:
        scores: one floating-point score a weight, else ValueError; a leaf whose mask is
            `None` is not looked at.
        masks: current masks.
        n: number of weights to remove, 0 or more. A tree of numbers, one a mask, ranks
            and removes in every leaf by itself.

    >>> drop({"w": jnp.ones(4)}, {"w": jnp.ones(4, bool)}, 1)
    {'w': Array([ True,  True,  True, False], dtype=bool)}
    """
    scored, kept = aligned(scores, masks)
    if not sum(m.size for m in kept.values()):
        return masks
    number = n if jax.tree_util.all_leaves([n]) else dict(masks_lib.leaves(n))
    shapes = [np.shape(mask) for mask in kept.values()]
    left = dict(zip(kept, parted(_drop(scored, kept, number), shapes)))

    return laid_out(left, masks)


def laid_out(parts: Mapping[str, Array], masks: Masks) -> Masks:
    """Return new masks in the tree of others, each laid out as the other is."""

    def one(new, mask):
        if isinstance(new, Tracer) or not getattr(mask, "committed", False):
            return new
        return jax.device_put(new, mask.sharding)

    return jax.tree.map(one, together(parts, masks), masks)


@jax.jit
def _drop(scored: dict[str, Any], kept: dict[str, Any], n: Any) -> list[Array]:
    paths, marks = zip(*masks_lib.leaves(kept))
    group, numbers = [0] * len(paths), [n]
    if isinstance(n, dict):
        group, numbers = list(range(len(paths))), [n[path] for path in paths]
    with jax.numpy_dtype_promotion("standard"):  # whatever the caller's
        dtype = jnp.result_type(*(scored[path].dtype for path in paths))
        ranked = [scored[path].astype(dtype) for path in paths]
        numbers = jnp.stack([jnp.asarray(number, jnp.uint32) for number in numbers])
        return without(Ranked(ranked, list(marks), group), numbers)


def aligned(scores: Scores, masks: Masks) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return scores and masks of the prunable leaves, by path."""
    by_path, named = dict(masks_lib.leaves(scores)), dict(masks_lib.leaves(masks))
    for path, mask in named.items():
        if path not in by_path:
            raise ValueError(f"scores: {path} is missing")
        here, shape = f"scores: {path}", np.shape(by_path[path])
        dtype = getattr(by_path[path], "dtype", np.dtype(type(by_path[path])))
        if shape != mask.shape:
            raise ValueError(f"{here} has shape {shape}, not {mask.shape}")
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{here} is {dtype}, not floating-point")
    return {path: by_path[path] for path in named}, named
