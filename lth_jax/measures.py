"""Measures: how far apart two networks are, and how much they have in common.

Every measure takes two parameter pytrees and optionally masks. With masks, only the
weights that survive are looked at: parameters without a mask (biases, normalisation) do
not enter. Without masks, every parameter does.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt

from lth_jax import masks as masks_lib
from lth_jax import prune, scores
from lth_jax.masks import Masks, Params

Weights = Float[Array, "..."]


@jax.jit
def distance(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the L2 distance over surviving weights, both sides masked.

    Frankle et al. (2019), Section 2: stability is small distance.

    >>> a, b = {"w": jnp.array([1.0, 2, 3])}, {"w": jnp.array([1.0, 0, 0])}
    >>> float(distance(a, b, {"w": jnp.array([True, True, False])}))
    2.0
    """
    return _norm([x - y for x, y, _ in _weights(a, b, masks)])


@jax.jit
def angle(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the angle between the surviving weights, in degrees, 0 to 180.

    Frankle et al. (2019), Appendix B. Exactly 0 for equal weights (the half-angle form,
    which arccos is not near 0); NaN if either side is all 0.

    >>> a, b = {"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([4.0, -3.0])}
    >>> round(float(angle(a, b)))
    90
    """
    xs, ys, _ = zip(*_weights(a, b, masks))
    x_norm, y_norm = _norm(xs), _norm(ys)
    apart = _norm([x / x_norm - y / y_norm for x, y in zip(xs, ys)])
    together = _norm([x / x_norm + y / y_norm for x, y in zip(xs, ys)])
    return 2 * jnp.degrees(jnp.arctan2(apart, together))


@jax.jit
def cosine(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the cosine of the angle between the surviving weights, -1 to 1.

    >>> a, b = {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([-2.0, -2.0])}
    >>> round(float(cosine(a, b)), 3)
    -1.0
    """
    return jnp.cos(jnp.radians(angle(a, b, masks)))


@jax.jit
def pearson(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return Pearson's correlation of the surviving weights, signed, layers pooled.

    NaN if either side does not vary.

    >>> a, b = {"w": jnp.array([1.0, 2.0, 3.0])}, {"w": jnp.array([5.0, 7.0, 9.0])}
    >>> round(float(pearson(a, b)), 3)
    1.0
    """
    xs, ys, kept = zip(*_weights(a, b, masks))
    number = sum(m.sum() for m in kept)
    centred = []
    for side in (xs, ys):
        mean = sum(w.sum() for w in side) / number
        centred.append([jnp.where(m, w - mean, 0) for w, m in zip(side, kept)])
    product = jnp.stack([jnp.sum(x * y) for x, y in zip(*centred)]).sum()
    return product / (_norm(centred[0]) * _norm(centred[1]))


def top_overlap(
    a: Params, b: Params, p: float, masks: Masks | None = None
) -> Float[Array, ""]:
    """Return R_p: how far two networks agree on which weights are the largest.

    In every layer, the fraction `p` of largest magnitude is marked on both sides
    (rounded down; ties to the lower index). Of the marks of one side, pooled over
    layers, R_p is the share that the other side has too: about `p` for independent
    networks. Liu et al. (2021), Section 4.2, Equation 1.

    Args:
        a, b: parameters.
        p: in (0, 1), with at most 4 decimals, else ValueError.
        masks: surviving weights of both sides, of whose number in a layer `p` is taken.
            To compare a sparse network with a dense one, give the dense masks, and p
            below the density.

    >>> a, b = {"w": jnp.array([4.0, 3, 2, 1])}, {"w": jnp.array([1.0, -5, 2, 6])}
    >>> float(top_overlap(a, b, 0.5))
    0.5
    """
    masks = _all(a) if masks is None else masks
    x, y = _top(a, p, masks), _top(b, p, masks)
    return _total(jax.tree.map(jnp.logical_and, x, y)) / _total(x)


@partial(jax.jit, static_argnames="p")
def chance_overlap(b: Params, p: float, masks: Masks, dense: Masks) -> Float[Array, ""]:
    """Return the R_p that is expected of `b` and a network that ignores magnitudes.

    That network has its largest weights anywhere under `masks`, independently of `b`,
    while `b` has its own anywhere under `dense`. With equal masks this is `p`; with
    masks made from `b` itself by magnitude, at sparsity s in every layer, it is
    p / (1 - s): hold against it what a sparse network shares with the dense one that
    its masks are made of. `p`, of the number under `dense` in a layer, is at most the
    density of every layer.

    >>> b, dense = {"w": jnp.array([4.0, 3, 2, 1])}, {"w": jnp.ones(4, bool)}
    >>> float(chance_overlap(b, 0.25, {"w": jnp.array([1, 1, 0, 0], bool)}, dense))
    0.5
    """
    survivors = dict(masks_lib.leaves(masks))
    top = _top(b, p, dense)
    expected = []
    for path, marks in masks_lib.leaves(top):
        share = jnp.sum(marks & survivors[path]) / jnp.maximum(1, survivors[path].sum())
        expected.append(marks.sum() * share)
    return jnp.stack(expected).sum() / _total(top)


def by_layer(
    measure: Callable[..., Array], a: Params, b: Params, masks: Masks
) -> dict[str, Float[Array, ""]]:
    """Return {path: measure} of every prunable parameter alone.

    >>> a, b = {"w": jnp.ones((1, 4))}, {"w": jnp.zeros((1, 4))}
    >>> by_layer(distance, a, b, masks_lib.full(a))
    {'w': Array(2., dtype=float32)}
    """
    lefts, rights = dict(masks_lib.leaves(a)), dict(masks_lib.leaves(b))
    named = masks_lib.leaves(masks)
    return {path: measure(lefts[path], rights[path], masks=m) for path, m in named}


def interpolate(a: Params, b: Params, alphas: Float[Array, " points"]) -> Params:
    """Return the points (1 - alpha) * a + alpha * b on the line between two networks.

    Frankle et al. (2020), Section 2. Leaves are [points, ...].

    >>> interpolate({"w": jnp.zeros(1)}, {"w": jnp.ones(1)}, jnp.array([0.0, 0.5]))
    {'w': Array([[0. ], [0.5]], dtype=float32)}
    """
    line = jax.vmap(lambda x, y, alpha: (1 - alpha) * x + alpha * y, (None, None, 0))
    return jax.tree.map(lambda x, y: line(x, y, alphas), a, b)


def instability(errors: Float[Array, "*pairs points"]) -> Float[Array, "*pairs"]:
    """Return the error barrier: the highest error on the line above the ends' mean.

    Frankle et al. (2020), Section 2; two networks are stable below 2 % (0.02).

    Args:
        errors: errors (or losses) along the line, the ends first and last.

    >>> float(instability(jnp.array([0.125, 0.625, 0.125])))
    0.5
    """
    return errors.max(-1) - (errors[..., 0] + errors[..., -1]) / 2


def _weights(
    a: Params, b: Params, masks: Masks | None
) -> list[tuple[Weights, Weights, Bool[Array, "..."]]]:
    """Return (a, b, kept) of every parameter that enters; 0 where it is not kept."""
    masks = _all(a) if masks is None else masks
    lefts, rights = dict(masks_lib.leaves(a)), dict(masks_lib.leaves(b))

    def one(weights: Weights, mask: Bool[Array, "..."]) -> Weights:
        return jnp.where(mask, jnp.asarray(weights, jnp.float32), 0)

    named = masks_lib.leaves(masks)
    return [(one(lefts[path], m), one(rights[path], m), m) for path, m in named]


def _all(params: Params) -> Masks:
    return jax.tree.map(lambda w: jnp.ones(jnp.shape(w), bool), params)


def _norm(leaves: Sequence[Weights]) -> Float[Array, ""]:
    return jnp.sqrt(sum((jnp.sum(x * x) for x in leaves), start=jnp.float32(0)))


@partial(jax.jit, static_argnames="p")
def _top(params: Params, p: float, masks: Masks) -> Masks:
    """Mark the fraction p of largest magnitude of what is kept, in every layer."""
    kept = jax.tree.map(lambda m: m.sum(dtype=jnp.uint32), masks)
    others = jax.tree.map(lambda number: number - _floor(p, number), kept)
    return prune.drop(scores.magnitude(params), masks, others)


@jax.jit
def _total(masks: Masks) -> UInt[Array, ""]:
    return jnp.stack([m.sum(dtype=jnp.uint32) for m in jax.tree.leaves(masks)]).sum()


def _floor(p: float, number: UInt[Array, ""]) -> UInt[Array, ""]:
    """Return floor(p * number) in integers, p read as a decimal."""
    share = Fraction(str(p))
    if not 0 < share < 1 or share.denominator > 10_000:
        raise ValueError(f"p: {p} is not between 0 and 1 with at most 4 decimals")
    whole, rest = jnp.divmod(number, jnp.uint32(share.denominator))
    numerator = jnp.uint32(share.numerator)
    return whole * numerator + rest * numerator // jnp.uint32(share.denominator)
