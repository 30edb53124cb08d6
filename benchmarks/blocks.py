"""Blocks: what is measured on an accelerator, in the order of its worth."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import networks, ours, runs, waiting
from benchmarks.figures import (
    TIMES,
    Budget,
    Figure,
    Way,
    compared,
    failed,
    measured,
    rates,
)
from benchmarks.measure import timed
from lth_jax import config as config_lib
from lth_jax import machine, masks, prune
from lth_jax.data import Images, Stream, normalise
from lth_jax.data.stored import Stored
from lth_jax.devices.layout import Layout
from lth_jax.studies import between
from lth_jax.train.evaluate import Evaluator, Refresher

Block = Callable[[Budget], Iterator[Figure]]

# Of ImageNet's images, on the scale 0 to 1, as in the table of fields.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Decoding:
    """Batches that a stream makes, and nothing else: seconds of each."""

    together = 1

    def __init__(self, stream: Stream, steps: int):
        self.stream, self.steps, self.next = stream, steps, 0

    def __call__(self) -> float:
        """Make some batches; return seconds of each."""

        def work() -> None:
            for step in range(self.next, self.next + self.steps):
                self.stream.supply(0, step)

        seconds = timed(work, self.steps)
        self.next += self.steps
        return seconds


def jpegs(budget: Budget, workers: int) -> Stream:
    """Return a stream of ImageNet's batches, of JPEGs that are made here."""
    from benchmarks import stream

    rng, made = np.random.default_rng(0), 4 if budget.tiny else 128
    encoded = [stream.jpeg(stream.photograph(rng, 375, 500)) for _ in range(made)]
    size, resize, batch_size = (32, 36, 4) if budget.tiny else (224, 256, 256)
    records = Stored(stream.Jpegs(encoded, 100 * batch_size), None)
    return Stream(
        Images(records, 1000, size, resize),
        batch_size=batch_size,
        prepare=partial(normalise, mean=_MEAN, std=_STD),
        augmentation="resized_crop",
        workers=workers,
    )


def resnet50_from_jpegs(budget: Budget) -> Iterator[Figure]:
    """ResNet-50 in bfloat16 from JPEGs, and what the stream makes without it.

    What was made ahead is used up before anything is measured.
    """
    budget.ask(100)
    workers = 1 if budget.tiny else machine.cores()
    feed = jpegs(budget, workers)
    layout = Layout("data", tuple(jax.devices()[:1]))
    ahead = 2 if budget.tiny else 3 * workers
    units = rates(feed.batch_size)

    def make() -> ours.Training:
        def supply(data_seed: int, step: int) -> Any:
            return layout.scatter(feed.supply(data_seed, step))

        fields = networks.resnet50(budget.tiny)
        program = ours.momentum(feed=feed, supply=supply, layout=layout, **fields)
        training = networks.training(program, 1)
        training.steps = ahead
        return training

    try:
        for way in (
            Way("bfloat16", make, 80),
            Way("stream alone", lambda: Decoding(feed, ahead), 20),
        ):
            yield from compared("resnet50/jpegs", [way], budget, units)
            feed.close()
    finally:
        feed.close()


