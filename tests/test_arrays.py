"""Data sets of one's own: arrays, and files of them."""

import hashlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from trees import assert_same

from lth_jax.data import (
    SOURCES,
    Memory,
    Split,
    augment,
    batch_indices,
    files,
    fingerprint,
    from_arrays,
    load,
)
from lth_jax.data.dataset import assemble
from lth_jax.errors import DataError


def pair(n=3, inputs=None):
    """Inputs [n, 2] and labels 0, 1, ..."""
    inputs = np.arange(2.0 * n).reshape(n, 2) if inputs is None else inputs
    return inputs, np.arange(n)


def error_of(function, *args, **options):
    """The message of the DataError that a function raises: always one line."""
    with pytest.raises(DataError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "train",
    [
        ([[0.0, 1.0], [2.0, 3.0]], [1, 0]),
        [[[0.0, 1.0], [2.0, 3.0]], [1, 0]],
        {"inputs": [[0.0, 1.0], [2.0, 3.0]], "targets": [1, 0]},
        (jnp.arange(4.0).reshape(2, 2), jnp.array([1, 0])),
        (np.arange(4.0).reshape(2, 2), np.array([1, 0], np.int64)),
        Split(np.arange(4.0, dtype=np.float32).reshape(2, 2), np.array([1, 0])),
    ],
)
def test_a_split_is_a_pair_of_arrays_however_it_is_given(train):
    found = from_arrays(train, train)
    for split in (found.train, found.test):
        assert split.inputs.tolist() == [[0, 1], [2, 3]]
        assert split.targets.tolist() == [1, 0]
        assert (split.inputs.dtype, split.targets.dtype) == (np.float32, np.int32)
    assert (len(found.train), found.num_classes, found.validation) == (2, 2, None)


def test_inputs_and_targets_may_be_trees():
    image, mask = np.zeros((2, 3, 3, 1), np.uint8), np.array([[True], [False]])
    inputs = {"image": image, "text": (np.array([[5, 6], [7, 8]]), mask)}
    targets = {"box": [[0.5, 1.5], [2.5, 3.5]], "kind": np.array([1, 2])}
    found = from_arrays((inputs, targets), (inputs, targets)).train
    assert found.inputs["image"].dtype == np.uint8
    assert found.inputs["text"][0].tolist() == [[5, 6], [7, 8]]
    assert found.inputs["text"][1].dtype == bool
    assert found.targets["box"].tolist() == [[0.5, 1.5], [2.5, 3.5]]
    assert found.take(np.array([1])).targets["kind"].tolist() == [2]
    assert not found.are_images


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("float64", "float32"),
        ("complex128", "complex64"),
        ("int64", "int32"),
        ("uint64", "int32"),
        ("uint32", "int32"),
        *((name, name) for name in ("float16", "bfloat16", "int8", "uint8", "bool")),
    ],
)
def test_numbers_of_64_bits_become_32(given, kept):
    inputs = np.array([[1], [0]]).astype(jnp.dtype(given))
    found = from_arrays(pair(2, inputs), pair(2, inputs)).train.inputs
    assert found.dtype.name == kept
    assert found.tolist() == [[1], [0]]


def test_the_last_class_of_unsigned_labels_is_not_the_one_that_counts_for_nothing():
    """NO_LABEL is -1, as are the 255 of 8 bits and the 65,535 of 16."""
    for kind, kept in ((np.uint8, np.int16), (np.uint16, np.int32)):
        labels = np.array([0, np.iinfo(kind).max], kind)
        found = from_arrays((pair(2)[0], labels), (pair(2)[0], labels))
        assert found.train.targets.dtype == kept
        assert found.train.targets.tolist() == labels.tolist()
        assert found.num_classes == np.iinfo(kind).max + 1


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        ([[1, 2], [3]], [0, 1], "data: train/inputs is no array (setting an array"),
        ([["a"], ["b"]], [0, 1], "data: train/inputs is of <U1: turn it into numbers"),
        ([[1], [None]], [0, 1], "data: train/inputs is of object: turn it into"),
        (np.zeros(2, "datetime64[s]"), [0, 1], "data: train/inputs is of datetime64"),
        (np.zeros(2, [("a", int)]), [0, 1], "data: train/inputs is of [('a', '<i8')]"),
        (jax.random.split(jax.random.key(0)), [0, 1], "data: train/inputs is no array"),
        ((1, 2), [0, 1], "data: train/inputs/0 is one value: it takes one for each"),
        ([1, 2], 3, "data: train/targets is one value: it takes one for each example"),
        (
            {"a": [[1.0, np.nan], [np.inf, np.nan], [0, 0]]},
            [0, 1, 2],
            "data: train/inputs/a holds NaN or infinity in 2 of 3 examples: leave them "
            "out, or fill it in",
        ),
        ([1, 2], [0, 1e300], "data: train/targets holds NaN or infinity in 1 of 2"),
        (
            [1, 2],
            [0, 2**31],
            "data: train/targets goes from 0 to 2147483648, and integers are of 32 "
            "bits: count from 0",
        ),
        (
            {"a": [1, 2], "b": [3]},
            [0, 1],
            "data: arrays of unequal length: 2 of train/inputs/a, 1 of train/inputs/b, "
            "2 of train/targets",
        ),
        ([], [], "data: train is empty"),
        ({}, [0, 1], "data: train is empty"),
    ],
)
def test_what_no_network_can_train_on_is_refused(inputs, targets, said):
    assert error_of(from_arrays, (inputs, targets), pair()).startswith(said)


