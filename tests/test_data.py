"""The data: what is loaded, in which order it comes, and what a batch is."""

import contextlib
import dataclasses
import gzip
import hashlib
import importlib.util
import io
import json
import pickle
import shlex
import subprocess
import sys
import tarfile
import types
from contextlib import nullcontext
from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from tensorflow_datasets.core.download import checksums, downloader
from tensorflow_datasets.image_classification import mnist

from lth_jax import config, decode
from lth_jax.data import (
    Memory,
    Split,
    augment,
    classics,
    describe,
    fingerprint,
    from_arrays,
    keys,
    load,
    normalise,
    order,
    prepared,
    sources,
)
from lth_jax.data.augment import Views, crop_flip, draw_views
from lth_jax.data.dataset import assemble, channel_statistics
from lth_jax.data.digits import Digits
from lth_jax.devices.layout import Layout
from lth_jax.errors import ConfigError, DataError
from lth_jax.train import inputs

# ---------------------------------------------------------------------- order


@jax.jit
def padded_order(seed, n):
    """An order of any n up to 300, compiled once, and what lies behind it."""
    words = order.round_words(seed, 0, n=300)
    return order.position_to_index(jnp.arange(300), words, n=n)


def epoch_order(seed, epoch, n):
    words = order.round_words(seed, epoch, n=n)
    return np.asarray(order.position_to_index(jnp.arange(n), words, n=n))


def test_every_small_order_is_a_bijection():
    for n in range(1, 301):
        indices = np.asarray(padded_order(0, n))[:n]
        np.testing.assert_array_equal(np.sort(indices), np.arange(n))


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_the_order_of_any_seed_is_a_bijection(seed, n):
    indices = np.asarray(padded_order(np.uint32(seed), n))[:n]
    np.testing.assert_array_equal(np.sort(indices), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 3, 60_000])
def test_orders_with_their_own_number_of_rounds_are_bijections(n):
    np.testing.assert_array_equal(np.sort(epoch_order(1, 2, n)), np.arange(n))


@jax.jit
def there_and_back(positions, n):
    """Every round undoes itself: the inverse takes the rounds in reverse."""
    words = order.round_words(0, 0, n=2**31)
    indices = order.position_to_index(positions, words, n=n)
    return indices, order.position_to_index(indices, words[::-1], n=n)


@given(st.data(), st.integers(1, 2**31))
def test_the_largest_orders_neither_overflow_nor_collide(data, n):
    positions = [0, n - 1, *(data.draw(st.integers(0, n - 1)) for _ in range(6))]
    positions = np.array(positions, np.uint32)
    indices, back = there_and_back(positions, np.uint32(n))
    assert (indices >= 0).all()
    assert (np.asarray(indices, np.int64) < n).all()
    np.testing.assert_array_equal(np.asarray(back).astype(np.uint32), positions)


def test_an_order_never_changes():
    """Published runs depend on it: the same in every release and with every JAX."""
    assert epoch_order(0, 0, 10).tolist() == [8, 2, 7, 4, 5, 0, 3, 9, 6, 1]
    steps = [order.batch_indices(7, s, n=10, batch_size=3, last="wrap") for s in (5, 6)]
    assert np.stack(steps).tolist() == [[0, 7, 4], [8, 9, 3]]


@pytest.mark.parametrize(
    ("n", "places", "quantile"), [(5, 5, 172.7), (30, 2, 1_003.0)], ids=["all", "pairs"]
)
def test_orders_are_uniform(n, places, quantile):
    """Chi-square over the first places of 50,000 epochs, below its 99.9 % quantile."""
    words = jax.vmap(lambda epoch: order.round_words(0, epoch, n=n))(jnp.arange(50_000))
    head = jnp.arange(places)
    orders = jax.vmap(lambda w: order.position_to_index(head, w, n=n))(words)
    codes = np.asarray(orders) @ n ** np.arange(places)
    _, counts = np.unique(codes, return_counts=True)
    outcomes = np.prod(np.arange(n, n - places, -1))
    expected = 50_000 / outcomes
    assert len(counts) == outcomes
    assert ((counts - expected) ** 2).sum() / expected < quantile


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch_order(np.uint32(s), e, 100) for s in (0, 1, 2**31) for e in (0, 1)]
    assert len({tuple(o.tolist()) for o in orders}) == 6


def test_an_epoch_shows_every_example_once():
    steps = order.steps_per_epoch(12, 4, "drop")
    indices = [
        order.batch_indices(0, step, n=12, batch_size=4, last="drop")
        for step in range(2 * steps)
    ]
    first, second = np.concatenate(indices).reshape(2, 12)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_drop_leaves_the_partial_batch_out():
    assert order.steps_per_epoch(10, 4, "drop") == 2
    whole = epoch_order(0, 0, 10)
    second, third = (
        order.batch_indices(0, step, n=10, batch_size=4, last="drop") for step in (1, 2)
    )
    assert second.tolist() == whole[4:8].tolist()
    assert third.tolist() == epoch_order(0, 1, 10)[:4].tolist()


