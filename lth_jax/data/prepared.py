"""Prepared: image-classification sets of TFDS (slow to import), without TensorFlow."""

import contextlib
import difflib
import functools
import importlib.util
import io
import itertools
import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from lth_jax import decode
from lth_jax.data import classics
from lth_jax.data.dataset import Dataset, Split, assemble
from lth_jax.data.stored import Stored, held
from lth_jax.errors import DataError, one_line

Builder = Any  # a tfds.core.DatasetBuilder, a name that needs the import

KNOWN = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")


def load(
    name: str, data_dir: str | None, train: str, test: str, *, in_memory: bool
) -> Dataset:
    """Load an image-classification set into memory, or open one that stays on disk.

    A set that is not on disk is downloaded and prepared first: those of `KNOWN` without
    TensorFlow (`digits` is in the package), any other by TFDS, which needs it for that.
    Reading needs none.

    Arguments are as of `sources.load`: the name is one of `KNOWN`, or of any set with
    the features `image` (uint8, 1 or 3 channels; in memory all of one shape) and
    `label`. Splits may be slices, as "train[:80%]", that share no example.

    Raises DataError for an unknown name, unsuitable features, data neither prepared nor
    preparable here (with what to do about it), or bad splits.
    """
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    builder = _builder(name, data_dir)
    _check_features(builder, in_memory)
    if not builder.data_path.exists():
        _prepare(builder, name, data_dir)
        builder = _builder(name, data_dir)  # knows the splits of what is now on disk
    info, asked = builder.info, {"train": train, "test": test}
    _check_splits(builder, asked)
    formats = sorted(f.value for f in info.available_file_formats())
    if "array_record" not in formats:
        raise DataError(
            f"config.data.dir: {name!r} in {builder.data_dir} is stored as "
            f"{', '.join(formats)} and only array_record can be read: "
            + _beside(builder)
        )
    sizes = {name: split.num_bytes for name, split in info.splits.items()}
    about = {} if in_memory else {"name": info.full_name, "bytes": sizes}
    if not {*asked.values()} <= info.splits.keys():
        about["splits"] = asked
    splits: Any = [_open(builder, split) for split in asked.values()]
    if in_memory:
        splits = _decoded(builder, splits)
    num_classes = info.features["label"].num_classes
    return assemble(*splits, num_classes=num_classes, about=about)


def describe(
    name: str, *, data_dir: str | None = None, in_memory: bool = True
) -> tuple[tuple[Any, ...], int]:
    """Return the shape of a set's images and its number of classes, or DataError."""
    builder = _builder(name, os.path.expanduser(data_dir) if data_dir else None)
    _check_features(builder, in_memory)
    features = builder.info.features
    return tuple(features.shape["image"]), features["label"].num_classes


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep TFDS's prints, progress bars, logs and warnings from the user."""
    disabled, unread = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        stdout, stderr = contextlib.redirect_stdout, contextlib.redirect_stderr
        with stdout(unread), stderr(unread), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)


@_silence()
def _builder(name: str, data_dir: str | None) -> Builder:
    import tensorflow_datasets as tfds

    import lth_jax.data.digits  # noqa: F401  (registers itself)

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(name, KNOWN, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        problem = f"config.data.name: TFDS has no set {name!r}{guess} "
        raise DataError(f"{problem}(known to work: {', '.join(KNOWN)})") from None
    except Exception as error:
        problem = f"config.data.name: TFDS cannot open {name!r}"
        raise DataError(f"{problem} ({_said(error)})") from error


def _check_features(builder: Builder, in_memory: bool) -> None:
    import tensorflow_datasets as tfds

    features = dict(builder.info.features.items())
    image: Any = features.get("image")
    label = features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
        and image.np_dtype == np.uint8
        and image.shape[-1] in decode.CHANNELS
    ):
        raise DataError(
            f"config.data.name: {builder.name!r} is no set to classify images: that "
            "takes the features image (uint8, 1 or 3 channels) and label"
        )
    if in_memory and None in image.shape:
        raise DataError(
            f"config.data.feed: the images of {builder.name!r} are of many shapes and "
            "cannot be held in memory; use 'stream'"
        )