def pruning(budget: Budget) -> Iterator[Figure]:
    """Global magnitude pruning of ResNet-50's weights, a fifth of them."""
    params = ours.weights(8 if budget.tiny else 64)
    kept, number = masks.full(params), -(-sum(w.size for w in params.values()) // 5)

    def mine() -> None:
        jax.block_until_ready(prune.magnitude(params, kept, 0.2))

    def rival(cut: str) -> Callable[[], float]:
        import torch

        from benchmarks import rivals

        device = rivals.device()
        tensors = [torch.tensor(np.asarray(w), device=device) for w in params.values()]

        def work() -> None:
            rivals.pruned(tensors, number, getattr(rivals, cut))
            rivals.wait()

        return partial(timed, work, 1)

    ways = [
        Way("magnitude", lambda: partial(timed, mine, 1), 25),
        Way("torch kthvalue", partial(rival, "kthvalue"), 15, "magnitude"),
        Way("torch sort", partial(rival, "sort"), 10, "magnitude"),
    ]
    yield from compared("pruning", ways, budget, TIMES)


def instability(budget: Budget) -> Iterator[Figure]:
    """Errors at 30 points between two ResNet-20, with batch statistics of each.

    As a study takes them of one split: statistics and errors of 10,000 images.
    """
    points = 4 if budget.tiny else 30
    one, two = networks.training(
        networks.cifar("resnet20", "in turn", "float32", budget.tiny), 2
    ).members
    path = between(one, two, np.linspace(0, 1, points, dtype=np.float32))

    def make(way: str) -> Callable[[], float]:
        program = networks.cifar("resnet20", way, "float32", budget.tiny)
        feed: Any = program.feed
        refresh = Refresher(program, -(-len(feed.split) // feed.batch_size))
        of = (feed.split, feed.prepare, program.layout)
        evaluate = Evaluator(program.network, program.task, *of)

        def work() -> None:
            evaluate(refresh(path))

        return partial(timed, work, 1)

    ways = [
        Way("in turn", partial(make, "in turn"), 40),
        Way("vmapped", partial(make, "vmapped"), 60, "in turn"),
    ]
    yield from compared("instability", ways, budget, TIMES)


def start(budget: Budget) -> Iterator[Figure]:
    """From the command to the first steps: cold, and with a compilation cache."""
    budget.ask(90)
    cold, *others = runs.to_first_steps(2 if budget.tiny else 4)
    yield measured("start/cold", "s", [cold])
    yield measured("start/cached", "s", others)


def compilations(budget: Budget) -> Iterator[Figure]:
    """A run of several levels: compilations after level 1, time outside `fit`."""
    budget.ask(90)
    config = config_lib.load("configs/digits.py")
    changes: dict[str, Any] = {"replicates": 2, "prune.levels": 4}
    if budget.tiny:
        changes |= {"train.length": "20it", "prune.levels": 2}
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    run = runs.levels(config.lock())
    yield measured("compilations/after level 1", "programs", [run.late])
    yield measured("compilations/outside fit", "%", [100 * run.outside / run.whole])


def waits(budget: Budget) -> Iterator[Figure]:
    """How long the device has nothing to do while one network trains."""
    steps = {"lenet": 1000, "resnet20": 300}
    for name, number in steps.items():
        figure = f"waiting/{name}"
        try:
            budget.ask(40)
            found = _traced(name, 4 if budget.tiny else number, budget)
            yield measured(figure, "%", [100 * share for share in found])
        except Exception as error:
            yield failed(figure, error)


def _traced(name: str, steps: int, budget: Budget) -> list[float]:
    """Return the shares of some traces' time in which the device waits."""
    if name == "lenet":
        some = networks.images(600 if budget.tiny else 60_000, 28, 1)
        program = ours.lenet(some, networks.layout("in turn"))
    else:
        program = networks.cifar(name, "in turn", "float32", budget.tiny)
    training = networks.training(program, 1, budget.tiny)
    training.steps = steps
    training()
    found = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                training()
            share = waiting.share(Path(folder))
        if share is None:
            raise RuntimeError("the trace shows no device, as on a CPU")
        found.append(share)
    return found


BLOCKS: dict[str, Block] = {
    "resnet20/1": partial(networks.alone, name="resnet20"),
    "resnet20/16": partial(networks.fleet, name="resnet20", members=16),
    "lenet/1": partial(networks.lenet, members=1),
    "lenet/128": partial(networks.lenet, members=128),
    "resnet50/memory": networks.resnet50_in_memory,
    "pruning": pruning,
    "start": start,
    "compilations": compilations,
    "waiting": waits,
    "instability": instability,
    "resnet50/jpegs": resnet50_from_jpegs,
    "vgg16/16": partial(networks.fleet, name="vgg16", members=16),
    "resnet20/4": partial(networks.fleet, name="resnet20", members=4),
    "resnet20/64": partial(networks.fleet, name="resnet20", members=64),
    "vgg16/1": partial(networks.alone, name="vgg16"),
    "lenet/16": partial(networks.lenet, members=16),
    "lenet/1024": partial(networks.lenet, members=1024),
    "resnet20/16/bfloat16": partial(
        networks.fleet, name="resnet20", members=16, dtype="bfloat16"
    ),
}
