"""A tiny imagenet2012: tar files of generated JPEGs, prepared by TFDS's own builder."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np

WORDNET_IDS = ("n01440764", "n01443537", "n01484850", "n01491361")


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return noise with as much detail at every scale as photographs have."""
    image = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        size = (max(2, height >> octave), max(2, width >> octave), 3)
        noise = rng.normal(size=size).astype(np.float32)
        image += 1.385**octave * cv2.resize(noise, (width, height))
    image = 120 + 55 * (image - image.mean()) / image.std()
    return image.clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Return an image as a JPEG."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def write_tars(manual_dir: Path, per_class: int, validation: int) -> None:
    """Write the two tar files that a user downloads, of images of many shapes."""
    rng = np.random.default_rng(0)
    manual_dir.mkdir(parents=True)

    def picture() -> bytes:
        height, width = rng.integers(40, 90, size=2)
        return jpeg(photograph(rng, int(height), int(width)))

    with tarfile.open(manual_dir / "ILSVRC2012_img_train.tar", "w") as train:
        for name in WORDNET_IDS:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for number in range(per_class):
                    _add(archive, f"{name}_{number}.JPEG", picture())
            _add(train, f"{name}.tar", inner.getvalue())
    with tarfile.open(manual_dir / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, validation + 1):
            _add(archive, f"ILSVRC2012_val_{number:08}.JPEG", picture())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
