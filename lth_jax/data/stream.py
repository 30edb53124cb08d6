"""Stream: the feed of a data set too large for memory.

Worker processes of Grain read, decode, crop and resize what each device needs of a
step, ahead of it. Everything that is drawn is drawn by JAX from data seed and step, so
that a stream can start at any step, and gives the same batches whatever the number of
workers, devices and restarts.
"""

import dataclasses
import functools
import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from absl import flags
from jaxtyping import Array, Float, Float32

from lth_jax import machine
from lth_jax.data import decode, keys, order
from lth_jax.data.keys import Count
from lth_jax.data.memory import normalise
from lth_jax.data.stored import Record, Stored
from lth_jax.errors import DataError

AUGMENTATIONS = ("none", "resized_crop")
NO_LABEL = -1  # of what stands where no example is, and counts for nothing
_AHEAD = 2  # finished batches that every worker holds

Part = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """How the records of a split become images of one size.

    Attributes:
        records: the split.
        num_classes: number of classes; labels are below it.
        size: height and width of the images, in pixels.
        resize: without augmentation, the length to which the shorter side is resized
            before the central `size` x `size` pixels are taken.
        area, aspect: of the windows of `resized_crop`, as in `decode.random_window`.
        corrupt: what becomes of an image that cannot be decoded: an "error", or "skip".
    """

    records: Stored
    num_classes: int
    size: int
    resize: int
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    corrupt: Literal["error", "skip"] = "error"

    def central(self, record: Record) -> np.ndarray:
        """Return an image as it is evaluated."""
        share = min(1.0, self.size / self.resize)
        return decode.view(
            record.image, lambda h, w: decode.central(h, w, share), self.size
        )

    def cropped(
        self,
        record: Record,
        draws: Float[np.ndarray, "attempts 4"],
        mirrored: bool | np.bool_,
    ) -> np.ndarray:
        """Return a random window of an image, perhaps mirrored."""
        return decode.view(
            record.image,
            lambda h, w: decode.random_window(h, w, draws, self.area, self.aspect),
            self.size,
            mirrored=bool(mirrored),
            exact=False,
        )

    def check_label(self, record: Record) -> None:
        """Raise DataError if a record has no class."""
        if not 0 <= record.label < self.num_classes:
            raise DataError(
                f"config.data.name: the label of {record.key!r} is {record.label}, and "
                f"there are {self.num_classes} classes"
            )

    def refuse(self, record: Record, error: ValueError) -> str:
        """Return the key of a record to skip, if that is wanted, or raise DataError."""
        if self.corrupt == "skip":
            return record.key
        raise DataError(
            f"config.data.dir: {record.key!r} cannot be decoded ({error}); replace it, "
            "or skip what is corrupt: --config.data.stream.corrupt=skip"
        ) from error


@dataclasses.dataclass(frozen=True, eq=False)
class _Training:
    """Parts of batches by number: the random-access source that Grain reads."""

    images: Images
    data_seed: int
    batch_size: int
    last: str
    augmentation: str
    parts: int
    local: Sequence[int]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, number: int) -> dict[str, Any]:
        step, device = divmod(number, len(self.local))
        size = self.batch_size // self.parts
        share = slice(self.local[device] * size, (self.local[device] + 1) * size)
        drawn = _draw(
            np.uint32(self.data_seed),
            np.uint32(step),
            n=len(self.images.records),
            batch_size=self.batch_size,
            last=self.last,
        )
        indices, draws, mirrored = (np.asarray(x)[share] for x in drawn)
        part = _empty(size, self.images.size)
        skipped: list[str] = []
        for i, record in enumerate(self.images.records.read(indices)):
            self.images.check_label(record)
            seen = self._view(int(indices[i]), record, draws[i], mirrored[i], skipped)
            part["image"][i], part["label"][i] = seen
        return part | {"skipped": skipped}

    def _view(
        self,
        index: int,
        record: Record,
        draws: np.ndarray,
        mirrored: np.bool_,
        skipped: list[str],
    ) -> tuple[np.ndarray, int]:
        """Return an image and its label, or those of the next that can be decoded."""
        for after in range(1, len(self.images.records) + 1):
            try:
                if self.augmentation == "none":
                    return self.images.central(record), record.label
                return self.images.cropped(record, draws, mirrored), record.label
            except ValueError as error:
                skipped.append(self.images.refuse(record, error))
            following = (index + after) % len(self.images.records)
            (record,) = self.images.records.read([following])
            self.images.check_label(record)
        raise DataError("config.data.dir: there is no image that can be decoded")


