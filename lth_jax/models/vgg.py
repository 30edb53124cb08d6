"""VGG with batch normalisation and one dense layer, for CIFAR."""

from collections.abc import Sequence

from flax import linen as nn

from lth_jax.models.classifier import Classifier, Images, Logits

WIDTHS = (64, 128, 256, 512, 512)


class VGG(Classifier):
    """VGG-11, 13, 16, 19 (Simonyan & Zisserman 2015, arXiv 1409.1556, table 1).

    The form that pruning papers use on CIFAR (Liu et al. 2019, arXiv 1810.05270):
    3x3 convolutions, each with batch normalisation; max pooling between the five
    stages; a global mean in place of the hidden dense layers. Layers are `conv1`,
    `norm1`, `conv2`, `norm2`, ..., counted through all stages, and `fc`.
    """

    stage_sizes: Sequence[int]  # number of convolutions in each of the five stages
    conv_bias: bool = True  # whether they have one before their normalisation

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        conv, norm = self.bound_conv(self.conv_bias), self.bound_norm(train)
        layer = 0
        stages = zip(self.stage_sizes, WIDTHS, strict=True)
        for stage, (size, width) in enumerate(stages):
            if stage > 0:
                x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
            for _ in range(size):
                layer += 1
                x = conv(width, (3, 3), padding=1, name=f"conv{layer}")(x)
                x = nn.relu(norm(name=f"norm{layer}")(x))
        return self.classify(x)
