"""Hugging Face: data sets of its library `datasets`, where that is installed."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lth_jax.data.arrays import from_arrays
from lth_jax.data.dataset import Dataset
from lth_jax.errors import DataError, one_line


def from_huggingface(
    dataset: Any,
    *,
    inputs: str = "image",
    targets: str = "label",
    train: str = "train",
    test: str = "test",
) -> Dataset:
    """Return a DatasetDict as a data set in memory, or raise DataError.

    Args:
        dataset: the DatasetDict, or the name of one to load.
        inputs, targets: columns: images of one size become uint8 [n, h, w, c], grey if
            all are; numbers, and lists of them, are as of `from_arrays`.
        train, test: splits.

    >>> SOURCES["mine"] = lambda: from_huggingface("beans")  # doctest: +SKIP
    """
    if isinstance(dataset, str):
        dataset = _loaded(dataset)
    if not isinstance(dataset, Mapping) or not all(
        hasattr(split, "__len__") for split in dataset.values()
    ):
        said = "load one without streaming, or use a Dataset's train_test_split()"
        raise DataError(f"data: a {type(dataset).__name__} is no DatasetDict: {said}")
    found = {split: dataset[split].column_names for split in dataset}
    for split in (train, test):
        for column in (inputs, targets):
            if column not in found.get(split, ()):
                said = f"{split!r} has no column {column!r}; name others, of {found}"
                raise DataError(f"data: {said}")
    pairs = [
        tuple(_column(dataset[split], column) for column in (inputs, targets))
        for split in (train, test)
    ]
    labels = dataset[train].features[targets]  # a ClassLabel, or else of no classes
    return from_arrays(*pairs, num_classes=getattr(labels, "num_classes", None))


def _loaded(name: str) -> Any:
    try:
        return importlib.import_module("datasets").load_dataset(name)
    except Exception as error:  # not installed, no network, or whatever is in the set
        said = one_line(f"{type(error).__name__}: {error}")
        raise DataError(
            f"data: {name!r} cannot be loaded ({said}): it takes pip install datasets, "
            "and a network or what was loaded before"
        ) from error


def _column(split: Any, name: str) -> Any:
    """Return a column as an array, or images as a list of them."""
    column = split.select_columns([name])
    if not any(hasattr(x, "convert") for x in column[:1][name]):  # of Pillow
        return column.with_format("numpy")[:][name]
    images = column[:][name]
    if len({x.size for x in images}) > 1:
        said = "are of many sizes: make them of one, with the dataset's map()"
        raise DataError(f"data: images in column {name!r} {said}")
    mode = "L" if all(x.mode in ("1", "L") for x in images) else "RGB"
    return [np.asarray(x.convert(mode)).reshape(x.height, x.width, -1) for x in images]
