"""Data sets of Hugging Face's library, or of a stand-in where it is not installed."""

import importlib.util
import sys
import types

import numpy as np
import pytest
from PIL import Image

from lth_jax.data import from_huggingface
from lth_jax.errors import DataError


class Table:
    """What the library calls a Dataset: as much of it as is used."""

    def __init__(self, columns, classes=0, as_arrays=False):
        self.columns, self.classes, self.as_arrays = columns, classes, as_arrays
        self.column_names = list(columns)
        self.features = dict.fromkeys(columns, object())
        if classes:
            self.features["label"] = types.SimpleNamespace(num_classes=classes)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows):
        made = np.array if self.as_arrays else list
        return {name: made(column[rows]) for name, column in self.columns.items()}

    def select_columns(self, names):
        chosen = {name: self.columns[name] for name in names}
        return Table(chosen, as_arrays=self.as_arrays)

    def with_format(self, kind):
        assert kind == "numpy"
        return Table(self.columns, as_arrays=True)


class Splits(dict):
    """What the library calls a DatasetDict."""


def of_stand_in(columns, classes):
    return Table(columns, classes)


def of_library(columns, classes):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(columns)
    if classes:
        names = [f"class {i}" for i in range(classes)]
        made = made.cast_column("label", datasets.ClassLabel(names=names))
    return made


INSTALLED = importlib.util.find_spec("datasets") is not None


@pytest.fixture(params=[of_stand_in, *[of_library] * INSTALLED])
def table(request):
    return lambda classes=0, **columns: request.param(columns, classes)


def pictures(levels, mode="RGB", size=(6, 4)):
    """Images of a width and height, of one colour."""
    return [Image.new("L", size, level).convert(mode) for level in levels]


def error_of(*args, **options):
    """The message of the DataError that is raised: always one line."""
    with pytest.raises(DataError) as caught:
        from_huggingface(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("mode", "channels"), [("RGB", 3), ("L", 1), ("P", 3), ("RGBA", 3)]
)
def test_images_become_arrays_of_bytes(table, mode, channels):
    train = table(4, image=pictures([7, 8, 9], mode), label=[2, 0, 1])
    test = table(4, image=pictures([5], mode), label=[0])
    found = from_huggingface(Splits(train=train, test=test))
    assert found.train.are_images
    assert found.train.inputs.shape == (3, 4, 6, channels)
    assert found.train.inputs[:, 0, 0].tolist() == [[x] * channels for x in (7, 8, 9)]
    assert found.test.inputs.shape == (1, 4, 6, channels)
    assert found.train.targets.tolist() == [2, 0, 1]
    assert found.num_classes == 4  # of the ClassLabel; the highest of these labels is 2


def test_one_coloured_image_makes_all_coloured(table):
    mixed = pictures([7], "L") + pictures([8], "RGB")
    split = table(image=mixed, label=[0, 1])
    found = from_huggingface(Splits(train=split, test=split))
    assert found.train.inputs[:, 0, 0].tolist() == [[7, 7, 7], [8, 8, 8]]


def test_numbers_and_lists_become_arrays(table):
    split = table(x=[[1.0, 2.0], [3.0, 4.0]], y=[0.5, 1.5], other=["a", "b"])
    names = {"inputs": "x", "targets": "y", "test": "validation"}
    found = from_huggingface(Splits(train=split, validation=split), **names)
    assert found.train.inputs.tolist() == [[1, 2], [3, 4]]
    assert found.train.inputs.dtype == np.float32
    assert found.test.targets.tolist() == [0.5, 1.5]
    assert found.num_classes == 1


def test_what_is_not_there_is_said_with_what_is(table):
    split = table(image=pictures([1]), label=[0])
    splits = Splits(train=split, val=split)
    there = "{'train': ['image', 'label'], 'val': ['image', 'label']}"
    assert error_of(splits) == (
        f"data: 'test' has no column 'image'; name others, of {there}"
    )
    assert error_of(splits, test="val", targets="fine_label") == (
        f"data: 'train' has no column 'fine_label'; name others, of {there}"
    )


def test_what_is_no_dictionary_of_splits_in_memory_is_refused(table):
    split = table(image=pictures([1]), label=[0])
    said = "is no DatasetDict: load one without streaming, or use a Dataset's train_"
    assert said in error_of(split)
    streamed = types.SimpleNamespace(column_names=["image", "label"])
    assert said in error_of(Splits(train=streamed, test=streamed))


def test_images_of_many_sizes_are_refused(table):
    images = pictures([1]) + pictures([1], size=(6, 5))
    split = table(image=images, label=[0, 1])
    assert error_of(Splits(train=split, test=split)) == (
        "data: images in column 'image' are of many sizes: make them of one, with the "
        "dataset's map()"
    )


def test_strings_are_refused(table):
    split = table(image=["a", "b"], label=[0, 1])
    message = error_of(Splits(train=split, test=split))
    assert message == "data: train/inputs is of <U1: turn it into numbers"


def test_a_set_is_loaded_by_its_name(monkeypatch):
    split = Table({"image": pictures([1]), "label": [0]})
    sets = {"tiny": Splits(train=split, test=split)}
    module = types.ModuleType("datasets")
    module.load_dataset = sets.__getitem__
    monkeypatch.setitem(sys.modules, "datasets", module)
    assert len(from_huggingface("tiny").train) == 1
    assert error_of("huge") == (
        "data: 'huge' cannot be loaded (KeyError: 'huge'): it takes pip install "
        "datasets, and a network or what was loaded before"
    )


def test_where_the_library_is_not_installed_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = error_of("beans")
    assert message.startswith("data: 'beans' cannot be loaded (ModuleNotFoundError: ")
    assert "it takes pip install datasets" in message
