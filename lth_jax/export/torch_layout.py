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
from lth_jax.masks import Params
from lth_jax.models.lenet import LeNet
from lth_jax.models.resnet import CifarResNet, ResNet
from lth_jax.models.vgg import VGG

_ARRAYS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def state_dict(
    model: str,
    params: Params,
    batch_stats: Params,
    channels: int,
    options: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Return a network's arrays as a PyTorch module's `state_dict` has them.

    Kernels are [outputs, inputs, height, width], or [outputs, inputs].

    Args:
        model: name of the network, a key of `models.MODELS`.
        params: its parameters.
        batch_stats: the statistics of its normalisations, or {}.
        channels: of an image: PyTorch flattens them before height and width.
        options: fields of the network that its name leaves open.

    Raises:
        ExportError: the network has no counterpart.

    Example:
        >>> fc = {"kernel": np.ones((4, 10)), "bias": np.zeros(10)}
        >>> found = state_dict("lenet", {"fc": fc}, {}, channels=1)
        >>> {name: array.shape for name, array in found.items()}
        {'fc.bias': (10,), 'fc.weight': (10, 4)}
    """
    renamed, found = _renaming(model, options or {}), {}
    for path, array in masks_lib.leaves(params) + masks_lib.leaves(batch_stats):
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


def _renaming(model: str, options: dict[str, Any]) -> Callable[[str], str]:
    """Return the function from a layer's path to its name in PyTorch.

    The network's class decides; what a subclass adds keeps its name.
    """
    known = model in models.MODELS
    network = models.create(model, num_classes=1, **options) if known else None
    if isinstance(network, LeNet):
        return str
    if isinstance(network, (CifarResNet, ResNet)):
        return _resnet
    if isinstance(network, VGG):
        names = _vgg(network.stage_sizes)
        return lambda path: names.get(path, path)
    raise ExportError(f"{model!r} has no PyTorch layout: LeNets, ResNets and VGGs have")


def _resnet(path: str) -> str:
    path = re.sub(r"stage(\d+)_block(\d+)/", r"layer\1.\2.", path)
    path = re.sub(r"\bnorm(\d)", r"bn\1", path)
    path = path.replace("shortcut_norm", "downsample.1")
    return path.replace("shortcut", "downsample.0")


def _vgg(stage_sizes: Sequence[int]) -> dict[str, str]:
    names, place, layer = {"fc": "classifier"}, itertools.count(), itertools.count(1)
    for stage, size in enumerate(stage_sizes):
        if stage:
            next(place)  # the pooling
        for number in itertools.islice(layer, size):
            names[f"conv{number}"] = f"features.{next(place)}"
            names[f"norm{number}"] = f"features.{next(place)}"
            next(place)  # the ReLU
    return names
