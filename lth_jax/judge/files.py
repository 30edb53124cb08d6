"""Files: masks and weights as other tools write them, in a network's own layout.

What is read: tickets and whole runs of this project; `.safetensors` and `.npz` files of
arrays by name; PyTorch's state dicts, also in `.pt` files, of which no code is run.
Arrays have the network's names (`fc1/kernel`) and layouts, or those in PyTorch of the
networks that `lth_jax.export` knows. They are masks, of booleans or of 0 and 1; what
`torch.nn.utils.prune` leaves (`fc1.weight_orig`, `fc1.weight_mask`); or weights, whose
zeros are what is pruned.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree

from lth_jax import export
from lth_jax import masks as masks_lib
from lth_jax.errors import ExportError, RunError, one_line
from lth_jax.export import Ticket
from lth_jax.masks import Masks
from lth_jax.paths import local

Arrays = dict[str, np.ndarray]
_MASK, _WHOLE = "_mask", "_orig"  # what torch.nn.utils.prune appends
_COUNTERS = "num_batches_tracked"  # of PyTorch's normalisations


class MasksError(RunError):
    """Masks cannot be judged; names the file and the layer."""


class Layout(NamedTuple):
    """What a network's arrays are called, and how they lie.

    Attributes:
        params, batch_stats, masks: shapes; `None` where nothing is prunable.
        places: by name in PyTorch, the path of the same array and the flat index there
            of each of its elements; {} for a network without that layout.
    """

    params: PyTree
    batch_stats: PyTree
    masks: PyTree
    places: dict[str, tuple[str, np.ndarray]]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all arrays, by path."""
        both = (self.params, self.batch_stats)
        return {p: x.shape for tree in both for p, x in masks_lib.leaves(tree)}


def layout(
    params: PyTree,
    batch_stats: PyTree,
    masks: PyTree,
    about: Any,
    names: Mapping[str, str] | None = None,
) -> Layout:
    """Return the layout of a network.

    Args:
        params, batch_stats, masks: of the network, or their shapes.
        about: the config's `model` and what `data` is, as those of a ticket.
        names: PyTorch's, of layers of any network, as of `torch_layout.state_dict`,
            which raises ExportError.
    """
    paths: dict[int, str] = {}  # by the first index, counted through all arrays
    count = itertools.count()

    def number(path: Any, x: Any) -> np.ndarray:
        found = np.fromiter(itertools.islice(count, x.size), int).reshape(x.shape)
        paths[int(found.min())] = masks_lib.name(path)
        return found

    both = [
        jax.tree_util.tree_map_with_path(number, tree) for tree in (params, batch_stats)
    ]
    places = {}
    try:
        # Wherever an array's own indices go, there go its elements.
        from lth_jax.export import torch_layout

        found = torch_layout.state_dict(Ticket(both[0], both[1], {}, about), names)
    except ExportError:
        if names is not None:
            raise
        found = {}
    for name, index in found.items():
        if not name.endswith(_COUNTERS):
            first = int(index.min())
            places[name] = paths[first], index - first
    return Layout(params, batch_stats, masks, places)


def read_masks(path: Path | str, of: Layout) -> tuple[Masks, dict[str, Any]]:
    """Return the masks in a file, and what the file says of itself.

    Raises MasksError, in one line, for whatever is wrong with it.
    """
    arrays, about = _load(local(path, "masks"))
    found, prunable = _arranged(path, arrays, of), dict(masks_lib.leaves(of.masks))
    masks = {}
    for name in prunable:
        if f"{name}{_MASK}" in found:
            masks[name] = _bits(path, name, found[f"{name}{_MASK}"])
        elif name in found:
            masks[name] = _kept(path, name, found[name])
        else:
            masks[name] = np.ones(prunable[name].shape, bool)
    if not any(name in found or f"{name}{_MASK}" in found for name in prunable):
        raise MasksError(f"{path}: it has no mask of a layer that can be pruned")
    tree = jax.tree_util.tree_map_with_path(
        lambda p, m: masks[masks_lib.name(p)], of.masks
    )
    kept, total = masks_lib.count(tree)
    if not 0 < kept < total:
        what = "prunes nothing" if kept else "keeps nothing"
        raise MasksError(f"{path}: it {what} of {total:,} weights: there is no ticket")
    return tree, about


def read_weights(path: Path | str, of: Layout) -> tuple[PyTree, PyTree | None]:
    """Return the weights in a file, and the batch statistics if it has them all.

    Raises MasksError for what is missing, or does not fit.
    """
    arrays, _ = _load(local(path, "--weights"))
    found = _arranged(path, arrays, of)
    for name, x in found.items():
        if not np.isfinite(x).all():
            raise MasksError(f"{path}: {name} is not finite")

    def tree(like: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda p, x: found[masks_lib.name(p)].astype(x.dtype), like
        )

    for name, _ in masks_lib.leaves(of.params):
        if name not in found:
            raise MasksError(f"{path}: {name} is missing; it takes all parameters")
    statistics = [name for name, _ in masks_lib.leaves(of.batch_stats)]
    has_all = bool(statistics) and all(name in found for name in statistics)
    return tree(of.params), tree(of.batch_stats) if has_all else None


