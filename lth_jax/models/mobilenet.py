"""MobileNet-V2 for CIFAR and ImageNet (Sandler et al. 2018, arXiv 1801.04381)."""

from collections.abc import Sequence
from functools import partial

from flax import linen as nn

from lth_jax.models.classifier import Classifier, Images, Logits, Maps, ModuleDef

# Table 2: output channels and number of blocks; all but the first expand by 6.
STAGES = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; residual at stride 1 (figure 4d)."""

    conv: ModuleDef
    norm: ModuleDef
    width: int
    stride: int
    expansion: int
    project_all: bool

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        inner = self.expansion * x.shape[-1]
        y = x
        if self.expansion > 1 or self.project_all:
            y = self.conv(inner, (1, 1), name="expand")(y)
            y = nn.relu6(self.norm(name="expand_norm")(y))
        depthwise = partial(self.conv, feature_group_count=inner, name="depthwise")
        y = depthwise(inner, (3, 3), self.stride, padding=1)(y)
        y = nn.relu6(self.norm(name="depthwise_norm")(y))
        y = self.conv(self.width, (1, 1), name="project")(y)
        y = self.norm(name="project_norm")(y)
        if self.stride == 1 and self.project_all and x.shape != y.shape:
            x = self.conv(self.width, (1, 1), name="shortcut")(x)
            x = self.norm(name="shortcut_norm")(x)
        return x + y if x.shape == y.shape else y


class MobileNetV2(Classifier):
    """MobileNet-V2 (table 2).

    The stem is `conv1` and `norm1`. Block b of stage s is `stage{s}_block{b}`,
    stages counted from 1 and blocks from 0; it holds `expand`, `depthwise` and
    `project`, each with its norm (`expand_norm`, ...), and perhaps `shortcut` and
    `shortcut_norm`. The last layers are `conv2`, `norm2` and `fc`.

    With `project_all`, it has the 1x1 convolutions that the paper omits, as
    implementations for CIFAR do: the expansion by 1 in the first block, and shortcuts
    between different widths at stride 1.
    """

    strides: Sequence[int] = (2, 1, 2, 2, 2, 1, 2, 1)  # of the stem, then of each stage
    project_all: bool = False

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        conv, norm = self.bound_conv(), self.bound_norm(train)
        stem_stride, *strides = self.strides
        x = conv(32, (3, 3), strides=stem_stride, padding=1, name="conv1")(x)
        x = nn.relu6(norm(name="norm1")(x))
        block = partial(InvertedResidual, conv, norm, project_all=self.project_all)
        for stage, (width, blocks) in enumerate(STAGES):
            for index in range(blocks):
                stride = strides[stage] if index == 0 else 1
                name = f"stage{stage + 1}_block{index}"
                x = block(width, stride, expansion=6 if stage else 1, name=name)(x)
        x = conv(1280, (1, 1), name="conv2")(x)
        x = nn.relu6(norm(name="norm2")(x))
        return self.classify(x)