def test_wrap_completes_the_partial_batch_from_the_same_epoch():
    assert order.steps_per_epoch(10, 4, "wrap") == 3
    whole = epoch_order(0, 0, 10)
    third = order.batch_indices(0, 2, n=10, batch_size=4, last="wrap")
    assert third.tolist() == [*whole[8:], *whole[:2]]


def test_indices_are_the_same_eager_jitted_vmapped_and_in_a_loop():
    indices = partial(order.batch_indices, n=6, batch_size=4, last="wrap")
    steps = jnp.arange(20)
    with jax.disable_jit():
        eager = indices(3, 9)
    jitted = np.stack([indices(3, step) for step in range(20)])
    vmapped = jax.vmap(indices, (None, 0))(jnp.uint32(3), steps)
    _, looped = lax.scan(lambda c, step: (c, indices(3, step)), None, steps)
    np.testing.assert_array_equal(eager, jitted[9])
    np.testing.assert_array_equal(jitted, vmapped)
    np.testing.assert_array_equal(jitted, looped)


@pytest.mark.parametrize(
    ("n", "batch_size", "last", "message"),
    [
        (10, 4, "pad", "last: 'pad' is not one of drop, wrap"),
        (3, 4, "drop", "batch_size: 4 out of 3 examples leave no step"),
        (3, 0, "wrap", "batch_size: 0 out of 3"),
        (0, 1, "wrap", "n: 0 examples"),
        (2**31 + 1, 1, "wrap", "n: 2147483649 examples"),
    ],
)
def test_impossible_epochs_are_refused(n, batch_size, last, message):
    with pytest.raises(ValueError, match=message):
        order.steps_per_epoch(n, batch_size, last)


# ---------------------------------------------------------------- augmentation


def view_by_hand(image, down, right, mirrored, pad):
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    window = padded[pad + down :, pad + right :][:height, :width]
    return window[:, ::-1] if mirrored else window


def test_views_are_padded_cropped_and_mirrored():
    images = np.random.default_rng(0).integers(1, 256, (5, 6, 7, 3), np.uint8)
    shifts = [(d, r, m) for d in range(-4, 5) for r in range(-4, 5) for m in (0, 1)]
    down, right, mirrored = np.array(shifts, np.int32).T
    indices = np.arange(len(shifts)) % 5
    views = Views(jnp.array(down), jnp.array(right), jnp.array(mirrored == 1))
    seen = jax.jit(crop_flip)(jnp.array(images), jnp.array(indices), views)
    by_hand = [
        view_by_hand(images[i], *shift, pad=4)
        for i, shift in zip(indices, shifts, strict=True)
    ]
    np.testing.assert_array_equal(seen, np.stack(by_hand))


