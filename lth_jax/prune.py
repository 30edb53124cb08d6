"""Prune: from scores and masks to smaller masks, with exact counts.

Counting rule: the number pruned is ceil(fraction * remaining), the fraction read as a
decimal and the product taken in integers. Among equal scores the lower flat index
survives, leaves taken in sorted path order, whatever the compilation and sharding. A
pruned mask never grows. A layer may become empty; a network does not.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Integer, Key, PyTree

from lth_jax import _lowest
from lth_jax import masks as masks_lib
from lth_jax import scores as scores_lib
from lth_jax._drop import aligned, drop, laid_out
from lth_jax.masks import Masks, Params, Patterns
from lth_jax.scores import Scores
from lth_jax.stacked import apart

Scope = Literal["global", "layer"]


class ScoreError(ValueError):
    """A score is NaN where the mask keeps a weight."""


def by_fraction(
    scores: Scores,
    masks: Masks,
    fraction: float | Fraction,
    scope: Scope = "global",
    stacked: Patterns = (),
) -> Masks:
    """Remove the lowest-scored `fraction` of what remains.

    Args:
        scores, masks: as of `drop`, concrete.
        fraction: in (0, 1); ceil(fraction * remaining) weights go.
        scope: rank over the whole network, or remove that fraction of every layer.
        stacked: regular expressions for the paths of leaves whose first axis are
            layers (`nn.scan`), each of which is one in scope "layer".

    Raises:
        ScoreError: a score is NaN where a weight is kept; names its path.
        ValueError: bad fraction or scope, or nothing left.

    >>> by_fraction({"w": jnp.arange(5.0)}, {"w": jnp.ones(5, bool)}, 0.2)
    {'w': Array([False,  True,  True,  True,  True], dtype=bool)}
    """
    share = Fraction(str(fraction))
    if not 0 < share < 1:
        raise ValueError(f"fraction: {fraction} is not between 0 and 1")
    return _prune(scores, masks, scope, stacked, lambda n, _: after_fraction(n, share))


def to_density(
    scores: Scores,
    masks: Masks,
    density: float | Fraction,
    scope: Scope = "global",
    stacked: Patterns = (),
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
    return _prune(
        scores, masks, scope, stacked, lambda _, size: at_density(size, share)
    )


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
    params: Params,
    masks: Masks,
    fraction: float,
    scope: Scope = "global",
    stacked: Patterns = (),
) -> Masks:
    """Remove the smallest-magnitude `fraction` of the remaining weights.

    The pruning step of iterative magnitude pruning (Frankle et al., 2019, Algorithm 1).
    Raises as `by_fraction`.

    >>> params = {"w": jnp.array([[0.1, 0.9], [-0.2, 0.5]])}
    >>> magnitude(params, masks_lib.full(params), 0.5)
    {'w': Array([[False,  True], [False,  True]], dtype=bool)}
    """
    return by_fraction(scores_lib.magnitude(params), masks, fraction, scope, stacked)


def as_many(
    scores: Scores, masks: Masks, scope: Scope = "layer", stacked: Patterns = ()
) -> Masks:
    """Return masks of the highest scores that keep as many weights as `masks` do.

    As many in every layer, or in the whole network ("global"); any prunable weight may
    be kept, whether `masks` keep it or not. Raises ValueError for a bad scope.

    >>> as_many({"w": jnp.arange(3.0)}, {"w": jnp.array([True, False, False])})
    {'w': Array([False, False,  True], dtype=bool)}
    """
    _check_scope(scope)
    if scope == "layer" and stacked:
        return _apart(partial(as_many, scope=scope), scores, masks, stacked)
    dense, pruned = _dense(masks)
    if scope == "global":
        pruned = sum(jax.tree.leaves(pruned), start=jnp.uint32(0))
    return drop(scores, dense, pruned)


def _apart(
    by: Callable[[Scores, Masks], Masks],
    scores: Scores,
    masks: Masks,
    stacked: Patterns,
) -> Masks:
    """Return masks pruned by a function that sees every stacked layer by itself."""
    scored, marks = (apart(tree, stacked) for tree in aligned(scores, masks))
    return laid_out(by(scored, marks), masks)


@jax.jit
def _dense(masks: Masks) -> tuple[Masks, PyTree[Integer[Array, ""]]]:
    """Return masks that keep all, and how many of them these do not keep."""
    pruned = jax.tree.map(lambda m: m.size - m.sum(dtype=jnp.uint32), masks)
    return jax.tree.map(jnp.ones_like, masks), pruned


def shuffle(
    key: Key[Array, ""], masks: Masks, scope: Scope = "layer", stacked: Patterns = ()
) -> Masks:
    """Return random masks that keep as many weights as `masks` do.

    The control "random subnetwork" of Frankle et al. (2019), Section 2, keeps as many
    in every layer; scope "global" leaves the layers' shares to chance.

    >>> masks = {"w": jnp.arange(8) < 3}
    >>> masks_lib.by_layer(shuffle(jax.random.key(0), masks))
    {'w': (3, 8)}
    """
    return as_many(scores_lib.random(key, masks), masks, scope, stacked)


def random(key: Key[Array, ""], masks: Masks, density: float) -> Masks:
    """Return random masks of a global density, where `masks` say what is prunable.

    Layer proportions are left to chance. Raises ValueError as `to_density`.

    >>> masks_lib.count(random(jax.random.key(0), {"w": jnp.ones(10, bool)}, 0.3))
    (3, 10)
    """
    dense = jax.tree.map(jnp.ones_like, masks)
    return to_density(scores_lib.random(key, masks), dense, density)


def project(
    params: Params,
    masks: Masks,
    density: float,
    scope: Scope = "layer",
    stacked: Patterns = (),
) -> Params:
    """Return the nearest parameters (L2) with only `density` of the weights not 0.

    The Z-step of ADMM pruning (Zhang et al., 2018). Parameters that are never pruned
    stay as they are. Raises ValueError as `to_density`.

    >>> project({"w": jnp.array([1.0, -3.0])}, {"w": jnp.ones(2, bool)}, 0.5)
    {'w': Array([ 0., -3.], dtype=float32)}
    """
    scored = scores_lib.magnitude(params)
    nearest = to_density(scored, masks, density, scope, stacked)
    return masks_lib.apply(params, nearest)


def _prune(
    scores: Scores,
    masks: Masks,
    scope: Scope,
    stacked: Patterns,
    left: Callable[[int, int], int],
) -> Masks:
    """Count and check on the host, then drop all but `left(kept, total)` weights."""
    _check_scope(scope)
    masks_lib.check(scores, masks)
    if scope == "layer" and stacked:
        by = partial(_prune, scope=scope, stacked=(), left=left)
        return _apart(by, scores, masks, stacked)
    scored, marks = aligned(scores, masks)
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
    scores: Scores,
    before: Masks,
    after: Masks,
    scope: Scope = "global",
    stacked: Patterns = (),
) -> tuple[int, int]:
    """Return of how many weights their place alone decides, and of how many in all.

    Where `before` was pruned to `after` up to one of some equal scores: how many of
    these stay, or go, whichever are fewer, of the whole network or of each layer.

    >>> one, two = {"w": jnp.ones(3, bool)}, {"w": jnp.arange(3) > 0}
    >>> undecided({"w": jnp.array([1.0, 1.0, 2.0])}, one, two)
    (1, 3)
    """
    scored, kept = aligned(scores, before)
    trees = [scored, kept, dict(masks_lib.leaves(after))]
    layers = [[*apart(tree, stacked).values()] for tree in trees]
    equal = _lowest.equals(*layers, by_layer=scope == "layer")
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
