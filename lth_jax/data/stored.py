"""Stored: a split that stays on disk and is read record by record, in any order."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Record(NamedTuple):
    """One example as it is stored.

    Attributes:
        image: encoded.
        label: class, from 0.
        key: what the data set calls it, or else its number.
    """

    image: bytes
    label: int
    key: str


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """The records of a split; pickles to its address.

    Attributes:
        source: a TFDS data source that leaves images encoded.
        key_feature: the feature that names a record, or None.
        indices: the records of the source that are in the split; None for all.
    """

    source: Any
    key_feature: str | None
    indices: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source) if self.indices is None else len(self.indices)

    def take(self, indices: np.ndarray) -> "Stored":
        """Return the records at `indices`, in that order."""
        within = indices if self.indices is None else self.indices[indices]
        return dataclasses.replace(self, indices=within)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Record]:
        """Return the records at some indices, read together."""
        within = indices if self.indices is None else self.indices[indices]
        numbers = [int(i) for i in within]
        return [
            Record(found["image"], int(found["label"]), self._key(number, found))
            for number, found in zip(numbers, self.source.__getitems__(numbers))
        ]

    def _key(self, number: int, found: dict[str, Any]) -> str:
        if self.key_feature is None:
            return f"{self.source.split}[{number}]"
        return np.asarray(found[self.key_feature], object).item().decode()
