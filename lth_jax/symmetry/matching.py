"""Matching: permutations of hidden units that align one network with another."""

import math
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, PyTree
from scipy.optimize import linear_sum_assignment

from lth_jax import masks as masks_lib
from lth_jax.masks import Params
from lth_jax.symmetry.axes import Axes, Digit, length

if TYPE_CHECKING:
    from lth_jax.symmetry.units import Groups

# Of every group, by its number: which unit comes to each place.
Permutation = dict[int, Integer[np.ndarray, "_"]]
_LEAST = 1e-6  # by which share an alignment has to get better


class _Pair(NamedTuple):
    """An array of two networks, with an axis for every digit."""

    digits: list[Digit]
    groups: list[int]  # of each digit
    a: Float[np.ndarray, "..."]
    b: Float[np.ndarray, "..."]
    is_bias: bool  # it has one axis


def permute(tree: PyTree, permutation: Permutation, axes: Mapping[str, Axes]) -> PyTree:
    """Return a tree with its units in another order.

    Args:
        tree: parameters, or what has their paths and shapes: masks (`None` stays),
            scores, moments; or a network's state.
        permutation: of every group, as `match` returns it.
        axes: `Groups.params`, or `Groups.state` of a network's state.

    Raises ValueError for an array that is not among them, or has another shape.

    >>> import jax
    >>> from lth_jax import models
    >>> from lth_jax.symmetry import groups
    >>> lenet = models.create("lenet", num_classes=1, widths=(3,))
    >>> found = groups(lenet, jax.ShapeDtypeStruct((1,), "float32"))
    >>> masks = {"fc1": {"kernel": jnp.array([[True, False, False]]), "bias": None}}
    >>> permute(masks, {1: np.array([1, 2, 0])}, found.params)["fc1"]["kernel"]
    Array([[False, False,  True]], dtype=bool)
    """

    def one(path: tuple, leaf: Any) -> Any:
        name = masks_lib.name(path)
        digits = _digits(name, leaf, axes)
        if not any(map(_groups, digits)):
            return leaf
        permuted = np.reshape(leaf, [length(digit) for digit in digits])
        for i, digit in enumerate(digits):
            if _groups(digit):
                permuted = permuted.take(_order(digit, permutation), axis=i)
        return jnp.asarray(permuted.reshape(leaf.shape))

    return jax.tree_util.tree_map_with_path(one, tree)


def inverse(permutation: Permutation) -> Permutation:
    """Return the permutation that undoes another one.

    >>> inverse({1: np.array([1, 2, 0])})
    {1: array([2, 0, 1])}
    """
    return {group: np.argsort(order) for group, order in permutation.items()}


def random(key: Key[Array, ""], groups: "Groups") -> Permutation:
    """Return a permutation at random of every group.

    >>> from lth_jax.symmetry import Groups
    >>> sorted(random(jax.random.key(0), Groups({1: 3}, {}, {}))[1].tolist())
    [0, 1, 2]
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return {group: rng.permutation(n) for group, n in groups.sizes.items()}


def match(a: Params, b: Params, groups: "Groups", key: Key[Array, ""]) -> Permutation:
    """Return how to permute the units of network b so that it is most like network a.

    Weight matching (Ainsworth et al., 2023, Section 3.2, Algorithm 1): group by group,
    in an order that the key draws, the permutation with the highest sum of products of
    a's parameters and b's, all other groups as they are; until no group changes any
    more. That is an optimum of each group, not of all at once.

    Unlike there, groups do not begin in the order that they happen to have: at first, a
    group is matched by arrays alone whose other groups have been, from the network's
    inputs and outputs inwards. On perceptrons trained on digits the sums are higher
    by this, and planted permutations are found at once.

    Args:
        a, b: parameters of two networks.
        groups: of both.
        key: for the orders of groups.

    >>> from lth_jax import models
    >>> from lth_jax.symmetry import groups
    >>> lenet = models.create("lenet", num_classes=2, widths=(3,))
    >>> found = groups(lenet, jax.ShapeDtypeStruct((2,), "float32"))
    >>> a, _ = lenet.init(jax.random.key(0), jnp.ones((1, 2)))
    >>> b = permute(a, {1: np.array([2, 0, 1])}, found.params)
    >>> match(a, b, found, jax.random.key(0))
    {1: array([1, 2, 0])}
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    pairs = _pairs(a, b, groups)
    found = {group: np.arange(n) for group, n in groups.sizes.items()}
    settled: set[int] = set()
    while True:
        before, known = found, len(settled)
        for group in rng.permutation([*found]).tolist():
            others = settled | {group}
            own = [p for p in pairs if group in p.groups and {*p.groups} <= others]
            if not all(pair.is_bias for pair in own):  # which say too little
                found, settled = _better(group, own, found), others
        if len(settled) == known < len(found):
            settled = {*found}  # these depend on each other: from where they are
        elif found is before and len(settled) == known:
            return found


