"""Augment: random views of inputs, drawn and taken a whole batch at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, Integer, Key, PyTree, UInt8

Channels = Float32[np.ndarray, "c"]


class Views(NamedTuple):
    """How the images of a batch are seen: a window's shift in pixels, and mirrored."""

    down: Int32[Array, "b"]
    right: Int32[Array, "b"]
    mirrored: Bool[Array, "b"]


def draw_views(key: Key[Array, ""], batch_size: int, *, pad: int = 4) -> Views:
    """Draw a whole batch's views: crops of images padded by `pad`, half mirrored."""
    shift_key, mirror_key = jax.random.split(key)
    down, right = jax.random.randint(shift_key, (2, batch_size), -pad, pad + 1)
    return Views(down, right, jax.random.bernoulli(mirror_key, shape=(batch_size,)))


def crop_flip(
    images: UInt8[Array, "n h w c"], indices: Integer[Array, "b"], views: Views
) -> UInt8[Array, "b h w c"]:
    """Take views of the images at `indices` in one gather, 0 outside of an image."""
    _, height, width, _ = images.shape
    rows = jnp.arange(height)[None] + views.down[:, None]
    columns = jnp.arange(width)[None] + views.right[:, None]
    columns = jnp.where(views.mirrored[:, None], columns[:, ::-1], columns)
    rows, columns = rows[:, :, None], columns[:, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    # Clamping and masking is twice as fast as a gather that fills.
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    pixels = images[indices[:, None, None], rows, columns]
    return jnp.where(inside[..., None], pixels, jnp.uint8(0))


def normalise(
    images: UInt8[Array, "b h w c"],
    mean: Channels,
    std: Channels,
    unit_norm: bool = False,
) -> Float32[Array, "b h w c"]:
    """Return (images / 255 - mean) / std, channel by channel.

    One subtraction and one multiplication round alike eager, jitted and in NumPy. If
    `unit_norm`, each image is then divided by its L2 norm; one of zeros stays as it is.

    >>> half = np.full(1, 0.5, np.float32)
    >>> normalise(jnp.full((1, 1, 1, 1), 255, jnp.uint8), half, half).item()
    1.0
    """
    shift, scale = (255 * mean)[None, None, None], (1 / (255 * std))[None, None, None]
    scaled = (images.astype(jnp.float32) - shift) * scale
    if not unit_norm:
        return scaled
    norm = jnp.sqrt(jnp.sum(scaled * scaled, axis=(1, 2, 3), keepdims=True))
    return scaled / jnp.where(norm > 0, norm, 1)


# From a key, all inputs, the indices of a whole batch, and what takes a device's share
# of an array, to its share of the batch's inputs.
Augmentation = Callable[..., PyTree]


def flip_crop(
    key: Key[Array, ""], inputs: PyTree, indices: Array, share: Callable[[Any], Any]
) -> PyTree:
    """Mirror half of the images, pad them by 4 pixels of 0 and crop them at random.

    He et al. (2016), section 4.2.
    """
    # Drawn for all devices by each, whatever their number.
    views = jax.tree.map(share, draw_views(key, len(indices)))
    return crop_flip(inputs, share(indices), views)


def by(function: Callable[..., PyTree]) -> Augmentation:
    """Return the augmentation by a function of a key and a batch's inputs."""

    def augment(
        key: Key[Array, ""], inputs: PyTree, indices: Array, share: Callable[[Any], Any]
    ) -> PyTree:
        # Of the whole batch by every device, so that their number changes nothing.
        whole = function(key, jax.tree.map(lambda x: x[indices], inputs))
        return jax.tree.map(share, whole)

    return augment


AUGMENTATIONS: dict[str, Augmentation] = {"flip_crop": flip_crop}
