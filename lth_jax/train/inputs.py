"""Inputs: what a config's data come to: the feed that trains, splits that evaluate."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax import data
from lth_jax.config.fields import known
from lth_jax.data import memory, order, stored, stream
from lth_jax.errors import ConfigError
from lth_jax.models import Network
from lth_jax.train.devices import Layout
from lth_jax.train.evaluate import Evaluator
from lth_jax.train.step import Feed

Evaluate = Evaluator

_AUGMENTATIONS = {"memory": memory.AUGMENTATIONS, "stream": stream.AUGMENTATIONS}


@dataclass(frozen=True, eq=False)
class Inputs:
    """The data of a run, from memory or from disk.

    Attributes:
        feed: where training batches come from.
        supply: as in `Program`.
        num_classes: number of classes.
        splits: the splits there are, by name: train, validation, test.
        evaluator: from a network, a split and a layout to what evaluates it.
        about: what tells the data from others, and what their images are like.
        close: ends what makes batches ahead; it begins again when it is asked for one.
    """

    feed: Feed
    supply: Callable[[int, int], PyTree]
    num_classes: int
    splits: dict[str, Any]
    evaluator: Callable[[Network, Any, Layout], Evaluator]
    about: dict[str, Any]
    close: Callable[[], None]


def build(config: ConfigDict, layout: Layout) -> Inputs:
    """Load or open the data of a config.

    Raises:
        ConfigError, DataError: they cannot be had, or not as configured.
    """
    _check(config)
    wanted, in_memory = config.data, config.data.feed == "memory"
    dataset = data.load(
        name=wanted.name,
        data_dir=wanted.dir or None,
        train_split=wanted.train_split,
        test_split=wanted.test_split,
        validation=wanted.validation,
        in_memory=in_memory,
    )
    if wanted.batch_size > len(dataset.train):
        raise ConfigError(
            f"config.data.batch_size: {wanted.batch_size} is more than the "
            f"{len(dataset.train)} training examples"
        )
    found = dataset if in_memory else wanted.stream
    mean, std = (np.asarray(x, np.float32) for x in (found.mean, found.std))
    if not wanted.standardise:
        mean, std = np.zeros_like(mean), np.ones_like(std)
    make = _memory if in_memory else _stream
    feed, supply, evaluated, close = make(config, layout, dataset, mean, std)
    return Inputs(
        feed=feed,
        supply=supply,
        num_classes=dataset.num_classes,
        splits=dataset.splits,
        evaluator=lambda model, split, layout: Evaluator(
            model, evaluated(split), mean, std, layout
        ),
        about=data.fingerprint(dataset)
        | {
            "steps_per_epoch": feed.steps_per_epoch,
            "shape": list(feed.shape),
            "classes": dataset.num_classes,
            "mean": mean.tolist(),
            "std": std.tolist(),
        },
        close=close,
    )


def describe(config: ConfigDict) -> tuple[tuple[int, ...], int]:
    """Return the shape of a config's images and its number of classes, without data.

    Raises:
        ConfigError, DataError: the data cannot be as configured, or there is no such
            set.
    """
    _check(config)
    in_memory, size = config.data.feed == "memory", config.data.stream.image_size
    shape, num_classes = data.describe(
        config.data.name, data_dir=config.data.dir or None, in_memory=in_memory
    )
    fixed = tuple(int(n) for n in shape if n) if in_memory else (size, size, 3)
    return fixed, num_classes


def _check(config: ConfigDict) -> None:
    known("data.feed", config.data.feed, _AUGMENTATIONS)
    augmentations = _AUGMENTATIONS[config.data.feed]
    known("data.augmentation", config.data.augmentation, augmentations)
    known("data.last", config.data.last, order.LAST)
    known("data.stream.corrupt", config.data.stream.corrupt, stored.CORRUPT)


# Both return a feed, its supply, what a split is evaluated from, and an end.
def _memory(
    config: ConfigDict, layout: Layout, dataset: data.Dataset, *statistics: np.ndarray
) -> tuple[Feed, Callable, Callable, Callable[[], None]]:
    feed = data.Memory(
        dataset.train,
        *statistics,
        batch_size=config.data.batch_size,
        last=config.data.last,
        augmentation=config.data.augmentation,
    )
    resident = layout.replicate(feed.arrays)
    return feed, lambda data_seed, step: resident, lambda split: split, lambda: None


def _stream(
    config: ConfigDict,
    layout: Layout,
    dataset: data.Dataset,
    mean: np.ndarray,
    std: np.ndarray,
) -> tuple[Feed, Callable, Callable, Callable[[], None]]:
    options = config.data.stream
    images = partial(
        data.Images,
        num_classes=dataset.num_classes,
        size=options.image_size,
        resize=options.resize,
        area=tuple(options.area),
        aspect=tuple(options.aspect),
        corrupt=options.corrupt,
    )
    shared = {
        "batch_size": config.data.batch_size,
        "parts": layout.parts,
        "local": layout.positions,
        "workers": options.workers,
    }
    feed = data.Stream(
        images=images(dataset.train),
        mean=mean,
        std=std,
        last=config.data.last,
        augmentation=config.data.augmentation,
        **shared,
    )

    def supply(data_seed: int, step: int) -> PyTree:
        return layout.scatter(feed.supply(data_seed, step))

    def evaluated(split: data.Stored) -> data.Passage:
        return data.Passage(images=images(split), **shared)

    return feed, supply, evaluated, feed.close
