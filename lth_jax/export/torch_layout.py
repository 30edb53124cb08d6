"""PyTorch's names and layouts for the networks of both papers, and for others.

Networks are named as torchvision's (`layer1.0.conv1.weight`, `features.0.weight`). Of
what it does not have, ResNets for CIFAR have three layers, VGGs a single dense layer,
`classifier`, and MobileNet-V2 for CIFAR has an expansion in every block, and a
`shortcut` of two parts where widths differ.
"""

import math
from collections.abc import Mapping

import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import models
from lth_jax.errors import ExportError
from lth_jax.export import torch_names
from lth_jax.export.ticket import Ticket

# Of a layer's arrays: what PyTorch calls them, and how many axes they may have.
_ARRAYS = {
    "kernel": ("weight", (2, 3, 4, 5)),  # a dense layer's, or a convolution's
    "w": ("weight", (2, 3, 4, 5)),  # the same, of Haiku
    "embedding": ("weight", (2,)),
    "weight": ("weight", (1, 2, 3, 4, 5)),  # Equinox has PyTorch's layouts
    "scale": ("weight", (1,)),
    "bias": ("bias", (1,)),
    "b": ("bias", (1,)),
    "mean": ("running_mean", (1,)),
    "var": ("running_var", (1,)),
}
_ATTENTION = {"query", "key", "value", "out"}  # dense layers, of which some have heads


def state_dict(
    ticket: Ticket, names: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Return a network's arrays as a PyTorch module's `state_dict` has them.

    Kernels are [outputs, inputs, height, width], or [outputs, inputs]. The layout is
    that of the model in `ticket.about`, a key of `models.MODELS` with its options; or
    of any network by a table of `names`, regular expressions of layers' paths to
    modules. Raises ExportError if the network, a layer, or an array of one has no
    counterpart, or two have the same.

    >>> params = {"fc": {"kernel": np.ones((4, 10)), "bias": np.zeros(10)}}
    >>> about = {"model": {"name": "lenet"}, "data": {"shape": [2, 2, 1]}}
    >>> found = state_dict(Ticket(params, {}, {}, about))
    >>> {name: array.shape for name, array in found.items()}
    {'fc.bias': (10,), 'fc.weight': (10, 4)}
    """
    renamed, found = _renaming(ticket, names), {}
    image = _image(ticket) if names is None else ()
    arrays = masks_lib.leaves(ticket.params) + masks_lib.leaves(ticket.batch_stats)
    layers = {path.rpartition("/")[0] for path, _ in arrays}
    for path, array in arrays:
        layer, _, name = path.rpartition("/")
        array = np.asarray(array)
        if (
            name == "bias" and array.ndim and array.size == len(array)
        ):  # of Equinox's convolutions
            array = array.ravel()
        theirs = _counterpart(path, array.ndim, layers)
        module = renamed(layer).replace("/", ".")
        if name in ("kernel", "w"):
            array = _kernel(array, image if layer == "fc1" else ())
        elif name == "mean":
            found[f"{module}.num_batches_tracked"] = np.array(0)
        if f"{module}.{theirs}" in found:
            raise ExportError(f"torch: two layers become {module!r}; one is {layer!r}")
        found[f"{module}.{theirs}"] = array
    return found


def _image(ticket: Ticket) -> tuple[int, ...]:
    """Return height, width and channels where the network flattens images, as LeNet."""
    shape = ticket.about["data"].get("shape") or ()
    return tuple(shape) if [type(n) for n in shape] == 3 * [int] else ()


def _counterpart(path: str, axes: int, layers: set[str]) -> str:
    """Return what PyTorch calls an array of a layer, or raise ExportError."""
    layer, _, name = path.rpartition("/")
    theirs, known = _ARRAYS.get(name, ("", ()))
    if axes not in known:
        raise ExportError(f"torch: {path!r}, of {axes} axes, has no counterpart")
    block = layer.rpartition("/")[0]
    siblings = {f"{block}/{one}".lstrip("/") for one in _ATTENTION}
    if layer in siblings <= layers and axes > 2:
        raise ExportError(f"torch: {layer!r}, of an attention, has no counterpart")
    return theirs


def _renaming(ticket: Ticket, names: Mapping[str, str] | None) -> torch_names.Renaming:
    if names is not None:
        return torch_names.by_table(names)
    model, network = ticket.about["model"], None
    if model["name"] in models.MODELS:
        made = models.create(model["name"], num_classes=1, **model.get("options", {}))
        network = getattr(made, "module", None)
    return torch_names.renaming(network, model["name"])


def _kernel(array: np.ndarray, image: tuple[int, ...]) -> np.ndarray:
    if array.ndim > 2:  # a convolution's: positions come last
        return np.moveaxis(array, (-1, -2), (0, 1))
    if not image or len(array) != math.prod(image):
        return array.T
    # PyTorch flattens an image's channels before its height and width.
    pixels = array.reshape(*image, -1)
    return pixels.transpose(3, 2, 0, 1).reshape(-1, len(array))
