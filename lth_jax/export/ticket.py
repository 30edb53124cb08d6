"""Ticket: one sparse network in one file, read without Flax, Orbax or the run."""

import contextlib
import hashlib
import json
import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from lth_jax import masks as masks_lib
from lth_jax import scores
from lth_jax.errors import ExportError, one_line
from lth_jax.masks import Masks, Params
from lth_jax.paths import local

Arrays = dict[str, np.ndarray]
TICKET = "ticket.safetensors"  # in a bundle


class Ticket(NamedTuple):
    """A network under its masks."""

    params: Params  # exactly 0 where a weight is pruned
    batch_stats: Params  # statistics of batch normalisation, or {}
    masks: Masks  # True where a weight is kept, None where a parameter is never pruned
    about: dict[str, Any]  # level, density, the config's model, the data's mean, ...


def save_ticket(path: Path | str, ticket: Ticket) -> None:
    """Write a ticket as `.safetensors` or `.npz`.

    A masked parameter is two vectors: `values/PATH`, the kept weights in row-major
    order, and `masks/PATH`, one bit a weight, the first in the highest bit. All others
    are `params/PATH` and `batch_stats/PATH`. Shapes are in the metadata, `about`, and
    the types of numbers that the format lacks (of 8 bits, or bfloat16 in `.npz`), which
    are written as bytes. Raises ExportError for another suffix, and for what is no
    number.
    """
    arrays, shapes, masks = {}, {}, dict(masks_lib.leaves(ticket.masks))
    for name, w in masks_lib.leaves(jax.device_get(ticket.params)):
        w = _numbers(name, w)
        shapes[name] = w.shape
        if name in masks:
            mask = np.asarray(masks[name])
            arrays[f"values/{name}"] = w[mask]
            arrays[f"masks/{name}"] = np.packbits(mask)
        else:
            arrays[f"params/{name}"] = w
    for name, x in masks_lib.leaves(jax.device_get(ticket.batch_stats)):
        arrays[f"batch_stats/{name}"] = _numbers(name, x)
    dtypes = {}
    for name, x in arrays.items():
        if not _is_in(Path(path).suffix, x.dtype):
            dtypes[name] = x.dtype.name
            arrays[name] = np.ascontiguousarray(x).reshape(*x.shape, 1).view(np.uint8)
    about = ticket.about | {"shapes": shapes} | ({"dtypes": dtypes} if dtypes else {})
    save_arrays(path, arrays, about)


