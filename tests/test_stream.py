"""Streams: batches from disk, the same wherever they start and whoever makes them."""

import dataclasses
import importlib.machinery
import sys
import types
from functools import partial
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from tiny_imagenet import jpeg, photograph
from trees import assert_same

from lth_jax import decode
from lth_jax.data import NO_LABEL, Images, Stream, batch_indices, normalise
from lth_jax.data.stored import Stored
from lth_jax.decode import Window
from lth_jax.errors import DataError

HALF = np.full(3, 0.5, np.float32)
CLASSES = 7


@dataclasses.dataclass
class Shelf:
    """What a TFDS data source is to a stream: records by number."""

    records: list[dict]
    split: str = "train"

    def __len__(self):
        return len(self.records)

    def __getitems__(self, numbers):
        return [self.records[number] for number in numbers]


def grey(level, height=40, width=60):
    """An image of one colour, as PNG."""
    image = np.full((height, width, 3), level, np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def shelf(number, **replaced):
    """Records whose images are as grey as their number."""
    records = [
        {"image": grey(i), "label": i % CLASSES, "name": f"image{i}".encode()}
        for i in range(number)
    ]
    for key, image in replaced.items():
        records[int(key.removeprefix("image"))]["image"] = image
    return Stored(Shelf(records), key_feature="name")


def photographs(number=12):
    rng = np.random.default_rng(0)
    records = [
        {
            "image": jpeg(photograph(rng, *map(int, rng.integers(30, 80, 2)))),
            "label": i % CLASSES,
        }
        for i in range(number)
    ]
    return Stored(Shelf(records), key_feature=None)


def images(records, **options):
    return Images(records, CLASSES, **({"size": 16, "resize": 20} | options))


def stream(records=None, workers=0, corrupt="error", unit_norm=False, **options):
    made = images(photographs() if records is None else records, corrupt=corrupt)
    fields = {"batch_size": 4, "augmentation": "resized_crop"} | options
    prepare = partial(normalise, mean=HALF, std=HALF, unit_norm=unit_norm)
    return Stream(images=made, workers=workers, prepare=prepare, **fields)


def take(feed, seed, steps):
    """Whole batches of some steps."""
    parts = [feed.supply(seed, step) for step in steps]
    return [
        {
            name: np.concatenate([p[name] for p in batch])
            for name in ("inputs", "targets")
        }
        for batch in parts
    ]


# ------------------------------------------------------------------------ views


def test_a_view_is_the_window_resized():
    image = np.zeros((20, 30, 3), np.uint8)
    image[4:12, 10:18] = [10, 20, 30]
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    seen = decode.view(png, lambda h, w: Window(4, 10, 8, 8), 4)
    assert (seen == [10, 20, 30]).all()


@pytest.mark.parametrize("side", [0, 1])
def test_no_pixel_is_skipped_where_an_image_is_not_decoded_smaller(side):
    """A PNG, of which every eighth line is white, shrinks to an eighth of a side."""
    image = np.zeros((64, 64, 3), np.uint8)
    (image if side else image.swapaxes(0, 1))[::8] = 255
    seen = decode.view(
        cv2.imencode(".png", image)[1].tobytes(), lambda h, w: Window(0, 0, h, w), 8
    )
    np.testing.assert_allclose(seen, 255 / 8, atol=1)


def test_a_mirrored_view_is_flipped_from_left_to_right():
    png = jpeg(photograph(np.random.default_rng(0), 50, 70))
    seen = decode.view(png, lambda h, w: Window(0, 0, h, w), 32)
    mirrored = decode.view(png, lambda h, w: Window(0, 0, h, w), 32, mirrored=True)
    np.testing.assert_array_equal(mirrored, seen[:, ::-1])


@pytest.mark.parametrize("size", [300, 160, 100])
def test_decoding_smaller_changes_little(size):
    """Against decoding in full and averaging over areas."""
    image = photograph(np.random.default_rng(0), 400, 600)
    image = cv2.GaussianBlur(image, (0, 0), 6)  # what small images can show
    window = Window(50, 100, 320, 320)
    seen = decode.view(jpeg(image), lambda h, w: window, size)
    whole = cv2.resize(
        image[50:370, 100:420], (size, size), interpolation=cv2.INTER_AREA
    )
    assert np.abs(seen[..., ::-1].astype(int) - whole).mean() < 2


def test_only_what_is_needed_is_decoded(monkeypatch):
    asked = []

    def decode_jpeg(*arguments, **options):
        asked.append(options)
        return plain(*arguments, **options)

    plain = decode.simplejpeg.decode_jpeg
    monkeypatch.setattr(decode.simplejpeg, "decode_jpeg", decode_jpeg)
    png = jpeg(photograph(np.random.default_rng(0), 400, 600))
    decode.view(png, lambda h, w: Window(0, 0, 200, 200), 50)
    assert plain(png, **asked[0]).shape == (100, 150, 3)


def test_decoding_faster_changes_little():
    image = jpeg(photograph(np.random.default_rng(0), 200, 300))
    exact, fast = (
        decode.view(image, lambda h, w: Window(0, 0, h, w), 128, exact=exact)
        for exact in (True, False)
    )
    difference = np.abs(exact.astype(int) - fast)
    assert 0 < difference.mean() < 4


def test_the_centre_is_what_evaluation_sees():
    """Resized so that the shorter side is 20, the middle 16 pixels of it."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[20:180, 70:230] = 200
    record = Stored(
        Shelf([{"image": cv2.imencode(".png", image)[1].tobytes(), "label": 0}]), None
    ).read([0])[0]
    assert (images(photographs()).see(record) == 200).all()


def test_windows_have_the_areas_and_shapes_that_were_asked_for():
    rng = np.random.default_rng(0)
    shares, shapes = [], []
    for _ in range(2_000):
        draws = rng.random((decode.ATTEMPTS, 4))
        window = decode.random_window(375, 500, draws, (0.08, 1.0), (3 / 4, 4 / 3))
        assert 0 <= window.top <= 375 - window.height
        assert 0 <= window.left <= 500 - window.width
        shares.append(window.height * window.width / (375 * 500))
        shapes.append(window.width / window.height)
    assert 0.07 < min(shares) < 0.1
    assert max(shares) > 0.95
    assert 0.72 < min(shapes) < 0.78
    assert 1.3 < max(shapes) < 1.36
    assert abs(np.median(np.log(shapes))) < 0.05


def test_a_window_that_fits_nowhere_is_the_centre():
    draws = np.full((decode.ATTEMPTS, 4), 0.999)
    window = decode.random_window(10, 100, draws, (0.9, 1.0), (1.0, 2.0))
    assert window == Window(0, 40, 10, 20)
    window = decode.random_window(100, 10, draws, (0.9, 1.0), (1.0, 2.0))
    assert window == Window(45, 0, 10, 10)


# ---------------------------------------------------------------------- batches


def test_a_batch_is_the_seeds_examples():
    feed = stream(shelf(10), last="wrap")
    assert (feed.steps_per_epoch, feed.example.shape) == (3, (16, 16, 3))
    for step, batch in enumerate(take(feed, 3, range(5))):
        indices = batch_indices(3, step, n=10, batch_size=4, last="wrap")
        np.testing.assert_array_equal(batch["inputs"][:, 0, 0, 0], indices)
        np.testing.assert_array_equal(batch["targets"], indices % CLASSES)


def test_batches_are_normalised_on_the_device():
    feed = stream(shelf(10), parts=2)
    stacked = jax.tree.map(lambda *x: np.stack(x), *feed.supply(0, 0))
    batch = jax.jit(feed.batch)(stacked, 0, 0)
    assert batch["inputs"].shape == (4, 16, 16, 3)
    assert batch["inputs"].dtype == np.float32
    grey_levels = stacked["inputs"].reshape(4, 16, 16, 3)
    np.testing.assert_allclose(batch["inputs"], grey_levels / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(batch["targets"], stacked["targets"].ravel())


def test_batches_of_unit_norm_are_divided_by_their_norms():
    feed = stream(shelf(10), batch_size=2, unit_norm=True)
    (part,) = feed.supply(0, 0)
    images = jax.jit(feed.batch)(part, 0, 0)["inputs"]
    np.testing.assert_allclose(np.linalg.norm(images.reshape(2, -1), axis=1), 1, 1e-5)
    grey_levels = part["inputs"] / 127.5 - 1  # of one colour: a pixel has its share
    expected = np.sign(grey_levels) / np.sqrt(16 * 16 * 3)
    np.testing.assert_allclose(images, expected, rtol=1e-5)


def test_a_stream_starts_anywhere_and_goes_back():
    batches = take(stream(), 5, range(8))
    feed = stream()
    assert_same(take(feed, 5, range(6, 8)), batches[6:])
    assert_same(take(feed, 5, range(2, 4)), batches[2:4])
    assert not np.array_equal(take(feed, 6, [2])[0]["inputs"], batches[2]["inputs"])


def test_devices_and_processes_share_the_same_batch():
    whole = take(stream(), 5, range(3))
    assert_same(take(stream(parts=4), 5, range(3)), whole)
    half = take(stream(parts=4, local=[1, 3]), 5, range(3))
    for mine, all_of_it in zip(half, whole):
        np.testing.assert_array_equal(mine["inputs"], all_of_it["inputs"][[1, 3]])


def test_every_epoch_has_every_example_once_and_new_windows():
    feed = stream(last="drop")
    first, second = (
        np.concatenate([b["targets"] for b in take(feed, 0, epoch)])
        for epoch in (range(3), range(3, 6))
    )
    assert sorted(first) == sorted(second) == sorted(i % CLASSES for i in range(12))
    assert not np.array_equal(first, second)
    one = Stored(Shelf(photographs(1).source.records), None)
    views = [b["inputs"] for b in take(stream(one, batch_size=1), 0, range(4))]
    assert len({view.tobytes() for view in views}) == 4


def test_without_augmentation_an_image_is_always_seen_alike():
    feed = stream(photographs(1), batch_size=1, augmentation="none")
    first, second = take(feed, 0, range(2))
    assert_same(first, second)


@pytest.mark.slow
def test_workers_change_nothing():
    """Batches in any number of processes, after a jump, and of another seed."""
    wanted = take(stream(parts=2), 5, range(4)), take(stream(parts=2), 6, [9])
    feed = stream(parts=2, workers=2)
    try:
        assert_same(take(feed, 5, range(1, 4)), wanted[0][1:])
        assert_same(take(feed, 6, [9]), wanted[1])
    finally:
        feed.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augmentation": "flip_crop"}, "augmentation: 'flip_crop' is not one of none"),
        ({"batch_size": 13}, "batch_size: 13 out of 12 examples leave no step"),
        ({"last": "keep"}, "last: 'keep' is not one of"),
    ],
)
def test_what_cannot_be_streamed_is_refused(options, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        stream(**options)


@pytest.mark.parametrize(
    ("source", "module", "refused"),
    [
        ("lottery.run(config, workdir)", None, True),
        ("log = getLogger(__name__)\nlottery.run(config, workdir)", None, True),
        ("lottery.run(config, workdir)", "package.train", True),
        ('if __name__ == "__main__":\n    main()', None, False),
        ("if '__main__'==__name__: main()", None, False),
        ("main()", "package.__main__", False),  # is not imported again
        (None, None, False),  # a notebook
    ],
)
def test_workers_do_not_run_a_script_again(
    tmp_path, monkeypatch, source, module, refused
):
    main = types.ModuleType("__main__")
    if source:
        main.__file__ = str(tmp_path / "script.py")
        Path(main.__file__).write_text(source)
    if module:
        main.__spec__ = importlib.machinery.ModuleSpec(module, None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert len(stream(workers=0)) == 12
    if not refused:
        assert len(stream(workers=1)) == 12
        return
    with pytest.raises(DataError) as caught:
        stream(workers=1)
    assert str(caught.value) == (
        "config.data.stream.workers: processes that decode import the script, too: in "
        f'{main.__file__}, put what it runs under if __name__ == "__main__": or take 0'
    )


# --------------------------------------------------------------------- in order


@pytest.mark.parametrize(("examples", "parts"), [(11, 1), (11, 2), (8, 4), (1, 4)])
def test_in_order_every_example_comes_once(examples, parts):
    feed = stream(shelf(examples), last="wrap", parts=parts)
    batches = list(feed.in_order())
    assert len(batches) == -(-examples // 4)
    shapes = {p["inputs"].shape for b in batches for p in b}
    assert shapes == {(4 // parts, 16, 16, 3)}
    labels = np.concatenate([p["targets"] for b in batches for p in b])
    levels = np.concatenate([p["inputs"][:, 0, 0, 0] for b in batches for p in b])
    assert labels[labels != NO_LABEL].tolist() == [i % CLASSES for i in range(examples)]
    assert levels[labels != NO_LABEL].tolist() == list(range(examples))


# ----------------------------------------------------------------------- damage


def truncated():
    whole = jpeg(photograph(np.random.default_rng(0), 60, 60))
    return whole[: len(whole) // 2]


@pytest.mark.parametrize("damaged", [truncated(), b"", b"\xff\xd8\xff", b"no image"])
def test_a_corrupt_image_is_an_error_with_its_key(damaged):
    said = "^config.data.dir: 'image2' cannot be decoded .*corrupt=skip$"
    with pytest.raises(DataError, match=said):
        take(stream(shelf(4, image2=damaged)), 0, [0])
    with pytest.raises(DataError, match=said):
        list(stream(shelf(4, image2=damaged)).in_order())


def test_the_error_of_a_worker_is_the_same():
    feed = stream(shelf(4, image2=truncated()), workers=1)
    with pytest.raises(DataError, match="^config.data.dir: 'image2' cannot be"):
        take(feed, 0, [0])
    feed.close()


def test_a_corrupt_image_is_skipped_and_counted_if_that_is_wanted(caplog):
    """The next image that can be decoded takes its place."""
    damaged = shelf(8, image2=truncated(), image3=truncated())
    feed = stream(damaged, batch_size=8, corrupt="skip", parts=2)
    with caplog.at_level("WARNING"):
        batches = take(feed, 0, range(2))
    for step, batch in enumerate(batches):
        indices = np.array(batch_indices(0, step, n=8, batch_size=8, last="drop"))
        indices[(indices == 2) | (indices == 3)] = 4
        np.testing.assert_array_equal(batch["inputs"][:, 0, 0, 0], indices)
        np.testing.assert_array_equal(batch["targets"], indices % CLASSES)
    assert feed.skipped == {"image2", "image3"}
    assert [r.getMessage()[-8:] for r in caplog.records] == ["1 so far", "2 so far"]


def test_a_skipped_image_is_not_evaluated():
    feed = stream(shelf(4, image2=truncated()), corrupt="skip")
    (batch,) = feed.in_order()
    assert batch[0]["targets"].tolist() == [0, 1, NO_LABEL, 3]


def test_where_nothing_can_be_decoded_there_is_no_batch():
    records = shelf(2, image0=b"", image1=b"")
    with pytest.raises(DataError, match="there is no image that can be decoded"):
        take(stream(records, batch_size=2, corrupt="skip"), 0, [0])


def test_a_label_without_a_class_is_an_error_with_its_key():
    records = shelf(4)
    records.source.records[1]["label"] = -1
    said = "^config.data.name: the label of 'image1' is -1, and there are 7 classes$"
    with pytest.raises(DataError, match=said):
        take(stream(records), 0, [0])


def test_a_record_without_a_name_is_known_by_its_number():
    records = photographs(6).take(np.array([5, 2]))
    assert [record.key for record in records.read([0, 1])] == ["train[5]", "train[2]"]
    assert len(records) == 2
