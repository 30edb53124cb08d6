"""Stream: the feed of a data set too large for memory.

Worker processes of Grain read, decode, crop and resize what each device needs of a
step, ahead of it. JAX draws from data seed and step: a stream can start at any step,
and gives the same batches whatever the number of workers, devices and restarts.
"""

import dataclasses
import logging
import re
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jaxtyping import Array, PyTree

from lth_jax import decode, machine
from lth_jax.data import keys, order
from lth_jax.data.keys import Count
from lth_jax.data.stored import Images
from lth_jax.errors import DataError

AUGMENTATIONS = ("none", "resized_crop")
_AHEAD = 2  # finished batches that every worker holds
_ENDLESS = 2**32  # steps: more than 32 bits can count

Part = dict[str, np.ndarray]
Parts = Generator[list[Part], None, None]


@dataclasses.dataclass(eq=False)
class Stream:
    """Batches of a split on disk as a pure function of data seed and step.

    Raises ValueError for an unknown `last` or `augmentation`, or if there is no step,
    and DataError where workers would run the user's script again.
    """

    images: Images
    batch_size: int  # examples a step, over all devices that share it
    last: str = "drop"  # an epoch's partial batch, or "wrap" around
    augmentation: str = "none"  # or "resized_crop": a random window, half mirrored
    parts: int = 1  # devices that share a batch, which divide its size
    local: Sequence[int] = ()  # the parts that this process makes; none for all
    workers: int = -1  # processes that decode: 0 for none, -1 for one per core
    prepare: Callable[[PyTree], PyTree] = lambda inputs: inputs  # for the network
    # Keys of images that cannot be decoded, also in what is made by `replace`.
    skipped: set[str] = dataclasses.field(default_factory=set)

    divided = True  # arrays are one part of a batch

    def __post_init__(self):
        order.check("augmentation", self.augmentation, AUGMENTATIONS)
        if self.workers:
            _check_script()
        self.local = self.local or range(self.parts)
        n, size = len(self), self.batch_size
        self.steps_per_epoch = order.steps_per_epoch(n, size, self.last)
        shape = (self.images.size, self.images.size, 3)
        # The shapes and types of what a network is given of one example.
        self.example = jax.ShapeDtypeStruct(shape, np.float32)
        self._batches: Parts | None = None
        self._next: tuple[int, int] | None = None  # data seed and step

    def __len__(self) -> int:
        return len(self.images.records)

    def supply(self, data_seed: int, step: int) -> list[Part]:
        """Return the local parts of a step's batch, and prefetch the next step's.

        A step that does not follow the one before, or another seed, makes a new start.
        In each, `inputs` is uint8 [batch_size / parts, h, w, 3] and `targets` int32.
        Raises DataError if a record has no class, or is corrupt and not to be skipped.
        """
        if self._batches is None or self._next != (data_seed, step):
            self.close()
            idle = dataclasses.replace(self)
            self._batches = idle._prefetch(range(step, _ENDLESS), data_seed)
        self._next = None  # after an error there is a new start
        parts = next(self._batches)
        self._next = (data_seed, step + 1)
        return parts

    def close(self) -> None:
        """End the worker processes."""
        if self._batches is not None:
            self._batches.close()
        self._batches = None

    def in_order(self) -> Parts:
        """Yield batches as of `supply`, every example once; else label `NO_LABEL`."""
        idle, batches = dataclasses.replace(self), -(-len(self) // self.batch_size)
        return idle._prefetch(range(batches), None)

    def _prefetch(self, steps: range, data_seed: int | None) -> Parts:
        """Yield the local parts of the batches of some steps; in order without a seed.

        Called on a copy, which workers are sent: what prefetches ends with the stream.
        """
        local, make = len(self.local), partial(self._part, data_seed=data_seed)
        numbers = range(steps.start * local, steps.stop * local)
        elements = _in_processes(make, numbers, self.workers)
        try:
            for _ in steps:
                yield [self._next_part(elements) for _ in range(local)]
        finally:
            getattr(elements, "close", lambda: None)()  # ends the processes

    def _part(self, number: int, data_seed: int | None) -> dict[str, Any]:
        """Make a part, by its number among the local parts of all steps."""
        step, place = divmod(number, len(self.local))
        size = self.batch_size // self.parts
        share = slice(self.local[place] * size, (self.local[place] + 1) * size)
        drawn = (np.asarray(array)[share] for array in self._draw(step, data_seed))
        return self.images.fill(size, *drawn, replace=data_seed is not None)

    def _draw(self, step: int, data_seed: int | None) -> tuple[Any, ...]:
        """Return the indices of a step's examples and, if augmented, their views."""
        n, size = len(self), self.batch_size
        if data_seed is None:
            return (np.arange(step * size, min((step + 1) * size, n)),)
        seed, now = np.uint32(data_seed), np.uint32(step)
        indices = order.batch_indices(seed, now, n=n, batch_size=size, last=self.last)
        if self.augmentation == "none":
            return (indices,)
        return indices, *_draw_views(seed, now, size)

    def _next_part(self, elements: Iterator[dict[str, Any]]) -> Part:
        try:
            part = next(elements)
        except DataError as error:
            # Grain adds a paragraph about its own frames.
            raise DataError(str(error).splitlines()[0]) from error
        for key in part.pop("skipped"):
            if key not in self.skipped:
                self.skipped.add(key)
                log = "skipped %r, which cannot be decoded: %d so far"
                logging.getLogger(__name__).warning(log, key, len(self.skipped))
        # A copy, for workers hand over memory that they will use again.
        return {name: np.array(array) for name, array in part.items()}

    def batch(
        self,
        arrays: dict[str, Array],
        data_seed: Count,
        step: Count,
        part: Count = 0,
        parts: int = 1,
    ) -> dict[str, Array]:
        """Return the batch that arrays of `supply` are, of one part or stacked parts.

        `inputs` are prepared, float32 [examples, h, w, 3]; `targets` int32 [examples].
        """
        images = arrays["inputs"].reshape(-1, *self.example.shape)
        return {
            "inputs": self.prepare(images),
            "targets": arrays["targets"].reshape(-1),
        }


@partial(jax.jit, static_argnames="batch_size")
def _draw_views(data_seed: Count, step: Count, batch_size: int) -> tuple[Array, Array]:
    """Draw numbers for the windows of a step, and who is mirrored."""
    key = keys.derive(data_seed, keys.AUGMENTATION, step)
    window_key, mirror_key = jax.random.split(key)
    draws = jax.random.uniform(window_key, (batch_size, decode.ATTEMPTS, 4))
    return draws, jax.random.bernoulli(mirror_key, shape=(batch_size,))


def _check_script() -> None:
    """Raise DataError if processes that import the user's script would run it again."""
    main = sys.modules["__main__"]
    imported = not (main.__spec__ and main.__spec__.name.endswith(".__main__"))
    file = getattr(main, "__file__", None)
    if not (imported and file and Path(file).is_file()):  # as in a notebook
        return
    if not re.search(r"__name__\s*[=!]=|[=!]=\s*__name__", Path(file).read_text()):
        raise DataError(
            "config.data.stream.workers: processes that decode import the script, too: "
            f'in {file}, put what it runs under if __name__ == "__main__": or take 0'
        )


def _in_processes(
    make: Callable[[int], dict[str, Any]], numbers: range, workers: int
) -> Iterator[dict[str, Any]]:
    import grain  # takes as long as importing JAX

    elements = grain.MapDataset.range(numbers.start, numbers.stop).map(make)
    no_threads = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    elements = elements.to_iter_dataset(no_threads)
    workers = machine.cores() if workers < 0 else workers
    if workers:
        if not flags.FLAGS.is_parsed():
            # Grain 0.2.18 reads a flag of its own (google/grain#1355).
            flags.FLAGS.mark_as_parsed()
        ahead = grain.MultiprocessingOptions(workers, per_worker_buffer_size=_AHEAD)
        elements = elements.mp_prefetch(ahead, worker_init_fn=_start_worker)
    return iter(elements)


def _start_worker(worker: int, workers: int) -> None:
    import cv2

    # The devices belong to the process that trains; a worker draws on its own core.
    jax.config.update("jax_platforms", "cpu")
    cv2.setNumThreads(1)
    # An interrupt from the keyboard goes to all processes: the one that trains decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
