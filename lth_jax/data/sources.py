"""Sources: data sets by name: a user's own, files, or what TFDS prepares."""

from collections.abc import Callable
from typing import Any

from lth_jax.data import files, folders, prepared
from lth_jax.data.dataset import Dataset, Split, assemble
from lth_jax.data.made import modular_addition
from lth_jax.errors import DataError
from lth_jax.paths import local

# Data sets in memory, and those of one's own: what makes one, as `from_arrays` does.
SOURCES: dict[str, Callable[[], Dataset]] = {"modular_addition": modular_addition}


def is_own(name: str) -> bool:
    """Return whether a name is one of `SOURCES`, or of a file or folder."""
    return name in SOURCES or files.is_path(name)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    validation: int = 0,
    in_memory: bool = True,
    window: int = 128,
) -> Dataset:
    """Load a data set into memory, or open one that stays on disk.

    Args:
        name: a key of `SOURCES`; a file, as of `files.read`, or folder of images, as of
            `folders.read`; or a set of TFDS, as of `prepared.load`.
        data_dir: TFDS's data folder, default `$TFDS_DATA_DIR` or ~/tensorflow_datasets.
        train_split, test_split: of TFDS, or names of folders of images.
        validation: number of training examples to hold out, the same for every seed.
        in_memory: splits are arrays; otherwise they are read record by record.
        window: bytes of an example of a text.

    Raises DataError, with what to do about it, if it cannot be had.

    >>> digits = load("digits")  # doctest: +SKIP
    >>> digits.train.inputs.shape, digits.test.inputs.shape  # doctest: +SKIP
    ((1198, 8, 8, 1), (599, 8, 8, 1))
    """
    parts = (train_split, test_split)
    if name in SOURCES:
        found: Any = SOURCES[name]()
        if not isinstance(found, Dataset):
            kind = type(found).__name__
            raise DataError(
                f"config.data.name: {name!r} gives a {kind}, not a data set: return "
                "data.from_arrays(train, test)"
            )
    elif files.is_path(name):
        path = local(name, "config.data.name")
        if path.is_dir():
            found = folders.read(path, *parts, in_memory=in_memory)
        else:
            found = files.read(path, window)
    else:
        found = prepared.load(name, data_dir, *parts, in_memory=in_memory)
    if not in_memory and isinstance(found.train, Split):
        raise DataError(f"config.data.feed: {name!r} is in memory: use 'memory'")
    return assemble(
        found.train,
        found.test,
        num_classes=found.num_classes,
        validation=validation,
        about=found.about,
        augment=found.augment,
    )
