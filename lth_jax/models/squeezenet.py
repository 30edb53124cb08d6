"""SqueezeNet 1.0 (Iandola et al. 2016, arXiv 1602.07360)."""

from typing import Any

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
    padding: Any = [(0, (size - 3) % 2) for size in x.shape[1:3]]
    return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=padding)


class SqueezeNet(Classifier):
    """SqueezeNet 1.0 (table 1).

    Layers are `conv1`, `fire2` to `fire9` (each with `squeeze`, `expand1x1` and
    `expand3x3`) and `classifier`, a convolution; all have biases and none is
    normalised. Training needs a key for 'dropout'.
    """

    dropout: float = 0.5  # fraction of the features dropped before `classifier`

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        conv = self.bound_conv(use_bias=True)
        x = _max_pool(nn.relu(conv(96, (7, 7), 2, padding=0, name="conv1")(x)))
        for layer, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
            x = Fire(conv=conv, width=width, name=f"fire{layer}")(x)
            x = _max_pool(x) if layer in (4, 8) else x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.relu(conv(self.num_classes, (1, 1), name="classifier")(x))
        return global_mean(x).astype(jnp.float32)
