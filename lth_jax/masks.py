"""Masks: which weights are kept.

A masks pytree mirrors `params`. A leaf is a boolean array (True: kept, False: pruned)
or `None` where the parameter is never pruned, nor counted. Density is kept / prunable.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, PyTree, UInt8, UInt32

Params = PyTree  # of arrays, and what is no parameter may be anything
Masks = PyTree[Bool[Array | np.ndarray, "..."]]  # None: never pruned
Patterns = Sequence[str]  # regular expressions, or one

# Leaves of layers that are no kernels, whatever their rank.
_NO_KERNEL = re.compile(r"bias(_\w+)?|\w+_bias|scale|offset|negative_slope")


def full(
    params: Params, exclude: Patterns = (), include: Patterns = (), gains: Patterns = ()
) -> Masks:
    """Return masks that keep everything: the masks of a dense network.

    A leaf is prunable if it is a kernel, or a regular expression in `include` is found
    (`re.search`) in its path, joined with '/', and none in `exclude`. A kernel is of
    floating-point numbers, of rank 2 or more (embeddings are), and not called `bias`,
    `scale`, `offset`, `negative_slope`, names like `bias_n` and `out_bias`, or Haiku's
    `b` beside a `w`. Nor is what a module called `...Norm` holds itself, or a variable
    of NNX that is no `Param`. `include` may find these, and complex numbers: weights of
    size |z|, but two numbers each, so that they count only if asked for. Integers are
    never pruned. `gains` are paths of no kernels, where no class says so. Raises
    ValueError if a pattern finds none, or nothing is left.

    >>> params = {'fc1': {'kernel': jnp.ones((3, 2)), 'bias': jnp.ones(2)},
    ...           'fc': {'kernel': jnp.ones((2, 2))}}
    >>> by_layer(full(params, exclude=['^fc/'], include=['bias$']))
    {'fc1/bias': (2, 2), 'fc1/kernel': (6, 6)}
    """
    numbers = [path for path, w in leaves(params) if _is(w, np.inexact)]
    prunable = {*kernels(params)} - {*gains}
    prunable |= matching(include, numbers, "floating-point")
    ones = jax.tree.map(lambda w: jnp.ones_like(w, bool), _only(prunable, params))
    return without(ones, exclude)


def without(masks: Masks, patterns: Patterns) -> Masks:
    """Return masks that are `None` where a pattern is in the path; raises as `full`.

    >>> without({'a': jnp.ones(2, bool), 'b': jnp.ones(2, bool)}, ['^b$'])
    {'a': Array([ True,  True], dtype=bool), 'b': None}
    """
    prunable = [path for path, _ in leaves(masks)]
    left = {*prunable} - matching(patterns, prunable)
    if not left:
        raise ValueError("nothing is left to prune: no kernel that is not excluded")
    return _only(left, masks)


def matching(patterns: Patterns, paths: list[str], of: str = "prunable") -> set[str]:
    """Return the paths in which a regular expression is found; each must find one.

    >>> matching(["^a"], ["a/kernel", "b/kernel"])
    {'a/kernel'}
    """
    found = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        here = {path for path in paths if re.search(pattern, path)}
        if not here:
            those = ", ".join(paths) or "none"
            raise ValueError(f"{pattern!r} matches no {of} parameter; they are {those}")
        found |= here
    return found


def apply(params: Params, masks: Masks) -> Params:
    """Multiply parameters by their masks: exactly 0 where a weight is pruned.

    So is a gradient taken through it. Neither infinity nor NaN comes through.

    >>> apply({'w': jnp.array([[1., 2.]])}, {'w': jnp.array([[True, False]])})
    {'w': Array([[1., 0.]], dtype=float32)}
    """

    def one(path, w, m):
        if m is None:
            return w
        if np.shape(w) != np.shape(m):
            raise ValueError("another shape")  # `check` says whose
        try:
            return jnp.where(m, w, jnp.zeros_like(w, shape=()))
        except ValueError as error:  # they are on different devices
            raise ValueError(f"masks: {name(path)}: {error}") from error

    try:
        return jax.tree_util.tree_map_with_path(one, params, masks)
    except ValueError:
        check(params, masks)
        raise


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
    named = dict(leaves(masks))
    if any(isinstance(mask, Tracer) for mask in named.values()):
        raise ValueError("masks: they are counted on the host, not in a jitted program")
    numbers = jax.device_get(kept(named))
    return {path: (int(numbers[path]), mask.size) for path, mask in named.items()}


@jax.jit
def kept(masks: Masks) -> PyTree[UInt32[Array, ""]]:
    """Return how many are True in each array.

    >>> kept([jnp.array([True, False, True])])
    [Array(2, dtype=uint32)]
    """
    # XLA:CPU vectorises a sum over 8 rows, and is ten times slower over all.
    rows = jax.tree.map(lambda m: m.reshape(math.gcd(m.size, 8), -1), masks)
    sums = jax.tree.map(lambda r: r.sum(0, dtype=jnp.uint8), rows)
    return jax.tree.map(lambda s: s.sum(dtype=jnp.uint32), sums)


def overlap(a: Masks, b: Masks) -> float:
    """Return the overlap coefficient of two masks: |a and b| / min(|a|, |b|).

    1 if one contains the other; max(density(a), density(b)) is expected of independent
    masks. Symmetric. Raises ValueError if one of them keeps nothing.

    >>> overlap({'w': jnp.array([[True, True, False, False]])},
    ...         {'w': jnp.array([[True, False, True, False]])})
    0.5
    """
    both, _ = count(jax.tree.map(jnp.logical_and, a, b))
    if not (fewer := min(count(a)[0], count(b)[0])):
        raise ValueError("masks: nothing is kept")
    return both / fewer


def check(params: Params, masks: PyTree) -> None:
    """Raise ValueError, naming the path, unless `masks` fit `params`.

    Masks stand where parameters do, boolean and of their shape; each has one or `None`.

    >>> check({'w': jnp.ones((1, 2))}, {'w': jnp.array([[1, 0]])})
    Traceback (most recent call last):
    ValueError: masks: w is int32, not bool
    """
    wanted, present = _paths(params), _paths(masks)
    for path, w in wanted.items():
        if w is not None and path not in present:
            raise ValueError(f"masks: {path} is missing")
    for path, mask in present.items():
        if path not in wanted or (wanted[path] is None and mask is not None):
            raise ValueError(f"masks: {path} is extra, there is no such parameter")
    for path, mask in leaves(masks):
        dtype = getattr(mask, "dtype", type(mask).__name__)
        if str(dtype) != "bool":
            raise ValueError(f"masks: {path} is {dtype}, not bool")
        if (shape := np.shape(mask)) != (other := np.shape(wanted[path])):
            raise ValueError(f"masks: {path} has shape {shape}, its parameter {other}")


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
        flat = jnp.unpackbits(jnp.asarray(bits), count=w.size).astype(bool)
        return flat.reshape(w.shape)

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

    >>> name([jax.tree_util.DictKey('a'), jax.tree_util.SequenceKey(0)])
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


def kernels(node: PyTree, path: tuple = ()) -> Iterator[str]:
    """Yield the paths of what `full` calls kernels; complex ones are left out."""
    kinds = [kind.__name__ for kind in type(node).__mro__]
    if "Variable" in kinds and "Param" not in kinds:
        return
    pairs = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    beside_w = any(name(key).startswith("w") for key, _ in pairs)
    for key, child in pairs:
        here = name((*path, *key))
        if key and not jax.tree_util.all_leaves([child]):
            yield from kernels(child, (*path, *key))
        elif getattr(child, "ndim", 0) >= 2 and _is(child, np.floating):
            # A variable or a box of Flax holds its "value".
            parts = re.sub(r"(?<=.)/(raw_)?value$", "", here).split("/")
            *_, within, last = "", *parts
            bias = last == "b" and (beside_w or within == "bias")  # of Haiku
            scale = kinds[0].endswith("Norm") or within == "scales"
            if not (_NO_KERNEL.fullmatch(last) or bias or scale):
                yield here


def _only(paths: set[str], tree: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if name(path) in paths else None, tree
    )


def _is(leaf: Any, kind: type) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", bool), kind)


def _paths(tree: PyTree) -> dict[str, Any]:
    pairs = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: leaf is None)
    return {name(path): leaf for path, leaf in pairs}


def _order(pair: tuple[str, object]) -> list[tuple[bool, int | str]]:
    entries = pair[0].split("/")
    return [(not e.isdecimal(), int(e) if e.isdecimal() else e) for e in entries]
