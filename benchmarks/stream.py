"""Images a second that one core decodes, crops, mirrors and resizes, beside tf.data.

    pip install 'lth_jax[dev]'
    python benchmarks/stream.py

Both take a random window of the same JPEGs of 500x375 pixels, quality 90, resize it
bilinearly to 224x224 and mirror half of them, on one thread of a process that is bound
to one core. tf.data does it by `decode_and_crop_jpeg` with its default arguments, which
mean a fast DCT. The two take turns, round after round, and a round's figure is of all
images; what counts is the median.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tiny_imagenet import (
    jpeg,  # noqa: E402
    photograph,  # noqa: E402
)

from lth_jax.data import Images  # noqa: E402
from lth_jax.data.stored import (
    Record,  # noqa: E402
    Stored,  # noqa: E402
)

SIZE, BATCH = 224, 100
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


class Jpegs:
    """Encoded images in memory as a source of records, again and again."""

    split = "made here"

    def __init__(self, encoded: list[bytes], examples: int):
        self.encoded, self.examples = encoded, examples

    def __len__(self) -> int:
        return self.examples

    def __getitems__(self, numbers: list[int]) -> list[dict[str, Any]]:
        images = (self.encoded[i % len(self.encoded)] for i in numbers)
        return [{"image": image, "label": 0} for image in images]


def ours(encoded: list[bytes]) -> Callable[[], None]:
    """Return a pass over the images by what the workers of the stream call."""
    import cv2

    cv2.setNumThreads(1)
    images = Images(Stored([], None), 1000, SIZE, 256, AREA, ASPECT)
    records = [Record(image, 0, "") for image in encoded]
    rng = np.random.default_rng(0)
    batch = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)

    def run() -> None:
        draws = rng.random((len(records), 10, 4), np.float32)
        mirrored = rng.random(len(records)) < 0.5
        for i, record in enumerate(records):
            batch[i % BATCH] = images.see(record, draws[i], mirrored[i])

    return run


def theirs(encoded: list[bytes]) -> Callable[[], None]:
    """Return a pass over the images by tf.data."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)

    def view(image):
        shape = tf.io.extract_jpeg_shape(image)
        box = tf.zeros((1, 0, 4))
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            shape,
            box,
            area_range=AREA,
            aspect_ratio_range=ASPECT,
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([begin[:2], size[:2]], 0)
        image = tf.io.decode_and_crop_jpeg(image, window, channels=3)
        image = tf.image.resize(image, (SIZE, SIZE))
        return tf.cast(tf.image.random_flip_left_right(image), tf.uint8)

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    images = tf.data.Dataset.from_tensor_slices(encoded)
    images = images.map(view).batch(BATCH).with_options(options)

    def run() -> None:
        for _ in images.as_numpy_iterator():
            pass

    return run


def main() -> None:
    """Print the images a second of both, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    rng = np.random.default_rng(0)
    encoded = [jpeg(photograph(rng, 375, 500)) for _ in range(options.images)]
    size = statistics.mean(map(len, encoded)) / 1000
    print(f"{options.images} JPEGs of 500x375, quality 90, {size:.0f} KB on average")
    passes = {"lth_jax": ours(encoded), "tf.data": theirs(encoded)}
    for run in passes.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(options.rounds):
        for name, run in passes.items():
            # CPU time: another program on the core must not count.
            start = time.process_time()
            run()
            rates[name].append(options.images / (time.process_time() - start))
        print(number + 1, {name: round(found[-1]) for name, found in rates.items()})
    median = {name: statistics.median(found) for name, found in rates.items()}
    print("median images/s per core:", {n: round(rate) for n, rate in median.items()})
    print(f"lth_jax / tf.data: {median['lth_jax'] / median['tf.data']:.2f}")


if __name__ == "__main__":
    main()
