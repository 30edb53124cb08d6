"""Digits: 1,797 real 8x8 handwritten digits that come with the package.

The test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, also
distributed by scikit-learn as `load_digits`. Licence: CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). `digits.npz` holds it unchanged; the
builder rescales its pixels from 0..16 to 0..255, and needs no TensorFlow.
"""

import importlib.resources
from collections.abc import Iterator

import cv2
import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits of 13 people as grey images, uint8 [8, 8, 1].

    Of every three digits, in the order of the original file, the first two are training
    (1,198) and the third test (599).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(8, 8, 1))
        label = tfds.features.ClassLabel(num_classes=10)
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"image": image, "label": label}),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
            redistribution_info={"license": "CC BY 4.0"},
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        del dl_manager  # nothing to download
        file = importlib.resources.files("lth_jax.data") / "digits.npz"
        with file.open("rb") as stream, np.load(stream) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        test = np.arange(len(labels)) % 3 == 2
        parts = {"train": ~test, "test": test}
        return {
            k: self._generate_examples(images[p], labels[p]) for k, p in parts.items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict[str, object]]]:
        rescaled = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)
        for key, (image, label) in enumerate(zip(rescaled, labels, strict=True)):
            _, png = cv2.imencode(".png", image)
            yield key, {"image": png.tobytes(), "label": int(label)}
