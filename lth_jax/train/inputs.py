"""Inputs: what a config's data come to: the feed that trains, splits that evaluate."""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax.config.fields import known
from lth_jax.data import augment, order, prepared, sources, stored, stream
from lth_jax.data.dataset import Dataset, channel_statistics, fingerprint
from lth_jax.data.memory import Memory
from lth_jax.data.stored import Images
from lth_jax.data.stream import Stream
from lth_jax.devices.layout import Layout
from lth_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """The data of a run, from memory or from disk."""

    feed: Memory | Stream  # of training batches
    layout: Layout
    num_classes: int
    splits: dict[str, Any]  # those there are: train, validation, test
    about: dict[str, Any]  # what tells the data from others, and normalises them

    def supply(self, data_seed: int, step: int) -> PyTree:
        """Return the feed's arrays for a step, on the devices, as in `Program`."""
        if isinstance(self.feed, Stream):
            return self.layout.scatter(self.feed.supply(data_seed, step))
        return self._resident

    @cached_property
    def _resident(self) -> PyTree:
        assert isinstance(self.feed, Memory)
        return self.layout.replicate(self.feed.arrays)

    def split(self, split: Any) -> Any:
        """Return a split as it is evaluated: in memory, or a stream of it in order."""
        if isinstance(self.feed, Stream):
            images = dataclasses.replace(self.feed.images, records=split)
            # Of a small split, "drop" might leave nothing.
            return dataclasses.replace(self.feed, images=images, last="wrap")
        return split

    def close(self) -> None:
        """End what prefetches batches; it begins again when it is asked for one."""
        if isinstance(self.feed, Stream):
            self.feed.close()


def build(config: ConfigDict, layout: Layout) -> Inputs:
    """Load or open the data of a config.

    Raises:
        ConfigError, DataError: they cannot be had, or not as configured.
    """
    _check(config)
    fields, in_memory = config.data, config.data.feed == "memory"
    dataset = sources.load(
        fields.name,
        data_dir=fields.dir or None,
        train_split=fields.train_split,
        test_split=fields.test_split,
        validation=fields.validation,
        in_memory=in_memory,
        window=fields.window,
    )
    if fields.batch_size > len(dataset.train):
        raise ConfigError(
            f"config.data.batch_size: {fields.batch_size} is more than the "
            f"{len(dataset.train)} training examples"
        )
    prepare, about = _preparation(dataset, config)
    options: dict[str, Any] = {"batch_size": fields.batch_size, "last": fields.last}
    if in_memory:
        _check_augmentation(dataset, fields.augmentation)
        augmentation = augment.AUGMENTATIONS.get(fields.augmentation)
        if dataset.augment:
            augmentation = augment.by(dataset.augment)
        feed = Memory(dataset.train, **options, prepare=prepare, augment=augmentation)
    else:
        feed = Stream(
            _images(dataset, fields.stream),
            **options,
            augmentation=fields.augmentation,
            parts=layout.parts,
            local=layout.positions,
            workers=fields.stream.workers,
            prepare=prepare,
        )
    sizes = {
        "steps_per_epoch": feed.steps_per_epoch,
        "shape": jax.tree.map(lambda x: list(x.shape), feed.example),
        "classes": dataset.num_classes,
    }
    return Inputs(
        feed,
        layout,
        dataset.num_classes,
        dataset.splits,
        fingerprint(dataset) | sizes | about,
    )


def _check_augmentation(dataset: Dataset, name: str) -> None:
    """Raise ConfigError unless data in memory can be augmented by that name."""
    why, shape = "", getattr(dataset.train.inputs, "shape", ())
    if name == "flip_crop" and len(shape) != 4:
        why = "are no images [n, h, w, c]"
    if name != "none" and dataset.augment:
        why = "have an augmentation of their own"
    if why:
        raise ConfigError(f"config.data.augmentation: the data {why}; leave it 'none'")


def _preparation(
    dataset: Dataset, config: ConfigDict
) -> tuple[Callable[[PyTree], PyTree], dict[str, Any]]:
    """Return how inputs are made what a network takes, and what a run says of it."""
    fields = config.data
    if fields.feed == "memory" and not dataset.train.are_images:
        return _widened, {}
    if fields.feed == "memory":
        statistics = channel_statistics(dataset.train.inputs)
    else:
        statistics = (fields.stream.mean, fields.stream.std)
    mean, std = (np.asarray(x, np.float32) for x in statistics)
    if not fields.standardise:
        mean, std = np.zeros_like(mean), np.ones_like(std)
    options: dict[str, Any] = {"mean": mean, "std": std, "unit_norm": fields.unit_norm}
    about = {"mean": mean.tolist(), "std": std.tolist()}
    if fields.unit_norm:  # runs that know of no such field are the same without
        about["unit_norm"] = True
    return partial(augment.normalise, **options), about


def _widened(inputs: PyTree) -> PyTree:
    """Return inputs that are no images: as they are, integers as 32 bits."""
    return jax.tree.map(
        lambda x: x.astype(jnp.int32) if jnp.issubdtype(x.dtype, jnp.integer) else x,
        inputs,
    )


def _images(dataset: Dataset, options: ConfigDict) -> Images:
    return Images(
        dataset.train,
        dataset.num_classes,
        options.image_size,
        options.resize,
        tuple(options.area),
        tuple(options.aspect),
        options.corrupt,
    )


def describe(config: ConfigDict) -> tuple[PyTree, int]:
    """Return what an example of a config's inputs is, and the number of classes.

    Images of TFDS need not be there. Raises ConfigError, DataError if a field is not
    known, or there is no such set.
    """
    _check(config)
    fields = config.data
    if sources.is_own(fields.name):
        with_data = build(config, Layout("fleet", (jax.devices()[0],)))
        return with_data.feed.example, with_data.num_classes
    size, in_memory = fields.stream.image_size, fields.feed == "memory"
    shape, num_classes = prepared.describe(
        fields.name, data_dir=fields.dir or None, in_memory=in_memory
    )
    shape = shape if in_memory else (size, size, 3)
    return jax.ShapeDtypeStruct(shape, jnp.float32), num_classes


def _check(config: ConfigDict) -> None:
    fields = config.data
    augmentations = {"memory": ("none", *augment.AUGMENTATIONS)}
    augmentations["stream"] = stream.AUGMENTATIONS
    known("data.feed", fields.feed, augmentations)
    known("data.augmentation", fields.augmentation, augmentations[fields.feed])
    known("data.last", fields.last, order.LAST)
    known("data.stream.corrupt", fields.stream.corrupt, stored.CORRUPT)
