"""SqueezeNet 1.0."""

import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.network import Images, Logits, Maps, ModuleDef, Network
from lth_jax.models.pool import global_mean, max_pool


class Fire(nn.Module):
    """Squeeze to `width` channels, expand to 4 times as many twice (section 3.2)."""

    conv: ModuleDef
    width: int

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        x = nn.relu(self.conv(self.width, (1, 1), name="squeeze")(x))
        narrow = self.conv(4 * self.width, (1, 1), name="expand1x1")(x)
        wide = self.conv(4 * self.width, (3, 3), padding=1, name="expand3x3")(x)
        return nn.relu(jnp.concatenate([narrow, wide], axis=-1))


def _max_pool(x: Maps) -> Maps:
    """Pool with the output's size rounded up, as in the authors' Caffe."""
    height, width = x.shape[1:3]
    return max_pool(x, padding=((0, (height - 3) % 2), (0, (width - 3) % 2)))


class SqueezeNet(Network):
    """SqueezeNet 1.0 (Iandola et al. 2016, arXiv 1602.07360, table 1).

    Layers are `conv1`, `fire2` to `fire9` (each with `squeeze`, `expand1x1` and
    `expand3x3`) and `classifier`, a convolution; all have biases and none is
    normalised. Training needs a key for 'dropout'.

    Attributes:
      dropout: fraction of the features dropped before `classifier`.
    """

    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        conv = self.bound_conv(use_bias=True)
        x = nn.relu(conv(96, (7, 7), strides=2, padding=0, name="conv1")(x))
        x = _max_pool(x)
        for layer, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
            x = Fire(conv=conv, width=width, name=f"fire{layer}")(x)
            if layer in (4, 8):
                x = _max_pool(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.relu(conv(self.num_classes, (1, 1), name="classifier")(x))
        return global_mean(x).astype(jnp.float32)
