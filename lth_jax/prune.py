"""Prune: from scores and masks to smaller masks, with exact counts.

Counting rule: the number pruned is ceil(fraction * remaining), the fraction read as a
decimal and the product taken in integers. Among equal scores the lower flat index
survives, leaves taken in sorted path order, so that the result does not depend on
compilation or on how the leaves are sharded over devices. A mask never grows. A layer
may become empty; a network never does.

The threshold is found without sorting, gathering or copying the weights: a bisection
over the floating-point numbers that counts, at each, how many scores lie below.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from lth_jax import masks as masks_lib
from lth_jax import scores as scores_lib
from lth_jax.masks import Masks, Params
from lth_jax.masks import name as _name
from lth_jax.scores import Scores

Scope = Literal["global", "layer"]


@jax.jit
def drop(scores: Scores, masks: Masks, n: int | Int[Array, ""]) -> Masks:
    """Remove exactly the `n` lowest-scored kept weights of the whole tree.

    The jittable kernel of every pruning function: no checks, `n` may be traced. With
    `n` at or above the number of kept weights nothing is left; NaN ranks highest.

    Example:
        >>> drop({"w": jnp.ones(4)}, {"w": jnp.ones(4, bool)}, 1)
        {'w': Array([ True,  True,  True, False], dtype=bool)}
    """
    paths, kept = zip(*masks_lib.leaves(masks))
    scored = [s for _, s in _scored(scores, masks)]
    n = jnp.asarray(n, jnp.uint32)

    threshold = _nth_smallest(scored, kept, n)
    above = [m & ~(s <= threshold) for s, m in zip(scored, kept)]
    tied = [m & (s == threshold) for s, m in zip(scored, kept)]
    survivors = _count(kept) - jnp.minimum(n, _count(kept)) - _count(above)
    left = lax.cond(
        survivors == 0,  # the common case: every tied weight goes
        lambda: above,
        lambda: jax.tree.map(jnp.logical_or, above, _first(tied, survivors)),
    )
    by_path = dict(zip(paths, left))
    return jax.tree_util.tree_map_with_path(lambda p, _: by_path[_name(p)], masks)


def by_fraction(
    scores: Scores, masks: Masks, fraction: float, scope: Scope = "global"
) -> Masks:
    """Remove the lowest-scored `fraction` of what remains.

    Args:
        scores: one score a weight, shaped as the masks (a leaf whose mask is `None` is
            not looked at).
        masks: current masks, concrete.
        fraction: in (0, 1); ceil(fraction * remaining) weights go.
        scope: rank over the whole network, or remove that fraction of every layer.

    Raises:
        ValueError: bad fraction or scope, NaN score (with its path), or nothing left.

    Example:
        >>> by_fraction({"w": jnp.arange(5.0)}, {"w": jnp.ones(5, bool)}, 0.2)
        {'w': Array([False,  True,  True,  True,  True], dtype=bool)}
    """
    share = Fraction(str(fraction))
    if not 0 < share < 1:
        raise ValueError(f"fraction: {fraction} is not between 0 and 1")
    return _prune(scores, masks, scope, lambda kept, total: _ceil(share * kept))


def to_density(
    scores: Scores, masks: Masks, density: float, scope: Scope = "global"
) -> Masks:
    """Remove the lowest-scored weights until `density` of the total remains.

    total - ceil((1 - density) * total) weights are kept.

    Raises:
        ValueError: density not in (0, 1] or above the present one (a mask never grows),
            bad scope, NaN score (with its path), or nothing left.

    Example:
        >>> to_density({"w": jnp.arange(4.0)}, {"w": jnp.ones(4, bool)}, 0.5)
        {'w': Array([False, False,  True,  True], dtype=bool)}
    """
    share = Fraction(str(density))
    if not 0 < share <= 1:
        raise ValueError(f"density: {density} is not in (0, 1]")
    return _prune(
        scores,
        masks,
        scope,
        lambda kept, total: kept - total + _ceil((1 - share) * total),
    )


def magnitude(
    params: Params, masks: Masks, fraction: float, scope: Scope = "global"
) -> Masks:
    """Remove the smallest-magnitude `fraction` of the remaining weights.

    The pruning step of iterative magnitude pruning (Frankle et al., 2019, Algorithm 1).
    Raises as `by_fraction`.

    Example:
        >>> params = {"w": jnp.array([[0.1, 0.9], [-0.2, 0.5]])}
        >>> magnitude(params, masks_lib.full(params), 0.5)
        {'w': Array([[False,  True], [False,  True]], dtype=bool)}
    """
    return by_fraction(scores_lib.magnitude(params), masks, fraction, scope)


@jax.jit
def shuffle(key: Key[Array, ""], masks: Masks) -> Masks:
    """Return random masks that keep as many weights in every layer as `masks` do.

    The control "random subnetwork" of Frankle et al. (2019), Section 2.

    Example:
        >>> masks = {"w": jnp.arange(8) < 3}
        >>> masks_lib.by_layer(shuffle(jax.random.key(0), masks))
        {'w': (3, 8)}
    """
    return jax.tree.map(
        lambda s, m: drop(s, jnp.ones_like(m), m.size - m.sum()),
        scores_lib.random(key, masks),
        masks,
    )


def random(key: Key[Array, ""], masks: Masks, density: float) -> Masks:
    """Return random masks of a global density, where `masks` say what is prunable.

    Layer proportions are left to chance. Raises ValueError as `to_density`.

    Example:
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

    Example:
        >>> project({"w": jnp.array([1.0, -3.0])}, {"w": jnp.ones(2, bool)}, 0.5)
        {'w': Array([ 0., -3.], dtype=float32)}
    """
    nearest = to_density(scores_lib.magnitude(params), masks, density, scope)
    return masks_lib.apply(params, nearest)


def _prune(
    scores: Scores, masks: Masks, scope: Scope, number: Callable[[int, int], int]
) -> Masks:
    """Count and check on the host, then drop `number(kept, total)` weights."""
    _check_scores(scores, masks)
    layers = masks_lib.by_layer(masks)
    kept, total = (sum(counts) for counts in zip(*layers.values()))
    if scope == "global":
        numbers = {"the network": number(kept, total)}
    elif scope == "layer":
        numbers = {path: number(*counts) for path, counts in layers.items()}
    else:
        raise ValueError(f"scope: {scope!r} is neither 'global' nor 'layer'")
    if min(numbers.values()) < 0:
        grown = min(numbers, key=lambda path: numbers[path])
        raise ValueError(f"density: a mask never grows, and {grown} keeps less already")
    if sum(numbers.values()) >= kept:
        raise ValueError(f"nothing would be left of the {kept} weights that are kept")
    if scope == "global":
        return drop(scores, masks, numbers["the network"])
    return _drop_by_layer(scores, masks, numbers)


@jax.jit
def _drop_by_layer(scores: Scores, masks: Masks, numbers: dict[str, int]) -> Masks:
    return jax.tree_util.tree_map_with_path(
        lambda path, s, m: None if m is None else drop(s, m, numbers[_name(path)]),
        scores,
        masks,
    )


def _check_scores(scores: Scores, masks: Masks) -> None:
    masks_lib.check(scores, masks)
    named = _scored(scores, masks)
    bad = _any_nan([s for _, s in named], [m for _, m in masks_lib.leaves(masks)])
    for (path, _), nan in zip(named, jax.device_get(bad)):
        if nan:
            raise ValueError(f"scores: {path} is NaN where the mask keeps a weight")


@jax.jit
def _any_nan(scores: list[Array], kept: list[Array]) -> list[Array]:
    return [jnp.any(m & jnp.isnan(s)) for s, m in zip(scores, kept)]


def _scored(scores: Scores, masks: Masks) -> list[tuple[str, Array]]:
    """Return the (path, scores) pairs of the prunable leaves, in path order."""
    prunable = {path for path, _ in masks_lib.leaves(masks)}
    return [(path, s) for path, s in masks_lib.leaves(scores) if path in prunable]


def _ceil(x: Fraction) -> int:
    return -(-x.numerator // x.denominator)


def _nth_smallest(
    scores: Sequence[Float[Array, "..."]],
    kept: Sequence[Bool[Array, "..."]],
    n: UInt[Array, ""],
) -> Float[Array, ""]:
    """Return the n-th smallest kept score, from 1; -inf for n = 0, inf if too few."""
    dtype = scores[0].dtype
    keys = jnp.dtype(f"uint{8 * dtype.itemsize}")
    sign = keys.type(1 << (8 * keys.itemsize - 1))

    def to_float(key: UInt[Array, ""]) -> Float[Array, ""]:
        # The keys count up through all floats, from the most negative to the largest.
        bits = jnp.where(key & sign, key ^ sign, ~key)
        return lax.bitcast_convert_type(bits, dtype)

    infinity = lax.bitcast_convert_type(jnp.array(jnp.inf, dtype), keys)
    key = _largest(
        lambda key: _count(m & (s < to_float(key)) for s, m in zip(scores, kept)) < n,
        low=~(infinity | sign),
        high=infinity | sign,
    )
    return to_float(key)


def _first(
    tied: list[Bool[Array, "..."]], n: UInt[Array, ""]
) -> list[Bool[Array, "..."]]:
    """Keep the first n of the tied weights, by flat index over all leaves."""
    sizes = [t.size for t in tied]
    index = [
        lax.iota(jnp.uint32, t.size).reshape(t.shape) + jnp.uint32(start)
        for t, start in zip(tied, itertools.accumulate(sizes, initial=0))
    ]
    last = _largest(
        lambda end: _count(t & (i < end) for t, i in zip(tied, index)) <= n,
        low=jnp.uint32(0),
        high=jnp.uint32(sum(sizes)),
    )
    return [t & (i < last) for t, i in zip(tied, index)]


def _largest(
    holds: Callable[[UInt[Array, ""]], Bool[Array, ""]],
    low: UInt[Array, ""],
    high: UInt[Array, ""],
) -> UInt[Array, ""]:
    """Bisect for the largest integer in [low, high] up to which `holds` holds."""

    def halve(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = high - (high - low) // 2
        below = holds(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle - 1)

    return lax.while_loop(lambda b: b[0] < b[1], halve, (low, high))[0]


def _count(masks: Iterable[Bool[Array, "..."]]) -> UInt[Array, ""]:
    return sum((jnp.sum(m, dtype=jnp.uint32) for m in masks), start=jnp.uint32(0))
