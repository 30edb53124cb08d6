"""What all networks share: their common fields and how these reach the layers."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lth_jax.models.initializers import INITIALIZERS, NORM_SCALES

ModuleDef = Callable[..., nn.Module]
Images = Float[Array, "batch height width channels"]
# Feature maps: a layer may change all sizes but the batch's.
Maps = Float[Array, "batch _height _width _channels"]
Features = Float[Array, "batch features"]
Logits = Float[Array, "batch classes"]


class Network(nn.Module, kw_only=True):
    """Base of every network: `network.apply(variables, images, train)` gives logits.

    Parameters are float32, layers compute in `dtype`, logits are float32. Biases
    start at 0. A convolution before a normalisation has no bias unless the network
    says otherwise, and is padded symmetrically.

    Attributes:
      num_classes: number of logits.
      kernel_init: initial values of all kernels, dense and convolutional.
      scale_init: initial values of the normalisations' scales.
      dtype: dtype of the computation.
      axis_name: mapped axis over which batch statistics are averaged; None for none.
      conv: module with the arguments of `flax.linen.Conv`.
      norm: module with the arguments of `flax.linen.BatchNorm`.
    """

    num_classes: int
    kernel_init: nn.initializers.Initializer = INITIALIZERS["kaiming_normal"]
    scale_init: nn.initializers.Initializer = NORM_SCALES["ones"]
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    conv: ModuleDef = nn.Conv
    norm: ModuleDef = nn.BatchNorm

    @nn.nowrap
    def bound_conv(self, use_bias: bool = False) -> ModuleDef:
        """Bind the common fields to `conv`."""
        init, dtype = self.kernel_init, self.dtype
        return partial(self.conv, use_bias=use_bias, kernel_init=init, dtype=dtype)

    @nn.nowrap
    def bound_norm(self, train: bool) -> ModuleDef:
        """Bind the common fields to `norm`; `train` chooses the batch's statistics."""
        return partial(
            self.norm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            scale_init=self.scale_init,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )

    @nn.nowrap
    def bound_dense(self) -> ModuleDef:
        """Bind the common fields to `flax.linen.Dense`."""
        return partial(nn.Dense, kernel_init=self.kernel_init, dtype=self.dtype)

    def classify(self, features: Features) -> Logits:
        """Apply the final layer, `fc`."""
        fc = self.bound_dense()(self.num_classes, name="fc")
        return fc(features).astype(jnp.float32)
