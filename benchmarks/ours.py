"""Ours: the programs that are measured, from the library's own parts."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.measure import timed
from lth_jax import data, masks, models, prune, rewind, scores
from lth_jax.data import Memory, Split
from lth_jax.data.dataset import assemble
from lth_jax.models import lean
from lth_jax.train import optimizers as optim
from lth_jax.train import state
from lth_jax.train.devices import Layout
from lth_jax.train.fit import fit
from lth_jax.train.state import TrainState
from lth_jax.train.step import Feed, Program


class Training:
    """Members of ours that train on, and seconds a step of each."""

    def __init__(self, program: Program, members: list[TrainState], steps: int):
        self.program, self.members, self.steps = program, members, steps

    def __call__(self) -> float:
        """Train some steps; return seconds per step and member."""
        stop = int(self.members[0].step) + self.steps

        def work() -> None:
            self.members = fit(self.members, stop, self.program)
            jax.block_until_ready(self.members)

        return timed(work, self.steps * len(self.members))


def images(examples: int, side: int, channels: int) -> data.Dataset:
    """Return random images, of which as many are for training as for testing."""
    random = np.random.default_rng(0)
    shape = (examples, side, side, channels)
    pixels = random.integers(0, 256, shape, dtype=np.uint8)
    labels = random.integers(0, 10, examples, dtype=np.int32)
    return assemble(Split(pixels, labels), Split(pixels, labels), num_classes=10)


def fleet(devices: Sequence[jax.Device]) -> Layout:
    """Return how members lie on devices, with as many at a time as a run takes."""
    at_a_time = 1 if jax.default_backend() == "cpu" else 0
    return Layout("fleet", tuple(devices), members=at_a_time)


def lenet(dataset: data.Dataset, layout: Layout, width: int = 1) -> Program:
    """Return LeNet-300-100's training, or a wider one's, batch 60, Adam."""
    feed = Memory(dataset.train, dataset.mean, dataset.std, batch_size=60)
    arrays = layout.replicate(feed.arrays)
    return Program(
        network=models.create(
            "lenet", num_classes=10, widths=(300 * width, 100 * width)
        ),
        optimizer=partial(optim.optimizer, "adam"),
        schedule=optim.Schedule("constant", 1.2e-3, length=24_000),
        feed=feed,
        supply=lambda data_seed, step: arrays,
        layout=layout,
    )


def resnet20(dataset: data.Dataset) -> Program:
    """Return ResNet-20's training, batch 128, augmented, over all CPU devices."""
    layout = Layout(
        "data", tuple(jax.devices()), compiler_options=lean.COMPILER_OPTIONS
    )
    feed = Memory(
        dataset.train,
        dataset.mean,
        dataset.std,
        batch_size=128,
        augmentation="flip_crop",
    )
    arrays = layout.replicate(feed.arrays)
    return Program(
        network=models.create(
            "resnet20",
            num_classes=10,
            axis_name="batch",
            conv=lean.Conv,
            norm=lean.BatchNorm,
        ),
        optimizer=partial(optim.optimizer, "sgd", momentum=0.9),
        schedule=optim.Schedule("constant", 0.1, length=63_000),
        feed=feed,
        supply=lambda data_seed, step: arrays,
        layout=layout,
        steps_per_call=1,
    )


class Still:
    """A feed whose batch is always the first one: it costs nothing."""

    divided = False

    def __init__(self, feed: Feed, arrays: PyTree):
        self.steps_per_epoch, self.shape = feed.steps_per_epoch, feed.shape
        self.arrays = feed.batch(arrays, jnp.uint32(0), 0)

    def batch(self, arrays: PyTree, *_: object) -> dict[str, jax.Array]:
        """Return the batch, whatever the seed and the step."""
        return arrays


def without_feed(program: Program) -> Program:
    """Return a program that always sees the same batch."""
    still = Still(program.feed, program.supply(0, 0))
    arrays = program.layout.replicate(still.arrays)
    return replace(program, feed=still, supply=lambda data_seed, step: arrays)


def tickets(
    program: Program, number: int, shape: tuple[int, ...], density: float = 0.8
) -> list[TrainState]:
    """Return members of different seeds under masks of a density."""
    optimizer = program.optimizer(0.1, None)
    found = []
    for i in range(number):
        key = jax.random.key(i)
        member = state.create(key, program.network, optimizer, shape=shape)
        magnitudes, whole = scores.magnitude(member.params), masks.full(member.params)
        kept = prune.to_density(magnitudes, whole, density)
        found.append(rewind.to(member, kept))
    return found
