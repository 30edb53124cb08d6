"""Stacked: layers that lie along the first axis of one leaf, as `nn.scan` has them.

What is counted by layer counts each of them by itself. They are named by the path of
the leaf and their number, as `layers/kernel[0]`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Patterns


def apart(tree: PyTree, stacked: Patterns) -> dict[str, Any]:
    """Return leaves by path, and those that are stacked as a leaf for every layer.

    Stacked are those in whose path a regular expression is found. Raises ValueError if
    one finds none, or a number without an axis.

    >>> apart({"scan": jnp.array([[1, 2], [3, 4]]), "fc": jnp.ones(1)}, ["^scan"])
    {'fc': Array([1.], dtype=float32), 'scan[0]': Array([1, 2], dtype=int32),
     'scan[1]': Array([3, 4], dtype=int32)}
    """
    leaves = dict(masks_lib.leaves(tree))
    found, parts = masks_lib.matching(stacked, [*leaves]), {}
    for path, leaf in leaves.items():
        if path not in found:
            parts[path] = leaf
        elif not leaf.shape:
            raise ValueError(f"stacked: {path} has no axis of layers")
        else:
            parts |= {f"{path}[{i}]": leaf[i] for i in range(len(leaf))}
    return parts


def together(parts: Mapping[str, Array], masks: Masks) -> Masks:
    """Return masks that were taken `apart`, in the tree of what they were before.

    >>> masks = {"scan": jnp.array([[True, False]]), "b": None}
    >>> together(apart(masks, ["scan"]), masks)
    {'b': None, 'scan': Array([[ True, False]], dtype=bool)}
    """

    def one(path, mask):
        here = masks_lib.name(path)
        if here in parts:
            return parts[here]
        layers = [parts[f"{here}[{i}]"] for i in range(len(mask))]
        return jnp.stack(layers) if layers else mask

    return jax.tree_util.tree_map_with_path(one, masks)


def by_layer(masks: Masks, stacked: Patterns = ()) -> dict[str, tuple[int, int]]:
    """Return {path: (kept, prunable)} as `masks.by_layer`, of every stacked layer, too.

    >>> by_layer({"scan": jnp.array([[True, False], [True, True]])}, ["scan"])
    {'scan[0]': (1, 2), 'scan[1]': (2, 2)}
    """
    return masks_lib.by_layer(apart(masks, stacked))
