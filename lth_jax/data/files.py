"""Files: data sets of one's own on disk: arrays, or a text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lth_jax.data.arrays import from_arrays
from lth_jax.data.dataset import Dataset
from lth_jax.errors import DataError, one_line

_NAMES = ("train_inputs", "train_targets", "test_inputs", "test_targets")
_BYTES = 256


def is_path(name: str) -> bool:
    """Return whether a data set's name is that of a file or folder, not of TFDS."""
    return Path(name).suffix in _READERS or name.startswith(("/", ".", "~"))


def read(path: Path, window: int) -> Dataset:
    """Read the data set in a file, or raise DataError.

    - `.npz`, `.safetensors`: the arrays train_inputs, train_targets, test_inputs and
      test_targets, as of `from_arrays`;
    - `.txt`, `.py`: its bytes in windows of so many, each byte to be predicted from
      those before it in its window; the last tenth of the windows is the test.
    """
    if not path.is_file():
        raise DataError(f"config.data.name: there is no file or folder {path}")
    if path.suffix not in _READERS:
        known = ", ".join(_READERS)
        raise DataError(f"config.data.name: {path} is no folder, and none of {known}")
    return _READERS[path.suffix](path, window)


def _arrays(path: Path, window: int) -> Dataset:
    del window
    try:
        found = _loaded(path)
    except Exception as error:  # of either library, whatever is in the file
        said = one_line(f"{type(error).__name__}: {error}")
        raise DataError(f"config.data.name: {path} cannot be read ({said})") from error
    if missing := [name for name in _NAMES if name not in found]:
        raise DataError(
            f"config.data.name: {path} has no {missing[0]}; it takes "
            f"{', '.join(_NAMES)}, and has {', '.join(found) or 'nothing'}"
        )
    arrays: list[Any] = [found[name] for name in _NAMES]
    return from_arrays((arrays[0], arrays[1]), (arrays[2], arrays[3]))


def _loaded(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    # Of a damaged file, NumPy leaves open what it opened.
    with path.open("rb") as file, np.load(file) as archive:
        return dict(archive)


def _text(path: Path, window: int) -> Dataset:
    text = np.fromfile(path, np.uint8)
    # The last byte of a window is also the first one of the next: all are predicted.
    number = (len(text) - 1) // window
    if number < 2:
        raise DataError(
            f"config.data.window: {path} has {len(text)} bytes, which is less than two "
            f"windows of {window} and a byte to predict"
        )
    starts = window * np.arange(number)[:, None]
    windows = text[starts + np.arange(window + 1)]
    test = max(1, number // 10)
    parts = windows[:-test], windows[-test:]
    return from_arrays(*((x[:, :-1], x[:, 1:]) for x in parts), num_classes=_BYTES)


_READERS: dict[str, Callable[[Path, int], Dataset]] = {
    ".npz": _arrays,
    ".safetensors": _arrays,
    ".txt": _text,
    ".py": _text,
}
