"""Dataset: the splits of a data set, in memory or on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree, UInt8

from lth_jax.data.augment import Channels
from lth_jax.errors import DataError

Pixels = UInt8[np.ndarray, "n h w c"]
_CHUNK = 1_000  # images: bounds the memory of intermediate results


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in memory: arrays, or trees of them, with examples first."""

    inputs: PyTree  # what the network is given; uint8 [n, h, w, c] are images
    targets: PyTree  # what it is to answer: labels int32 [n] to classify

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.inputs)[0])

    def take(self, indices: np.ndarray) -> "Split":
        """Return the examples at `indices`, in that order."""
        of = jax.tree.map(lambda x: x[indices], (self.inputs, self.targets))
        return Split(*of)

    @property
    def are_images(self) -> bool:
        """Whether the inputs are images of bytes."""
        x = self.inputs
        return isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.ndim == 4


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set whose splits are in memory or on disk."""

    train: Any  # a `Split`, or what is `Stored`
    validation: Any  # likewise, or None
    test: Any
    num_classes: int  # outputs of a network: classes, tokens, or numbers
    about: dict[str, Any]  # of a set on disk: its version, and bytes of every split
    # From a key and a batch's inputs, as they are here, to others, in training.
    augment: Callable[..., PyTree] | None = None

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
    augment: Callable[..., PyTree] | None = None,
) -> Dataset:
    """Return the Dataset whose validation split is held out of `train`, or DataError.

    These are its first examples in one permutation, the same whatever a run's seed.
    """
    if not 0 <= validation < len(train):
        raise DataError(
            f"config.data.validation: {validation} is not in 0..{len(train) - 1}: "
            f"it is taken from {len(train)} training examples"
        )
    held_out = None
    if validation:
        # Unlike a Generator's, the stream of a RandomState never changes (NEP 19).
        order = np.random.RandomState(0).permutation(len(train))
        held_out = train.take(np.sort(order[:validation]))
        train = train.take(np.sort(order[validation:]))
    return Dataset(train, held_out, test, num_classes, about or {}, augment)


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return what tells a data set from another: its sizes, and a SHA-256 of all of it.

    A set on disk, which is not read, has its `about` instead.
    """
    examples = {name: len(split) for name, split in dataset.splits.items()}
    found = dataset.about | {"examples": examples}
    if not isinstance(dataset.train, Split):
        return found
    digest = hashlib.sha256()
    for name, split in dataset.splits.items():
        digest.update(f"{name} {jax.tree.map(np.shape, split.inputs)}".encode())
        for array in jax.tree.leaves((split.inputs, split.targets)):
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return found | {"sha256": digest.hexdigest()}


def channel_statistics(images: Pixels) -> tuple[Channels, Channels]:
    """Return channels' mean and deviation (1 if constant), on the scale 0 to 1."""
    total = squares = np.zeros(images.shape[1:], np.int64)  # exact
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.uint16)  # 255**2 < 2**16
        total = total + chunk.sum(axis=0, dtype=np.int64)
        squares = squares + np.square(chunk).sum(axis=0, dtype=np.int64)
    count = images[..., 0].size
    mean = total.sum(axis=(0, 1)) / count
    std = np.sqrt(squares.sum(axis=(0, 1)) / count - mean**2)
    std = np.where(std > 0, std, 255)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
