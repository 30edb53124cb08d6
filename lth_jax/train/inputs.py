"""Inputs: what a config's data come to: the feed that trains, splits that evaluate."""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax.config.fields import known
from lth_jax.data import memory, order, sources, stored, stream
from lth_jax.data.dataset import Dataset, fingerprint
from lth_jax.data.memory import Memory
from lth_jax.data.stored import Images
from lth_jax.data.stream import Stream
from lth_jax.errors import ConfigError
from lth_jax.train.devices import Layout

_AUGMENTATIONS = {"memory": memory.AUGMENTATIONS, "stream": stream.AUGMENTATIONS}


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
        name=fields.name,
        data_dir=fields.dir or None,
        train_split=fields.train_split,
        test_split=fields.test_split,
        validation=fields.validation,
        in_memory=in_memory,
    )
    if fields.batch_size > len(dataset.train):
        raise ConfigError(
            f"config.data.batch_size: {fields.batch_size} is more than the "
            f"{len(dataset.train)} training examples"
        )
    source = dataset if in_memory else fields.stream
    mean, std = (np.asarray(x, np.float32) for x in (source.mean, source.std))
    if not fields.standardise:
        mean, std = np.zeros_like(mean), np.ones_like(std)
    options = (mean, std, fields.batch_size, fields.last, fields.augmentation)
    if in_memory:
        feed = Memory(dataset.train, *options, unit_norm=fields.unit_norm)
    else:
        feed = Stream(
            _images(dataset, fields.stream),
            *options,
            parts=layout.parts,
            local=layout.positions,
            workers=fields.stream.workers,
            unit_norm=fields.unit_norm,
        )
    about = {
        "steps_per_epoch": feed.steps_per_epoch,
        "shape": list(feed.shape),
        "classes": dataset.num_classes,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }
    if feed.unit_norm:  # runs that know of no such field are the same without
        about["unit_norm"] = True
    about = fingerprint(dataset) | about
    return Inputs(feed, layout, dataset.num_classes, dataset.splits, about)


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


def describe(config: ConfigDict) -> tuple[tuple[int, ...], int]:
    """Return the shape of a config's images and its number of classes, without data.

    Raises:
        ConfigError, DataError: a field is not known, or there is no such set.
    """
    _check(config)
    in_memory, size = config.data.feed == "memory", config.data.stream.image_size
    shape, num_classes = sources.describe(
        config.data.name, data_dir=config.data.dir or None, in_memory=in_memory
    )
    return shape if in_memory else (size, size, 3), num_classes


def _check(config: ConfigDict) -> None:
    fields = config.data
    known("data.feed", fields.feed, _AUGMENTATIONS)
    known("data.augmentation", fields.augmentation, _AUGMENTATIONS[fields.feed])
    known("data.last", fields.last, order.LAST)
    known("data.stream.corrupt", fields.stream.corrupt, stored.CORRUPT)
