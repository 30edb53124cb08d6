"""Inputs: what a config's data come to: the feed that trains, splits that evaluate."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax import data
from lth_jax.errors import ConfigError
from lth_jax.models import Network
from lth_jax.train.devices import Layout
from lth_jax.train.evaluate import Evaluator, StreamEvaluator
from lth_jax.train.step import Feed

Evaluate = Evaluator | StreamEvaluator


@dataclass(frozen=True, eq=False)
class Inputs:
    """The data of a run, from memory or from disk.

    Attributes:
        feed: where training batches come from.
        supply: as in `Program`.
        num_classes: number of classes.
        splits: the splits there are, by name: train, validation, test.
        about: what tells the data from others, and what their images are like.
        close: ends what makes batches ahead; it begins again when it is asked for one.
        evaluator: from a network, a split and a layout to what evaluates it.
    """

    feed: Feed
    supply: Callable[[int, int], PyTree]
    num_classes: int
    splits: dict[str, Any]
    evaluator: Callable[[Network, Any, Layout], Evaluate]
    about: dict[str, Any]
    close: Callable[[], None] = lambda: None


def build(config: ConfigDict, layout: Layout) -> Inputs:
    """Load or open the data of a config.

    Raises:
        ConfigError, DataError: they cannot be had, or not as configured.
    """
    return _FEEDS[config.data.feed](config, layout)


def _memory(config: ConfigDict, layout: Layout) -> Inputs:
    dataset = data.load(**_names(config))
    mean, std = _statistics(config, dataset.mean, dataset.std)
    _check_batch(config, len(dataset.train))
    feed = data.Memory(
        dataset.train,
        mean,
        std,
        batch_size=config.data.batch_size,
        last=config.data.last,
        augmentation=config.data.augmentation,
    )
    resident = layout.replicate(feed.arrays)
    return Inputs(
        feed=feed,
        supply=lambda data_seed, step: resident,
        num_classes=dataset.num_classes,
        splits=_splits(dataset),
        evaluator=lambda model, split, layout: Evaluator(
            model=model, split=split, mean=mean, std=std, layout=layout
        ),
        about=data.fingerprint(dataset) | _about(feed, dataset.num_classes, mean, std),
    )


def _stream(config: ConfigDict, layout: Layout) -> Inputs:
    library, options = data.open_library(**_names(config)), config.data.stream
    _check_batch(config, len(library.train))
    images = partial(
        data.Images,
        num_classes=library.num_classes,
        size=options.image_size,
        resize=options.resize,
        area=tuple(options.area),
        aspect=tuple(options.aspect),
        corrupt=options.corrupt,
    )
    mean, std = (np.array(x, np.float32) for x in (options.mean, options.std))
    mean, std = _statistics(config, mean, std)
    shared = {
        "mean": mean,
        "std": std,
        "batch_size": config.data.batch_size,
        "parts": layout.parts,
        "local": layout.positions,
        "workers": options.workers,
    }
    feed = data.Stream(
        images(library.train),
        last=config.data.last,
        augmentation=config.data.augmentation,
        **shared,
    )
    return Inputs(
        feed=feed,
        supply=lambda data_seed, step: layout.scatter(feed.supply(data_seed, step)),
        num_classes=library.num_classes,
        splits=_splits(library),
        evaluator=lambda model, split, layout: StreamEvaluator(
            model=model, split=data.Passage(images(split), **shared), layout=layout
        ),
        about=library.about
        | {"examples": {name: len(s) for name, s in _splits(library).items()}}
        | _about(feed, library.num_classes, mean, std),
        close=feed.close,
    )


def describe(config: ConfigDict) -> tuple[tuple[int, ...], int]:
    """Return the shape of a config's images and its number of classes, without data.

    Raises:
        DataError: there is no such set.
    """
    in_memory, size = config.data.feed == "memory", config.data.stream.image_size
    shape, num_classes = data.describe(
        config.data.name, data_dir=config.data.dir or None, in_memory=in_memory
    )
    fixed = tuple(int(n) for n in shape if n) if in_memory else (size, size, 3)
    return fixed, num_classes


_FEEDS = {"memory": _memory, "stream": _stream}


def _statistics(
    config: ConfigDict, mean: np.ndarray, std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what images are normalised by."""
    if config.data.standardise:
        return mean, std
    return np.zeros_like(mean), np.ones_like(std)


def _names(config: ConfigDict) -> dict[str, Any]:
    return {
        "name": config.data.name,
        "data_dir": config.data.dir or None,
        "train_split": config.data.train_split,
        "test_split": config.data.test_split,
        "validation": config.data.validation,
    }


def _about(
    feed: Feed, num_classes: int, mean: np.ndarray, std: np.ndarray
) -> dict[str, Any]:
    return {
        "steps_per_epoch": feed.steps_per_epoch,
        "shape": list(feed.shape),
        "classes": num_classes,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }


def _splits(dataset: data.Dataset | data.Library) -> dict[str, Any]:
    splits = {
        "train": dataset.train,
        "validation": dataset.validation,
        "test": dataset.test,
    }
    return {name: split for name, split in splits.items() if split is not None}


def _check_batch(config: ConfigDict, examples: int) -> None:
    if config.data.batch_size > examples:
        raise ConfigError(
            f"config.data.batch_size: {config.data.batch_size} is more than the "
            f"{examples} training examples"
        )
