"""Classics: MNIST, Fashion-MNIST and the CIFARs from their files, without TensorFlow.

TFDS reads these, and encodes images, with TensorFlow. Here is how it is done without.
All else is TFDS's: versions, features, downloads and their checksums, and the keys that
decide the order of examples. So what is prepared is the same, example by example.
"""

import gzip
import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

Examples = Iterator[tuple[int, dict[str, Any]]]  # keys, and the features of each


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()  # RGB to BGR


def _mnist(builder: Any, downloads: Any) -> dict[str, Examples]:
    def examples(part: str) -> Examples:
        names = (f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        return _idx(*(downloads.download(builder.URL + name) for name in names))

    return {"train": examples("train"), "test": examples("t10k")}


def _idx(images: os.PathLike, labels: os.PathLike) -> Examples:
    with gzip.open(images) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(labels) as file:
        classes = np.frombuffer(file.read(), np.uint8, offset=8)
    examples = zip(pixels.reshape(-1, 28, 28, 1), classes, strict=True)
    for key, (image, label) in enumerate(examples):
        yield key, {"image": _png(image), "label": int(label)}


def _cifar(builder: Any, downloads: Any) -> dict[str, Examples]:
    about = builder._cifar_info
    with tarfile.open(downloads.download(about.url)) as archive:
        files = {x.name: archive.extractfile(x) for x in archive if x.isfile()}
        content = {name: file.read() for name, file in files.items() if file}
    for label, name in zip(about.label_keys, about.label_files):
        names = content[about.prefix + name].decode().split("\n")
        builder.info.features[label].names = [name for name in names if name]
    parts = {"train": about.train_files, "test": about.test_files}
    return {
        split: _rows(
            split, [content[about.prefix + x] for x in names], about.label_keys
        )
        for split, names in parts.items()
    }


def _rows(split: str, files: list[bytes], labels: list[str]) -> Examples:
    rows = np.frombuffer(b"".join(files), np.uint8).reshape(-1, len(labels) + 3072)
    for key, row in enumerate(rows):
        image = row[len(labels) :].reshape(3, 32, 32).transpose(1, 2, 0)
        features = {name: int(x) for name, x in zip(labels, row)}
        yield key, features | {"id": f"{split}_{key:05d}", "image": _png(image)}


# The examples of each split, from a builder of TFDS and its download manager.
SPLITS: dict[str, Callable[[Any, Any], dict[str, Examples]]] = {
    **dict.fromkeys(("mnist", "fashion_mnist"), _mnist),
    **dict.fromkeys(("cifar10", "cifar100"), _cifar),
}