@dataclasses.dataclass(frozen=True, eq=False)
class _InOrder:
    """The same for a split that is gone through once, each example in its place."""

    images: Images
    batch_size: int
    parts: int
    local: Sequence[int]

    def __len__(self) -> int:
        batches = -(-len(self.images.records) // self.batch_size)
        return batches * len(self.local)

    def __getitem__(self, number: int) -> dict[str, Any]:
        batch, device = divmod(number, len(self.local))
        size = self.batch_size // self.parts
        start = batch * self.batch_size + self.local[device] * size
        indices = range(start, min(start + size, len(self.images.records)))
        part = _empty(size, self.images.size)
        skipped: list[str] = []
        for i, record in enumerate(self.images.records.read(indices)):
            self.images.check_label(record)
            try:
                part["image"][i] = self.images.central(record)
                part["label"][i] = record.label
            except ValueError as error:
                skipped.append(self.images.refuse(record, error))
        return part | {"skipped": skipped}


@functools.partial(jax.jit, static_argnames=("n", "batch_size", "last"))
def _draw(
    data_seed: Count, step: Count, *, n: int, batch_size: int, last: str
) -> tuple[Array, Array, Array]:
    """Draw all of a step: indices, numbers for windows, and who is mirrored."""
    indices = order.batch_indices(
        data_seed, step, n=n, batch_size=batch_size, last=last
    )
    window_key, mirror_key = jax.random.split(
        keys.derive(data_seed, keys.AUGMENTATION, step)
    )
    draws = jax.random.uniform(window_key, (batch_size, decode.ATTEMPTS, 4))
    return indices, draws, jax.random.bernoulli(mirror_key, shape=(batch_size,))


def _empty(size: int, side: int) -> Part:
    return {
        "image": np.zeros((size, side, side, 3), np.uint8),
        "label": np.full(size, NO_LABEL, np.int32),
    }


def _prefetch(source: Any, start: int, workers: int) -> Iterator[dict[str, Any]]:
    """Yield the elements of a source from one number on, made ahead by processes."""
    import grain  # takes as long as importing JAX

    elements = grain.MapDataset.source(source)[start:].to_iter_dataset(
        grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    )
    if workers < 0:
        workers = machine.cores()
    if workers:
        if not flags.FLAGS.is_parsed():
            # Grain 0.2.18 reads a flag of its own (google/grain#1355).
            flags.FLAGS.mark_as_parsed()
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(workers, per_worker_buffer_size=_AHEAD),
            worker_init_fn=_start_worker,
        )
    return iter(elements)


def _next(elements: Iterator[dict[str, Any]]) -> dict[str, Any]:
    try:
        return next(elements)
    except DataError as error:
        # Grain adds a paragraph about its own frames.
        raise DataError(str(error).splitlines()[0]) from error


def _start_worker(worker: int, workers: int) -> None:
    """Prepare a process that decodes."""
    import cv2

    # The devices belong to the process that trains; a worker draws on its own core.
    jax.config.update("jax_platforms", "cpu")
    cv2.setNumThreads(1)
    # An interrupt from the keyboard goes to all processes: the one that trains decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Skipped:
    """Counts the images that were skipped, and says so."""

    def __init__(self):
        self.keys: set[str] = set()

    def take(self, element: dict[str, Any]) -> Part:
        """Return an element's arrays, out of the shared memory they may come in."""
        for key in element.pop("skipped"):
            if key not in self.keys:
                self.keys.add(key)
                logging.getLogger(__name__).warning(
                    "skipped %r, which cannot be decoded: %d so far",
                    key,
                    len(self.keys),
                )
        return {name: np.array(array) for name, array in element.items()}