def test_nan_of_few_bits_is_found():
    inputs = jnp.array([[1], [jnp.nan]], jnp.bfloat16)
    said = "data: test/inputs holds NaN or infinity in 1 of 2 examples"
    assert error_of(from_arrays, pair(2), (inputs, [0, 1])).startswith(said)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (np.zeros((3, 2)), "data: train is a ndarray: give (inputs, targets)"),
        (np.zeros((2, 2)), "data: train is a ndarray: give (inputs, targets)"),
        (None, "data: train is a NoneType: give (inputs, targets)"),
        ((1, 2, 3), "data: train is a tuple: give (inputs, targets)"),
        ({"x": 1, "y": 2}, "data: train has x, y: name them inputs, targets"),
    ],
)
def test_what_is_no_pair_is_refused(train, said):
    assert error_of(from_arrays, train, pair()) == said


@pytest.mark.parametrize(
    ("test", "of_test"),
    [
        ((np.zeros((3, 4), np.float32), [0, 1, 2]), "(((4,), 'float32'), ((), 'int32"),
        ((np.zeros((3, 2), int), [0, 1, 2]), "(((2,), 'int32'), ((), 'int32'))"),
        ((np.zeros((3, 2)), [0.5, 1, 2]), "(((2,), 'float32'), ((), 'float32'))"),
        (({"a": np.zeros((3, 2))}, [0, 1, 2]), "({'a': ((2,), 'float32')}, ((), "),
    ],
)
def test_examples_of_train_and_test_are_alike(test, of_test):
    message = error_of(from_arrays, pair(), test)
    assert message.startswith(
        "data: examples of train are (((2,), 'float32'), ((), 'int32')), of test "
        f"{of_test}"
    )


@pytest.mark.parametrize(
    ("inputs", "targets", "outputs"),
    [
        (np.zeros((2, 3)), [1, 6], 7),  # labels
        (np.full((2, 3), 9), [1, 6], 7),  # integers that are no tokens
        ([[3, 1], [1, 4]], [[1, 3], [4, 9]], 10),  # tokens
        ([[3, 12], [1, 4]], [[1, 3], [4, 9]], 13),  # of the inputs, too
        (np.zeros((2, 3)), [0.5, 1.5], 1),
        (np.zeros((2, 3)), np.zeros((2, 5)), 5),
        (np.zeros((2, 3)), np.zeros((2, 4, 2)), 8),
        (np.zeros((2, 3)), (), 1),  # the inputs are what is to be returned
    ],
)
def test_the_number_of_outputs_is_that_of_the_targets(inputs, targets, outputs):
    given = inputs, targets
    assert from_arrays(given, given).num_classes == outputs
    assert from_arrays(given, given, num_classes=50).num_classes == 50


def test_the_highest_label_may_be_in_the_test():
    assert from_arrays(pair(2), pair(5)).num_classes == 5


# -------------------------------------------------------------------- batches


def noisy(key, inputs):
    """Noise on each example, and the examples' places mixed."""
    noise_key, mix_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, inputs["x"].shape)
    mixed = jax.random.permutation(mix_key, inputs["x"])
    return {"x": inputs["x"] + noise, "mixed": mixed}


def batches(dataset, parts, augmentation=None, seed=5, steps=range(4)):
    """All parts of some steps' batches, joined."""
    feed = Memory(dataset.train, 4, augment=augmentation)
    made = jax.jit(partial(feed.batch, parts=parts), static_argnames="part")
    arrays = jax.tree.map(jnp.asarray, feed.arrays)
    return [
        jax.tree.map(
            lambda *x: np.concatenate(x),
            *(made(arrays, np.uint32(seed), s, part=part) for part in range(parts)),
        )
        for s in steps
    ]


