"""Dataset: the splits of a data set, in memory or on disk."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from lth_jax.errors import DataError

_CHUNK = 1_000  # images: bounds the memory of intermediate results


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, in memory."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """Return the examples at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set whose splits are in memory or on disk."""

    train: Any  # a `Split`, or what is `Stored`
    validation: Any  # likewise, or None
    test: Any
    num_classes: int
    # Of the training images in memory, by channel on the scale 0 to 1.
    mean: Float32[np.ndarray, "c"] | None
    std: Float32[np.ndarray, "c"] | None
    # Of a set on disk: its version, and the size of every split there, in bytes.
    about: dict[str, Any]

    @property
    def splits(self) -> dict[str, Any]:
        """The splits there are, by name."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}


def assemble(
    train: Any,
    test: Any,
    *,
    num_classes: int,
    validation: int = 0,
    about: dict[str, Any] | None = None,
) -> Dataset:
    """Return the Dataset whose validation split is held out of `train`.

    These are its first `validation` examples in one fixed permutation, the same in
    every run, whatever its seed.

    Raises:
        DataError: `validation` is negative or leaves no training image.
    """
    if not 0 <= validation < len(train):
        raise DataError(
            f"config.data.validation: {validation} is not in 0..{len(train) - 1}: "
            f"it is taken from {len(train)} training images"
        )
    held_out = None
    if validation:
        # Unlike a Generator's, the stream of a RandomState never changes (NEP 19).
        order = np.random.RandomState(0).permutation(len(train))
        held_out = train.take(np.sort(order[:validation]))
        train = train.take(np.sort(order[validation:]))
    statistics = (None, None)
    if isinstance(train, Split):
        statistics = channel_statistics(train.images)
    return Dataset(train, held_out, test, num_classes, *statistics, about or {})


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return what tells a data set from another.

    Numbers of examples and, of a set in memory, a SHA-256 of all that it holds; a set
    on disk, which is not read, has its `about` instead.
    """
    examples = {name: len(split) for name, split in dataset.splits.items()}
    found = dataset.about | {"examples": examples}
    if not isinstance(dataset.train, Split):
        return found
    digest = hashlib.sha256()
    for name, split in dataset.splits.items():
        digest.update(f"{name} {split.images.shape}".encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return found | {"sha256": digest.hexdigest()}


def channel_statistics(
    images: UInt8[np.ndarray, "n h w c"],
) -> tuple[Float32[np.ndarray, "c"], Float32[np.ndarray, "c"]]:
    """Return mean and standard deviation of each channel, on the scale 0 to 1.

    Sums are exact integers. The deviation of a constant channel is given as 1.
    """
    total = squares = np.zeros(images.shape[1:], np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.uint16)  # 255**2 < 2**16
        total = total + chunk.sum(axis=0, dtype=np.int64)
        squares = squares + np.square(chunk).sum(axis=0, dtype=np.int64)
    count = images[..., 0].size
    mean = total.sum(axis=(0, 1)) / count
    std = np.sqrt(squares.sum(axis=(0, 1)) / count - mean**2)
    std = np.where(std > 0, std, 255)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