def save_arrays(path: Path | str, arrays: Arrays, about: dict[str, Any]) -> None:
    """Write arrays, what to know about them, and a checksum of both, or ExportError."""
    path = local(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise ExportError(f"{path}: the suffix is neither .safetensors nor .npz")
    arrays = {name: np.asarray(x, order="C") for name, x in arrays.items()}
    for name, x in arrays.items():
        if not _is_in(path.suffix, x.dtype):
            raise ExportError(f"{path}: {name} is {x.dtype}: {path.suffix} has no such")
    text = json.dumps(about)
    text = {"about": text, "sha256": _checksum(arrays, text)}
    if path.suffix == ".safetensors":
        safetensors.numpy.save_file(arrays, path, text)
    else:
        np.savez(path, **arrays, **text)  # pyright: ignore[reportArgumentType]  (no paths)


@contextlib.contextmanager
def unpacked(path: Path | str) -> Iterator[Path]:
    """Give the folder of a bundle; of a zip for a while, elsewhere."""
    path = local(path)
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as name:
        try:
            with zipfile.ZipFile(path) as file:
                file.extractall(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ValueError(f"{path}: {one_line(error)}") from error
        found = [*Path(name).rglob(TICKET)]
        if len(found) != 1:
            raise ValueError(f"{path}: is no bundle of a ticket")
        yield found[0].parent


def load_ticket(path: Path | str) -> Ticket:
    """Return the ticket in a file, or bundle, that `lth_jax.export` wrote.

    Raises FileNotFoundError, or ValueError if it holds no ticket or arrays do not fit.

    >>> import tempfile
    >>> params = {"w": jnp.array([[0.0, 2.0]]), "b": jnp.ones(2)}
    >>> kept = {"w": jnp.array([[False, True]]), "b": None}
    >>> path = Path(tempfile.mkdtemp()) / "level_1.safetensors"
    >>> save_ticket(path, Ticket(params, {}, kept, {"level": 1}))
    >>> load_ticket(path).params["w"]
    Array([[0., 2.]], dtype=float32)
    """
    try:
        if local(path).is_dir() or local(path).suffix == ".zip":
            with unpacked(path) as folder:
                return _ticket(*_load_arrays(folder / TICKET))
        return _ticket(*_load_arrays(local(path)))
    except OSError:
        raise
    except Exception as error:  # whatever the readers of both formats raise
        reason = f"{path}: no ticket, or it is damaged: {one_line(error)}"
        raise ValueError(reason) from error


def _ticket(arrays: Arrays, text: str, checksum: str | None) -> Ticket:
    about, there, found = json.loads(text), dict(arrays), {}
    if "shapes" not in about:
        raise ValueError("no shapes (PyTorch's layout is for PyTorch)")
    for name, dtype in about.pop("dtypes", {}).items():
        there[name] = _numbers(name, there[name].view(np.dtype(dtype))[..., 0])
    for name, shape in about.pop("shapes").items():
        if type(shape) is not list or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"{name} has the shape {shape}")
        size, mask = math.prod(shape), None
        if f"params/{name}" in there:
            w = _take(there, f"params/{name}", size).reshape(shape)
        else:  # nothing of this size before there are as many bits
            bits = _take(there, f"masks/{name}", -(-size // 8), "u")
            mask = np.unpackbits(bits, count=size).astype(bool).reshape(shape)
            values = _take(there, f"values/{name}", int(mask.sum()))
            w = np.zeros(shape, values.dtype)
            w[mask] = values.ravel()
        found[f"params/{name}"], found[f"masks/{name}"] = w, mask
    for name in [name for name in there if name.startswith("batch_stats/")]:
        found[name] = _take(there, name, there[name].size)
    if there:
        raise ValueError(f"{min(there)} is extra")
    if checksum not in (None, _checksum(arrays, text)):
        raise ValueError("its checksum is another")
    empty = {"params": {}, "batch_stats": {}, "masks": {}}
    return Ticket(**empty | _nested(found), about=about)


def _numbers(name: str, x: Any) -> np.ndarray:
    """Return what JAX can hold as a NumPy array of numbers, else raise ExportError."""
    if isinstance(x, np.ndarray) and not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder())
    dtype = getattr(x, "dtype", np.dtype(type(x)))
    strange = not scores.is_array(x) or jnp.issubdtype(dtype, jax.dtypes.extended)
    if strange or dtype.name in ("int1", "uint1", "float6_e2m3fn", "float6_e3m2fn"):
        raise ExportError(f"ticket: {name} is {dtype}, not numbers that can be saved")
    return np.asarray(x)


def _is_in(suffix: str, dtype: np.dtype) -> bool:
    """Return whether a file format has a type of numbers, here and for others."""
    if suffix == ".safetensors" and dtype.name in ("bfloat16", "complex128"):
        return dtype.name == "bfloat16"
    return dtype.isbuiltin == 1 and dtype.kind in "biufc"


def _take(arrays: Arrays, name: str, size: int, kind: str = "biufcV") -> np.ndarray:
    """Take an array out of all; raise ValueError unless it has its size and kind."""
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = arrays.pop(name)
    if array.size != size or array.dtype.kind not in kind or array.dtype.names:
        raise ValueError(f"{name} has {array.size} of {array.dtype}, and not {size}")
    return array


def _load_arrays(path: Path) -> tuple[Arrays, str, str | None]:
    """Return a file's arrays, `about` as text, and the checksum if it has one."""
    if path.suffix == ".npz":
        with path.open("rb") as opened, np.load(opened) as file:
            if any(member.compress_type for member in file.zip.infolist()):
                raise ValueError("it is compressed, to whatever size")
            arrays = {name: np.asarray(file[name]) for name in file}
        text = {n: str(arrays.pop(n)) for n in ("about", "sha256") if n in arrays}
    else:
        with safetensors.safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = file.metadata() or {}
    return arrays, text.get("about", "{}"), text.get("sha256")


def _checksum(arrays: Arrays, about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name, x in sorted(arrays.items()):
        digest.update(f"{name} {x.dtype} {x.shape} ".encode() + x.tobytes())
    return digest.hexdigest()


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in sorted(flat.items()):  # an array before what its name contains
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        if leaf is not None and jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype:
            leaf = jnp.asarray(leaf)
        node[name] = leaf
    return tree
