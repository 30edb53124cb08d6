"""Augment: random views of images, drawn and taken a whole batch at a time."""

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, Integer, Key, UInt8


def check(augmentation: str, known: Collection[str]) -> None:
    """Raise ValueError unless an augmentation is one of those known."""
    if augmentation not in known:
        raise ValueError(
            f"augmentation: {augmentation!r} is not one of {', '.join(known)}"
        )


class Views(NamedTuple):
    """How the images of a batch are seen: a window's shift in pixels, and mirrored."""

    down: Int32[Array, "b"]
    right: Int32[Array, "b"]
    mirrored: Bool[Array, "b"]


def draw_views(key: Key[Array, ""], batch_size: int, *, pad: int = 4) -> Views:
    """Draw the views of a batch: crops of images padded by `pad` pixels, half mirrored.

    Devices that share a batch draw all of it and take their part, so that the views do
    not depend on how many they are.
    """
    shift_key, mirror_key = jax.random.split(key)
    down, right = jax.random.randint(shift_key, (2, batch_size), -pad, pad + 1)
    return Views(down, right, jax.random.bernoulli(mirror_key, shape=(batch_size,)))


def crop_flip(
    images: UInt8[Array, "n h w c"], indices: Integer[Array, "b"], views: Views
) -> UInt8[Array, "b h w c"]:
    """Take views of the images at `indices`, 0 where the window leaves the image.

    One gather from the resident images, without padded or mirrored copies.
    """
    _, height, width, _ = images.shape
    rows = jnp.arange(height)[None] + views.down[:, None]
    columns = jnp.arange(width)[None] + views.right[:, None]
    columns = jnp.where(views.mirrored[:, None], columns[:, ::-1], columns)
    rows, columns = rows[:, :, None], columns[:, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    # Clamping and masking is twice as fast as a gather that fills.
    pixels = images[
        indices[:, None, None], rows.clip(0, height - 1), columns.clip(0, width - 1)
    ]
    return jnp.where(inside[..., None], pixels, jnp.uint8(0))


def normalise(
    images: UInt8[Array, "b h w c"],
    mean: Float32[np.ndarray, "c"],
    std: Float32[np.ndarray, "c"],
) -> Float32[Array, "b h w c"]:
    """Return (images / 255 - mean) / std, channel by channel.

    Computed as one subtraction and one multiplication, which round alike eager, jitted
    and in NumPy.

    Example:
        >>> half = np.full(1, 0.5, np.float32)
        >>> normalise(jnp.full((1, 1, 1, 1), 255, jnp.uint8), half, half).item()
        1.0
    """
    shift, scale = (255 * mean)[None, None, None], (1 / (255 * std))[None, None, None]
    return (images.astype(jnp.float32) - shift) * scale
