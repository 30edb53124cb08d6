"""Stored: a split that stays on disk, and how its records become images."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lth_jax.data import decode
from lth_jax.errors import DataError
from lth_jax.tasks.classification import NO_LABEL

CORRUPT = ("error", "skip")

Indices = Sequence[int] | np.ndarray


class Record(NamedTuple):
    """One example as it is stored."""

    image: bytes  # encoded
    label: int  # class, from 0
    key: str  # what the data set calls it, or else its number


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """The records of a split, read in any order; pickles to its address."""

    source: Any  # a TFDS data source that leaves images encoded
    key_feature: str | None  # that names a record
    indices: np.ndarray | None = None  # the source's records in the split, or all

    def __len__(self) -> int:
        return len(self.source) if self.indices is None else len(self.indices)

    def take(self, indices: np.ndarray) -> "Stored":
        """Return the records at `indices`, in that order."""
        within = indices if self.indices is None else self.indices[indices]
        return dataclasses.replace(self, indices=within)

    def read(self, indices: Indices) -> list[Record]:
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


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """How the records of a split become images of one size."""

    records: Stored
    num_classes: int
    size: int  # pixels, height and width
    resize: int  # evaluation: shorter side, before the centre of `size` is taken
    area: tuple[float, float] = (0.08, 1.0)  # as in `decode.random_window`
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    corrupt: str = "error"  # or "skip": what becomes of what cannot be decoded

    def __len__(self) -> int:
        return len(self.records)

    def part(
        self, size: int, indices: Indices, views: Sequence[np.ndarray], *, replace: bool
    ) -> dict[str, Any]:
        """Return part of a batch, and the keys of the records that were skipped.

        Args:
            size: number of examples; after those at `indices`, labels are `NO_LABEL`.
            indices: of at most that many examples.
            views: draws and who is mirrored, as for `cropped`; none for `central`.
            replace: the next example takes the place of one whose image is skipped.

        Raises:
            DataError: a record has no class, or its image is corrupt and not skipped.
        """
        images = np.zeros((size, self.size, self.size, 3), np.uint8)
        labels = np.full(size, NO_LABEL, np.int32)
        skipped: list[str] = []
        for i, first in enumerate(self.records.read(indices)):
            for record in self._candidates(first, int(indices[i]), replace):
                self._check_label(record)
                try:
                    if views:
                        images[i] = self.cropped(record, *(v[i] for v in views))
                    else:
                        images[i] = self.central(record)
                except ValueError as error:
                    skipped.append(self._refuse(record, error))
                else:
                    labels[i] = record.label
                    break
        return {"image": images, "label": labels, "skipped": skipped}

    def central(self, record: Record) -> np.ndarray:
        """Return an image as it is evaluated."""
        share = min(1.0, self.size / self.resize)
        return decode.view(
            record.image, lambda h, w: decode.central(h, w, share), self.size
        )

    def cropped(
        self,
        record: Record,
        draws: Float[np.ndarray, "attempts 4"],
        mirrored: bool | np.bool_,
    ) -> np.ndarray:
        """Return a random window of an image, perhaps mirrored."""
        return decode.view(
            record.image,
            lambda h, w: decode.random_window(h, w, draws, self.area, self.aspect),
            self.size,
            mirrored=bool(mirrored),
            exact=False,
        )

    def _candidates(
        self, record: Record, index: int, replace: bool
    ) -> Iterator[Record]:
        yield record
        if replace:
            for after in range(1, len(self)):
                yield from self.records.read([(index + after) % len(self)])
            raise DataError("config.data.dir: there is no image that can be decoded")

    def _check_label(self, record: Record) -> None:
        if not 0 <= record.label < self.num_classes:
            raise DataError(
                f"config.data.name: the label of {record.key!r} is {record.label}, and "
                f"there are {self.num_classes} classes"
            )

    def _refuse(self, record: Record, error: ValueError) -> str:
        """Return the key of a record to skip, if that is wanted, or raise DataError."""
        if self.corrupt == "skip":
            return record.key
        raise DataError(
            f"config.data.dir: {record.key!r} cannot be decoded ({error}); replace it, "
            "or skip what is corrupt: --config.data.stream.corrupt=skip"
        ) from error
