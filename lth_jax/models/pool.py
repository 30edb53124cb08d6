"""Pooling that more than one network needs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.network import Features, Maps


def max_pool(x: Maps, padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0))) -> Maps:
    """Take the maximum of 3x3 windows at stride 2."""
    # As flax.linen.max_pool, whose annotation refuses explicit padding.
    return nn.pool(x, -jnp.inf, jax.lax.max, (3, 3), (2, 2), padding)


def global_mean(x: Maps) -> Features:
    """Average over height and width.

    Raises:
      ValueError: nothing is left to average, as the images were too small.
    """
    if x.size == 0:
        raise ValueError(f"images too small: they are reduced to shape {x.shape}")
    return x.mean(axis=(1, 2))