def test_an_augmentation_of_ones_own_is_the_same_on_any_number_of_devices():
    given = {"x": np.arange(20.0).reshape(10, 2)}, np.arange(10)
    found = from_arrays(given, given, augment=noisy)
    assert found.augment is noisy
    one, two = (batches(found, parts, augment.by(noisy)) for parts in (1, 2))
    assert_same(one, two)
    plain = batches(found, 1)
    for batch, without in zip(one, plain):
        np.testing.assert_array_equal(batch["targets"], without["targets"])
        assert not np.array_equal(batch["inputs"]["x"], without["inputs"]["x"])
        mixed, those = batch["inputs"]["mixed"], without["inputs"]["x"]
        assert sorted(mixed.ravel()) == sorted(those.ravel())
    assert not np.array_equal(one[0]["inputs"]["x"], one[1]["inputs"]["x"])


def test_arrays_come_in_the_order_of_as_many_images():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    tree = {"a": np.arange(10), "b": np.arange(20.0).reshape(10, 2)}
    orders = []
    for inputs in (images, tree):
        found = from_arrays((inputs, np.arange(10)), (inputs, np.arange(10)))
        orders.append([batch["targets"].tolist() for batch in batches(found, 1)])
        first = jax.tree.leaves(batches(found, 1)[2]["inputs"])[0]
        assert first.ravel().tolist() == orders[-1][2]
    assert orders[0] == orders[1]
    expected = [
        batch_indices(np.uint32(5), s, n=10, batch_size=4, last="drop").tolist()
        for s in range(4)
    ]
    assert orders[0] == expected


# ---------------------------------------------------------------- fingerprint


def test_the_fingerprint_of_images_is_what_it_was_before_there_were_arrays():
    """Runs are refused other data: name and shape of images, their bytes, labels'."""
    rng = np.random.default_rng(0)
    digest = hashlib.sha256()
    splits = {}
    for name, n in (("train", 5), ("test", 3)):
        images = rng.integers(0, 256, (n, 4, 6, 3), np.uint8)
        labels = rng.integers(0, 9, n).astype(np.int32)
        splits[name] = Split(images, labels)
        digest.update(f"{name} {images.shape}".encode())
        digest.update(images.tobytes())
        digest.update(labels.tobytes())
    found = fingerprint(assemble(splits["train"], splits["test"], num_classes=9))
    expected = {"examples": {"train": 5, "test": 3}, "sha256": digest.hexdigest()}
    assert found == expected
    assert fingerprint(from_arrays(splits["train"], splits["test"])) == expected


@given(st.sampled_from(["train", "test"]), st.sampled_from("xyzt"), st.data())
def test_a_fingerprint_is_of_every_number(which, changed, data):
    def arrays():
        inputs = {"x": np.zeros((3, 2)), "y": (np.ones((3, 1), bool), np.zeros(3, int))}
        return {"inputs": inputs, "targets": np.zeros(3, np.float32)}

    splits = {"train": arrays(), "test": arrays()}
    before = fingerprint(from_arrays(**splits))
    inputs = splits[which]["inputs"]
    leaves = {"x": inputs["x"], "y": inputs["y"][0], "z": inputs["y"][1]}
    array = (leaves | {"t": splits[which]["targets"]})[changed].reshape(-1)
    place = data.draw(st.integers(0, len(array) - 1))
    array[place] = array[place] == 0
    assert fingerprint(from_arrays(**splits))["sha256"] != before["sha256"]


def test_a_fingerprint_is_of_shapes():
    one, two = np.zeros((2, 4)), np.zeros((2, 2, 2))
    found = {fingerprint(from_arrays(*2 * [(x, [0, 1])]))["sha256"] for x in (one, two)}
    assert len(found) == 2


# -------------------------------------------------------------------- sources


def test_a_source_of_ones_own_is_known_by_its_name(monkeypatch):
    monkeypatch.setitem(SOURCES, "mine", lambda: from_arrays(pair(5), pair(2)))
    found = load("mine", validation=2)
    assert [len(x) for x in found.splits.values()] == [3, 2, 2]
    assert error_of(load, "mine", in_memory=False) == (
        "config.data.feed: 'mine' is in memory: use 'memory'"
    )
    monkeypatch.setitem(SOURCES, "other", lambda: pair())
    assert error_of(load, "other") == (
        "config.data.name: 'other' gives a tuple, not a data set: return "
        "data.from_arrays(train, test)"
    )


