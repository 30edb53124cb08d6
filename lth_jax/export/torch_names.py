"""Torch names: what PyTorch, as torchvision has them, calls the layers of networks."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import linen as nn

from lth_jax.errors import ExportError
from lth_jax.models.inception import BLOCKS, InceptionV3
from lth_jax.models.lenet import LeNet
from lth_jax.models.mobilenet import STAGES, MobileNetV2
from lth_jax.models.resnet import CifarResNet, ResNet
from lth_jax.models.squeezenet import SqueezeNet
from lth_jax.models.vgg import VGG
from lth_jax.paths import local

Renaming = Callable[[str], str]

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1")
_STEM += ("Conv2d_4a_3x3",)
_MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_BRANCHES = {  # by the grid: 35x35, to 17x17, 17x17, to 8x8, 8x8
    **dict.fromkeys(_MIXED[:3], ("branch1x1", "branch5x5", "branch3x3dbl")),
    "6a": ("branch3x3", "branch3x3dbl"),
    **dict.fromkeys(_MIXED[4:8], ("branch1x1", "branch7x7", "branch7x7dbl")),
    "7a": ("branch3x3", "branch7x7x3"),
    **dict.fromkeys(_MIXED[9:], ("branch1x1", "branch3x3", "branch3x3dbl")),
}


def table(path: Path | str) -> dict[str, str]:
    """Return a table of names from a JSON file, or raise ExportError."""
    try:
        found = json.loads(local(path, "--names").read_text())
        return {str(ours): str(name) for ours, name in found.items()}
    except (AttributeError, OSError, ValueError) as error:
        raise ExportError(f"--names: {path} is no table in JSON: {error}") from error


def renaming(network: Any, name: str) -> Renaming:
    """Return what renames a layer's path; what a subclass adds keeps its name.

    Raises ExportError if the network, called `name`, has no counterpart.
    """
    for kind, make in _KINDS.items():
        if isinstance(network, kind):
            return make(network)
    raise ExportError(
        f"{name!r} has no PyTorch layout of its own: give a table of names (--names)"
    )


def by_table(table: Mapping[str, str]) -> Renaming:
    """Return what renames layers by a table, of regular expressions to names.

    Raises ExportError for a layer that none of them matches as a whole, and for what
    is no regular expression, or no name made from its groups.

    Example:
        >>> by_table({r"block(\\d+)/conv": r"blocks.\\1.conv"})("block3/conv")
        'blocks.3.conv'
    """

    def rename(path: str) -> str:
        for pattern, name in table.items():
            try:
                if match := re.fullmatch(pattern, path):
                    return match.expand(name)
            except (IndexError, re.error) as error:
                raise ExportError(f"--names: {pattern!r}: {name!r}: {error}") from error
        raise ExportError(f"--names: nothing in the table matches {path!r}")

    return rename


def _resnet(network: nn.Module) -> Renaming:
    def rename(path: str) -> str:
        path = re.sub(r"stage(\d+)_block(\d+)/", r"layer\1.\2.", path)
        path = re.sub(r"\bnorm(\d)", r"bn\1", path)
        path = path.replace("shortcut_norm", "downsample.1")
        return path.replace("shortcut", "downsample.0")

    return rename


def _listed(names: dict[str, str]) -> Renaming:
    return lambda path: names.get(path, path)


def _vgg(network: VGG) -> Renaming:
    names, place, layer = {"fc": "classifier"}, itertools.count(), itertools.count(1)
    for size in network.stage_sizes:
        for number in itertools.islice(layer, size):
            names[f"conv{number}"] = f"features.{next(place)}"
            names[f"norm{number}"] = f"features.{next(place)}"
            next(place)  # the ReLU
        next(place)  # the pooling
    return _listed(names)


def _squeezenet(network: nn.Module) -> Renaming:
    names = {"conv1": "features.0", "classifier": "classifier.1"}
    # After the first convolution a ReLU and a pooling; and one after fires 4 and 8.
    for fire, place in zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12)):
        for part in ("squeeze", "expand1x1", "expand3x3"):
            names[f"fire{fire}/{part}"] = f"features.{place}.{part}"
    return _listed(names)


def _mobilenet(network: MobileNetV2) -> Renaming:
    names = {"conv1": "features.0.0", "norm1": "features.0.1", "fc": "classifier.1"}
    place = itertools.count(1)
    for stage, (_, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            ours, theirs = f"stage{stage}_block{block}", f"features.{next(place)}"
            # The first block expands by 1, which most implementations leave out.
            expands = stage > 1 or network.project_all
            pairs = ["expand"] * expands + ["depthwise"]
            for i, part in enumerate(pairs):
                names[f"{ours}/{part}"] = f"{theirs}.conv.{i}.0"
                names[f"{ours}/{part}_norm"] = f"{theirs}.conv.{i}.1"
            names[f"{ours}/project"] = f"{theirs}.conv.{len(pairs)}"
            names[f"{ours}/project_norm"] = f"{theirs}.conv.{len(pairs) + 1}"
            names[f"{ours}/shortcut"] = f"{theirs}.shortcut.0"
            names[f"{ours}/shortcut_norm"] = f"{theirs}.shortcut.1"
    last = next(place)
    return _listed(
        names | {"conv2": f"features.{last}.0", "norm2": f"features.{last}.1"}
    )


def _inception(network: nn.Module) -> Renaming:
    names = {f"conv{i}": name for i, name in enumerate(_STEM, 1)}
    names |= {"aux/conv1": "AuxLogits.conv0", "aux/conv2": "AuxLogits.conv1"}
    for i, (grid, (branches, _)) in enumerate(zip(_MIXED, BLOCKS), 1):
        names[f"mixed{i}/pool_conv"] = f"Mixed_{grid}.branch_pool"
        for b, (called, steps) in enumerate(zip(_BRANCHES[grid], branches), 1):
            for ours, theirs in _steps(steps):
                names[f"mixed{i}/branch{b}_{ours}"] = f"Mixed_{grid}.{called}{theirs}"
    last = {"conv": "conv", "norm": "bn"}

    def rename(path: str) -> str:
        unit, _, part = path.rpartition("/")
        if unit in names and part in last:
            return f"{names[unit]}.{last[part]}"
        return path.replace("aux/", "AuxLogits.")

    return rename


def _steps(steps: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the names of a branch's convolutions, ours and torchvision's ends."""
    found = []
    for s, (_, *kernels) in enumerate(steps, 1):
        for letter, (height, width) in zip("ab", kernels):
            end = f"_{s}" * (len(steps) > 1) + letter * (len(kernels) > 1)
            found.append((f"conv{s}_{height}x{width}", end))
    return found


_KINDS: dict[Any, Callable[[Any], Renaming]] = {
    LeNet: lambda network: str,
    CifarResNet: _resnet,
    ResNet: _resnet,
    VGG: _vgg,
    SqueezeNet: _squeezenet,
    MobileNetV2: _mobilenet,
    InceptionV3: _inception,
}
