"""Measures: how far apart two networks are, and how much they have in common.

Every measure takes two parameter pytrees and optionally masks. With masks, only the
weights that survive are looked at: parameters without a mask (biases, normalisation) do
not enter. Without masks, every parameter of numbers does. They are computed in float32,
or float64 where a parameter is, at any scale; a complex weight is a vector of two.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt

from lth_jax import masks as masks_lib
from lth_jax import prune, scores
from lth_jax.masks import Masks, Params

Leaves = list[Array]


def distance(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the L2 distance over surviving weights, both sides masked.

    Frankle et al. (2019), Section 2: stability is small distance.

    >>> a, b = {"w": jnp.array([1.0, 2, 3])}, {"w": jnp.array([1.0, 0, 0])}
    >>> float(distance(a, b, {"w": jnp.array([True, True, False])}))
    2.0
    """
    return _measure(_distance, *_named(a, b, masks))


def _distance(xs: Leaves, ys: Leaves, kept: Leaves) -> Float[Array, ""]:
    def scaled():
        scale = _scale(xs + ys)
        return _norm([x * scale - y * scale for x, y in zip(xs, ys)]) / scale

    apart = _norm([x - y for x, y in zip(xs, ys)])
    return lax.cond(_are_ordinary(apart), lambda: apart, scaled)


