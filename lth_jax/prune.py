"""Prune: from scores and masks to smaller masks, with exact counts.

Counting rule: the number pruned is ceil(fraction * remaining), the fraction read as a
decimal and the product taken in integers. Among equal scores the lower flat index
survives, leaves taken in sorted path order, whatever the compilation and sharding. A
pruned mask never grows. A layer may become empty; a network does not.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Key, PyTree

from lth_jax import masks as masks_lib
from lth_jax import scores as scores_lib
from lth_jax._blocks import highest
from lth_jax._drop import (
    Scope,
    after_fraction,
    aligned,
    at_density,
    by_part,
    check_numbers,
    check_scope,
    drop,
    equals,
    is_traced,
    laid_out,
    shrunk,
)
from lth_jax._drop import ScoreError as ScoreError
from lth_jax.masks import Masks, Params, Patterns
from lth_jax.scores import Scores
from lth_jax.stacked import apart


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

    def left(_, kept, total):
        return after_fraction(kept, share)

    return shrunk(scores, masks, scope, stacked, left)


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

    def left(_, kept, total):
        return at_density(total, share)

    return shrunk(scores, masks, scope, stacked, left)


def to_counts(
    scores: Scores, masks: Masks, counts: Mapping[str, int], stacked: Patterns = ()
) -> Masks:
    """Remove the lowest-scored weights of every layer until `counts` of it are kept.

    Args:
        scores, masks, stacked: as of `by_fraction`.
        counts: by path of every layer that is pruned, as `densities` gives them.

    Raises:
        ScoreError: a score is NaN where a weight is kept; names its path.
        ValueError: counts that are missing, extra or negative, above what a layer
            keeps, or 0 in all.

    >>> to_counts({"w": jnp.arange(4.0)}, {"w": jnp.ones(4, bool)}, {"w": 1})
    {'w': Array([False, False, False,  True], dtype=bool)}
    """
    layers = apart(masks, stacked)
    for path in sorted({*layers} ^ {*counts}):
        wrong = "is missing" if path in layers else "is extra, there is no such mask"
        raise ValueError(f"counts: {path} {wrong}")
    for path, number in counts.items():
        if number < 0:
            raise ValueError(f"counts: {path} cannot keep {number} weights")
    return shrunk(scores, masks, "layer", stacked, lambda path, *_: counts[path])


def n_of_m(scores: Scores, masks: Masks, n: int, m: int, axis: int = -2) -> Masks:
    """Keep the n highest-scored of every m consecutive weights along an axis.

    N:M sparsity (Mishra et al., 2021, Section 3, for n = 2 and m = 4; Zhou et al.,
    2021), of those that are kept: a block that keeps n or fewer stays as it is. May be
    traced, with n, m and the axis static; then NaN is not looked for and ranks highest.

    Args:
        scores, masks: as of `drop`.
        n, m: 1 <= n <= m.
        axis: of the weights that one output adds up; -2 is the input axis of dense
            [in, out] and convolutional [height, width, in, out] kernels.

    Raises:
        ScoreError: a score is NaN where a weight is kept; names its path.
        ValueError: bad n or m, a leaf without that axis, or with one that is no
            multiple of m.

    >>> n_of_m({"w": jnp.ones(4)}, {"w": jnp.ones(4, bool)}, 2, 4, axis=0)
    {'w': Array([ True,  True, False, False], dtype=bool)}
    """
    masks_lib.check(scores, masks)
    scored, marks = aligned(scores, masks)
    for path, mask in marks.items():
        if not 1 <= n <= m:
            raise ValueError(f"masks: {path} cannot keep {n} of every {m} weights")
        if not -mask.ndim <= axis < mask.ndim:
            raise ValueError(f"masks: {path} has shape {mask.shape}: no axis {axis}")
        if mask.shape[axis] % m:
            long = f"{mask.shape[axis]} weights along axis {axis}"
            raise ValueError(f"masks: {path} has {long}, no multiple of {m}")
    if not is_traced(*scored.values(), *marks.values()):
        check_numbers(scored, marks)
    kept = {p: highest(scored[p], mask, n, m, axis) for p, mask in marks.items()}
    return laid_out(kept, masks)


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
    check_scope(scope)
    if scope == "layer" and stacked:
        return by_part(partial(as_many, scope=scope), scores, masks, stacked)
    dense, pruned = _dense(masks)
    if scope == "global":
        pruned = sum(jax.tree.leaves(pruned), start=jnp.uint32(0))
    return drop(scores, dense, pruned)


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
    equal = equals(*layers, by_layer=scope == "layer")
    return int(equal), masks_lib.count(before)[0]
