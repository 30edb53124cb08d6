"""Dataset: images and labels in memory, as NumPy arrays."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from lth_jax.errors import DataError

_CHUNK = 1_000  # images: bounds the memory of intermediate results


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """Return the examples at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: its splits and what normalising them needs.

    `mean` and `std` are per channel, of the training images on the scale 0 to 1. The
    standard deviation of a channel that never varies is given as 1.
    """

    train: Split
    validation: Split | None
    test: Split
    num_classes: int
    mean: Float32[np.ndarray, "c"]
    std: Float32[np.ndarray, "c"]


def assemble(
    train: Split, test: Split, *, num_classes: int, validation: int = 0
) -> Dataset:
    """Return the Dataset whose validation split is held out of `train`.

    Args:
        train: the training images; none of the held out ones are in `Dataset.train`.
        test: the test images.
        num_classes: number of classes.
        validation: number of examples held out: the first of one fixed permutation of
            `train`, the same in every run, whatever its seed.

    Raises:
        DataError: `validation` is negative or leaves no training image.

    Example:
        >>> split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.arange(4, dtype='int32'))
        >>> dataset = assemble(split, split, num_classes=4, validation=1)
        >>> dataset.train.labels, dataset.validation.labels
        (array([0, 1, 3], dtype=int32), array([2], dtype=int32))
    """
    kept, held = held_out(len(train), validation)
    validating = train.take(held) if validation else None
    train = train.take(kept) if validation else train
    mean, std = channel_statistics(train.images)
    return Dataset(train, validating, test, num_classes, mean, std)


def held_out(examples: int, validation: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which training examples are kept and which are held out, both rising.

    Raises:
        DataError: `validation` is negative or leaves no training image.
    """
    if not 0 <= validation < examples:
        raise DataError(
            f"config.data.validation: {validation} is not in 0..{examples - 1}: "
            f"it is taken from {examples} training images"
        )
    # Unlike a Generator's, the stream of a RandomState never changes (NEP 19).
    order = np.random.RandomState(0).permutation(examples)
    return np.sort(order[validation:]), np.sort(order[:validation])


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return what tells a data set from another: numbers of examples, and a SHA-256.

    Example:
        >>> split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.arange(4, dtype='int32'))
        >>> found = fingerprint(assemble(split, split, num_classes=4))
        >>> found['examples'], found['sha256'][:8]
        ({'train': 4, 'test': 4}, 'a1f9e6d3')
    """
    splits = {"train": dataset.train, "validation": dataset.validation}
    splits["test"] = dataset.test
    digest = hashlib.sha256()
    examples = {}
    for name, split in splits.items():
        if split is not None:
            examples[name] = len(split)
            digest.update(f"{name} {split.images.shape}".encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels).data)
    return {"examples": examples, "sha256": digest.hexdigest()}


def channel_statistics(
    images: UInt8[np.ndarray, "n h w c"],
) -> tuple[Float32[np.ndarray, "c"], Float32[np.ndarray, "c"]]:
    """Return mean and standard deviation of each channel, on the scale 0 to 1.

    Sums are exact integers. The deviation of a constant channel is given as 1.

    Example:
        >>> channel_statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
        (array([0.5], dtype=float32), array([0.5], dtype=float32))
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
