"""Images of one's own in folders, one for each class, in memory and as a stream."""

import contextlib
import os
import pickle
import shutil

import cv2
import jax
import numpy as np
import pytest
from tiny_imagenet import jpeg, photograph
from trees import assert_same

from lth_jax import config
from lth_jax.data import Images, Stream, fingerprint, load
from lth_jax.devices.layout import Layout
from lth_jax.errors import DataError
from lth_jax.train import inputs


def write(root, part, name, image):
    """Write an image in the format that its name has, or bytes as they are."""
    path = root / part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(image, bytes):
        image = cv2.imencode(path.suffix, image)[1].tobytes()
    path.write_bytes(image)


def coloured(level, shape=(4, 6)):
    """An image whose red is its level, in the order that OpenCV writes."""
    return np.full((*shape, 3), (200, 100, level), np.uint8)


@pytest.fixture
def pets(tmp_path):
    """Cats 1 and 2, dogs 3 to 5; of the test a dog; and what is to be passed over."""
    root = tmp_path / "pets"
    for level, name in enumerate(["b.png", "a.PNG"]):
        write(root, "train", f"cat/{name}", coloured(2 - level))
    for level in (3, 4, 5):
        write(root, "train", f"dog/{level}.png", coloured(level))
    write(root, "test", "dog/x.png", coloured(9))
    write(root, "train", "dog/.3.png", b"of macOS")
    write(root, "train", "dog/notes.txt", b"good boys")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "list.txt").write_text("cat dog")
    return root


def error_of(*args, **options):
    """The message of the DataError that loading raises: always one line."""
    with pytest.raises(DataError) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------ in memory


def test_images_are_in_the_order_of_their_classes_and_names(pets):
    found = load(str(pets))
    assert found.num_classes == 2
    assert found.train.are_images
    assert found.train.inputs.shape == (5, 4, 6, 3)
    assert found.train.inputs[:, 0, 0].tolist() == [[i, 100, 200] for i in range(1, 6)]
    assert found.train.targets.tolist() == [0, 0, 1, 1, 1]
    assert found.train.targets.dtype == np.int32
    assert found.test.inputs[:, 0, 0].tolist() == [[9, 100, 200]]
    assert found.test.targets.tolist() == [1]  # as in training, though cats are missing


def test_the_order_is_not_that_of_the_disk(pets, monkeypatch):
    def backwards(folder):
        return contextlib.nullcontext(sorted(scandir(folder), key=name, reverse=True))

    def name(entry):
        return entry.name

    expected, scandir = load(str(pets)).train, os.scandir
    monkeypatch.setattr(os, "scandir", backwards)
    found = load(str(pets)).train
    assert_same((found.inputs, found.targets), (expected.inputs, expected.targets))


def test_images_have_one_channel_if_all_are_grey(tmp_path):
    grey = np.full((4, 6), 7, np.uint8)
    write(tmp_path, "train", "a/1.png", grey)
    write(tmp_path, "test", "a/1.jpg", grey)
    found = load(str(tmp_path))
    assert found.train.inputs.shape == found.test.inputs.shape == (1, 4, 6, 1)
    assert (found.train.inputs == 7).all()
    write(tmp_path, "test", "a/2.png", coloured(9))
    found = load(str(tmp_path))
    assert found.train.inputs.shape == (1, 4, 6, 3)
    assert (found.train.inputs == 7).all()
    assert found.test.inputs[1, 0, 0].tolist() == [9, 100, 200]


def test_folders_may_have_other_names(pets):
    (pets / "test").rename(pets / "val")
    assert load(str(pets), test_split="val").test.targets.tolist() == [1]
    assert error_of(str(pets)) == (
        f"config.data.test_split: {pets} has no folder 'test', but train, val: name "
        "another, or move images to test/CLASS in it"
    )
    for same in ("train", "./train"):
        assert error_of(str(pets), test_split=same) == (
            f"config.data.test_split: {same!r} is trained on; name another folder in "
            f"{pets}"
        )


