"""Lean: convolution and batch-norm that XLA trains faster, on a CPU or in a fleet.

Drop-in for those of Flax: the same parameters and, to rounding, the same numbers.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

# XLA:CPU fuses the transpose that feeds a kernel's gradient with all the elementwise
# work before it, and so does that again, slowly. The barrier of `jax.checkpoint` stops
# it, if XLA:CPU does not remove the barrier first.
COMPILER_OPTIONS = {"xla_disable_hlo_passes": "cse_barrier_expander"}

_Padding = str | Sequence[tuple[int, int]]
Maps = Float[Array, "*_batch _channels"]
Vector = Float[Array, " channels"]


def _convolve(
    x: Array, kernel: Array, strides: Sequence[int], padding: _Padding, **options: Any
) -> Array:
    def convolve(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)

    small = math.prod(x.shape[1:-1]) < math.prod(kernel.shape[:-2])
    if small and _is_plain(options) and x.ndim == 4:
        convolve = partial(_multiply, strides=strides, padding=padding)
    return jax.checkpoint(convolve)(x, kernel)


def _multiply(
    x: Array, kernel: Array, strides: Sequence[int], padding: _Padding
) -> Array:
    """Convolve by one matrix product, 200 times faster where kernels exceed images."""
    *window, _, features = kernel.shape
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows, columns = (
        [slice(i, i + n - size + 1, stride) for i in range(size)]
        for n, size, stride in zip(x.shape[1:3], window, strides)
    )
    seen = [x[:, row, column] for row, column in itertools.product(rows, columns)]
    return jnp.concatenate(seen, -1) @ kernel.reshape(-1, features)


def _as_product(
    x: Array, kernel: Array, strides: Sequence[int], padding: _Padding, **options: Any
) -> Array:
    if not (_is_plain(options) and x.ndim == 4):
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    multiply = partial(_multiply, strides=strides, padding=padding)
    # Patches are nine times the images: they are made again for the gradients.
    return jax.checkpoint(multiply)(x, kernel)


def _is_plain(options: dict[str, Any]) -> bool:
    """Return whether a convolution is neither dilated nor grouped."""
    dilations = {*options["lhs_dilation"], *options["rhs_dilation"]}
    return dilations == {1} and options["feature_group_count"] == 1


Conv = partial(nn.Conv, conv_general_dilated=_convolve)
# A convolution as one product of patches and kernel: of a fleet, a batched product.
Products = partial(nn.Conv, conv_general_dilated=_as_product)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with the fields of Flax's.

    Its input is read once for both moments, and its gradient needs two means. Running
    statistics follow the mean over groups. ValueError if they do not divide a batch.
    """

    use_running_average: bool
    momentum: float = 0.99
    epsilon: float = 1e-5
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32  # of the result; statistics are float32
    # Examples that share training statistics, within a device ("ghost batches", Hoffer
    # et al., 2017, Algorithm 1); 0 for all, and those of `axis_name`.
    group: int = 0

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        shape = x.shape[-1:]
        running = (
            self.variable("batch_stats", "mean", jnp.zeros, shape),
            self.variable("batch_stats", "var", jnp.ones, shape),
        )
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        x = x.astype(jnp.float32)
        if self.use_running_average:
            mean, var = (statistic.value for statistic in running)
            return _affine(x, mean, var, scale, bias, self.epsilon).astype(self.dtype)
        if self.group:
            y, batch = _in_groups(x, scale, bias, self.epsilon, self.group)
        else:
            axis_name = None if self.is_initializing() else self.axis_name
            y, batch = _normalised(x, scale, bias, self.epsilon, axis_name)
        if not self.is_initializing():
            for old, new in zip(running, batch):
                old.value = self.momentum * old.value + (1 - self.momentum) * new
        return y.astype(self.dtype)


def _normalise(
    x: Maps, scale: Vector, bias: Vector, epsilon: float, axis_name: str | None
) -> tuple[Maps, tuple[Vector, Vector]]:
    """Return the normalised maps, and the batch's mean and variance, not derived."""
    mean, square = _means(axis_name, x, x * x)
    var = jnp.maximum(0, square - mean * mean)
    return _affine(x, mean, var, scale, bias, epsilon), (mean, var)


def _forward(x, scale, bias, epsilon, axis_name):
    y, statistics = _normalise(x, scale, bias, epsilon, axis_name)
    return (y, statistics), (x, scale, *statistics)


def _backward(epsilon, axis_name, saved, gradients):
    (x, scale, mean, var), (dy, _) = saved, gradients
    s, q = _means(axis_name, dy, dy * x)
    r = lax.rsqrt(var + epsilon)
    covariance = (q - mean * s) * r
    a = scale * r
    k = -a * covariance * r
    dx = _along(a, x) * dy + _along(k, x) * x + _along(-a * s - k * mean, x)
    n = x.size // x.shape[-1]
    return dx, covariance * n, s * n


_normalised = jax.custom_vjp(_normalise, nondiff_argnums=(3, 4))
_normalised.defvjp(_forward, _backward)


def _in_groups(
    x: Maps, scale: Vector, bias: Vector, epsilon: float, group: int
) -> tuple[Maps, tuple[Vector, Vector]]:
    """Return maps normalised in groups of examples, and the means of statistics."""
    if len(x) % group:
        raise ValueError(f"norm_group: {group} does not divide a batch of {len(x)}")
    parts = x.reshape(-1, group, *x.shape[1:])
    y, batch = jax.vmap(lambda x: _normalised(x, scale, bias, epsilon, None))(parts)
    mean, var = (statistic.mean(0) for statistic in batch)
    return y.reshape(x.shape), (mean, var)


def _affine(
    x: Maps, mean: Vector, var: Vector, scale: Vector, bias: Vector, epsilon: float
) -> Maps:
    a = scale * lax.rsqrt(var + epsilon)
    return _along(a, x) * x + _along(bias - mean * a, x)


def _along(vector: Vector, x: Maps) -> Maps:
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


def _means(axis_name: str | None, *xs: Maps) -> list[Vector]:
    means = [x.mean(range(x.ndim - 1)) for x in xs]
    return lax.pmean(means, axis_name) if axis_name else means
