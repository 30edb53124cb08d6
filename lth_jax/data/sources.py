"""Sources: image-classification sets of TFDS, read without TensorFlow.

TFDS is imported only when data is loaded: importing it takes as long as importing JAX.
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import io
import logging
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from lth_jax.data.dataset import Dataset, Split, assemble, held_out
from lth_jax.data.stored import Stored
from lth_jax.errors import DataError

Builder = Any  # a tfds.core.DatasetBuilder, a name that needs the import

KNOWN = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")

_DECODING = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}  # by number of channels


def load(
    name: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    validation: int = 0,
) -> Dataset:
    """Load an image-classification set into memory.

    A set that is not on disk is prepared first: `digits` from the package itself, any
    other by TFDS, which downloads it and needs TensorFlow for that. Reading needs none.

    Args:
        name: one of `KNOWN`, or any other TFDS name with the features `image` (uint8,
            of one shape, 1 or 3 channels) and `label`.
        data_dir: TFDS's data folder, default `$TFDS_DATA_DIR` or ~/tensorflow_datasets.
        train_split, test_split: names of TFDS splits.
        validation: number of training examples held out as the validation split: always
            the same ones, whatever the seed of the run.

    Raises:
        DataError: unknown name, unsuitable features, data neither prepared nor
            preparable here (with the command that prepares it), or bad `validation`.

    Example:
        >>> digits = load("digits")  # doctest: +SKIP
        >>> digits.train.images.shape, digits.test.images.shape  # doctest: +SKIP
        ((1198, 8, 8, 1), (599, 8, 8, 1))
    """
    builder = _prepared(name, data_dir, (train_split, test_split), _check_memory)
    train, test = (_read(builder, split) for split in (train_split, test_split))
    num_classes = builder.info.features["label"].num_classes
    return assemble(train, test, num_classes=num_classes, validation=validation)


@dataclasses.dataclass(frozen=True, eq=False)
class Library:
    """A data set that stays on disk.

    Attributes:
        train, validation, test: its splits.
        num_classes: the number of its classes.
        about: what tells it from others: its version, and the size of every split that
            is on disk, in bytes.
    """

    train: Stored
    validation: Stored | None
    test: Stored
    num_classes: int
    about: dict[str, Any]


def open_library(
    name: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    validation: int = 0,
) -> Library:
    """Open an image-classification set to be read from disk, record by record.

    Args:
        name: any TFDS name with the features `image` (uint8, of any shapes) and
            `label`.
        data_dir, train_split, test_split, validation: as for `load`.

    Raises:
        DataError: as for `load`.
    """
    builder = _prepared(name, data_dir, (train_split, test_split), _check_features)
    train, test = (_stored(builder, split) for split in (train_split, test_split))
    kept, held = held_out(len(train), validation)
    return Library(
        train.take(kept) if validation else train,
        train.take(held) if validation else None,
        test,
        builder.info.features["label"].num_classes,
        {
            "name": builder.info.full_name,
            "bytes": {name: s.num_bytes for name, s in builder.info.splits.items()},
        },
    )


def describe(
    name: str, *, data_dir: str | None = None, in_memory: bool = True
) -> tuple[tuple[int | None, ...], int]:
    """Return the shape of a set's images and its number of classes, without reading it.

    Raises:
        DataError: unknown name, or features unsuitable to be held in memory.
    """
    builder = _builder(name, os.path.expanduser(data_dir) if data_dir else None)
    (_check_memory if in_memory else _check_features)(builder)
    features = builder.info.features
    return tuple(features.shape["image"]), features["label"].num_classes


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep TFDS's prints, progress bars, logs and warnings from the user."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _prepared(
    name: str,
    data_dir: str | None,
    splits: tuple[str, str],
    check: Callable[[Builder], None],
) -> Builder:
    """Return the builder of a set that is on disk and can be read."""
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    builder = _builder(name, data_dir)
    check(builder)
    if not builder.data_path.exists():
        _prepare(builder, name, data_dir)
        builder = _builder(name, data_dir)  # knows the splits of what is now on disk
    for field, split in zip(("train_split", "test_split"), splits):
        if split not in builder.info.splits:
            raise DataError(
                f"config.data.{field}: {name!r} has no split {split!r}; it has "
                f"{', '.join(builder.info.splits)}"
            )
    formats = sorted(f.value for f in builder.info.available_file_formats())
    if "array_record" not in formats:
        raise DataError(
            f"config.data.dir: {name!r} in {builder.data_dir} is stored as "
            f"{', '.join(formats)} and only array_record can be read: remove that "
            f"folder, then run {_command(name, data_dir)}"
        )
    return builder


@_silence()
def _builder(name: str, data_dir: str | None) -> Builder:
    import tensorflow_datasets as tfds

    import lth_jax.data.digits  # noqa: F401  (registers itself)

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(name, KNOWN, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"config.data.name: TFDS has no set {name!r}{guess} "
            f"(known to work: {', '.join(KNOWN)})"
        ) from None
    except Exception as error:
        raise DataError(
            f"config.data.name: TFDS cannot open {name!r} ({_reason(error)})"
        ) from error


def _check_features(builder: Builder) -> None:
    import tensorflow_datasets as tfds

    features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
        and getattr(image, "np_dtype", None) == np.uint8
        and builder.info.features.shape["image"][-1] in _DECODING
    ):
        raise DataError(
            f"config.data.name: {builder.name!r} is no set to classify images: that "
            "takes the features image (uint8, 1 or 3 channels) and label"
        )


def _check_memory(builder: Builder) -> None:
    _check_features(builder)
    if None in builder.info.features.shape["image"]:
        raise DataError(
            f"config.data.feed: the images of {builder.name!r} are of many shapes and "
            "cannot be held in memory; use 'stream'"
        )


def _prepare(builder: Builder, name: str, data_dir: str | None) -> None:
    problem = f"config.data.dir: {name!r} is not in {builder.data_dir} and preparing it"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise DataError(_by_hand(builder, name, data_dir))
    if builder.name != "digits" and importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{problem} needs TensorFlow: run pip install 'lth_jax[tf]' and then "
            f"{_command(name, data_dir)}"
        )
    logging.getLogger(__name__).info("preparing %s in %s", name, builder.data_dir)
    try:
        with _silence():
            builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        # TFDS writes beside the folder and renames: of several processes that prepare
        # at once, all but the first fail at the very end and find the folder in place.
        if not builder.data_path.exists():
            raise DataError(
                f"{problem} failed ({_reason(error)}): to try again, run "
                f"{_command(name, data_dir)}"
            ) from error


def _by_hand(builder: Builder, name: str, data_dir: str | None) -> str:
    """Return how to prepare a set that TFDS cannot download."""
    instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    folder = builder.data_path
    for _ in builder.info.full_name.split("/"):
        folder = folder.parent
    manual_dir = folder / "downloads" / "manual"
    return (
        f"config.data.dir: {name!r} is not in {builder.data_dir} and TFDS cannot "
        f"download it. {instructions} The manual_dir is {manual_dir}. Then run pip "
        f"install 'lth_jax[tf]' and {_command(name, data_dir)}"
    )


def _reason(error: Exception) -> str:
    """Return an exception as one line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 200)


