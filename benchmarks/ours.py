"""Ours: the programs that are measured, from the library's own parts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jaxtyping import PyTree

from benchmarks.measure import timed
from lth_jax import data, masks, models, prune, rewind, scores
from lth_jax.data import Memory, Split
from lth_jax.data.augment import AUGMENTATIONS
from lth_jax.data.dataset import assemble, channel_statistics
from lth_jax.devices.layout import Layout
from lth_jax.models import lean
from lth_jax.movers import MOVERS
from lth_jax.optim import optimizers as optim
from lth_jax.optim.schedules import Schedule
from lth_jax.tasks import Classification
from lth_jax.train import state
from lth_jax.train.fit import fit
from lth_jax.train.moves import Moves
from lth_jax.train.state import TrainState
from lth_jax.train.step import Feed, Program


class Training:
    """Members of ours that train on, and seconds a step of each."""

    def __init__(
        self,
        program: Program,
        members: list[TrainState],
        steps: int,
        moves: Moves | None = None,
    ):
        self.program, self.members, self.steps = program, members, steps
        self.together, self.moves = len(members), moves

    def __call__(self) -> float:
        """Train some steps; return seconds per step and member."""
        stop = int(self.members[0].step) + self.steps

        def work() -> None:
            self.members = fit(self.members, stop, self.program, moves=self.moves)
            jax.block_until_ready(self.members)

        seconds = timed(work, self.steps * len(self.members))
        if {*map(int, jax.device_get([m.step for m in self.members]))} != {stop}:
            raise RuntimeError("members have diverged, and do not train on")
        return seconds


def moving(
    program: Program, members: list[TrainState], steps: int, mover: str, goal: PyTree
) -> Training:
    """Return members whose masks move every 100 steps of the first 50,000."""
    started = [state.on_course(member, goal, 1) for member in members]
    return Training(program, started, steps, Moves(MOVERS[mover], 100, 50_000, 0.3))


def images(examples: int, side: int, channels: int) -> data.Dataset:
    """Return random images, of which as many are for training as for testing."""
    random = np.random.default_rng(0)
    shape = (examples, side, side, channels)
    pixels = random.integers(0, 256, shape, dtype=np.uint8)
    labels = random.integers(0, 10, examples, dtype=np.int32)
    return assemble(Split(pixels, labels), Split(pixels, labels), num_classes=10)


def normalised(dataset: data.Dataset) -> Callable[[PyTree], PyTree]:
    """Return what standardises images as those of a training are."""
    mean, std = channel_statistics(dataset.train.inputs)
    return partial(data.normalise, mean=mean, std=std)


def fleet(devices: Sequence[jax.Device]) -> Layout:
    """Return how members lie on devices, with as many at a time as a run takes."""
    at_a_time = 1 if jax.default_backend() == "cpu" else 0
    return Layout("fleet", tuple(devices), members=at_a_time)


def lenet(dataset: data.Dataset, layout: Layout, width: int = 1) -> Program:
    """Return LeNet-300-100's training, or a wider one's, batch 60, Adam."""
    feed = Memory(dataset.train, 60, prepare=normalised(dataset))
    arrays = layout.replicate(feed.arrays)
    return Program(
        network=models.create(
            "lenet", num_classes=10, widths=(300 * width, 100 * width)
        ),
        task=Classification(),
        optimizer=partial(optim.optimizer, "adam"),
        schedule=Schedule("constant", 1.2e-3, length=24_000),
        feed=feed,
        supply=lambda data_seed, step: arrays,
        layout=layout,
    )


def resnet20(dataset: data.Dataset) -> Program:
    """Return ResNet-20's training, batch 128, augmented, over all CPU devices."""
    options = lean.COMPILER_OPTIONS
    layout = Layout("data", tuple(jax.devices()), compiler_options=options)
    return convolutional("resnet20", dataset, layout, axis_name="batch")


def convolutional(
    name: str,
    dataset: data.Dataset,
    layout: Layout,
    batch_size: int = 128,
    augmentation: str = "flip_crop",
    **fields: Any,
) -> Program:
    """Return a network's training on images in memory, by momentum.

    On a CPU it has the layers and the calls of one step that a run takes there.
    """
    feed = Memory(
        dataset.train,
        batch_size,
        prepare=normalised(dataset),
        augment=AUGMENTATIONS.get(augmentation),
    )
    arrays = layout.replicate(feed.arrays)
    supply = lambda data_seed, step: arrays  # noqa: E731
    fields = {"num_classes": dataset.num_classes} | fields
    return momentum(name, feed, supply, layout, **fields)


def momentum(
    name: str,
    feed: Feed,
    supply: Callable[[int, int], PyTree],
    layout: Layout,
    **fields: Any,
) -> Program:
    """Return a network's training from any feed, by momentum."""
    on_cpu = jax.default_backend() == "cpu"
    layers = {"conv": lean.Conv, "norm": lean.BatchNorm} if on_cpu else {}
    return Program(
        network=models.create(name, **layers | fields),
        task=Classification(),
        optimizer=partial(optim.optimizer, "sgd", momentum=0.9),
        schedule=Schedule("constant", 0.1, length=63_000),
        feed=feed,
        supply=supply,
        layout=layout,
        steps_per_call=1 if on_cpu or feed.divided else 500,
    )


class Mapped(Layout):
    """Members of a device go one after another, in one program."""

    def spread(
        self, fn: Callable[..., Any], *, axes: Any = None, donate: bool = False
    ) -> Callable[[Any, Any], Any]:
        """Return the layout's program of an `fn` that is not vectorised."""
        return super().spread(sequential_vmap(fn), axes=axes, donate=donate)


class Still:
    """A feed whose batch is always the first one: it costs nothing."""

    divided = False

    def __init__(self, feed: Feed, arrays: PyTree):
        self.steps_per_epoch, self.example = feed.steps_per_epoch, feed.example
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
        member = state.create(key, jnp.zeros((1, *shape)), program.network, optimizer)
        magnitudes, whole = scores.magnitude(member.params), masks.full(member.params)
        kept = prune.to_density(magnitudes, whole, density)
        found.append(rewind.to(member, kept))
    return found


def weights(width: int = 64) -> dict[str, jax.Array]:
    """Return random weights of all matrices and kernels of ResNet-50, by path."""
    random = np.random.default_rng(0)
    network = models.create("resnet50", num_classes=1000, width=width)
    images = jnp.ones((1, 64, 64, 3))
    params, _ = jax.eval_shape(lambda: network.init(jax.random.key(0), images))
    return {
        path: jnp.asarray(random.standard_normal(leaf.shape, np.float32))
        for path, leaf in masks.leaves(params)
        if leaf.ndim > 1
    }