@dataclasses.dataclass(eq=False)
class Stream:
    """Batches of a split on disk as a pure function of data seed and step.

    Attributes:
        images: the split and the size of its images.
        mean, std: per channel on the scale 0 to 1.
        batch_size: examples a step, over all devices.
        last: what becomes of an epoch's last, partial batch: `drop` or `wrap`.
        augmentation: `none`, or `resized_crop`: a random window, half of them mirrored.
        parts: number of devices that share a batch, which divides the batch size.
        local: the parts that this process makes; None for all.
        workers: processes that decode: 0 for none, -1 for one per core.

    Raises:
        ValueError: unknown `last` or `augmentation`, or `batch_size` leaves no step.
    """

    images: Images
    mean: Float32[np.ndarray, "3"]
    std: Float32[np.ndarray, "3"]
    batch_size: int
    last: str = "drop"
    augmentation: str = "none"
    parts: int = 1
    local: Sequence[int] | None = None
    workers: int = -1

    divided = True  # arrays are one part of a batch

    def __post_init__(self):
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(
                f"augmentation: {self.augmentation!r} is not one of "
                f"{', '.join(AUGMENTATIONS)}"
            )
        order.steps_per_epoch(len(self.images.records), self.batch_size, self.last)
        self.skipped = Skipped()
        self._next: tuple[int, int] | None = None
        self._elements: Any = iter(())

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch, in which every example has its turn."""
        return order.steps_per_epoch(
            len(self.images.records), self.batch_size, self.last
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return (self.images.size, self.images.size, 3)

    def supply(self, data_seed: int, step: int) -> list[Part]:
        """Return the local parts of a step's batch; the next step is made meanwhile.

        A step that does not follow the one before, or another seed, makes a new start.

        Returns:
            For every local part `image`: uint8 [batch_size / parts, h, w, 3]; `label`:
            int32 [batch_size / parts].

        Raises:
            DataError: an image is corrupt, and is not to be skipped.
        """
        local = range(self.parts) if self.local is None else self.local
        if self._next != (data_seed, step):
            self.close()
            source = _Training(
                self.images,
                data_seed,
                self.batch_size,
                self.last,
                self.augmentation,
                self.parts,
                local,
            )
            self._elements = _prefetch(source, step * len(local), self.workers)
        made = [self.skipped.take(_next(self._elements)) for _ in local]
        self._next = (data_seed, step + 1)
        return made

    def close(self) -> None:
        """End the worker processes."""
        _close(self._elements)
        self._next, self._elements = None, iter(())

    def batch(
        self,
        arrays: dict[str, Array],
        data_seed: Count,
        step: Count,
        part: Count = 0,
        parts: int = 1,
    ) -> dict[str, Array]:
        """Return the batch that arrays of `supply` are, of one part or stacked parts.

        Returns:
            `image`: normalised, float32 [examples, h, w, 3]; `label`: int32 [examples].
        """
        images = arrays["image"].reshape(-1, *self.shape)
        return {
            "image": normalise(images, self.mean, self.std),
            "label": arrays["label"].reshape(-1),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Passage:
    """A split on disk, to be gone through once in order.

    Attributes:
        images: the split and the size of its images.
        mean, std, batch_size, parts, local, workers: as in `Stream`.
    """

    images: Images
    mean: Float32[np.ndarray, "3"]
    std: Float32[np.ndarray, "3"]
    batch_size: int
    parts: int = 1
    local: Sequence[int] | None = None
    workers: int = -1

    def __len__(self) -> int:
        return len(self.images.records)

    def batches(self) -> Iterable[list[Part]]:
        """Yield batches as `Stream.supply` does, every example once.

        Where no example is, or one was skipped, the label is `NO_LABEL`.
        """
        local = range(self.parts) if self.local is None else self.local
        source = _InOrder(self.images, self.batch_size, self.parts, local)
        skipped = Skipped()
        elements = _prefetch(source, 0, self.workers)
        try:
            for _ in range(len(source) // len(local)):
                yield [skipped.take(_next(elements)) for _ in local]
        finally:
            _close(elements)


def _close(elements: Any) -> None:
    """End the processes behind an iterator, if it has any."""
    close = getattr(elements, "close", None)
    if close is not None:
        close()
