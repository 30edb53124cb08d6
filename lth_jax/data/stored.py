"""Stored: a split that stays on disk, and how its records become images."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lth_jax import decode
from lth_jax.data.dataset import Split
from lth_jax.errors import DataError, one_line
from lth_jax.tasks.task import NO_LABEL

CORRUPT = ("error", "skip")
_SKIP = "replace it, or skip what is corrupt: --config.data.stream.corrupt=skip"


class Record(NamedTuple):
    """One example as it is stored."""

    image: bytes  # encoded
    label: int  # class, from 0
    key: str  # what the data set calls it, or else its number


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """The records of a split, read in any order; pickles to its address."""

    source: Any  # a TFDS data source that leaves images encoded, or what is like one
    key_feature: str | None  # that names a record
    indices: np.ndarray | None = None  # the source's records in the split, or all
    field: str = "config.data.dir"  # that says where it is

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
        try:
            # All at once: one by one takes several times as long.
            records = self.source.__getitems__(numbers)
        except OSError as error:
            raise DataError(f"{self.field}: {one_line(error)}") from error
        return [
            Record(found["image"], int(found["label"]), self._key(number, found))
            for number, found in zip(numbers, records)
        ]

    def _key(self, number: int, found: dict[str, Any]) -> str:
        if self.key_feature is None:
            return f"{self.source.split}[{number}]"
        return np.asarray(found[self.key_feature], object).item().decode()


def held(parts: Sequence[Stored], channels: int | None = None) -> list[Split]:
    """Return splits decoded, or raise ValueError if images are not of one size.

    They have so many channels, by default 1 if all images are stored as grey, or 3.
    """
    records = [part.read(range(len(part))) for part in parts]
    images = [[_decoded(record, channels) for record in part] for part in records]
    every = [image for some in images for image in some]
    sizes = sorted({image.shape[:2] for image in every})
    if len(sizes) > 1:
        said = f"images are of many sizes, as {sizes[0]} and {sizes[1]}"
        raise ValueError(f"{said}: that takes config.data.feed='stream'")
    shape = (*sizes[0], max(image.shape[-1] for image in every))
    return [
        Split(
            np.stack([np.broadcast_to(image, shape) for image in some]),
            np.array([record.label for record in part], np.int32),
        )
        for part, some in zip(records, images)
    ]


def _decoded(record: Record, channels: int | None) -> np.ndarray:
    try:
        return decode.whole(record.image, channels)
    except ValueError as error:
        said = f"{record.key!r} cannot be decoded ({error})"
        raise ValueError(f"{said}; replace it, or take it out") from error


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """How the records of a split become images of one size."""

    records: Stored
    num_classes: int
    size: int  # pixels, height and width
    resize: int  # evaluation: shorter side, before the centre of `size` is taken
    area: decode.Limits = (0.08, 1.0)  # as in `decode.random_window`
    aspect: decode.Limits = (3 / 4, 4 / 3)
    corrupt: str = "error"  # or "skip": what becomes of what cannot be decoded

    def fill(
        self, size: int, indices: np.ndarray, *views: np.ndarray, replace: bool
    ) -> dict[str, Any]:
        """Return `size` images and labels, and the keys of records that were skipped.

        What is skipped of the records at `indices` is replaced by the next, or else
        has, as all beyond the indices, the label `NO_LABEL`.
        """
        images = np.zeros((size, self.size, self.size, 3), np.uint8)
        labels = np.full(size, NO_LABEL, np.int32)
        skipped: list[str] = []
        for i, first in enumerate(self.records.read(indices)):
            for record in self._candidates(first, int(indices[i]), replace):
                try:
                    images[i] = self.see(record, *(drawn[i] for drawn in views))
                    labels[i] = record.label
                    break
                except ValueError as error:
                    if self.corrupt == "error":
                        said = f"{record.key!r} cannot be decoded ({error})"
                        field = self.records.field
                        raise DataError(f"{field}: {said}; {_SKIP}") from error
                    skipped.append(record.key)
        return {"inputs": images, "targets": labels, "skipped": skipped}

    def see(
        self, record: Record, draws: decode.Draws | None = None, mirrored: Any = False
    ) -> np.ndarray:
        """Return a random window of an image, or without draws its centre."""
        if draws is None:
            share = min(1.0, self.size / self.resize)
            choose = partial(decode.central, share=share)
        else:
            limits = {"area": self.area, "aspect": self.aspect}
            choose = partial(decode.random_window, draws=draws, **limits)
        flip, exact = bool(mirrored), draws is None
        return decode.view(record.image, choose, self.size, mirrored=flip, exact=exact)

    def _candidates(
        self, record: Record, index: int, replace: bool
    ) -> Iterator[Record]:
        """Yield a record, and those that may take its place."""
        examples = len(self.records)
        for after in range(1, 1 + (examples if replace else 1)):
            if not 0 <= record.label < self.num_classes:
                raise DataError(
                    f"config.data.name: the label of {record.key!r} is {record.label}, "
                    f"and there are {self.num_classes} classes"
                )
            yield record
            (record,) = self.records.read([(index + after) % examples])
        if replace:
            said = "there is no image that can be decoded"
            raise DataError(f"{self.records.field}: {said}")
