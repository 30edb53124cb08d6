"""Movers: how masks change during a training, as functions of what it has just then.

All of it may be traced. Layers are counted in 32 bits; shares of them in float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, PyTree, UInt32

from lth_jax import masks as masks_lib
from lth_jax import prune
from lth_jax import scores as scores_lib
from lth_jax.masks import Masks, Params
from lth_jax.scores import Scores

Share = float | Float[Array, ""]
Number = int | Integer[Array, ""]


class Now(NamedTuple):
    """What a mover may look at.

    Attributes:
        weights: the parameters, 0 where the masks are False.
        gradient: of the next batch, dense.
        masks: the masks of now.
        key: of this move.
        step: training steps so far.
        share: of the time in which masks move, that is over; from 0 to 1.
        goal: how many weights each layer is to keep in the end, a number a mask.
        fraction: of a layer's weights that the first move drops.
    """

    weights: Params
    gradient: Params
    masks: Masks
    key: Key[Array, ""]
    step: Number
    share: Share
    goal: PyTree[Integer[Array, ""]]
    fraction: Share


def set_(now: Now) -> Masks:
    """Drop the smallest weights of every layer and grow as many elsewhere at random.

    Sparse evolutionary training (Mocanu et al., 2018, Algorithm 1), with magnitudes and
    the cosine of Evci et al. (2020) for what is dropped.

    >>> w, kept = {"w": jnp.array([1.0, 2, 0, 0])}, {"w": jnp.arange(4) < 2}
    >>> now = Now(w, w, kept, jax.random.key(0), 100, 0.0, {"w": 2}, 0.5)
    >>> masks_lib.by_layer(set_(now)), set_(now)["w"][:2].tolist()
    ({'w': (2, 4)}, [False, True])
    """
    return _moved(now, scores_lib.random(now.key, now.masks))


def rigl(now: Now) -> Masks:
    """Drop the smallest weights of every layer and grow where gradients are largest.

    RigL (Evci et al., 2020, Section 3).

    >>> w, kept = {"w": jnp.array([1.0, 2, 0, 0])}, {"w": jnp.arange(4) < 2}
    >>> gradient = {"w": jnp.array([9.0, 9, 1, -2])}
    >>> rigl(Now(w, gradient, kept, jax.random.key(0), 100, 0.0, {"w": 2}, 0.5))
    {'w': Array([False,  True, False,  True], dtype=bool)}
    """
    return _moved(now, scores_lib.magnitude(now.gradient))


def gmp(now: Now) -> Masks:
    """Prune the smallest weights of the whole network, more and more of them.

    Gradual magnitude pruning (Zhu & Gupta, 2017, Section 3): from all weights to as
    many as `now.goal` has together, by `cubic`. A mask only shrinks.

    >>> w, kept = {"w": jnp.array([1.0, 2, 0, 0])}, {"w": jnp.arange(4) < 2}
    >>> gmp(Now(w, w, kept, jax.random.key(0), 100, 1.0, {"w": jnp.uint32(1)}, 0.5))
    {'w': Array([False,  True, False, False], dtype=bool)}
    """
    total = sum(mask.size for mask in jax.tree.leaves(now.masks))
    kept = sum(jax.tree.leaves(masks_lib.kept(now.masks)), start=jnp.uint32(0))
    goal = sum(jax.tree.leaves(now.goal), start=jnp.uint32(0))
    gone = kept - jnp.minimum(kept, cubic(total, goal, now.share))
    return prune.drop(scores_lib.magnitude(now.weights), now.masks, gone)


MOVERS: dict[str, Callable[[Now], Masks]] = {"set": set_, "rigl": rigl, "gmp": gmp}


def fraction(share: Share, initial: Share) -> Float[Array, ""]:
    """Return the fraction of weights to drop: a cosine from `initial` to 0.

    Evci et al. (2020), Section 3(2): initial / 2 * (1 + cos(pi * share)), where a share
    of the time in which masks move is over; 0 from share 1 on.

    >>> fraction(0.0, 0.25), fraction(1.0, 0.25)
    (Array(0.25, dtype=float32), Array(0., dtype=float32))
    """
    over, first = jnp.asarray(share, jnp.float32), jnp.asarray(initial, jnp.float32)
    return jnp.where(over < 1, first / 2 * (1 + jnp.cos(jnp.pi * over)), 0)


def cubic(total: Number, goal: Number, share: Share) -> UInt32[Array, ""]:
    """Return how many of `total` weights are kept on the way to `goal`.

    Zhu & Gupta (2017), Section 3, Equation 1: goal + (total - goal) * (1 - share)^3 to
    the nearest integer. All at share 0 and before, exactly `goal` at 1 and after; never
    more at a larger share. In the paper's steps, share is (t - t_0) / (n * delta t).

    >>> cubic(100, 20, 0.5)
    Array(30, dtype=uint32)
    """
    whole, end = jnp.asarray(total, jnp.uint32), jnp.asarray(goal, jnp.uint32)
    left = 1 - jnp.clip(jnp.asarray(share, jnp.float32), 0, 1)
    between = jnp.round((whole - end).astype(jnp.float32) * (left * left * left))
    # Beyond 2^24 the product may be rounded to more than there is.
    more = jnp.minimum(between.astype(jnp.uint32), whole - end)
    return jnp.where(left == 1, whole, end + more)


def drop_and_grow(
    scores_drop: Scores, scores_grow: Scores, masks: Masks, fraction: Share
) -> Masks:
    """Move a fraction of every layer's kept weights; as many are kept afterwards.

    The floor(fraction * kept) lowest go, and as many come that were not kept, those of
    the highest scores. Only where fewer are not kept, all of them come, and of what has
    just gone the highest. Of equals, the lower flat index is kept or comes. NaN ranks
    highest: it stays, and it comes.

    Args:
        scores_drop, scores_grow: one floating-point score a weight, as of `prune.drop`.
        masks: current masks; `None` stays.
        fraction: of each layer's kept weights, from 0 to 1; times them in float32.

    >>> drop, grow = {"w": jnp.array([1.0, 2, 0, 0])}, {"w": jnp.array([9.0, 9, 1, 2])}
    >>> drop_and_grow(drop, grow, {"w": jnp.arange(4) < 2}, 0.5)
    {'w': Array([False,  True, False,  True], dtype=bool)}
    """
    kept = masks_lib.kept(masks)
    number = jax.tree.map(lambda n: _share(n, fraction), kept)
    left = prune.drop(scores_drop, masks, number)
    free = jax.tree.map(lambda m, n: m.size - n, masks, kept)
    few = jax.tree.map(lambda f, n: f < n, free, number)

    # Where too few are free, all of these come, and some of what has just gone.
    def candidates(m, new, few):
        return jnp.where(few, m & ~new, ~m)

    some = jax.tree.map(candidates, masks, left, few)
    stay = jax.tree.map(lambda few, f, n: jnp.where(few, f, f - n), few, free, number)
    come = prune.drop(scores_grow, some, stay)
    return jax.tree.map(
        lambda m, new, few, c: new | c | (few & ~m), masks, left, few, come
    )


def _share(number: UInt32[Array, ""], fraction: Share) -> UInt32[Array, ""]:
    part = jnp.asarray(fraction, jnp.float32) * number.astype(jnp.float32)
    return jnp.minimum(part.astype(jnp.uint32), number)


def _moved(now: Now, scores_grow: Scores) -> Masks:
    part = fraction(now.share, now.fraction)
    drop = scores_lib.magnitude(now.weights)
    return drop_and_grow(drop, scores_grow, now.masks, part)