# ---------------------------------------------------------------------- files

NAMES = ("train_inputs", "train_targets", "test_inputs", "test_targets")


def arrays_of_a_file():
    return dict(zip(NAMES, (*pair(3), *pair(2))))


def test_names_of_files_are_no_names_of_tfds():
    for name in ("a.npz", "b/a.txt", "./a", "/a", "~/a", "../a", "x.safetensors"):
        assert files.is_path(name)
    for name in ("mnist", "cifar10", "huggingface:mnist", "cifar10_corrupted/fog_1"):
        assert not files.is_path(name)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_file_of_arrays_is_read(tmp_path, kind):
    path = tmp_path / f"mine.{kind}"
    save = {"npz": lambda x, p: np.savez(p, **x), "safetensors": save_file}[kind]
    save(arrays_of_a_file(), path)
    found = load(str(path))
    assert found.train.inputs.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.train.targets.tolist() == [0, 1, 2]
    assert found.test.inputs.tolist() == [[0, 1], [2, 3]]
    assert found.num_classes == 3


def test_a_file_in_the_home_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "mine.npz", **arrays_of_a_file())
    assert len(load("~/mine.npz").train) == 3


def test_a_text_is_windows_of_bytes(tmp_path):
    """Each byte but the first is predicted once, from those before it in its window."""
    path = tmp_path / "text.txt"
    path.write_bytes(b"abcdefghij\xffl")
    found = load(str(path), window=3)
    rows = [bytes(row.astype(np.uint8)) for row in found.train.inputs]
    assert rows == [b"abc", b"def"]
    rows = [bytes(row.astype(np.uint8)) for row in found.train.targets]
    assert rows == [b"bcd", b"efg"]
    assert found.test.inputs.tolist() == [[*b"ghi"]]
    assert found.test.targets.tolist() == [[*b"hij"]]
    assert found.num_classes == 256


def test_the_last_tenth_of_a_text_is_the_test(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(bytes(range(256)) * 10)  # 2,560 bytes: 39 windows of 64
    found = load(str(path), window=64)
    assert [len(found.train), len(found.test)] == [36, 3]
    assert found.test.inputs[0, 0] == 36 * 64 % 256
    assert found.test.targets[-1, -1] == 39 * 64 % 256
    # The byte 255 is a token as others are: as 8 bits it would be -1, which is none.
    assert found.train.targets.max() == 255


def test_a_text_of_less_than_two_windows_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"abcdef")
    assert error_of(load, str(path), window=3) == (
        f"config.data.window: {path} has 6 bytes, which is less than two windows of 3 "
        "and a byte to predict"
    )
    path.write_bytes(b"")
    assert "has 0 bytes" in error_of(load, str(path), window=1)
    path.write_bytes(b"abcdefg")
    assert len(load(str(path), window=3).train) == 1


def test_a_file_that_lacks_an_array_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, train_inputs=[1], x=[2])
    assert error_of(load, str(path)) == (
        f"config.data.name: {path} has no train_targets; it takes train_inputs, "
        "train_targets, test_inputs, test_targets, and has train_inputs, x"
    )
    np.savez(path)
    assert error_of(load, str(path)).endswith("and has nothing")


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("damage", [b"", b"no archive", "half"])
def test_a_damaged_file_is_refused(tmp_path, kind, damage):
    path = tmp_path / f"mine.{kind}"
    if damage == "half":
        np.savez(path.with_suffix(".npz"), **arrays_of_a_file())
        save_file(arrays_of_a_file(), path.with_suffix(".safetensors"))
        damage = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(damage)
    message = error_of(load, str(path))
    assert message.startswith(f"config.data.name: {path} cannot be read (")


def test_a_file_of_pickles_is_not_read(tmp_path):
    """Python objects of a file may run what they like."""
    path = tmp_path / "mine.npz"
    objects = np.array([{}, {}], object)
    np.savez(path, **(arrays_of_a_file() | {"train_inputs": objects}))
    message = error_of(load, str(path))
    assert message.startswith(f"config.data.name: {path} cannot be read (ValueError:")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    assert error_of(load, str(path)) == (
        f"config.data.name: there is no file or folder {path}"
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("1,2")
    assert error_of(load, str(path)) == (
        f"config.data.name: {path} is no folder, and none of .npz, .safetensors, .txt, "
        ".py"
    )
