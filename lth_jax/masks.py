"""Masks: which weights are kept.

A masks pytree mirrors `params`. A leaf is a boolean array (True: kept, False: pruned)
or `None` where the parameter is never pruned. Density is kept / prunable, and
sparsity is 1 - density: parameters whose mask is `None` are not counted.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree, Shaped, UInt8

Params = PyTree[Shaped[Array | np.ndarray, "..."]]
Masks = PyTree[Bool[Array | np.ndarray, "..."]]  # None: never pruned


def full(params: Params, exclude: Sequence[str] = ()) -> Masks:
    """Return masks that keep everything: the masks of a dense network.

    A leaf is prunable if it has rank 2 or more (kernels; biases and normalisation are
    never pruned) and no regular expression in `exclude` is found (`re.search`) in its
    path, joined with '/'. Raises ValueError if a pattern matches no prunable parameter,
    or nothing is left.

    >>> params = {'fc1': {'kernel': jnp.ones((3, 2)), 'bias': jnp.ones(2)},
    ...           'fc': {'kernel': jnp.ones((2, 2))}}
    >>> by_layer(full(params, exclude=['^fc/']))
    {'fc1/kernel': (6, 6)}
    """
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    prunable = [path for path, w in leaves(params) if jnp.ndim(w) >= 2]
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in prunable):
            problem = f"exclude: {pattern!r} matches no prunable parameter; they are "
            raise ValueError(problem + (", ".join(prunable) or "none"))
    kept = {p for p in prunable if not any(re.search(x, p) for x in patterns)}
    if not kept:
        problem = "nothing is left to prune: no leaf of rank >= 2 is not excluded"
        raise ValueError(problem)
    return jax.tree_util.tree_map_with_path(
        lambda path, w: jnp.ones(w.shape, bool) if name(path) in kept else None, params
    )


def apply(params: Params, masks: Masks) -> Params:
    """Multiply parameters by their masks: exactly 0 where a weight is pruned.

    So is a gradient taken through it. Neither infinity nor NaN comes through.

    >>> apply({'w': jnp.array([[1., 2.]])}, {'w': jnp.array([[True, False]])})
    {'w': Array([[1., 0.]], dtype=float32)}
    """

    def one(w, m):
        return w if m is None else jnp.where(m, w, jnp.zeros((), w.dtype))

    return jax.tree.map(one, params, masks)


def count(masks: Masks) -> tuple[int, int]:
    """Return (kept, prunable) as Python integers.

    >>> count({'w': jnp.array([[True, False]]), 'b': None})
    (1, 2)
    """
    layers = by_layer(masks).values()
    return sum(kept for kept, _ in layers), sum(total for _, total in layers)


def density(masks: Masks) -> float:
    """Return the fraction of prunable weights kept; ValueError if none is prunable.

    >>> density({'w': jnp.array([[True, False]]), 'b': None})
    0.5
    """
    kept, total = count(masks)
    if not total:
        raise ValueError("masks: nothing is prunable")
    return kept / total


def by_layer(masks: Masks) -> dict[str, tuple[int, int]]:
    """Return {path: (kept, prunable)} of every prunable parameter, by path.

    >>> by_layer({'fc': {'kernel': jnp.array([[True, False]]), 'bias': None}})
    {'fc/kernel': (1, 2)}
    """
    named = leaves(masks)
    numbers = jax.device_get(kept([mask for _, mask in named]))
    return {path: (int(n), mask.size) for n, (path, mask) in zip(numbers, named)}


@jax.jit
def kept(masks: list[Array]) -> list[Array]:
    """Return how many are True in each of some arrays.

    >>> kept([jnp.array([True, False, True])])
    [Array(2, dtype=uint32)]
    """
    # XLA:CPU vectorises a sum over 8 rows, and is ten times slower over all at once.
    rows = [mask.reshape(math.gcd(mask.size, 8), -1) for mask in masks]
    eights = [mask.sum(0, dtype=jnp.uint8) for mask in rows]
    return [counts.sum(dtype=jnp.uint32) for counts in eights]


def overlap(a: Masks, b: Masks) -> float:
    """Return the overlap coefficient of two masks: |a and b| / min(|a|, |b|).

    1 if one contains the other; max(density(a), density(b)) is expected of independent
    masks. Symmetric. Raises ValueError if one of them keeps nothing.

    >>> overlap({'w': jnp.array([[True, True, False, False]])},
    ...         {'w': jnp.array([[True, False, True, False]])})
    0.5
    """
    both, _ = count(jax.tree.map(jnp.logical_and, a, b))
    fewer = min(count(a)[0], count(b)[0])
    if not fewer:
        raise ValueError("masks: nothing is kept")
    return both / fewer


def check(params: Params, masks: PyTree) -> None:
    """Raise ValueError, naming the path, unless `masks` fit `params`.

    Every mask must stand where a parameter stands, be boolean and have its shape; every
    parameter needs a mask or `None`.

    >>> check({'w': jnp.ones((1, 2))}, {'w': jnp.array([[1, 0]])})
    Traceback (most recent call last):
    ValueError: masks: w is int32, not bool
    """
    wanted, possible, present = dict(leaves(params)), _paths(params), _paths(masks)
    for path in wanted:
        if path not in present:
            raise ValueError(f"masks: {path} is missing")
    for path in present:
        if path not in possible:
            raise ValueError(f"masks: {path} is extra, there is no such parameter")
    for path, mask in leaves(masks):
        here, shape = f"masks: {path}", wanted[path].shape
        if mask.dtype != bool:
            raise ValueError(f"{here} is {mask.dtype}, not bool")
        if mask.shape != shape:
            raise ValueError(f"{here} has shape {mask.shape}, its parameter {shape}")


@jax.jit
def pack(masks: Masks) -> PyTree[UInt8[Array, "_"]]:
    """Return masks at one bit a weight: uint8 vectors, first weight in the highest bit.

    >>> pack({'w': jnp.array([[True, False, True]]), 'b': None})
    {'b': None, 'w': Array([160], dtype=uint8)}
    """
    return jax.tree.map(lambda m: jnp.packbits(m.ravel()), masks)


def unpack(packed: PyTree[UInt8[Array | np.ndarray, "_"]], params: Params) -> Masks:
    """Return the masks that `pack` made, with the shapes of `params`.

    Raises ValueError if the number of bytes does not fit a parameter.

    >>> unpack({'w': jnp.array([160], jnp.uint8)}, {'w': jnp.ones((1, 3))})
    {'w': Array([[ True, False,  True]], dtype=bool)}
    """

    def one(path, w, bits):
        if bits is None:
            return None
        there, needed = f"{name(path)} has {bits.size} bytes", -(-w.size // 8)
        if bits.size != needed:
            raise ValueError(f"masks: {there}, its shape {w.shape} needs {needed}")
        flat = jnp.unpackbits(jnp.asarray(bits), count=w.size)
        return flat.astype(bool).reshape(w.shape)

    return jax.tree_util.tree_map_with_path(one, params, packed)


def checksum(masks: Masks) -> str:
    """Return the SHA-256 of masks: their paths, shapes and bits.

    >>> checksum({'w': jnp.array([[True, False]]), 'b': None})[:8]
    'dad175c1'
    """
    digest = hashlib.sha256()
    packed = dict(leaves(jax.device_get(pack(masks))))
    for path, mask in leaves(masks):
        digest.update(f"{path} {mask.shape} ".encode() + packed[path].tobytes())
    return digest.hexdigest()


def name(path: Sequence[object]) -> str:
    """Return a tree path as text, joined with '/'.

    >>> (path, _), = jax.tree_util.tree_leaves_with_path({'a': [1]})
    >>> name(path)
    'a/0'
    """
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def leaves(tree: PyTree) -> list[tuple[str, Any]]:
    """Return the (path, leaf) pairs of a tree in sorted path order, without its Nones.

    Ties between scores are broken in this order, whatever container holds the leaves.

    >>> leaves({'b': 1, 'a': None, 'c': [2, 3]})
    [('b', 1), ('c/0', 2), ('c/1', 3)]
    """
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return sorted(((name(path), leaf) for path, leaf in pairs), key=_order)


def _paths(tree: PyTree) -> list[str]:
    pairs = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: leaf is None)
    return [name(path) for path, _ in pairs]


def _order(pair: tuple[str, object]) -> list[tuple[bool, int | str]]:
    entries = pair[0].split("/")
    return [(not e.isdecimal(), int(e) if e.isdecimal() else e) for e in entries]
