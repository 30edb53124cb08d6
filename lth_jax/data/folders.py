"""Folders: images of one's own, one folder for each class."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lth_jax.data.dataset import Dataset
from lth_jax.data.stored import Stored, held
from lth_jax.errors import DataError

KINDS = (".jpg", ".jpeg", ".png")
_FIELD = "config.data.name"


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """Images by number, as a TFDS data source has them; pickles to its file names."""

    root: Path
    paths: np.ndarray  # from `root`, encoded: a worker is sent an array at once
    sizes: np.ndarray  # bytes
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return images that are still encoded, their labels and paths."""
        return [
            {
                "image": (self.root / path).read_bytes(),
                "label": self.labels[number],
                "path": path.encode(errors="replace"),
            }
            for number in numbers
            for path in [os.fsdecode(self.paths[number])]
        ]


def read(root: Path, train: str, test: str, *, in_memory: bool) -> Dataset:
    """Return the images of root/PART/CLASS/*.jpg (.jpeg, .png), or raise DataError.

    Classes are numbered as their names are sorted, and images are in the order of their
    classes and names. They have one channel if all are stored as grey.

    Args:
        root: the folder.
        train, test: names of the parts, which are folders in it.
        in_memory: images are decoded, and must be of one size; otherwise they stay.
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
        try:
            of_train, of_test = held(stored)
            return Dataset(of_train, None, of_test, len(classes), {})
        except ValueError as error:
            raise DataError(f"{_FIELD}: {error}") from error
    digest = hashlib.sha256()
    for folder in listed:
        digest.update(folder.paths.tobytes() + folder.sizes.tobytes())
    about = {"files": digest.hexdigest()}
    return Dataset(stored[0], None, stored[1], len(classes), about)


def _folders(parent: Path) -> list[str]:
    """Return the names of the folders in a folder, but for hidden ones."""
    with os.scandir(parent) as entries:
        return sorted(x.name for x in entries if x.is_dir() and x.name[0] != ".")


def _listed(root: Path, part: str, classes: list[str]) -> Folder:
    """Return the images of a part by class and name, or raise DataError."""
    found: list[tuple[bytes, int, int]] = []
    for name in _folders(root / part):
        if name not in classes:
            raise DataError(
                f"{_FIELD}: {root / part / name} is of a class that is not trained on; "
                f"it takes {', '.join(classes[:9])}"
            )
        with os.scandir(root / part / name) as entries:
            images = sorted(
                (os.fsencode(f"{part}/{name}/{x.name}"), x.stat().st_size)
                for x in entries
                if x.name[0] != "." and x.name.lower().endswith(KINDS)
            )
        if not images:
            said = f"{root / part / name} holds no image ({', '.join(KINDS)})"
            raise DataError(f"{_FIELD}: {said}; put some there, or take it out")
        found += [(*image, classes.index(name)) for image in images]
    if not found:
        said = f"{root / part} has no folders; it takes one for each class"
        raise DataError(f"{_FIELD}: {said}")
    paths, sizes, labels = zip(*found)
    return Folder(root, np.array(paths), np.array(sizes, np.int64), np.array(labels))
