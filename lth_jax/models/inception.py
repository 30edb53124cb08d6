"""Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567)."""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.classifier import (
    Classifier,
    Images,
    Logits,
    Maps,
    ModuleDef,
    global_mean,
)

Kernel = tuple[int, int]
# Output channels, then one kernel, or several side by side.
Step = tuple[int, *tuple[Kernel, ...]]
Branches = Sequence[Sequence[Step]]

K1x1, K3x3, K5x5 = (1, 1), (3, 3), (5, 5)  # height, width
K1x3, K3x1, K1x7, K7x1 = (1, 3), (3, 1), (1, 7), (7, 1)

# Grids are named by their size for 299x299 images. Figure 5, with the 5x5 kernel that
# the authors' released code keeps:
GRID_35: Branches = (
    ((64, K1x1),),
    ((48, K1x1), (64, K5x5)),
    ((64, K1x1), (96, K3x3), (96, K3x3)),
)
# Figure 10:
GRID_35_TO_17: Branches = (((384, K3x3),), ((64, K1x1), (96, K3x3), (96, K3x3)))
GRID_17_TO_8: Branches = (
    ((192, K1x1), (320, K3x3)),
    ((192, K1x1), (192, K1x7), (192, K7x1), (192, K3x3)),
)
# Figure 7:
GRID_8: Branches = (
    ((320, K1x1),),
    ((384, K1x1), (384, K1x3, K3x1)),
    ((448, K1x1), (384, K3x3), (384, K1x3, K3x1)),
)


def _grid_17(width: int) -> Branches:
    """Return the branches of figure 6, with n = 7."""
    return (
        ((192, K1x1),),
        ((width, K1x1), (width, K1x7), (192, K7x1)),
        ((width, K1x1), (width, K7x1), (width, K1x7), (width, K7x1), (192, K1x7)),
    )


# Branches and pool width of `mixed1` to `mixed11`.
BLOCKS = (
    *((GRID_35, width) for width in (32, 64, 64)),
    (GRID_35_TO_17, None),
    *((_grid_17(width), 192) for width in (128, 160, 160, 192)),
    (GRID_17_TO_8, None),
    *((GRID_8, 192), (GRID_8, 192)),
)
AUX_AFTER = 8  # blocks: on the last 17x17 grid


class ConvNorm(nn.Module):
    """A convolution `conv`, its normalisation `norm` and ReLU."""

    conv_def: ModuleDef
    norm_def: ModuleDef
    width: int
    kernel: Kernel
    stride: int = 1
    padded: bool = True  # by half the kernel: at stride 1 it keeps the size

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        padding = tuple(size // 2 for size in self.kernel) if self.padded else 0
        conv = partial(self.conv_def, padding=padding, name="conv")
        x = conv(self.width, self.kernel, self.stride)(x)
        return nn.relu(self.norm_def(name="norm")(x))


def _stem(unit: ModuleDef, x: Maps) -> Maps:
    """Go from the images to the 35x35 grid (released code; table 1 differs)."""
    x = unit(32, K3x3, stride=2, padded=False, name="conv1")(x)
    x = unit(32, K3x3, padded=False, name="conv2")(x)
    x = nn.max_pool(
        unit(64, K3x3, name="conv3")(x), window_shape=(3, 3), strides=(2, 2)
    )
    x = unit(80, K1x1, name="conv4")(x)
    x = unit(192, K3x3, padded=False, name="conv5")(x)
    return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))


class Mixed(nn.Module):
    """Parallel branches of convolutions and one of pooling, concatenated.

    Step s of branch b is `branch{b}_conv{s}_{kernel}`, as `branch2_conv3_7x1`, both
    counted from 1; after the pooling comes `pool_conv`. With no `pool_width` the grid
    is halved: the pool is a maximum and, as each branch's last step, has stride 2. Else
    it is a mean, at the border of the zeros of the padding too, as PyTorch's version
    has it; the released code, of TensorFlow, leaves the padding out.
    """

    unit: ModuleDef
    branches: Branches
    pool_width: int | None = None

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        named = enumerate(self.branches, start=1)
        outputs = [self.branch(x, f"branch{number}", steps) for number, steps in named]
        if self.pool_width is None:
            pooled = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
        else:
            pooled = nn.avg_pool(x, window_shape=(3, 3), padding="SAME")
            pooled = self.unit(self.pool_width, K1x1, name="pool_conv")(pooled)
        return jnp.concatenate([*outputs, pooled], axis=-1)

    def branch(self, x: Maps, name: str, steps: Sequence[Step]) -> Maps:
        for number, (width, *kernels) in enumerate(steps, start=1):
            halve = self.pool_width is None and number == len(steps)
            how = {"stride": 2 if halve else 1, "padded": not halve}
            outputs = []
            for kernel in kernels:
                named = f"{name}_conv{number}_{kernel[0]}x{kernel[1]}"
                outputs.append(self.unit(width, kernel, **how, name=named)(x))
            x = jnp.concatenate(outputs, axis=-1)
        return x


class AuxHead(nn.Module):
    """Auxiliary classifier (section 4, figure 8): `conv1`, `conv2`, `fc`.

    Where smaller images make a smaller grid, the 5x5 pooling window shrinks with it
    and the 5x5 convolution is zero-padded to fit.
    """

    unit: ModuleDef
    dense: ModuleDef
    num_classes: int

    @nn.compact
    def __call__(self, x: Maps) -> Logits:
        window = (min(5, x.shape[1]), min(5, x.shape[2]))
        x = nn.avg_pool(x, window_shape=window, strides=(3, 3))
        x = self.unit(128, K1x1, name="conv1")(x)
        missing = [max(0, 5 - size) for size in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)))
        x = self.unit(768, K5x5, padded=False, name="conv2")(x)
        fc = self.dense(self.num_classes, name="fc")
        return fc(global_mean(x)).astype(jnp.float32)


class InceptionV3(Classifier):
    """Inception-v3 (section 6, as released, but for means at borders: see `Mixed`).

    For images of 299x299, at least 75x75.

    The stem is `conv1` to `conv5`, the blocks are `mixed1` to `mixed11`, the
    auxiliary head is `aux` and the last layer `fc`. Every convolution is a pair of
    `conv` and `norm`, as `conv1/conv` or `mixed1/branch2_conv1_1x1/norm`. In training
    with the auxiliary head, a call returns (logits, auxiliary logits).
    """

    aux_head: bool = True

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits | tuple[Logits, Logits]:
        unit = partial(ConvNorm, self.bound_conv(), self.bound_norm(train))
        rows = enumerate(BLOCKS, start=1)
        blocks = [Mixed(unit, *row, name=f"mixed{number}") for number, row in rows]
        x = grid_17 = nn.Sequential(blocks[:AUX_AFTER])(_stem(unit, x))
        x = nn.Sequential(blocks[AUX_AFTER:])(x)
        logits = self.classify(x)
        # Initialisation makes the head's parameters whatever the mode.
        if self.aux_head and (train or self.is_initializing()):
            aux = AuxHead(unit, self.bound_dense(), self.num_classes, name="aux")
            return logits, aux(grid_17)
        return logits