def _command(name: str, data_dir: str | None) -> str:
    """Return the shell command that prepares a set.

    Not `tfds build`: in TFDS 4.9.10 that program also needs Apache Beam.
    """
    arguments = repr(name) if data_dir is None else f"{name!r}, data_dir={data_dir!r}"
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder({arguments}).download_and_prepare(file_format='array_record')\""
    )


@_silence()
def _source(builder: Builder, split: str) -> Any:
    """Return the records of a split, with encoded images."""
    import tensorflow_datasets as tfds

    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def _stored(builder: Builder, split: str) -> Stored:
    import tensorflow_datasets as tfds

    texts = [
        feature
        for feature, kind in builder.info.features.items()
        if isinstance(kind, tfds.features.Text)
    ]
    return Stored(_source(builder, split), key_feature=texts[0] if texts else None)


@_silence()
def _read(builder: Builder, split: str) -> Split:
    """Read one split into memory, its channels in the order RGB."""
    source = _source(builder, split)
    # All at once: one by one takes several times as long.
    records = source.__getitems__(list(range(len(source))))
    labels = np.array([record["label"] for record in records], np.int32)
    shape = builder.info.features["image"].shape
    images = np.empty((len(records), *shape), np.uint8)
    for i, record in enumerate(records):
        encoded = np.frombuffer(record["image"], np.uint8)
        decoded = cv2.imdecode(encoded, _DECODING[shape[-1]])
        if decoded is None:
            raise DataError(
                f"config.data.dir: {builder.name!r} in {builder.data_dir} holds an "
                "image that cannot be decoded: remove that folder and prepare it again"
            )
        images[i] = decoded.reshape(shape)[..., ::-1]  # OpenCV decodes to BGR
    return Split(images, labels)
