"""PyTorch's names and layouts for the networks of both papers, and for others.

Networks are named as torchvision's (`layer1.0.conv1.weight`, `features.0.weight`). Of
what it does not have, ResNets for CIFAR have three layers, VGGs a single dense layer,
`classifier`, and MobileNet-V2 for CIFAR has an expansion in every block, and a
`shortcut` of two parts where widths differ.
"""

from collections.abc import Mapping

import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import models
from lth_jax.export import torch_names
from lth_jax.export.ticket import Ticket

_ARRAYS = dict(kernel="weight", scale="weight", mean="running_mean", var="running_var")


def state_dict(
    ticket: Ticket, names: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Return a network's arrays as a PyTorch module's `state_dict` has them.

    Kernels are [outputs, inputs, height, width], or [outputs, inputs]. The layout is
    that of the model in `ticket.about`, a key of `models.MODELS` with its options; or
    of any network by a table of `names`, regular expressions of layers' paths to
    modules. Raises ExportError if the network, or a layer, has no counterpart.

    >>> params = {"fc": {"kernel": np.ones((4, 10)), "bias": np.zeros(10)}}
    >>> about = {"model": {"name": "lenet"}, "data": {"shape": [2, 2, 1]}}
    >>> found = state_dict(Ticket(params, {}, {}, about))
    >>> {name: array.shape for name, array in found.items()}
    {'fc.bias': (10,), 'fc.weight': (10, 4)}
    """
    renamed, found = _renaming(ticket, names), {}
    # PyTorch flattens an image's channels before its height and width.
    channels = ticket.about["data"].get("shape", [1])[-1]
    arrays = masks_lib.leaves(ticket.params) + masks_lib.leaves(ticket.batch_stats)
    for path, array in arrays:
        path, _, name = path.rpartition("/")
        module, array = renamed(path).replace("/", "."), np.asarray(array)
        if name == "kernel":
            array = _kernel(array, channels if path == "fc1" else 1)
        elif name == "mean":
            found[f"{module}.num_batches_tracked"] = np.array(0)
        found[f"{module}.{_ARRAYS.get(name, name)}"] = array
    return found


def _renaming(ticket: Ticket, names: Mapping[str, str] | None) -> torch_names.Renaming:
    if names is not None:
        return torch_names.by_table(names)
    model, network = ticket.about["model"], None
    if model["name"] in models.MODELS:
        made = models.create(model["name"], num_classes=1, **model.get("options", {}))
        network = getattr(made, "module", None)
    return torch_names.renaming(network, model["name"])


def _kernel(array: np.ndarray, channels: int) -> np.ndarray:
    if array.ndim > 2:  # a convolution's: positions come last
        return np.moveaxis(array, (-1, -2), (0, 1))
    inputs, outputs = array.shape
    pixels = array.reshape(inputs // channels, channels, outputs)
    return pixels.transpose(2, 1, 0).reshape(outputs, inputs)
