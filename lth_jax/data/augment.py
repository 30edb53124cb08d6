"""Augment: random views of images, drawn and taken a whole batch at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Integer, Key, UInt8


class Views(NamedTuple):
    """How the images of a batch are seen: a window's shift in pixels, and mirrored."""

    down: Int32[Array, "b"]
    right: Int32[Array, "b"]
    mirrored: Bool[Array, "b"]


def draw_views(key: Key[Array, ""], batch_size: int, *, pad: int = 4) -> Views:
    """Draw the views of a batch: crops of images padded by `pad` pixels, half mirrored.

    Devices that share a batch draw all of it and take their part, so that the views do
    not depend on how many they are.

    Example:
        >>> draw_views(jax.random.key(0), 3, pad=0).down
        Array([0, 0, 0], dtype=int32)
    """
    shift_key, mirror_key = jax.random.split(key)
    down, right = jax.random.randint(shift_key, (2, batch_size), -pad, pad + 1)
    return Views(down, right, jax.random.bernoulli(mirror_key, shape=(batch_size,)))


def crop_flip(
    images: UInt8[Array, "n h w c"], indices: Integer[Array, "b"], views: Views
) -> UInt8[Array, "b h w c"]:
    """Take views of the images at `indices`, 0 where the window leaves the image.

    One gather from the resident images, without padded or mirrored copies.

    Example:
        >>> images = jnp.arange(1, 5, dtype='uint8').reshape(1, 2, 2, 1)
        >>> view = Views(jnp.array([1]), jnp.array([0]), jnp.array([True]))
        >>> crop_flip(images, jnp.array([0]), view)[0, :, :, 0]
        Array([[4, 3],
               [0, 0]], dtype=uint8)
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
