"""Classifier: what the networks of papers share, and how it reaches their layers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from lth_jax.models import lean
from lth_jax.models.initializers import INITIALIZERS, NORM_SCALES

ModuleDef = Callable[..., nn.Module]
Images = Float[Array, "batch height width channels"]
# Feature maps: a layer may change all sizes but the batch's.
Maps = Float[Array, "batch _height _width _channels"]
Features = Float[Array, "batch features"]
Tokens = Integer[Array, "batch time"]
Sequences = Float[Array, "batch time features"]
Logits = Float[Array, "batch classes"]
EachLogits = Float[Array, "batch time classes"]  # of every position


class Classifier(nn.Module, kw_only=True):
    """Base of every network: `network.apply(variables, images, train)` gives logits.

    Parameters are float32, layers compute in `dtype`, logits are float32. Biases
    start at 0. A convolution before a normalisation has no bias unless the network
    says otherwise, and is padded symmetrically.
    """

    num_classes: int
    kernel_init: nn.initializers.Initializer = INITIALIZERS["kaiming_normal"]
    scale_init: nn.initializers.Initializer = NORM_SCALES["ones"]  # normalisations'
    dtype: DTypeLike = jnp.float32  # of the computation
    axis_name: str | None = None  # mapped axis over which batch statistics are averaged
    conv: ModuleDef = nn.Conv  # or a module with its arguments
    norm: ModuleDef = nn.BatchNorm  # likewise
    norm_momentum: float = 0.9  # what running statistics keep in a step of training
    norm_epsilon: float = 1e-5  # added to a variance
    # Examples that share training statistics, in `lean.BatchNorm`; 0: all, in `norm`.
    norm_group: int = 0

    @nn.nowrap
    def bound_conv(self, use_bias: bool = False) -> ModuleDef:
        """Bind the common fields to `conv`."""
        init, dtype = self.kernel_init, self.dtype
        return partial(self.conv, use_bias=use_bias, kernel_init=init, dtype=dtype)

    @nn.nowrap
    def bound_norm(self, train: bool) -> ModuleDef:
        """Bind the common fields to `norm`; `train` chooses the batch's statistics."""
        norm = self.norm
        if train and self.norm_group:
            norm = partial(lean.BatchNorm, group=self.norm_group)
        return partial(
            norm,
            use_running_average=not train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            scale_init=self.scale_init,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )

    @nn.nowrap
    def bound_dense(self, use_bias: bool = True) -> ModuleDef:
        """Bind the common fields to `flax.linen.Dense`."""
        init, dtype = self.kernel_init, self.dtype
        return partial(nn.Dense, use_bias=use_bias, kernel_init=init, dtype=dtype)

    @nn.nowrap
    def bound_layer_norm(self) -> ModuleDef:
        """Bind the common fields to `flax.linen.LayerNorm`."""
        return partial(
            nn.LayerNorm,
            epsilon=self.norm_epsilon,
            scale_init=self.scale_init,
            dtype=self.dtype,
        )

    def classify(self, x: Maps | Features | Sequences) -> Logits | EachLogits:
        """Apply the last layer, `fc`, to features or to the spatial mean of maps.

        Of sequences, to the features of every position.
        """
        fc = self.bound_dense()(self.num_classes, name="fc")
        return fc(global_mean(x) if x.ndim == 4 else x).astype(jnp.float32)


def global_mean(x: Maps) -> Features:
    """Average over height and width; ValueError if too small images left nothing."""
    if x.size == 0:
        raise ValueError(f"images too small: they are reduced to shape {x.shape}")
    return x.mean(axis=(1, 2))


class _Identity(nn.Module):
    @nn.compact
    def __call__(self, x: Float[Array, "batch *_"]) -> Float[Array, "batch *_"]:
        return x


def without_norm(*, name: str, **options: Any) -> nn.Module:
    """Stand in for a normalisation that does nothing."""
    del options
    return _Identity(name=name)
