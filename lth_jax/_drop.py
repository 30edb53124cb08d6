"""Drop: pruning to exact numbers of weights, given or counted on the host."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Integer, PyTree

from lth_jax import masks as masks_lib
from lth_jax._lowest import Ranked, parted, without
from lth_jax.masks import Masks, Patterns
from lth_jax.scores import Scores
from lth_jax.stacked import apart, together

Scope = str  # "global" or "layer"
NETWORK = "the network"  # what scope "global" counts


class ScoreError(ValueError):
    """A score is NaN where the mask keeps a weight."""


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


def shrunk(
    scores: Scores,
    masks: Masks,
    scope: Scope,
    stacked: Patterns,
    left: Callable[[str, int, int], int],
) -> Masks:
    """Drop all but `left(path, kept, total)` weights of the network or each layer.

    Raises as `prune.by_fraction`.

    >>> scores, masks = {"w": jnp.arange(3.0)}, {"w": jnp.ones(3, bool)}
    >>> shrunk(scores, masks, "global", (), lambda path, kept, total: 1)
    {'w': Array([False, False,  True], dtype=bool)}
    """
    check_scope(scope)
    masks_lib.check(scores, masks)
    if scope == "layer" and stacked:
        by = partial(shrunk, scope=scope, stacked=(), left=left)
        return by_part(by, scores, masks, stacked)
    scored, marks = aligned(scores, masks)
    for path in marks:
        if is_traced(scored[path], marks[path]):
            raise ValueError(
                f"scores: {path} is traced, but how many go is counted on the host: "
                "call this outside of jax.jit, or prune.drop with a number"
            )
    check_numbers(scored, marks)
    kept, total = masks_lib.count(masks)
    layers = {NETWORK: (kept, total)}
    if scope == "layer":
        layers = masks_lib.by_layer(masks)
    numbers = {path: n - left(path, n, size) for path, (n, size) in layers.items()}
    for where, n in numbers.items():
        if n < 0:
            raise ValueError(f"density: {where} keeps less already; a mask never grows")
    if sum(numbers.values()) >= kept:
        raise ValueError(f"nothing would be left of the {kept} weights that are kept")
    if scope == "global":
        return drop(scores, masks, numbers[NETWORK])
    by_layer = jax.tree_util.tree_map_with_path(
        lambda path, _: numbers[masks_lib.name(path)], masks
    )
    return drop(scores, masks, by_layer)


def after_fraction(kept: int, fraction: float | Fraction) -> int:
    """Return how many of `kept` weights are left when a fraction of them is removed.

    >>> after_fraction(266_200, 0.2)
    212960
    """
    return kept - math.ceil(Fraction(str(fraction)) * kept)


def at_density(total: int, density: float | Fraction) -> int:
    """Return how many of `total` weights are left at a density.

    >>> at_density(7, 0.5)
    3
    """
    return total - math.ceil((1 - Fraction(str(density))) * total)


def by_part(
    by: Callable[[Scores, Masks], Masks],
    scores: Scores,
    masks: Masks,
    stacked: Patterns,
) -> Masks:
    """Return masks pruned by a function that sees every stacked layer by itself."""
    scored, marks = (apart(tree, stacked) for tree in aligned(scores, masks))
    return laid_out(by(scored, marks), masks)


def check_scope(scope: str) -> None:
    """Raise ValueError unless a scope is one."""
    if scope not in ("global", "layer"):
        raise ValueError(f"scope: {scope!r} is neither 'global' nor 'layer'")


def check_numbers(scored: dict[str, Any], marks: dict[str, Any]) -> None:
    """Raise ScoreError, naming the path, if a score is NaN where a weight is kept."""
    for path, bad in jax.device_get(_have_nan(scored, marks)).items():
        if bad:
            raise ScoreError(f"scores: {path} is NaN where the mask keeps a weight")


def is_traced(*leaves: Any) -> bool:
    """Return whether one of these has no values yet."""
    return any(isinstance(x, Tracer) for x in leaves)


@jax.jit
def _have_nan(scores: dict[str, Any], masks: dict[str, Any]) -> dict[str, Any]:
    found = masks_lib.kept(
        {path: jnp.isnan(scores[path]) & masks[path] for path in masks}
    )
    return jax.tree.map(lambda n: n > 0, found)


@partial(jax.jit, static_argnames="by_layer")
def equals(scores: list, before: list, after: list, by_layer: bool) -> Array:
    """Return how many equals stay, or go, if fewer, where pruning stops among them."""
    lost = [b & ~a for b, a in zip(before, after)]
    low = jnp.stack([s.min(initial=jnp.inf, where=m) for s, m in zip(scores, after)])
    high = jnp.stack([s.max(initial=-jnp.inf, where=m) for s, m in zip(scores, lost)])
    if not by_layer:
        low, high = (jnp.full(len(scores), x) for x in (low.min(), high.max()))
    found = []
    for ends, masks in ((low, after), (high, lost)):
        found.append([((s == x) & m).sum() for s, x, m in zip(scores, ends, masks)])
    counts = jnp.array(found) if by_layer else jnp.array(found).sum(1, keepdims=True)
    return jnp.where((low == high)[: counts.shape[1]], counts.min(0), 0).sum()
