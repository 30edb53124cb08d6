"""Folders: images of one's own, one folder for each class."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lth_jax.data import decode
from lth_jax.data.dataset import Dataset, Split
from lth_jax.data.stored import Record, Stored
from lth_jax.errors import DataError, one_line

KINDS = (".jpg", ".jpeg", ".png")
_FIELD = "config.data.name"


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """Images by number, as a TFDS data source has them; pickles to its file names."""

    root: Path
    paths: np.ndarray  # from `root`, encoded: to a worker, arrays go at once
    labels: np.ndarray
    sizes: np.ndarray  # bytes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Return images that are still encoded, their labels and paths."""
        return [self._record(number) for number in numbers]

    def _record(self, number: int) -> dict[str, Any]:
        path = os.fsdecode(self.paths[number])
        try:
            image = (self.root / path).read_bytes()
        except OSError as error:
            said = f"{self.root / path} cannot be read ({one_line(error.strerror)})"
            raise DataError(f"{_FIELD}: {said}") from error
        named = path.encode(errors="replace")
        return {"image": image, "label": self.labels[number], "path": named}


def read(root: Path, train: str, test: str, *, in_memory: bool) -> Dataset:
    """Return the images of root/PART/CLASS/*.jpg (.jpeg, .png), or raise DataError.

    Classes are numbered as their names are sorted, and images are in the order of their
    classes and names. They have one channel if all are stored as grey.

    Args:
        root: the folder.
        train, test: names of the parts, which are folders in it.
        in_memory: images are decoded, and must be of one shape; otherwise they stay.
    """
    for which, part in {"train": train, "test": test}.items():
        if not (root / part).is_dir():
            found = ", ".join(_folders(root)[:9]) or "none"
            raise DataError(
                f"config.data.{which}_split: {root} has no folder {part!r}, but "
                f"{found}: name another, or move images to {part}/CLASS in it"
            )
    if (root / train).samefile(root / test):
        said = f"{test!r} is trained on; name another folder in {root}"
        raise DataError(f"config.data.test_split: {said}")
    classes = _folders(root / train)
    listed = [_listed(root, part, classes) for part in (train, test)]
    stored = [Stored(x, key_feature="path", field=_FIELD) for x in listed]
    if in_memory:
        held = _decoded(stored)
        return Dataset(held[0], None, held[1], len(classes), {})
    digest = hashlib.sha256()
    for folder in listed:
        digest.update(folder.paths.tobytes() + folder.sizes.tobytes())
    sizes = [int(folder.sizes.sum()) for folder in listed]
    about = {"bytes": dict(zip(("train", "test"), sizes)), "files": digest.hexdigest()}
    return Dataset(stored[0], None, stored[1], len(classes), about)


def _folders(parent: Path) -> list[str]:
    """Return the names of the folders in a folder, but for hidden ones."""
    with os.scandir(parent) as entries:
        names = [x.name for x in entries if x.is_dir() and x.name[0] != "."]
    return sorted(names)


def _listed(root: Path, part: str, classes: list[str]) -> Folder:
    """Return the images of a part by class and name, or raise DataError."""
    found, labels = [], []
    for name in _folders(root / part):
        if name not in classes:
            said = f"{root / part / name} is of a class that is not trained on"
            raise DataError(f"{_FIELD}: {said}; it takes {', '.join(classes[:9])}")
        with os.scandir(root / part / name) as entries:
            images = sorted(
                (os.fsencode(f"{part}/{name}/{x.name}"), x.stat().st_size)
                for x in entries
                if x.name.lower().endswith(KINDS) and x.name[0] != "."
            )
        if not images:
            said = f"{root / part / name} holds no image ({', '.join(KINDS)})"
            raise DataError(f"{_FIELD}: {said}; put some there, or take it out")
        found += images
        labels += [classes.index(name)] * len(images)
    if not found:
        said = f"{root / part} has no folders; it takes one for each class"
        raise DataError(f"{_FIELD}: {said}")
    paths, sizes = zip(*found)
    return Folder(
        root,
        np.array(paths),
        np.array(labels, np.int32),
        np.array(sizes, np.int64),
    )


def _decoded(parts: list[Stored]) -> list[Split]:
    """Return images in memory, or raise DataError if they are not of one shape."""
    records = [part.read(range(len(part))) for part in parts]
    images = [[_whole(record) for record in part] for part in records]
    first, *_ = images[0]
    for record, image in zip(itertools.chain(*records), itertools.chain(*images)):
        if image.shape[:2] != first.shape[:2]:
            sizes = f"{first.shape[:2]} and {image.shape[:2]} of {record.key!r}"
            raise DataError(
                f"config.data.feed: images are of many sizes ({sizes}) and cannot be "
                "held in memory; use 'stream'"
            )
    channels = max(image.shape[-1] for image in itertools.chain(*images))
    shape = (*first.shape[:2], channels)
    return [
        Split(
            np.stack([np.broadcast_to(image, shape) for image in some]),
            np.array([record.label for record in part], np.int32),
        )
        for part, some in zip(records, images)
    ]


def _whole(record: Record) -> np.ndarray:
    try:
        return decode.whole(record.image, None)
    except ValueError as error:
        said = f"{record.key!r} cannot be decoded ({error})"
        raise DataError(f"{_FIELD}: {said}; replace it, or take it out") from error
