"""Prune: from scores and masks to smaller masks, with exact counts.

Counting rule: the number pruned is ceil(fraction * remaining), the fraction read as a
decimal and the product taken in integers. Among equal scores the lower flat index
survives, leaves taken in sorted path order, whatever the compilation and sharding. A
pruned mask never grows. A layer may become empty; a network does not.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Integer, Key, PyTree

from lth_jax import _lowest
from lth_jax import masks as masks_lib
from lth_jax import scores as scores_lib
from lth_jax._lowest import Ranked, parted, without
from lth_jax.masks import Masks, Params
from lth_jax.scores import Scores

Scope = Literal["global", "layer"]


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
    scored, kept = _aligned(scores, masks)
    if not sum(m.size for m in kept.values()):
        return masks
    number = n if jax.tree_util.all_leaves([n]) else dict(masks_lib.leaves(n))
    shapes = [np.shape(mask) for mask in kept.values()]
    left = dict(zip(kept, parted(_drop(scored, kept, number), shapes)))

    def one(path, mask):
        new = left[masks_lib.name(path)]
        if isinstance(new, Tracer) or not getattr(mask, "committed", False):
            return new
        return jax.device_put(new, mask.sharding)  # laid out as it was

    return jax.tree_util.tree_map_with_path(one, masks)


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


def by_fraction(
    scores: Scores, masks: Masks, fraction: float | Fraction, scope: Scope = "global"
) -> Masks:
    """Remove the lowest-scored `fraction` of what remains.

    Args:
        scores, masks: as of `drop`, concrete.
        fraction: in (0, 1); ceil(fraction * remaining) weights go.
        scope: rank over the whole network, or remove that fraction of every layer.

    Raises:
        ScoreError: a score is NaN where a weight is kept; names its path.
        ValueError: bad fraction or scope, or nothing left.

    >>> by_fraction({"w": jnp.arange(5.0)}, {"w": jnp.ones(5, bool)}, 0.2)
    {'w': Array([False,  True,  True,  True,  True], dtype=bool)}
    """
    share = Fraction(str(fraction))
    if not 0 < share < 1:
        raise ValueError(f"fraction: {fraction} is not between 0 and 1")
    return _prune(scores, masks, scope, lambda kept, _: after_fraction(kept, share))


def to_density(
    scores: Scores, masks: Masks, density: float | Fraction, scope: Scope = "global"
) -> Masks:
    """Remove the lowest-scored weights until `density` of the total remains.

    total - ceil((1 - density) * total) weights are kept. Raises as `by_fraction`, and
    ValueError for a density not in (0, 1] or above the present one.

    >>> to_density({"w": jnp.arange(4.0)}, {"w": jnp.ones(4, bool)}, 0.5)
    {'w': Array([False, False,  True,  True], dtype=bool)}
    """
    share = Fraction(str(density))
    if not 0 < share <= 1:
        raise ValueError(f"density: {density} is not in (0, 1]")
    return _prune(scores, masks, scope, lambda _, total: at_density(total, share))


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


def magnitude(
    params: Params, masks: Masks, fraction: float, scope: Scope = "global"
) -> Masks:
    """Remove the smallest-magnitude `fraction` of the remaining weights.

    The pruning step of iterative magnitude pruning (Frankle et al., 2019, Algorithm 1).
    Raises as `by_fraction`.

    >>> params = {"w": jnp.array([[0.1, 0.9], [-0.2, 0.5]])}
    >>> magnitude(params, masks_lib.full(params), 0.5)
    {'w': Array([[False,  True], [False,  True]], dtype=bool)}
    """
    return by_fraction(scores_lib.magnitude(params), masks, fraction, scope)


def as_many(scores: Scores, masks: Masks, scope: Scope = "layer") -> Masks:
    """Return masks of the highest scores that keep as many weights as `masks` do.

    As many in every layer, or in the whole network ("global"); any prunable weight may
    be kept, whether `masks` keep it or not. Raises ValueError for a bad scope.

    >>> as_many({"w": jnp.arange(3.0)}, {"w": jnp.array([True, False, False])})
    {'w': Array([False, False,  True], dtype=bool)}
    """
    _check_scope(scope)
    dense, pruned = _dense(masks)
    if scope == "global":
        pruned = sum(jax.tree.leaves(pruned), start=jnp.uint32(0))
    return drop(scores, dense, pruned)


@jax.jit
def _dense(masks: Masks) -> tuple[Masks, PyTree[Integer[Array, ""]]]:
    """Return masks that keep all, and how many of them these do not keep."""
    pruned = jax.tree.map(lambda m: m.size - m.sum(dtype=jnp.uint32), masks)
    return jax.tree.map(jnp.ones_like, masks), pruned


def shuffle(key: Key[Array, ""], masks: Masks, scope: Scope = "layer") -> Masks:
    """Return random masks that keep as many weights as `masks` do.

    The control "random subnetwork" of Frankle et al. (2019), Section 2, keeps as many
    in every layer; scope "global" leaves the layers' shares to chance.

    >>> masks = {"w": jnp.arange(8) < 3}
    >>> masks_lib.by_layer(shuffle(jax.random.key(0), masks))
    {'w': (3, 8)}
    """
    return as_many(scores_lib.random(key, masks), masks, scope)


def random(key: Key[Array, ""], masks: Masks, density: float) -> Masks:
    """Return random masks of a global density, where `masks` say what is prunable.

    Layer proportions are left to chance. Raises ValueError as `to_density`.

    >>> masks_lib.count(random(jax.random.key(0), {"w": jnp.ones(10, bool)}, 0.3))
    (3, 10)
    """
    dense = jax.tree.map(jnp.ones_like, masks)
    return to_density(scores_lib.random(key, masks), dense, density)


def project(
    params: Params, masks: Masks, density: float, scope: Scope = "layer"
) -> Params:
    """Return the nearest parameters (L2) with only `density` of the weights not 0.

    The Z-step of ADMM pruning (Zhang et al., 2018). Parameters that are never pruned
    stay as they are. Raises ValueError as `to_density`.

    >>> project({"w": jnp.array([1.0, -3.0])}, {"w": jnp.ones(2, bool)}, 0.5)
    {'w': Array([ 0., -3.], dtype=float32)}
    """
    nearest = to_density(scores_lib.magnitude(params), masks, density, scope)
    return masks_lib.apply(params, nearest)


def _prune(
    scores: Scores, masks: Masks, scope: Scope, left: Callable[[int, int], int]
) -> Masks:
    """Count and check on the host, then drop all but `left(kept, total)` weights."""
    _check_scope(scope)
    masks_lib.check(scores, masks)
    scored, marks = _aligned(scores, masks)
    for path in marks:
        if any(isinstance(x, Tracer) for x in (scored[path], marks[path])):
            raise ValueError(
                f"scores: {path} is traced, but how many go is counted on the host: "
                "call this outside of jax.jit, or prune.drop with a number"
            )
    for path, bad in jax.device_get(_have_nan(scored, marks)).items():
        if bad:
            raise ScoreError(f"scores: {path} is NaN where the mask keeps a weight")
    kept, total = masks_lib.count(masks)
    numbers = {"the network": kept - left(kept, total)}
    if scope == "layer":
        layers = masks_lib.by_layer(masks)
        numbers = {path: n - left(n, size) for path, (n, size) in layers.items()}
    for where, n in numbers.items():
        if n < 0:
            raise ValueError(f"density: {where} keeps less already; a mask never grows")
    if sum(numbers.values()) >= kept:
        raise ValueError(f"nothing would be left of the {kept} weights that are kept")
    if scope == "global":
        return drop(scores, masks, numbers["the network"])
    by_layer = jax.tree_util.tree_map_with_path(
        lambda path, _: numbers[masks_lib.name(path)], masks
    )
    return drop(scores, masks, by_layer)


def undecided(
    scores: Scores, before: Masks, after: Masks, scope: Scope = "global"
) -> tuple[int, int]:
    """Return of how many weights their place alone decides, and of how many in all.

    Where `before` was pruned to `after` up to one of some equal scores: how many of
    these stay, or go, whichever are fewer, of the whole network or of each layer.

    >>> one, two = {"w": jnp.ones(3, bool)}, {"w": jnp.arange(3) > 0}
    >>> undecided({"w": jnp.array([1.0, 1.0, 2.0])}, one, two)
    (1, 3)
    """
    trees = [dict(masks_lib.leaves(tree)) for tree in (scores, before, after)]
    aligned = [[tree[path] for path in trees[1]] for tree in trees]
    equal = _lowest.equals(*aligned, by_layer=scope == "layer")
    return int(equal), masks_lib.count(before)[0]


def _check_scope(scope: str) -> None:
    if scope not in ("global", "layer"):
        raise ValueError(f"scope: {scope!r} is neither 'global' nor 'layer'")


@jax.jit
def _have_nan(scores: dict[str, Any], masks: dict[str, Any]) -> dict[str, Any]:
    found = masks_lib.kept(
        {path: jnp.isnan(scores[path]) & masks[path] for path in masks}
    )
    return jax.tree.map(lambda n: n > 0, found)


def _aligned(scores: Scores, masks: Masks) -> tuple[dict[str, Any], dict[str, Any]]:
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