def test_a_folder_without_parts_is_told_what_it_takes(pets):
    message = error_of(str(pets / "train"))
    assert message == (
        f"config.data.train_split: {pets}/train has no folder 'train', but cat, dog: "
        "name another, or move images to train/CLASS in it"
    )
    assert "but none: name" in error_of(str(pets / "train" / "cat"))
    assert error_of(str(pets / "cats")) == (
        f"config.data.name: there is no file or folder {pets}/cats"
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_folders_that_are_no_classes_are_refused(pets, in_memory):
    write(pets, "test", "fish/1.png", coloured(1))
    assert error_of(str(pets), in_memory=in_memory) == (
        f"config.data.name: {pets}/test/fish is of a class that is not trained on; it "
        "takes cat, dog"
    )
    shutil.rmtree(pets / "test" / "fish")
    (pets / "train" / "eel").mkdir()
    assert error_of(str(pets), in_memory=in_memory) == (
        f"config.data.name: {pets}/train/eel holds no image (.jpg, .jpeg, .png); put "
        "some there, or take it out"
    )
    shutil.rmtree(pets / "test" / "dog")
    (pets / "train" / "eel").rmdir()
    assert error_of(str(pets), in_memory=in_memory) == (
        f"config.data.name: {pets}/test has no folders; it takes one for each class"
    )


def test_images_of_many_sizes_are_for_a_stream(pets):
    write(pets, "test", "cat/small.png", coloured(1, (4, 5)))
    assert error_of(str(pets)) == (
        "config.data.name: images are of many sizes, as (4, 5) and (4, 6): that takes "
        "config.data.feed='stream'"
    )
    assert len(load(str(pets), in_memory=False).test) == 2


def test_an_image_that_cannot_be_decoded_is_an_error(pets):
    write(pets, "train", "cat/c.png", b"no image")
    assert error_of(str(pets)) == (
        "config.data.name: 'train/cat/c.png' cannot be decoded (not an image); replace "
        "it, or take it out"
    )


# ------------------------------------------------------------------ as a stream


def stream(dataset, workers=0, corrupt="error", batch_size=2, **options):
    images = Images(dataset.train, dataset.num_classes, 4, 4, corrupt=corrupt)
    return Stream(images, batch_size, workers=workers, **options)


def test_a_stream_shows_the_images_that_memory_holds(pets):
    stored, held = load(str(pets), in_memory=False), load(str(pets))
    (batch,) = stream(stored, batch_size=5).in_order()
    np.testing.assert_array_equal(batch[0]["inputs"], held.train.inputs[:, :, :4])
    np.testing.assert_array_equal(batch[0]["targets"], held.train.targets)
    assert stored.num_classes == 2
    keys = [record.key for record in stored.train.read(range(5))]
    assert keys[:3] == ["train/cat/a.PNG", "train/cat/b.png", "train/dog/3.png"]


def test_what_is_held_out_is_the_same_in_memory_and_as_a_stream(pets):
    stored, held = (load(str(pets), validation=2, in_memory=x) for x in (False, True))
    for name, split in stored.splits.items():
        labels = [record.label for record in split.read(range(len(split)))]
        assert labels == held.splits[name].targets.tolist()


@pytest.mark.slow
def test_workers_read_the_same(pets):
    dataset = load(str(pets), in_memory=False)
    again = pickle.loads(pickle.dumps(dataset.train))
    assert again.read([4, 0]) == dataset.train.read([4, 0])
    options = {"augmentation": "resized_crop"}
    feed = stream(dataset, workers=1, **options)
    try:
        for step in (3, 4):
            alone = stream(dataset, **options).supply(1, step)
            assert_same(feed.supply(1, step), alone)
    finally:
        feed.close()


def test_a_corrupt_image_is_an_error_or_skipped(pets):
    image = jpeg(photograph(np.random.default_rng(0), 60, 60))
    write(pets, "train", "cat/b.png", image[: len(image) // 2])
    dataset = load(str(pets), in_memory=False)
    said = "^config.data.name: 'train/cat/b.png' cannot be decoded .*corrupt=skip$"
    with pytest.raises(DataError, match=said):
        list(stream(dataset).in_order())
    feed = stream(dataset, corrupt="skip")
    labels = [batch[0]["targets"].tolist() for batch in feed.in_order()]
    assert labels == [[0, -1], [1, 1], [1, -1]]
    assert feed.skipped == {"train/cat/b.png"}


def test_a_file_that_is_gone_is_an_error(pets):
    dataset = load(str(pets), in_memory=False)
    (pets / "train" / "dog" / "4.png").unlink()
    said = "config.data.name: .* No such file or directory: '.*pets/train/dog/4.png'"
    with pytest.raises(DataError, match=f"^{said}$"):
        list(stream(dataset).in_order())


def test_a_name_that_is_no_text_is_read(tmp_path):
    """File systems know bytes: names of old archives may be of another encoding."""
    for part in ("train", "test"):
        write(tmp_path, part, os.fsdecode(b"caf\xe9/\xe9.png"), coloured(1))
    dataset = load(str(tmp_path), in_memory=False)
    assert [record.key for record in dataset.train.read([0])] == ["train/caf?/?.png"]
    assert len(load(str(tmp_path)).train) == 1


def test_the_fingerprint_is_of_names_and_sizes(pets):
    def found():
        return fingerprint(load(str(pets), in_memory=False))

    first = found()
    assert first["examples"] == {"train": 5, "test": 1}
    write(pets, "train", "dog/5.png", coloured(5, (4, 7)))
    second = found()
    (pets / "train" / "dog" / "3.png").rename(pets / "train" / "dog" / "2.png")
    third = found()
    assert len({x["files"] for x in (first, second, third)}) == 3
    moved = shutil.copytree(pets, pets.parent / "elsewhere")
    assert fingerprint(load(str(moved), in_memory=False)) == third


# -------------------------------------------------------------------- a config's


@pytest.mark.parametrize("feed", ["memory", "stream"])
def test_a_config_trains_on_a_folder(pets, feed):
    changed = config.default()
    fields = {"name": str(pets), "feed": feed, "batch_size": 2, "validation": 1}
    fields |= {"stream.image_size": 8, "stream.resize": 8, "stream.workers": 0}
    changed.update_from_flattened_dict({f"data.{k}": v for k, v in fields.items()})
    example, classes = inputs.describe(changed)
    shape = (4, 6, 3) if feed == "memory" else (8, 8, 3)
    assert (example.shape, example.dtype, classes) == (shape, np.float32, 2)
    made = inputs.build(changed, Layout("fleet", (jax.devices()[0],)))
    batch = made.feed.batch(made.supply(0, 0), 0, 0)
    assert batch["inputs"].shape == (2, *shape)
    assert batch["inputs"].dtype == np.float32
    assert made.about["examples"] == {"train": 4, "validation": 1, "test": 1}
    made.close()