def _check_splits(builder: Builder, asked: dict[str, str]) -> None:
    """Raise DataError unless there are such splits, or slices that share nothing."""
    import tensorflow_datasets as tfds

    splits, parts = builder.info.splits, []
    for name, wanted in asked.items():
        try:
            found = tfds.core.ReadInstruction.from_spec(wanted).to_absolute(splits)
        except (ValueError, NotImplementedError):
            found = []
        examples = [
            range(splits[part.splitname].num_examples)[part.from_ : part.to]
            for part in found
        ]
        if not all(examples) or not found:
            sizes = (
                f"{n} ({split.num_examples} examples)" for n, split in splits.items()
            )
            raise DataError(
                f"config.data.{name}_split: {builder.name!r} has no split {wanted!r}, "
                f"or nothing in it; it has {', '.join(sizes)}, and slices of them, as "
                f"'{next(iter(splits))}[:80%]'"
            )
        named = f"config.data.{name}_split: {wanted!r}"
        parts += [(named, p.splitname, e) for p, e in zip(found, examples)]
    for (one, a, some), (other, b, more) in itertools.combinations(parts, 2):
        common = range(max(some[0], more[0]), min(some[-1], more[-1]) + 1)
        if a == b and common:
            what = f"shares {len(common)} examples of {a!r} with"
            remedy = f"take slices that share none, as '{a}[:80%]' and '{a}[80%:]'"
            raise DataError(f"{other} {what} {one}: {remedy}")


def _prepare(builder: Builder, name: str, data_dir: str | None) -> None:
    """Download and write a set to disk, or raise DataError that says how to."""
    missing = f"config.data.dir: {name!r} is not in {builder.data_dir} and"
    needed = f"run pip install 'lth_jax[tf]' and then {_command(name, data_dir)}"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        folder = builder.data_dir_root / "downloads" / "manual"
        problem = f"{missing} TFDS cannot download it. {instructions} The manual_dir is"
        raise DataError(f"{problem} {folder}. Then {needed}")
    own = classics.SPLITS.get(builder.name)
    if own:
        builder._split_generators = functools.partial(own, builder)
    # What others of TFDS's own sets download, they read with TensorFlow.
    downloads = sum(info.size for info in (builder.url_infos or {}).values())
    able = bool(own or importlib.util.find_spec("tensorflow"))
    if downloads and not able:
        raise DataError(f"{missing} preparing it needs TensorFlow: {needed}")
    if builder.name != "digits":
        what = f" ({downloads / 2**20:,.1f} MiB to download)" if downloads else ""
        log = logging.getLogger(__name__)
        log.warning("preparing %s in %s%s", name, builder.data_dir, what)
    if downloads and not (builder.data_dir_root / "downloads").exists():
        _check_reachable(next(iter(builder.url_infos)), missing)
    try:
        with _silence():
            builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        # TFDS writes beside the folder and renames: of several processes that prepare
        # at once, all but the first fail at the very end and find the folder in place.
        if not builder.data_path.exists():
            remedy = "start again to try again"
            if not able:
                remedy = "if it needs TensorFlow, run pip install 'lth_jax[tf]'"
            problem = f"{missing} preparing it failed ({_said(error)})"
            raise DataError(f"{problem}: {remedy}") from error


def _check_reachable(url: str, missing: str) -> None:
    """Raise DataError at once where TFDS would try for minutes."""
    import requests  # which TFDS downloads with; it knows of proxies

    try:
        requests.head(url, timeout=10).close()
    except requests.RequestException as error:
        host = url.split("/")[2]
        problem = f"{missing} {host} cannot be reached ({type(error).__name__})"
        remedy = "start again with a network, or copy the folder from where there is"
        raise DataError(f"{problem}: {remedy} one") from error


def _said(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def _command(name: str, data_dir: str | None) -> str:
    # Not `tfds build`: in TFDS 4.9.10 that program also needs Apache Beam.
    arguments = repr(name) if data_dir is None else f"{name!r}, data_dir={data_dir!r}"
    prepare = f"tfds.builder({arguments}).download_and_prepare"
    code = f"import tensorflow_datasets as tfds; {prepare}(file_format='array_record')"
    return f"python -c {shlex.quote(code)}"


def _beside(builder: Builder) -> str:
    # Others may read what is there.
    folder = shlex.quote(f"{builder.data_dir_root}_array_record")
    return f"name another folder, as --config.data.dir={folder}, to prepare it there"


@_silence()
def _open(builder: Builder, split: str) -> Stored:
    import tensorflow_datasets as tfds

    encoded = {"image": tfds.decode.SkipDecoding()}
    features = builder.info.features.items()
    names = [name for name, kind in features if isinstance(kind, tfds.features.Text)]
    source = builder.as_data_source(split, decoders=encoded)
    return Stored(source, key_feature=names[0] if names else None)


@_silence()
def _decoded(builder: Builder, stored: list[Stored]) -> list[Split]:
    try:
        return held(stored, builder.info.features["image"].shape[-1])
    except ValueError as error:
        problem = f"{builder.name!r} in {builder.data_dir} holds an image that cannot"
        remedy = f"be decoded: {_beside(builder)}"
        raise DataError(f"config.data.dir: {problem} {remedy}") from error