def _better(group: int, pairs: list[_Pair], found: Permutation) -> Permutation:
    """Return permutations with the best one of a group, if that is any better."""
    alike = _alike(group, pairs, found)
    places, best = linear_sum_assignment(alike, maximize=True)
    now, then = (float(alike[places, units].sum()) for units in (found[group], best))
    better = found | {group: best}
    if any(pair.groups.count(group) > 1 for pair in pairs):  # not linear in it
        now, then = (_product(pairs, permutation) for permutation in (found, better))
    return better if then > now + _LEAST * abs(now) else found


def _pairs(a: Params, b: Params, groups: "Groups") -> list[_Pair]:
    """Return arrays of both networks that have units."""
    left, right = (dict(masks_lib.leaves(tree)) for tree in (a, b))
    pairs = []
    for path in groups.params:
        digits = _digits(path, left[path], groups.params)
        _digits(path, right[path], groups.params)
        if own := [group for digit in digits for group in _groups(digit)]:
            shape = [length(digit) for digit in digits]
            both = (np.asarray(side[path], np.float32) for side in (left, right))
            one, other = (x.reshape(shape) for x in both)
            is_bias = np.ndim(left[path]) == 1
            pairs.append(_Pair(digits, own, one, other, is_bias))
    return pairs


def _alike(
    group: int, pairs: list[_Pair], permutation: Permutation
) -> Float[np.ndarray, "units units"]:
    """Return the sum of products of every unit of a with every one of b.

    All other groups are permuted; a group that is along two axes is, along the other.
    """
    total: np.ndarray = np.zeros(())
    for digits, _, a, b, _ in pairs:
        for i, digit in enumerate(digits):
            if group not in _groups(digit):
                continue
            moved = np.moveaxis(_permuted(digits, b, permutation, without=i), i, 0)
            still, at = np.moveaxis(a, i, 0), 0
            for segment in digit:
                rows = slice(at, at := at + segment.size)
                if segment.group == group:
                    units = (x[rows].reshape(segment.size, -1) for x in (still, moved))
                    one, other = units
                    total = total + one @ other.T
    return total


def _product(pairs: list[_Pair], permutation: Permutation) -> float:
    """Return the sum of products of a's numbers and b's, permuted."""
    permuted = (_permuted(pair.digits, pair.b, permutation) for pair in pairs)
    return math.fsum(float(np.vdot(p.a, b)) for p, b in zip(pairs, permuted))


def _permuted(
    digits: list[Digit], array: np.ndarray, permutation: Permutation, without: int = -1
) -> np.ndarray:
    for i, digit in enumerate(digits):
        if i != without and _groups(digit):
            array = array.take(_order(digit, permutation), axis=i)
    return array


def _order(digit: Digit, permutation: Permutation) -> np.ndarray:
    """Return which value of a digit comes to each place."""
    parts, at = [], 0
    for group, number in digit:
        parts.append(at + (permutation[group] if group else np.arange(number)))
        at += number
    return np.concatenate(parts)


def _groups(digit: Digit) -> set[int]:
    return {segment.group for segment in digit if segment.group}


def _digits(path: str, leaf: Any, axes: Mapping[str, Axes]) -> list[Digit]:
    """Return the digits of all axes of an array; ValueError if it is another one."""
    if path not in axes:
        raise ValueError(f"symmetry: {path} is not among {', '.join(axes)}")
    shape = tuple(math.prod(map(length, axis)) for axis in axes[path])
    if np.shape(leaf) != shape:
        raise ValueError(f"symmetry: {path} has shape {np.shape(leaf)}, not {shape}")
    return [*chain(*axes[path])]
