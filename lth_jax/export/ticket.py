"""Ticket: one sparse network in one file, to take away.

The file holds the kept weights and one bit a weight for the mask, so that its size is
that of the sparse network. It is read without Flax, Orbax or the run.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params

# What the readers of both formats raise.
_DAMAGE = (
    *(ValueError, TypeError, EOFError, NotImplementedError),
    *(BadZipFile, safetensors.SafetensorError),
)


class Ticket(NamedTuple):
    """A network under its masks.

    Attributes:
        params: parameters, exactly 0 where a weight is pruned.
        batch_stats: statistics of batch normalisation, or {}.
        masks: True where a weight is kept, None where a parameter is never pruned.
        about: where it comes from: level, density, the config's model, the data's mean
            and standard deviation, ...
    """

    params: Params
    batch_stats: Params
    masks: Masks
    about: dict[str, Any]


def save_ticket(path: Path | str, ticket: Ticket) -> None:
    """Write a ticket as `.safetensors` or `.npz`.

    A masked parameter is two vectors: `values/PATH`, the kept weights in row-major
    order, and `masks/PATH`, one bit a weight, the first in the highest bit. All others
    are `params/PATH` and `batch_stats/PATH`. Shapes are in the metadata, `about`.

    Raises:
        ValueError: another suffix.
    """
    arrays, shapes = {}, {}
    masks, packed = (
        dict(masks_lib.leaves(tree))
        for tree in (ticket.masks, masks_lib.pack(ticket.masks))
    )
    for name, w in masks_lib.leaves(jax.device_get(ticket.params)):
        shapes[name] = w.shape
        if name in masks:
            arrays[f"values/{name}"] = w[np.asarray(masks[name])]
            arrays[f"masks/{name}"] = np.asarray(packed[name])
        else:
            arrays[f"params/{name}"] = w
    for name, x in masks_lib.leaves(jax.device_get(ticket.batch_stats)):
        arrays[f"batch_stats/{name}"] = x
    save_arrays(path, arrays, ticket.about | {"shapes": shapes})


def save_arrays(
    path: Path | str, arrays: dict[str, np.ndarray], about: dict[str, Any]
) -> None:
    """Write arrays, and what to know about them, as `.safetensors` or `.npz`.

    Raises:
        ValueError: another suffix.
    """
    text, path = json.dumps(about), Path(path)
    if path.suffix == ".safetensors":
        arrays = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
        safetensors.numpy.save_file(arrays, path, {"about": text})
    elif path.suffix == ".npz":
        arrays = arrays | {"about": np.array(text)}
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]  (no paths)
    else:
        raise ValueError(f"{path}: the suffix is neither .safetensors nor .npz")


def load_ticket(path: Path | str) -> Ticket:
    """Return the ticket in a file that `lth_jax.export` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no ticket.

    Example:
        >>> import tempfile
        >>> params = {"w": jnp.array([[0.0, 2.0]]), "b": jnp.ones(2)}
        >>> kept = {"w": jnp.array([[False, True]]), "b": None}
        >>> path = Path(tempfile.mkdtemp()) / "level_1.safetensors"
        >>> save_ticket(path, Ticket(params, {}, kept, {"level": 1}))
        >>> load_ticket(path).params["w"]
        Array([[0., 2.]], dtype=float32)
    """
    try:
        arrays, about = _load_arrays(Path(path))
    except _DAMAGE as error:
        raise ValueError(f"{path}: no ticket, or it is damaged") from error
    if "shapes" not in about:
        raise ValueError(f"{path}: no ticket (PyTorch's layout is for PyTorch)")
    shapes = about.pop("shapes")
    params, stats, kept = (
        _within(arrays, kind) for kind in ("params", "batch_stats", "values")
    )
    for name, values in kept.items():
        params[name] = np.zeros(shapes[name], values.dtype)
    params = {name: params[name] for name in shapes}
    packed = dict.fromkeys(shapes) | _within(arrays, "masks")
    masks = masks_lib.unpack(packed, params)
    for name, values in kept.items():
        params[name][np.asarray(masks[name])] = values
    nested = (_nested(tree) for tree in (params, stats, masks))
    params, stats, masks = (jax.tree.map(jnp.asarray, tree) for tree in nested)
    return Ticket(params, stats, masks, about)


def _load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if path.suffix == ".npz":
        with path.open("rb") as opened, np.load(opened) as file:
            arrays = dict(file)
        text = str(arrays.pop("about", "{}"))
    else:
        with safetensors.safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get("about", "{}")
    return arrays, json.loads(text)


def _within(arrays: dict[str, np.ndarray], kind: str) -> dict[str, Any]:
    start = f"{kind}/"
    return {n[len(start) :]: x for n, x in arrays.items() if n.startswith(start)}


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree
