"""Arrays: a data set of arrays in memory, whatever they are."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lth_jax.data.dataset import Dataset, Split
from lth_jax.errors import DataError, one_line
from lth_jax.masks import name

Pair = Any  # (inputs, targets), or a mapping with these names


def from_arrays(
    train: Pair,
    test: Pair,
    *,
    num_classes: int | None = None,
    augment: Callable[..., PyTree] | None = None,
) -> Dataset:
    """Return a data set of arrays: NumPy's, JAX's, or what NumPy makes arrays of.

    Args:
        train, test: (inputs, targets), each an array with examples first, or a tree of
            such arrays. Inputs uint8 [n, h, w, c] are images, which are standardised
            and cropped as `config.data` says; a network is given all others as they
            are. Numbers of 64 bits become 32.
        num_classes: outputs that a network needs; by default the highest label (or
            token) + 1, or how many numbers a target has.
        augment: in training, from a key and a batch's inputs, before they are
            standardised, to others.

    Raises DataError if arrays are of unequal length, or have NaN or infinity.

    Example:
        >>> x, y = np.ones((6, 4)), np.array([0, 1, 2, 0, 1, 2])
        >>> found = from_arrays((x, y), (x[:3], y[:3]))
        >>> len(found.train), found.num_classes
        (6, 3)
    """
    splits = {"train": _split("train", train), "test": _split("test", test)}
    _check_alike(*splits.values())
    if num_classes is None:
        num_classes = _outputs([*splits.values()])
    return Dataset(splits["train"], None, splits["test"], num_classes, {}, augment)


def _split(which: str, given: Pair) -> Split:
    if isinstance(given, Split):
        given = given.inputs, given.targets
    if isinstance(given, Mapping):
        if {*given} != {"inputs", "targets"}:
            found = ", ".join(map(str, given))
            raise DataError(f"data: {which} has {found}: name them inputs, targets")
        given = given["inputs"], given["targets"]
    if not isinstance(given, tuple | list) or len(given) != 2:
        kind = type(given).__name__
        raise DataError(f"data: {which} is a {kind}: give (inputs, targets)")
    paths, tree = jax.tree_util.tree_flatten_with_path(
        dict(zip(("inputs", "targets"), given)),
        is_leaf=lambda x: isinstance(x, list),
    )
    arrays = [_array(f"{which}/{name(path)}", leaf) for path, leaf in paths]
    lengths = {f"{which}/{name(path)}": len(x) for (path, _), x in zip(paths, arrays)}
    if len({*lengths.values()}) > 1:
        said = ", ".join(f"{n} of {where}" for where, n in lengths.items())
        raise DataError(f"data: arrays of unequal length: {said}")
    found = jax.tree.unflatten(tree, arrays)
    if not jax.tree.leaves(found["inputs"]) or not [*lengths.values()][0]:
        raise DataError(f"data: {which} is empty")
    return Split(found["inputs"], jax.tree.map(_signed, found["targets"]))


def _array(where: str, x: Any) -> np.ndarray:
    """Return an array of finite numbers of at most 32 bits, or raise DataError."""
    try:
        x = np.asarray(x)
    except (TypeError, ValueError) as error:  # rows of unequal length, random keys
        raise DataError(f"data: {where} is no array ({one_line(error)})") from error
    if not x.ndim:
        raise DataError(f"data: {where} is one value: it takes one for each example")
    if not (x.dtype == bool or jnp.issubdtype(x.dtype, np.number)):
        raise DataError(f"data: {where} is of {x.dtype}: turn it into numbers")
    if np.issubdtype(x.dtype, np.integer) and x.size:
        low, high = int(x.min()), int(x.max())
        if not -(2**31) <= low <= high < 2**31:
            said = f"goes from {low} to {high}, and integers are of 32 bits"
            raise DataError(f"data: {where} {said}: count from 0")
    small = {"int64": np.int32, "uint64": np.int32, "uint32": np.int32}
    small |= {"float64": np.float32, "complex128": np.complex64}
    with np.errstate(over="ignore"):  # to infinity
        x = x.astype(small.get(x.dtype.name, x.dtype), copy=False)
    if x.dtype.kind not in "biu" and not (finite := np.isfinite(x)).all():
        bad = int((~finite).reshape(len(x), -1).any(1).sum())
        said = f"holds NaN or infinity in {bad} of {len(x)} examples"
        raise DataError(f"data: {where} {said}: leave them out, or fill it in")
    return x


def _signed(x: np.ndarray) -> np.ndarray:
    """Return targets of a type that has `NO_LABEL`, which is negative."""
    return x.astype(np.promote_types(x.dtype, np.int8)) if x.dtype.kind == "u" else x


def _check_alike(train: Split, test: Split) -> None:
    """Raise DataError unless examples of both splits are of one shape and type."""
    alike = [
        jax.tree.map(lambda x: (x.shape[1:], x.dtype.name), (s.inputs, s.targets))
        for s in (train, test)
    ]
    if alike[0] != alike[1]:
        raise DataError(f"data: examples of train are {alike[0]}, of test {alike[1]}")


def _outputs(splits: list[Split]) -> int:
    """Return how many outputs a network needs for the targets."""
    targets = [x for split in splits for x in jax.tree.leaves(split.targets)]
    if not targets:
        return 1
    if all(np.issubdtype(x.dtype, np.integer) for x in targets):
        tokens = [x for x in targets if x.ndim > 1]
        several = jax.tree.leaves([split.inputs for split in splits]) if tokens else []
        whole = [x for x in several if np.issubdtype(x.dtype, np.integer)]
        return 1 + max(int(x.max(initial=0)) for x in targets + whole)
    return int(np.prod(targets[0].shape[1:]))
