"""PyTorch's names and layouts for the networks of both papers.

ResNets are named as torchvision's (`layer1.0.conv1.weight`, `layer2.0.downsample.0`),
those for CIFAR with three layers; VGGs too (`features.0.weight`), but for their single
dense layer, which is `classifier`.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import models
from lth_jax.errors import ExportError
from lth_jax.export.ticket import Ticket
from lth_jax.models.lenet import LeNet
from lth_jax.models.resnet import CifarResNet, ResNet
from lth_jax.models.vgg import VGG

_ARRAYS = dict(kernel="weight", scale="weight", mean="running_mean", var="running_var")


def state_dict(ticket: Ticket) -> dict[str, np.ndarray]:
    """Return a network's arrays as a PyTorch module's `state_dict` has them.

    Kernels are [outputs, inputs, height, width], or [outputs, inputs]. The layout is
    that of the model in `ticket.about`, a key of `models.MODELS` with its options.
    Raises ExportError if the network has no counterpart.

    >>> params = {"fc": {"kernel": np.ones((4, 10)), "bias": np.zeros(10)}}
    >>> about = {"model": {"name": "lenet"}, "data": {"shape": [2, 2, 1]}}
    >>> found = state_dict(Ticket(params, {}, {}, about))
    >>> {name: array.shape for name, array in found.items()}
    {'fc.bias': (10,), 'fc.weight': (10, 4)}
    """
    renamed, found = _renaming(ticket.about["model"]), {}
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


def _kernel(array: np.ndarray, channels: int) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    inputs, outputs = array.shape
    pixels = array.reshape(inputs // channels, channels, outputs)
    return pixels.transpose(2, 1, 0).reshape(outputs, inputs)


def _renaming(model: dict[str, Any]) -> Callable[[str], str]:
    """Return what renames a layer; what a subclass adds keeps its name."""
    name, network = model["name"], None
    if name in models.MODELS:
        made = models.create(name, num_classes=1, **model.get("options", {}))
        network = getattr(made, "module", None)
    if isinstance(network, LeNet):
        return str
    if isinstance(network, (CifarResNet, ResNet)):
        return _resnet
    if isinstance(network, VGG):
        names = _vgg(network.stage_sizes)
        return lambda path: names.get(path, path)
    raise ExportError(f"{name!r} has no PyTorch layout: LeNets, ResNets and VGGs have")


def _resnet(path: str) -> str:
    path = re.sub(r"stage(\d+)_block(\d+)/", r"layer\1.\2.", path)
    path = re.sub(r"\bnorm(\d)", r"bn\1", path)
    path = path.replace("shortcut_norm", "downsample.1")
    return path.replace("shortcut", "downsample.0")


def _vgg(stage_sizes: Sequence[int]) -> dict[str, str]:
    names, place, layer = {"fc": "classifier"}, itertools.count(), itertools.count(1)
    for size in stage_sizes:
        for number in itertools.islice(layer, size):
            names[f"conv{number}"] = f"features.{next(place)}"
            names[f"norm{number}"] = f"features.{next(place)}"
            next(place)  # the ReLU
        next(place)  # the pooling
    return names