def angle(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the angle between the surviving weights, in degrees, 0 to 180.

    Frankle et al. (2019), Appendix B. Exactly 0 for equal weights (the half-angle form,
    which arccos is not near 0); NaN if either side is all 0.

    >>> a, b = {"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([4.0, -3.0])}
    >>> round(float(angle(a, b)))
    90
    """
    return _measure(_angle, *_named(a, b, masks))


def _angle(
    xs: Leaves, ys: Leaves, kept: Leaves, of: Callable[[Array], Array] = lambda x: x
) -> Float[Array, ""]:
    def between(xs, ys, x_norm, y_norm):
        apart = _norm([x / x_norm - y / y_norm for x, y in zip(xs, ys)])
        together = _norm([x / x_norm + y / y_norm for x, y in zip(xs, ys)])
        return of(2 * jnp.degrees(jnp.arctan2(apart, together)))

    def scaled():
        x, y = _scaled(xs), _scaled(ys)
        return between(x, y, _norm(x), _norm(y))

    norms = _norm(xs), _norm(ys)
    return lax.cond(_are_ordinary(*norms), lambda: between(xs, ys, *norms), scaled)


def cosine(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return the cosine of the angle between the surviving weights, -1 to 1.

    >>> a, b = {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([-2.0, -2.0])}
    >>> round(float(cosine(a, b)), 3)
    -1.0
    """
    return _measure(_cosine, *_named(a, b, masks))


def _cosine(xs: Leaves, ys: Leaves, kept: Leaves) -> Float[Array, ""]:
    return _angle(xs, ys, kept, lambda degrees: jnp.cos(jnp.radians(degrees)))


def pearson(a: Params, b: Params, masks: Masks | None = None) -> Float[Array, ""]:
    """Return Pearson's correlation of the surviving weights, signed, layers pooled.

    NaN if either side does not vary. Of complex weights, the real part.

    >>> a, b = {"w": jnp.array([1.0, 2.0, 3.0])}, {"w": jnp.array([5.0, 7.0, 9.0])}
    >>> round(float(pearson(a, b)), 3)
    1.0
    """
    return _measure(_pearson, *_named(a, b, masks))


def _pearson(xs: Leaves, ys: Leaves, kept: Leaves) -> Float[Array, ""]:
    number = sum(m.sum() for m in kept)

    def centre(side):
        mean = sum(w.sum() for w in side) / number
        return [jnp.where(m, w - mean, jnp.zeros_like(w)) for w, m in zip(side, kept)]

    def correlation(xs, ys, norm):
        return jnp.stack(list(map(_product, xs, ys))).sum() / norm

    def scaled():
        x, y = (_scaled(centre(_scaled(side))) for side in (xs, ys))
        return correlation(x, y, _norm(x) * _norm(y))

    x, y = centre(xs), centre(ys)
    plain = partial(correlation, x, y, _norm(x) * _norm(y))
    return lax.cond(_are_ordinary(_norm(x), _norm(y)), plain, scaled)


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
    x, y, marks = _named(a, b, masks)
    x, y = _top(x, p, marks), _top(y, p, marks)
    return _total(jax.tree.map(jnp.logical_and, x, y)) / _total(x)


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
    b, survivors, dense = _named(b, masks, dense)
    with jax.numpy_dtype_promotion("standard"):  # whatever the caller's
        return _chance(b, p, survivors, dense)


@partial(jax.jit, static_argnames="p")
def _chance(b: Params, p: float, kept: Masks, dense: Masks) -> Float[Array, ""]:
    top = _top(b, p, dense)
    expected = []
    for path, marks in masks_lib.leaves(top):
        share = jnp.sum(marks & kept[path]) / jnp.maximum(1, kept[path].sum())
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
    lefts, rights, marks = _named(a, b, masks)
    return {
        path: measure(lefts[path], rights[path], masks=marks[path]) for path in marks
    }


def interpolate(a: Params, b: Params, alphas: Float[Array, " points"]) -> Params:
    """Return the points (1 - alpha) * a + alpha * b on the line between two networks.

    Frankle et al. (2020), Section 2. Leaves are [points, ...].

    >>> interpolate({"w": jnp.zeros(1)}, {"w": jnp.ones(1)}, jnp.array([0.0, 0.5]))
    {'w': Array([[0. ], [0.5]], dtype=float32)}
    """
    line = jax.vmap(lambda x, y, alpha: (1 - alpha) * x + alpha * y, (None, None, 0))

    a_number = scores.is_number
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(lambda x, y: line(x, y, alphas) if a_number(x) else x, a, b)


def instability(errors: Float[Array, "*pairs points"]) -> Float[Array, "*pairs"]:
    """Return the error barrier: the highest error on the line above the ends' mean.

    Frankle et al. (2020), Section 2; two networks are stable below 2 % (0.02).

    Args:
        errors: errors (or losses) along the line, the ends first and last.

    >>> float(instability(jnp.array([0.125, 0.625, 0.125])))
    0.5
    """
    return errors.max(-1) - (errors[..., 0] + errors[..., -1]) / 2


def _named(a: Params, b: Params, masks: Masks | None) -> tuple[dict[str, Any], ...]:
    """Return what has masks of both sides, and the masks, by path."""
    sides = [dict(masks_lib.leaves(side)) for side in (a, b)]
    if masks is None:
        found = {path: w for path, w in sides[0].items() if scores.is_number(w)}
        masks = {path: jnp.ones_like(w, bool) for path, w in found.items()}
    marks = dict(masks_lib.leaves(masks))
    for path, mask in marks.items():
        shapes = [np.shape(side.get(path, ())) for side in sides]
        if shapes != [mask.shape, mask.shape]:
            raise ValueError(f"measures: {path} has shapes {shapes}, not {mask.shape}")
    left, right = ({path: side[path] for path in marks} for side in sides)
    return left, right, marks


@partial(jax.jit, static_argnames="measure")
def _measure(
    measure: Callable[..., Array], a: Params, b: Params, masks: Masks
) -> Float[Array, ""]:
    """Measure two sides under masks, in one precision."""
    kinds = [jnp.result_type(w).name for side in (a, b) for w in side.values()]
    wide = {"float64", "int64", "uint64", "complex128"}.intersection(kinds)
    real = jnp.dtype("float64" if wide else "float32")
    number = {True: jnp.dtype("complex128" if wide else "complex64"), False: real}
    under = (masks_lib.leaves(masks_lib.apply(side, masks)) for side in (a, b))
    sides = ([w.astype(number[jnp.iscomplexobj(w)]) for _, w in side] for side in under)
    with jax.numpy_dtype_promotion("standard"):  # whatever the caller's
        return measure(*sides, [mask for _, mask in masks_lib.leaves(masks)])


def _product(x: Array, y: Array) -> Float[Array, ""]:
    if jnp.iscomplexobj(x) or jnp.iscomplexobj(y):
        return jnp.sum(x.real * y.real) + jnp.sum(x.imag * y.imag)
    return jnp.sum(x * y)


def _norm(leaves: Sequence[Array]) -> Float[Array, ""]:
    return jnp.sqrt(sum(map(_product, leaves, leaves)))


def _are_ordinary(*norms: Float[Array, ""]) -> Bool[Array, ""]:
    """Return whether squares have neither vanished nor become infinite."""
    return jnp.all(jnp.array([(norm > 2.0**-40) & (norm < 2.0**60) for norm in norms]))


def _scaled(leaves: Leaves) -> Leaves:
    return [w * _scale(leaves) for w in leaves]


def _scale(leaves: Sequence[Array]) -> Float[Array, ""]:
    """Return a power of two by which all weights are at most about 1."""
    parts = [jnp.abs(part) for w in leaves for part in (w.real, w.imag)]
    largest = jnp.array([jnp.max(part, initial=0) for part in parts] or [0.0]).max()
    _, exponent = jnp.frexp(largest)
    most = jnp.finfo(largest.dtype).maxexp - 2
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(-exponent, -most, most))


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
