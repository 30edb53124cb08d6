"""Decode: encoded images, or windows of them; what EXIF says of rotation is ignored."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Float, UInt8

from lth_jax.errors import one_line

ATTEMPTS = 10  # to draw a window that fits, before the centre is taken
CHANNELS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}
Draws = Float[np.ndarray, "attempts 4"]
Limits = tuple[float, float]


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def whole(encoded: bytes, channels: int | None = 3) -> UInt8[np.ndarray, "h w c"]:
    """Return an image, grey (1 channel), RGB (3) or as it is, or raise ValueError."""
    kind = CHANNELS[channels] if channels else cv2.IMREAD_ANYCOLOR
    flags = kind | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(one_line(error)) from error
    if image is None:
        raise ValueError("not an image")
    if image.ndim == 2:
        return image[..., None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def view(
    encoded: bytes,
    choose: Callable[[int, int], Window],
    size: int,
    *,
    mirrored: bool = False,
    exact: bool = True,
) -> UInt8[np.ndarray, "size size 3"]:
    """Return a window of an image, in RGB, resized to `size` x `size`, or ValueError.

    `choose` takes the image's height and width. Resizing is bilinear, and no pixel is
    skipped: of a JPEG, what would shrink to less than half is decoded smaller, by
    eighths; what still would is averaged. If not `exact`, JPEGs are decoded a tenth
    faster, with rounding and colour edges that a random crop does not show.
    """
    if encoded[:2] == b"\xff\xd8":  # of JPEG
        height, width = simplejpeg.decode_jpeg_header(encoded)[:2]
        window = choose(height, width)
        image = simplejpeg.decode_jpeg(
            encoded,
            min_height=-(-size * height // window.height),
            min_width=-(-size * width // window.width),
            min_factor=2,
            fastdct=not exact,
            fastupsample=not exact,
        )
    else:
        image = whole(encoded)
        height, width = image.shape[:2]
        window = choose(height, width)
    rows = _scaled(window.top, window.height, image.shape[0], height)
    columns = _scaled(window.left, window.width, image.shape[1], width)
    found = image[rows, columns]
    shrinks = max(found.shape[:2]) > 2 * size
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(found, (size, size), interpolation=way)
    return cv2.flip(resized, 1) if mirrored else resized


def _scaled(start: int, length: int, size: int, full: int) -> slice:
    """Return a range of pixels of an image that was decoded smaller, at least one."""
    first = start * size // full
    return slice(first, max(first + 1, round((start + length) * size / full)))


def central(height: int, width: int, share: float) -> Window:
    """Return the square in the centre whose side is a share of the shorter side."""
    side = max(1, round(share * min(height, width)))
    return Window((height - side) // 2, (width - side) // 2, side, side)


def random_window(
    height: int, width: int, draws: Draws, area: Limits, aspect: Limits
) -> Window:
    """Return a window of random area, shape and place (Szegedy et al. 2015, section 6).

    The share of the area is uniform within limits, and the logarithm of width / height.
    The first draw (from [0, 1): area, shape, top and left) that fits into the image
    counts; if none does, the largest central window of a shape within `aspect`.
    """
    shares = area[0] + draws[:, 0] * (area[1] - area[0])
    shapes = aspect[0] * (aspect[1] / aspect[0]) ** draws[:, 1]
    widths = np.rint(np.sqrt(shares * height * width * shapes)).clip(1)
    heights = np.rint(np.sqrt(shares * height * width / shapes)).clip(1)
    fitting = np.flatnonzero((heights <= height) & (widths <= width))
    if not len(fitting):
        wide = min(width, max(1, round(height * aspect[1])))
        high = min(height, max(1, round(width / aspect[0])))
        return Window((height - high) // 2, (width - wide) // 2, high, wide)
    i = fitting[0]
    high, wide = int(heights[i]), int(widths[i])
    top = int(draws[i, 2] * (height - high + 1))
    return Window(top, int(draws[i, 3] * (width - wide + 1)), high, wide)