def test_views_are_drawn_from_all_shifts_and_both_sides():
    down, right, mirrored = draw_views(jax.random.key(0), 5_000)
    for shift in (down, right):
        counts = np.bincount(np.asarray(shift) + 4)
        assert len(counts) == 9
        assert counts.min() > 450
    assert abs(mirrored.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.05


# --------------------------------------------------------------------- memory

MEAN, STD = np.array([0.25, 0.5], np.float32), np.array([0.5, 0.3], np.float32)


def memory(n=10, batch_size=4, unit_norm=False, **options):
    """Random images of 6x6 pixels whose first pixel is their index and their label."""
    images = np.random.default_rng(1).integers(0, 256, (n, 6, 6, 2), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    split = Split(images, np.arange(n, dtype=np.int32))
    prepare = partial(normalise, mean=MEAN, std=STD, unit_norm=unit_norm)
    return Memory(split, batch_size, prepare=prepare, **options)


def on_device(feed):
    return jax.tree.map(jnp.asarray, feed.arrays)


def test_a_batch_holds_the_normalised_images_of_its_step():
    feed = memory(last="wrap")
    batch = jax.jit(feed.batch)(on_device(feed), 5, 2)
    indices = order.batch_indices(5, 2, n=10, batch_size=4, last="wrap")
    np.testing.assert_array_equal(batch["targets"], indices)
    images = feed.split.inputs[np.asarray(indices)]
    textbook = (images / 255 - MEAN) / STD
    np.testing.assert_allclose(batch["inputs"], textbook, atol=1e-6)
    exact = (images.astype(np.float32) - 255 * MEAN) * (1 / (255 * STD))
    np.testing.assert_array_equal(batch["inputs"], exact)
    assert batch["inputs"].dtype == jnp.float32
    assert batch["targets"].dtype == jnp.int32


def test_normalise_is_the_same_eager_and_jitted():
    images = jnp.arange(256, dtype=jnp.uint8).reshape(8, 4, 4, 2)
    jitted = jax.jit(lambda x: normalise(x, MEAN, STD))(images)
    np.testing.assert_array_equal(normalise(images, MEAN, STD), jitted)


def test_an_image_of_unit_norm_is_divided_by_its_own():
    """Of (3, 4) and of twice that: (0.6, 0.8); an image of zeros stays so."""
    images = jnp.array([[3, 4], [6, 8], [0, 0]], jnp.uint8).reshape(3, 1, 2, 1)
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    found = normalise(images, zero, one, unit_norm=True)
    expected = np.reshape([[0.6, 0.8], [0.6, 0.8], [0, 0]], (3, 1, 2, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.slow
def test_a_batch_of_unit_norm_is_that_of_its_views(parts):
    options = {"batch_size": 4, "augment": augment.flip_crop}
    plain, feed = memory(**options), memory(**options, unit_norm=True)
    arrays = on_device(feed)
    for part in range(parts):
        images = plain.batch(arrays, 1, 0, part, parts)["inputs"]
        expected = (
            images
            / np.linalg.norm(images.reshape(len(images), -1), axis=1)[
                :, None, None, None
            ]
        )
        found = jax.jit(partial(feed.batch, part=part, parts=parts))(arrays, 1, 0)
        np.testing.assert_allclose(found["inputs"], expected, rtol=1e-5)


@pytest.mark.parametrize("augmentation", [None, augment.flip_crop])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_all_parts_together_are_the_whole_batch(augmentation, parts):
    feed = memory(batch_size=8, last="wrap", augment=augmentation)
    arrays = on_device(feed)
    whole = jax.jit(feed.batch)(arrays, 1, 4)

    def share(_):
        return feed.batch(arrays, 1, 4, lax.axis_index("batch"), parts)

    shares = jax.jit(jax.vmap(share, axis_name="batch"))(jnp.zeros(parts))
    assert shares["targets"].shape == (parts, 8 // parts)
    for name in ("inputs", "targets"):
        np.testing.assert_array_equal(
            shares[name].reshape(whole[name].shape), whole[name]
        )


def test_members_of_a_fleet_see_what_they_see_alone():
    feed = memory(augment=augment.flip_crop)
    arrays = on_device(feed)
    seeds = jnp.arange(3, dtype=jnp.uint32)
    member = jax.jit(partial(feed.batch, arrays, step=3))
    fleet = jax.jit(jax.vmap(member))(seeds)
    for place, alone in enumerate(map(member, seeds)):
        np.testing.assert_array_equal(fleet["inputs"][place], alone["inputs"])
        np.testing.assert_array_equal(fleet["targets"][place], alone["targets"])


def test_flip_crop_shows_views_of_the_images_drawn_anew_every_step():
    feed = memory(n=1, batch_size=1, augment=augment.flip_crop)
    batch = jax.jit(feed.batch)
    arrays = on_device(feed)
    seen = [np.asarray(batch(arrays, 0, step)["inputs"][0]) for step in range(8)]
    assert len({image.tobytes() for image in seen}) > 4
    for step, image in enumerate(seen):
        views = draw_views(keys.derive(0, keys.AUGMENTATION, step), 1)
        down, right, mirrored = (int(v[0]) for v in views)
        by_hand = view_by_hand(feed.split.inputs[0], down, right, mirrored, pad=4)
        expected = normalise(jnp.array(by_hand[None]), MEAN, STD)[0]
        np.testing.assert_array_equal(image, expected)


def test_a_feed_counts_its_steps():
    assert memory(last="drop").steps_per_epoch == 2
    assert memory(last="wrap").steps_per_epoch == 3


def test_impossible_feeds_are_refused():
    with pytest.raises(ValueError, match="'pad' is not one of drop, wrap"):
        memory(last="pad")
    with pytest.raises(ValueError, match="batch_size: 11 out of 10"):
        memory(batch_size=11)
    with pytest.raises(ValueError, match="batch_size: 4 cannot be divided over 3"):
        memory().batch({}, 0, 0, parts=3)


# -------------------------------------------------------------------- dataset


def numbered(n):
    labels = np.arange(n, dtype=np.int32)
    return Split(labels.astype(np.uint8).reshape(n, 1, 1, 1), labels)


def test_validation_is_held_out_of_training_and_always_the_same():
    dataset = assemble(numbered(10), numbered(3), num_classes=10, validation=3)
    assert dataset.validation is not None
    assert dataset.validation.targets.tolist() == [2, 4, 8]
    assert dataset.train.targets.tolist() == [0, 1, 3, 5, 6, 7, 9]
    assert dataset.train.inputs.ravel().tolist() == [0, 1, 3, 5, 6, 7, 9]
    assert len(dataset.test) == 3
    mean, _ = channel_statistics(dataset.train.inputs)
    np.testing.assert_allclose(mean, 31 / 7 / 255, rtol=1e-6)


def test_a_fingerprint_is_of_all_examples_and_never_changes():
    zeros = Split(np.zeros((4, 1, 1, 1), np.uint8), np.arange(4, dtype=np.int32))
    found = fingerprint(assemble(zeros, zeros, num_classes=4))
    assert found["examples"] == {"train": 4, "test": 4}
    assert found["sha256"][:8] == "a1f9e6d3"
    zeros.inputs[3] = 1
    assert fingerprint(assemble(zeros, zeros, num_classes=4)) != found


def test_without_validation_nothing_is_held_out():
    dataset = assemble(numbered(10), numbered(3), num_classes=10)
    assert dataset.validation is None
    assert len(dataset.train) == 10


@pytest.mark.parametrize("validation", [-1, 10])
def test_validation_leaves_something_to_train_on(validation):
    with pytest.raises(DataError, match=r"config\.data\.validation: .* 0\.\.9"):
        assemble(numbered(10), numbered(3), num_classes=10, validation=validation)


def test_channel_statistics_are_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (1_001, 3, 2, 3), np.uint8)
    images[..., 2] = 51
    mean, std = channel_statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std[:2], scaled.std((0, 1, 2))[:2], rtol=1e-6)
    assert std[2] == 1
    assert mean.dtype == std.dtype == np.float32


# -------------------------------------------------------------------- sources


class Generated(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Example i of the n of a split is an image of one colour, labelled i."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE = (4, 4, 3)
    SPLITS = {"train": 5, "test": 2}  # noqa: RUF012

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=self.SHAPE),
            "label": tfds.features.ClassLabel(num_classes=5),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(n) for name, n in self.SPLITS.items()}

    def _generate_examples(self, n):
        for i in range(n):
            bgr = np.full((4, 4, 3), (200, 100, i), np.uint8)
            yield i, {"image": cv2.imencode(".png", bgr)[1].tobytes(), "label": i}


class Colours(Generated):
    pass


class Photographs(Generated):
    SHAPE = (None, None, 3)


class Trainless(Generated):
    SPLITS = {"unlabelled": 5, "test": 2}  # noqa: RUF012


class Unavailable(Generated):
    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host,\nsorry")


class Rotated(Generated):
    """JPEGs that EXIF wants shown turned by a quarter; brighter from top to bottom."""

    SHAPE = (8, 16, 3)

    def _generate_examples(self, n):
        image = np.repeat(np.arange(0, 256, 32, np.uint8), 16 * 3).reshape(8, 16, 3)
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        one_entry = b"Exif\0\0II*\0\x08\0\0\0\x01\0"
        orientation = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
        exif = one_entry + orientation
        length = (len(exif) + 2).to_bytes(2, "big")
        for i in range(n):
            marked = jpeg[:2] + b"\xff\xe1" + length + exif + jpeg[2:]
            yield i, {"image": marked, "label": i}


class Damaged(Generated):
    def _generate_examples(self, n):
        for i in range(n):
            yield i, {"image": b"no picture", "label": i}


def prepare(builder):
    builder.download_and_prepare(file_format="array_record")
    return builder


def error_of(*args, **options):
    """The message of the DataError that loading raises: always one line."""
    with pytest.raises(DataError) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_importing_the_package_does_not_import_tfds():
    code = "import sys, lth_jax.data; sys.exit('tensorflow_datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_prepare_themselves_and_silently(tmp_path, capfd):
    digits = load("digits", data_dir=str(tmp_path), validation=98)
    assert digits.validation is not None
    sizes = [len(s) for s in (digits.train, digits.validation, digits.test)]
    assert sizes == [1_100, 98, 599]
    assert digits.num_classes == 10
    assert digits.train.inputs.shape == (1_100, 8, 8, 1)
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.targets.dtype == np.int32
    assert np.bincount(digits.test.targets).tolist() == [
        63,
        63,
        63,
        54,
        58,
        61,
        54,
        60,
        63,
        60,
    ]
    assert capfd.readouterr() == ("", "")


def test_digits_are_rescaled_exactly_and_keep_their_order(tmp_path):
    digits = load("digits", data_dir=str(tmp_path))
    assert np.bincount(digits.train.targets).tolist() == [
        115,
        119,
        114,
        129,
        123,
        121,
        127,
        119,
        111,
        120,
    ]
    first = digits.train.inputs[0, :, :, 0]
    assert first[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert digits.train.targets[:6].tolist() == [0, 1, 3, 4, 6, 7]
    assert digits.test.targets[:3].tolist() == [2, 5, 8]
    levels = np.unique(digits.train.inputs)
    assert levels.tolist() == [(v * 255 + 8) // 16 for v in range(17)]


def test_a_prepared_set_is_not_prepared_again(tmp_path, monkeypatch):
    load("digits", data_dir=str(tmp_path))
    monkeypatch.setattr(Digits, "download_and_prepare", None)
    assert len(load("digits", data_dir=str(tmp_path)).train) == 1_198


def test_losing_the_race_to_prepare_is_no_error(tmp_path, monkeypatch):
    download_and_prepare = Digits.download_and_prepare

    def lose(self, **options):
        monkeypatch.setattr(Digits, "download_and_prepare", download_and_prepare)
        prepare(Digits(data_dir=tmp_path))
        raise OSError("Directory not empty")

    monkeypatch.setattr(Digits, "download_and_prepare", lose)
    assert len(load("digits", data_dir=str(tmp_path)).train) == 1_198


def test_colours_come_in_the_order_rgb(tmp_path):
    prepare(Colours(data_dir=tmp_path))
    colours = load("colours", data_dir=str(tmp_path))
    by_label = np.argsort(colours.train.targets)
    assert colours.train.targets[by_label].tolist() == [0, 1, 2, 3, 4]
    for i, image in enumerate(colours.train.inputs[by_label]):
        assert (image == np.array([i, 100, 200], np.uint8)).all()
    assert colours.num_classes == 5
    assert len(colours.test) == 2


def test_orientation_is_ignored_in_memory_as_on_disk(tmp_path):
    prepare(Rotated(data_dir=tmp_path))
    stored = load("rotated", data_dir=str(tmp_path), in_memory=False)
    (record, *_) = stored.train.read(range(5))
    shown = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (16, 8, 3)
    (held, *_) = load("rotated", data_dir=str(tmp_path)).train.inputs
    seen = decode.view(record.image, lambda h, w: decode.Window(0, 0, 8, 8), 8)
    np.testing.assert_allclose(held[:, :8].astype(int), seen.astype(int), atol=2)
    np.testing.assert_allclose(held[:, 0, 0], np.arange(0, 256, 32), atol=8)


def test_a_misspelt_name_is_told_the_right_one(tmp_path):
    message = error_of("cifar_10", data_dir=str(tmp_path))
    assert message == (
        "config.data.name: TFDS has no set 'cifar_10'; did you mean 'cifar10'? (known "
        "to work: digits, mnist, fashion_mnist, cifar10, cifar100)"
    )


def test_a_name_that_is_none_is_refused(tmp_path):
    message = error_of("not a name", data_dir=str(tmp_path))
    assert message.startswith("config.data.name: TFDS cannot open 'not a name' (Value")


def test_images_of_many_sizes_are_refused_before_they_are_downloaded(tmp_path):
    message = error_of("photographs", data_dir=str(tmp_path))
    assert message.startswith(
        "config.data.feed: the images of 'photographs' are of many shapes"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_set_without_a_training_split_is_refused(tmp_path):
    prepare(Trainless(data_dir=tmp_path))
    message = error_of("trainless", data_dir=str(tmp_path))
    assert message == (
        "config.data.train_split: 'trainless' has no split 'train', or nothing in it; "
        "it has unlabelled (5 examples), test (2 examples), and slices of them, as "
        "'unlabelled[:80%]'"
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_slices_of_splits_are_splits(tmp_path, in_memory):
    """Many sets have one split alone; the fingerprint tells what was read."""
    prepare(Colours(data_dir=tmp_path))
    load_some = partial(load, "colours", data_dir=str(tmp_path), in_memory=in_memory)

    def labels(split):
        if in_memory:
            return split.targets.tolist()
        records = pickle.loads(pickle.dumps(split))  # as to a worker
        return [record.label for record in records.read(range(len(records)))]

    whole = load_some()
    sliced = load_some(train_split="train[:80%]", test_split="train[80%:]")
    assert labels(sliced.train) == labels(whole.train)[:4]
    assert labels(sliced.test) == labels(whole.train)[4:]
    joined = load_some(train_split="train[1:]+test", test_split="train[:1]")
    assert labels(joined.train) == labels(whole.train)[1:] + labels(whole.test)
    assert "splits" not in fingerprint(whole)
    asked = {"train": "train[:80%]", "test": "train[80%:]"}
    assert fingerprint(sliced)["splits"] == asked


@pytest.mark.parametrize("split", ["train[:", "train[a:b]", "foo[:2]", "train[:0]"])
@pytest.mark.parametrize("name", ["train", "test"])
def test_a_bad_slice_is_refused(tmp_path, name, split):
    prepare(Colours(data_dir=tmp_path))
    message = error_of("colours", data_dir=str(tmp_path), **{f"{name}_split": split})
    assert message.startswith(
        f"config.data.{name}_split: 'colours' has no split {split!r}, or nothing in it;"
    )


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        ("train", "train", 5),
        ("train[:80%]", "train[-2:]", 1),
        ("train+test", "test", 2),
    ],
)
def test_no_example_is_both_trained_on_and_tested(tmp_path, train, test, shared):
    prepare(Colours(data_dir=tmp_path))
    message = error_of(
        "colours", data_dir=str(tmp_path), train_split=train, test_split=test
    )
    assert message.startswith(
        f"config.data.test_split: {test!r} shares {shared} examples of "
    )


class NoTensorFlow:
    """A finder of modules that ends the search for TensorFlow."""

    def find_spec(self, name, *_):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)


@pytest.fixture
def no_tensorflow(monkeypatch):
    """Where TensorFlow is not installed. TFDS looks at the list of modules, too."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow"]:
        monkeypatch.delitem(sys.modules, name)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "tensorflow" else find(n)
    )
    monkeypatch.setattr(sys, "meta_path", [NoTensorFlow(), *sys.meta_path])


@pytest.mark.usefixtures("no_tensorflow")
def test_without_tensorflow_the_error_says_how_to_prepare(tmp_path):
    assert error_of("kmnist", data_dir=str(tmp_path)) == (
        f"config.data.dir: 'kmnist' is not in {tmp_path}/kmnist/3.0.1 and preparing it "
        "needs TensorFlow: run pip install 'lth_jax[tf]' and then "
        + prepared._command("kmnist", str(tmp_path))
    )


def packed(files):
    """A tar.gz archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def idx(array):
    """A file of the format that MNIST's authors devised."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def mnist_files(images, labels):
    parts = {"train": (images[:10], labels[:10]), "t10k": (images[10:], labels[10:])}
    return {
        f"{part}-{kind}-ubyte.gz": idx(x)
        for part, (some, of) in parts.items()
        for kind, x in {"images-idx3": some[..., 0], "labels-idx1": of}.items()
    }


def cifar_files(images, labels, classes):
    """Two training images a file, as there are 10,000; of 100 classes, one file."""
    coarse = np.arange(15, dtype=np.uint8)[:, None] * (classes == 100)
    planes = images.transpose(0, 3, 1, 2).reshape(15, -1)
    rows = np.hstack([coarse, labels[:, None], planes])[:, classes == 10 :]
    names = "\n".join(f"class{i:02}" for i in range(classes)).encode() + b"\n\n"
    if classes == 10:
        parts = {f"data_batch_{i + 1}": rows[2 * i : 2 * i + 2] for i in range(5)}
        parts |= {"test_batch": rows[10:]}
        folder, texts = "cifar-10-batches-bin", {"batches.meta.txt": names}
    else:
        parts = {"train": rows[:10], "test": rows[10:]}
        folder, texts = "cifar-100-binary", {"fine_label_names.txt": names}
        texts["coarse_label_names.txt"] = names[:160]  # 20 of them
    files = {f"{name}.bin": part.tobytes() for name, part in parts.items()} | texts
    content = {f"{folder}/{name}": data for name, data in files.items()}
    return {f"cifar-{classes}-binary.tar.gz": packed(content)}


@pytest.fixture
def served(request, monkeypatch):
    """Ten and five examples of a set, and a network that has its files."""
    name = request.param
    classes = 100 if name == "cifar100" else 10
    shape = (28, 28, 1) if "mnist" in name else (32, 32, 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (15, *shape), np.uint8)
    labels = rng.permutation(classes)[np.arange(15) % classes].astype(np.uint8)
    files = mnist_files if "mnist" in name else partial(cifar_files, classes=classes)
    content = files(images, labels)

    @contextlib.contextmanager
    def open_url(url, **_):
        yield types.SimpleNamespace(url=url, headers={}), [content[url.split("/")[-1]]]

    kind = tfds.builder_cls(name)
    infos = {}
    for url in kind.url_infos:
        data = content[url.split("/")[-1]]
        digest = hashlib.sha256(data).hexdigest()
        infos[url] = checksums.UrlInfo(tfds.core.units.Size(len(data)), digest, "x")
    monkeypatch.setattr(kind, "url_infos", infos)
    monkeypatch.setattr(downloader, "_open_url", open_url)
    response = types.SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(requests, "head", lambda *_, **__: response)
    for which, number in (("TRAIN", 10), ("TEST", 5)):
        monkeypatch.setattr(mnist, f"_{which}_EXAMPLES", number)
    return name, images, labels, infos


CLASSICS = ["mnist", "fashion_mnist", "cifar10", "cifar100"]
# Where TFDS puts the examples with the keys 0, 1, ... of a split.
ORDERS = {"train": [6, 5, 4, 0, 8, 3, 1, 9, 7, 2], "test": [1, 4, 3, 2, 0]}


@pytest.mark.usefixtures("no_tensorflow")
@pytest.mark.parametrize("served", CLASSICS, indirect=True)
def test_known_sets_are_prepared_without_tensorflow(tmp_path, served):
    name, images, labels, _ = served
    found = load(name, data_dir=str(tmp_path))
    for split, first in (("train", 0), ("test", 10)):
        order = first + np.array(ORDERS[split])
        np.testing.assert_array_equal(found.splits[split].inputs, images[order])
        np.testing.assert_array_equal(found.splits[split].targets, labels[order])
    assert found.num_classes == (100 if name == "cifar100" else 10)
    if name == "cifar100":
        (record, *_) = load(name, data_dir=str(tmp_path), in_memory=False).test.read(
            [0]
        )
        assert record.key == f"test_{ORDERS['test'][0]:05}"


@pytest.mark.slow
@pytest.mark.parametrize("served", CLASSICS, indirect=True)
def test_known_sets_are_prepared_as_tfds_does_with_tensorflow(
    tmp_path, served, monkeypatch
):
    name, *_ = served
    ours = load(name, data_dir=str(tmp_path / "ours"))
    monkeypatch.setattr(classics, "SPLITS", {})
    theirs = load(name, data_dir=str(tmp_path / "theirs"))
    assert fingerprint(ours) == fingerprint(theirs)
    information = [
        (tmp_path / folder).glob(f"{name}/*/*.json") for folder in ("ours", "theirs")
    ]
    for one, other in zip(*map(sorted, information), strict=True):
        assert one.read_text() == other.read_text()


@pytest.mark.parametrize("served", ["mnist"], indirect=True)
def test_a_damaged_download_is_refused(tmp_path, served):
    *_, infos = served
    (url, *_) = infos
    infos[url] = dataclasses.replace(infos[url], checksum="00" * 32)
    message = error_of("mnist", data_dir=str(tmp_path))
    assert "preparing it failed (NonMatchingChecksumError: Artifact " in message
    assert message.endswith(": start again to try again")


@pytest.mark.parametrize("folder", ["plain", "it's", 'two words "quoted"', "$HOME`ls`"])
def test_a_proposed_command_does_what_it_says(tmp_path, folder):
    """In a shell, for any folder: it asks TFDS for the set there."""
    command = prepared._command("mnist", f"{tmp_path}/{folder}")
    stub = tmp_path / "tensorflow_datasets.py"
    stub.write_text(
        "class builder:\n"
        "    def __init__(self, name, data_dir):\n"
        "        self.asked = name, data_dir\n"
        "    def download_and_prepare(self, file_format):\n"
        "        print(*self.asked, file_format, sep='|')\n"
    )
    interpreter = f"{shlex.quote(sys.executable)}{command.removeprefix('python')}"
    shown = subprocess.run(
        interpreter,
        shell=True,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert shown.stdout == f"mnist|{tmp_path}/{folder}|array_record\n"


@pytest.mark.usefixtures("no_tensorflow")
def test_a_builder_of_ones_own_is_prepared_without_tensorflow(tmp_path, caplog):
    assert len(load("colours", data_dir=str(tmp_path)).train) == 5
    (record,) = caplog.records
    assert record.getMessage() == f"preparing colours in {tmp_path}/colours/1.0.0"
    assert error_of("unavailable", data_dir=str(tmp_path)).endswith(
        "preparing it failed (ConnectionError: no route to host, sorry): if it needs "
        "TensorFlow, run pip install 'lth_jax[tf]'"
    )


def test_a_failed_preparation_says_why(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "installed")
    message = error_of("unavailable", data_dir=str(tmp_path))
    assert message.startswith(
        f"config.data.dir: 'unavailable' is not in {tmp_path}/unavailable/1.0.0 and "
        "preparing it failed (ConnectionError: no route to host, sorry): start again "
        "to try again"
    )
    assert capfd.readouterr() == ("", "")


def test_without_a_network_preparation_fails_at_once(tmp_path, monkeypatch):
    def head(url, timeout):
        asked.append((url, timeout))
        raise requests.ConnectionError("no route to host")

    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "installed")
    monkeypatch.setattr(requests, "head", head)
    message = error_of("cifar10", data_dir=str(tmp_path))
    assert message == (
        f"config.data.dir: 'cifar10' is not in {tmp_path}/cifar10/3.0.2 and "
        "www.cs.toronto.edu cannot be reached (ConnectionError): start again with a "
        "network, or copy the folder from where there is one"
    )
    assert asked == [("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 10)]


def test_what_was_downloaded_before_needs_no_network(tmp_path, monkeypatch):
    (tmp_path / "downloads").mkdir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "installed")
    monkeypatch.setattr(requests, "head", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "download_and_prepare", lambda *_, **__: 1 / 0
    )
    assert "ZeroDivisionError" in error_of("cifar10", data_dir=str(tmp_path))


def test_a_set_stored_as_tfrecord_is_to_be_prepared_beside(tmp_path):
    folder = prepare(Colours(data_dir=tmp_path)).data_path
    info = folder / "dataset_info.json"
    info.write_text(
        json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"})
    )
    message = error_of("colours", data_dir=str(tmp_path))
    assert message.startswith(
        f"config.data.dir: 'colours' in {folder} is stored as tfrecord and only "
        "array_record can be read: name another folder, as "
        f"--config.data.dir={tmp_path}_array_record, to prepare it there"
    )


def test_a_damaged_image_is_an_error(tmp_path):
    prepare(Damaged(data_dir=tmp_path))
    message = error_of("damaged", data_dir=str(tmp_path))
    assert message.startswith(
        f"config.data.dir: 'damaged' in {tmp_path}/damaged/1.0.0 holds an image that "
        "cannot be decoded: name another folder, as --config.data.dir="
    )


def test_what_cannot_be_downloaded_is_prepared_by_hand(tmp_path):
    with pytest.raises(DataError) as caught:
        load("imagenet2012", data_dir=str(tmp_path), in_memory=False)
    assert str(caught.value) == (
        f"config.data.dir: 'imagenet2012' is not in {tmp_path}/imagenet2012/5.1.0 and "
        "TFDS cannot download it. manual_dir should contain two files: "
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar. You need to register on "
        "https://image-net.org/download-images in order to get the link to download "
        f"the dataset. The manual_dir is {tmp_path}/downloads/manual. Then run pip "
        "install 'lth_jax[tf]' and then "
        + prepared._command("imagenet2012", str(tmp_path))
    )


def test_a_set_is_described_before_it_is_there(tmp_path):
    assert describe("cifar100", data_dir=str(tmp_path)) == ((32, 32, 3), 100)
    with pytest.raises(DataError, match="of 'imagenet2012' are of many shapes"):
        describe("imagenet2012", data_dir=str(tmp_path))


def test_a_set_on_disk_holds_out_what_memory_does(tmp_path):
    prepare(Colours(data_dir=tmp_path))
    stored_set, memory = (
        load("colours", data_dir=str(tmp_path), validation=2, in_memory=in_memory)
        for in_memory in (False, True)
    )
    for split in ("train", "validation", "test"):
        stored, held = getattr(stored_set, split), getattr(memory, split)
        records = stored.read(range(len(stored)))
        assert [r.label for r in records] == held.targets.tolist()
        for record, image in zip(records, held.inputs):
            seen = decode.view(record.image, lambda h, w: decode.Window(0, 0, h, w), 4)
            np.testing.assert_array_equal(seen[0, 0], image[0, 0])
    assert stored_set.num_classes == memory.num_classes
    about = fingerprint(stored_set)
    assert about["name"] == "colours/1.0.0"
    assert about["examples"] == fingerprint(memory)["examples"]
    assert about["bytes"].keys() == {"train", "test"}
    assert all(size > 0 for size in about["bytes"].values())


# --------------------------------------------------------------------- a config's


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feed": "tape"}, "feed: 'tape' is not known; choose from memory, stream."),
        ({"augmentation": "flip"}, "augmentation: 'flip' is not known; .*flip_crop'"),
        (
            {"feed": "stream", "augmentation": "flip_crop"},
            "augmentation: 'flip_crop' is not known; choose from none, resized_crop.",
        ),
        ({"last": "keep"}, "last: 'keep' is not known; choose from drop, wrap."),
        ({"stream.corrupt": "no"}, "stream.corrupt: 'no' is not known; .* error, skip"),
    ],
)
def test_unknown_choices_are_refused_before_data_is_read(changes, said, monkeypatch):
    monkeypatch.setattr(sources, "load", None)
    monkeypatch.setattr(prepared, "describe", None)
    changed = config.default()
    changed.update_from_flattened_dict({f"data.{k}": v for k, v in changes.items()})
    layout = Layout("fleet", (jax.devices()[0],))
    for read in (inputs.describe, lambda config: inputs.build(config, layout)):
        with pytest.raises(ConfigError, match=rf"^config\.data\.{said}"):
            read(changed)


@pytest.mark.parametrize(
    ("given", "own", "said"),
    [
        (np.zeros((4, 3), np.float32), None, "are no images"),
        ({"image": np.zeros((4, 2, 2, 1), np.uint8)}, None, "are no images"),
        (np.zeros((4, 3), np.float32), lambda key, x: x, "have an augmentation of the"),
        (np.zeros((4, 2, 2, 1), np.uint8), None, None),
    ],
)
def test_images_are_augmented_by_name_once_and_no_other_inputs(
    given, own, said, monkeypatch
):
    made = from_arrays(
        (given, np.arange(4) % 2), (given, np.arange(4) % 2), augment=own
    )
    monkeypatch.setitem(sources.SOURCES, "these", lambda: made)
    changed = config.default()
    fields = {"data.name": "these", "data.batch_size": 2}
    changed.update_from_flattened_dict(fields | {"data.augmentation": "flip_crop"})
    refused = pytest.raises(
        ConfigError, match=rf"^config\.data\.augmentation: .*{said}"
    )
    with refused if said else nullcontext():
        inputs.build(changed, Layout("fleet", (jax.devices()[0],)))