def check_together(where: str, masks: Masks, weights: PyTree) -> None:
    """Raise MasksError unless weights are 0 just where masks prune, or nowhere there.

    Whole weights have been given, or those that the masks have left. Layers that start
    at 0 are either, and one weight in a thousand may be 0 as it was drawn.
    """
    by_path = dict(masks_lib.leaves(weights))
    for path, mask in masks_lib.leaves(masks):
        zero, kept = np.asarray(by_path[path]) == 0, np.asarray(mask)
        gone, empty = int((zero & ~kept).sum()), int((zero & kept).sum())
        pruned = int((~kept).sum())
        few_empty = 1000 * empty <= kept.sum() or zero.all()
        if not few_empty or pruned != gone > pruned // 1000:
            raise MasksError(
                f"{where}: {path}: masks and weights disagree: of {pruned:,} weights "
                f"that are pruned, {gone:,} are 0, and {empty:,} that are kept"
            )


def _load(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Return a file's arrays by name, and what it says of itself."""
    try:
        path.stat()
    except OSError as error:
        raise MasksError(f"{path}: it cannot be read: {error.strerror}") from error
    try:
        if path.suffix in (".pt", ".pth", ".bin"):
            return _load_torch(path), {}
        if path.suffix == ".npz":
            with np.load(path) as file:
                if "about" not in file:
                    return {name: np.asarray(file[name]) for name in file}, {}
        elif path.suffix == ".safetensors":
            with safetensors.safe_open(path, "numpy") as file:
                said = file.metadata() or {}
            if "about" not in said or '"shapes"' not in said["about"]:
                return safetensors.numpy.load_file(path), {}
        else:
            raise MasksError(
                f"{path}: its suffix is none of .safetensors, .npz, .pt, .pth, .bin"
            )
        ticket = export.load_ticket(path)
    except RunError:
        raise
    except Exception as error:  # whatever the readers raise
        raise MasksError(f"{path}: it cannot be read: {one_line(error)}") from error
    found = dict(masks_lib.leaves(ticket.params))
    found |= dict(masks_lib.leaves(ticket.batch_stats))
    found |= {f"{p}{_MASK}": m for p, m in masks_lib.leaves(ticket.masks)}
    return {name: np.asarray(x) for name, x in found.items()}, ticket.about


def _load_torch(path: Path) -> Arrays:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MasksError(
            f"{path}: PyTorch reads it, and is not installed; install it, or save a "
            ".safetensors file"
        ) from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MasksError(
            f"{path}: it is no state dict of arrays alone, and code in it is not run: "
            f"save model.state_dict() ({one_line(error)[:60]})"
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    if not found or not all(isinstance(x, torch.Tensor) for x in found.values()):
        raise MasksError(f"{path}: it holds no state dict of arrays")
    return {str(name): x.numpy() for name, x in found.items()}


def _arranged(path: Path | str, arrays: Arrays, of: Layout) -> Arrays:
    """Return arrays in the network's layout, by their paths; masks end in `_mask`."""
    arrays = {
        n.removeprefix("module."): x  # of PyTorch's parallel modules
        for n, x in arrays.items()
        if not n.endswith(_COUNTERS)
    }
    own = {name.replace("/", "."): name for name in of.shapes}
    is_torch = sum(_bare(n) in of.places for n in arrays) > sum(
        _bare(n).replace("/", ".") in own for n in arrays
    )
    found = {}
    for name, x in arrays.items():
        bare, end = _bare(name), _MASK if name.endswith(_MASK) else ""
        place = of.places.get(bare) if is_torch else None
        here = place[0] if place else own.get(bare.replace("/", "."))
        if here is None or (is_torch and not place):
            known = ", ".join([*(of.places if is_torch else own.values())][:4])
            raise MasksError(f"{path}: there is no layer {name!r}; {known}, ... are")
        shape = place[1].shape if place else of.shapes[here]
        if x.shape != shape:
            turned = x.ndim > 1 and sorted(x.shape) == sorted(shape)
            hint = "; that is another tool's layout" if turned else ""
            raise MasksError(
                f"{path}: {name} is {x.shape}, and should be {shape}{hint}"
            )
        if x.dtype.kind not in "biuf":
            raise MasksError(f"{path}: {name} is {x.dtype}: neither masks nor weights")
        if place:
            flat = np.empty(x.size, x.dtype)
            flat[place[1].ravel()] = x.ravel()
            x = flat.reshape(of.shapes[here])
        found[here + end] = x
    return found


def _bare(name: str) -> str:
    return name.removesuffix(_MASK).removesuffix(_WHOLE)


def _bits(path: Path | str, name: str, x: np.ndarray) -> np.ndarray:
    """Return a mask of booleans, or of 0 and 1."""
    if x.dtype != bool and not np.isin(x, (0, 1)).all():
        raise MasksError(f"{path}: {name} is a mask, and not of 0 and 1 alone")
    return x.astype(bool)


def _kept(path: Path | str, name: str, x: np.ndarray) -> np.ndarray:
    """Return the mask of an array that is one, or of weights by their zeros."""
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise MasksError(f"{path}: {name} is not finite")
    return x != 0
