"""Ours: the programs that are measured, from the library's own parts."""

from functools import partial

import jax
import numpy as np

from lth_jax import data, masks, models, optim, prune, rewind, state
from lth_jax.data import Memory, Split
from lth_jax.data.dataset import assemble
from lth_jax.fit import Program
from lth_jax.fleet import Layout
from lth_jax.models import lean
from lth_jax.state import TrainState


def images(examples: int, side: int, channels: int) -> data.Dataset:
    """Return random images, of which as many are for training as for testing."""
    random = np.random.default_rng(0)
    shape = (examples, side, side, channels)
    pixels = random.integers(0, 256, shape, dtype=np.uint8)
    labels = random.integers(0, 10, examples, dtype=np.int32)
    return assemble(Split(pixels, labels), Split(pixels, labels), num_classes=10)


def lenet(dataset: data.Dataset, layout: Layout) -> Program:
    """Return LeNet-300-100's training, batch 60, Adam."""
    feed = Memory(dataset.train, dataset.mean, dataset.std, batch_size=60)
    arrays = layout.replicate(feed.arrays)
    return Program(
        model=models.create("lenet", num_classes=10, widths=(300, 100)),
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
        model=models.create(
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


def tickets(program: Program, number: int, shape: tuple[int, ...]) -> list[TrainState]:
    """Return members of different seeds under masks of density 0.8."""
    optimizer = program.optimizer(0.1, None)
    found = []
    for i in range(number):
        key = jax.random.key(i)
        member = state.create(key, program.model, optimizer, shape=shape)
        kept = prune.magnitude(member.params, masks.full(member.params), 0.2)
        found.append(rewind.to(member, kept))
    return found
