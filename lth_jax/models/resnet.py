"""Residual networks for CIFAR and ImageNet (He et al. 2016, arXiv 1512.03385).

The stem is `conv1` and `norm1`. Block b of stage s is `stage{s}_block{b}`, stages
counted from 1 and blocks from 0; it holds `conv1`, `norm1`, `conv2`, `norm2` (and
`conv3`, `norm3` in a bottleneck) and, where the shape changes, `shortcut` and
`shortcut_norm`. The last layer is `fc`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from flax import linen as nn

from lth_jax.models.classifier import Classifier, Images, Logits, Maps, ModuleDef

_AROUND: Any = ((1, 1), (1, 1))  # Flax's annotation knows only text


class _Block(nn.Module):
    """What both blocks share; `conv` and `norm` come with the network's fields."""

    conv: ModuleDef
    norm: ModuleDef
    width: int
    stride: int = 1
    zero_init_last: bool = False

    @nn.nowrap
    def last_norm(self, name: str) -> nn.Module:
        zeros = {"scale_init": nn.initializers.zeros} if self.zero_init_last else {}
        return self.norm(**zeros, name=name)

    def add_shortcut(self, y: Maps, x: Maps) -> Maps:
        if x.shape != y.shape:
            x = self.conv(y.shape[-1], (1, 1), self.stride, name="shortcut")(x)
            x = self.norm(name="shortcut_norm")(x)
        return nn.relu(x + y)


class BasicBlock(_Block):
    """Two 3x3 convolutions (figure 5, left), with a 1x1 projection shortcut."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        y = self.conv(self.width, (3, 3), self.stride, padding=1, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.width, (3, 3), padding=1, name="conv2")(y)
        y = self.last_norm("norm2")(y)
        return self.add_shortcut(y, x)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions (figure 5, right), the 3x3 one with the stride."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        y = self.conv(self.width, (1, 1), name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.width, (3, 3), self.stride, padding=1, name="conv2")(y)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.conv(4 * self.width, (1, 1), name="conv3")(y)
        y = self.last_norm("norm3")(y)
        return self.add_shortcut(y, x)


def _stages(x: Maps, block: ModuleDef, stage_sizes: Sequence[int], width: int) -> Maps:
    """Apply the stages, each after the first with twice the width at half the size."""
    for stage, blocks in enumerate(stage_sizes):
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            name = f"stage{stage + 1}_block{index}"
            x = block(width=width * 2**stage, stride=stride, name=name)(x)
    return x


class CifarResNet(Classifier):
    """ResNet-20, 32, 44, 56, 110, ... (section 4.2) with 1x1 projection shortcuts."""

    depth: int = 20  # number of layers, 6n + 2
    width: int = 16  # channels of the first of the three stages

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        blocks, remainder = divmod(self.depth - 2, 6)
        if remainder or blocks < 1:
            raise ValueError(f"depth {self.depth} is not 6n + 2 for an n >= 1")
        conv, norm = self.bound_conv(), self.bound_norm(train)
        x = conv(self.width, (3, 3), padding=1, name="conv1")(x)
        x = nn.relu(norm(name="norm1")(x))
        x = _stages(x, partial(BasicBlock, conv, norm), (blocks,) * 3, self.width)
        return self.classify(x)


class ResNet(Classifier):
    """ResNet-18, 34, 50, 101, 152 (table 1).

    With `zero_init_last`, the last scale in each block starts at 0, so that the block
    starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    """

    stage_sizes: Sequence[int]  # number of blocks in each stage
    block: ModuleDef  # `BasicBlock` or `Bottleneck`
    width: int = 64  # channels of the first stage
    zero_init_last: bool = False

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        conv, norm = self.bound_conv(), self.bound_norm(train)
        x = conv(self.width, (7, 7), strides=2, padding=3, name="conv1")(x)
        x = nn.relu(norm(name="norm1")(x))
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=_AROUND)
        block = partial(self.block, conv, norm, zero_init_last=self.zero_init_last)
        x = _stages(x, block, self.stage_sizes, self.width)
        return self.classify(x)
