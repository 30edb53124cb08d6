"""Experiment: what a config means, built once."""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Key, PyTree
from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import data, models, optim, processes, state
from lth_jax.config import ConfigError
from lth_jax.evaluate import Evaluator, Refresher
from lth_jax.fields import field, options
from lth_jax.fit import Program
from lth_jax.fleet import Layout
from lth_jax.models import lean, summary
from lth_jax.state import TrainState

_MOST_STEPS = 10**9  # twice as many fit into 32 bits


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """A network, its data, how it is trained, and for how long.

    Attributes:
        program: trains.
        data: what tells the data set from others, and how its images are normalised.
        evaluators: evaluate, by name of the split.
        layers: what each layer of the network costs, in the order of their calls.
        initialise: from a replicate's key, and a learning rate and a weight decay (None
            for those of the config), to its dense state at step 0.
        length: steps of a full training.
        rewind_steps: the steps k of the rewind states, rising.
        evaluate_every: steps between evaluations, `length` for the end only.
        admm_interval: steps between the Z- and U-steps of ADMM pruning.
        path: evaluate networks on a path, by name of the split.
        refresh: recomputes the batch statistics of networks on a path.
    """

    program: Program
    data: dict[str, Any]
    evaluators: dict[str, Evaluator]
    layers: list[summary.Layer]
    initialise: Callable[..., TrainState]
    length: int
    rewind_steps: tuple[int, ...]
    evaluate_every: int
    admm_interval: int
    path: dict[str, Evaluator]
    refresh: Refresher

    @property
    def dense_steps(self) -> list[int]:
        """The steps after which dense networks are saved, rising."""
        return sorted({0, *self.rewind_steps, self.length})

    def stops(self, start: int, stop: int) -> list[int]:
        """Return the steps after which to evaluate members on their way to `stop`."""
        first = start - start % self.evaluate_every + self.evaluate_every
        between = range(first, stop, self.evaluate_every)
        return [*between, stop] if start < stop else []


def build(config: ConfigDict) -> Experiment:
    """Load the data and make everything that a run needs; nothing is trained.

    Raises:
        ConfigError, DataError: the config cannot be run; one line, naming the field.
    """
    config_lib.check(config)
    dataset = data.load(
        config.data.name,
        data_dir=config.data.dir or None,
        validation=config.data.validation,
    )
    feed = _feed(config, dataset)
    steps = _lengths(config, feed.steps_per_epoch)
    model = _model(config, dataset)
    initialise = _initialise(config, model, dataset)
    params = jax.eval_shape(initialise, jax.random.key(0)).params
    # XLA's CPU backend runs a convolution's gradient 65 times slower in a loop, and
    # vectorised over members it becomes a slower grouped convolution.
    convolutions = any(w.ndim == 4 for w in jax.tree.leaves(params))
    slow_loop = convolutions and _on_cpu()
    layout = Layout(
        config.train.layout,
        _devices(config),
        members=config.train.members or int(slow_loop),
        compiler_options=lean.COMPILER_OPTIONS if slow_loop else {},
    )
    program = Program(
        model=model,
        optimizer=_optimizer(config),
        schedule=optim.Schedule(
            config.optim.schedule,
            config.optim.learning_rate,
            length=steps["train.length"],
            milestones=steps["optim.milestones"],
            gamma=config.optim.gamma,
            end_value=config.optim.end_value,
            warm_up=steps["optim.warm_up"],
        ),
        feed=feed,
        arrays=layout.replicate(feed.arrays),
        layout=layout,
        steps_per_call=1 if slow_loop else 500,
        label_smoothing=config.optim.label_smoothing,
    )
    splits = {"validation": dataset.validation, "test": dataset.test}
    on_path = {"train": dataset.train, "test": dataset.test}
    examples = config.study.examples
    evaluator = partial(
        Evaluator, model=model, mean=dataset.mean, std=dataset.std, layout=layout
    )
    return Experiment(
        program=program,
        data=data.fingerprint(dataset)
        | {
            "steps_per_epoch": feed.steps_per_epoch,
            "shape": list(dataset.train.images.shape[1:]),
            "classes": dataset.num_classes,
            "mean": dataset.mean.tolist(),
            "std": dataset.std.tolist(),
        },
        evaluators={
            name: evaluator(split=split) for name, split in splits.items() if split
        },
        layers=summary.layers(model, dataset.train.images.shape[1:]),
        initialise=initialise,
        length=steps["train.length"],
        rewind_steps=tuple(sorted(set(steps["rewind.steps"]))),
        evaluate_every=steps.get("train.evaluate_every", steps["train.length"]),
        admm_interval=steps["prune.admm.interval"],
        path={
            name: evaluator(split=split.take(np.arange(min(examples, len(split)))))
            for name, split in on_path.items()
        },
        refresh=Refresher(program, -(-examples // config.data.batch_size)),
    )


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _devices(config: ConfigDict) -> tuple[jax.Device, ...]:
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    wanted = config.train.devices
    if wanted and processes.several():
        raise ConfigError("config.train.devices: several processes use all devices")
    if wanted > len(devices):
        raise ConfigError(f"config.train.devices: {wanted}, there are {len(devices)}")
    devices = tuple(devices[: wanted or None])
    if config.train.layout == "data" and config.data.batch_size % len(devices):
        raise ConfigError(
            f"config.data.batch_size: {config.data.batch_size} cannot be divided over "
            f"{len(devices)} devices; change it or config.train.devices"
        )
    return devices


def _feed(config: ConfigDict, dataset: data.Dataset) -> data.Memory:
    batch_size, examples = config.data.batch_size, len(dataset.train)
    if batch_size > examples:
        raise ConfigError(
            f"config.data.batch_size: {batch_size} is more than the {examples} "
            "training examples"
        )
    return data.Memory(
        dataset.train,
        dataset.mean,
        dataset.std,
        batch_size=batch_size,
        last=config.data.last,
        augmentation=config.data.augmentation,
    )


def _lengths(config: ConfigDict, steps_per_epoch: int) -> dict[str, Any]:
    steps = config_lib.lengths(config, steps_per_epoch)
    length = steps["train.length"]
    for name in ("train.length", "train.evaluate_every", "prune.admm.interval"):
        if steps.get(name, 1) < 1:
            raise ConfigError(f"config.{name}: must be at least one step")
        if steps.get(name, 1) > _MOST_STEPS:
            raise ConfigError(f"config.{name}: is more than {_MOST_STEPS:,} steps")
    for text, step in zip(config.rewind.steps, steps["rewind.steps"]):
        if step >= length:
            raise ConfigError(
                f"config.rewind.steps: {text!r} is step {step}, but training ends at "
                f"step {length}"
            )
    return steps


def _model(config: ConfigDict, dataset: data.Dataset) -> models.Network:
    together = config.train.layout == "data" and config.train.sync_batch_stats
    layers = {"conv": lean.Conv, "norm": lean.BatchNorm} if _on_cpu() else {}
    with options("model.options"):
        return models.create(
            config.model.name,
            num_classes=dataset.num_classes,
            init=config.model.init,
            norm_scale=config.model.norm_scale,
            dtype=config.model.dtype,
            axis_name="batch" if together else None,
            **layers,
            **config.model.options,
        )


def _initialise(
    config: ConfigDict, model: models.Network, dataset: data.Dataset
) -> Callable[..., TrainState]:
    base, weight_decay = config.optim.learning_rate, config.optim.weight_decay
    decays = bool(weight_decay or any(config.sweep.weight_decay))
    create = partial(
        state.create,
        model=model,
        optimizer=_optimizer(config)(base, weight_decay if decays else None),
        shape=dataset.train.images.shape[1:],
    )

    def initialise(
        key: Key[Array, ""], rate: float | None = None, decay: float | None = None
    ) -> TrainState:
        decay = weight_decay if decay is None else decay
        return create(
            key,
            exclude=tuple(config.prune.exclude),
            learning_rate=1.0 if rate is None else rate / base,
            weight_decay=decay if decays else None,
        )

    with options("model"):
        params = jax.eval_shape(create, jax.random.key(0)).params
    with options("optim.options"):
        jax.eval_shape(_one_update(config), params)
    with field("prune.exclude"):
        masks = jax.eval_shape(initialise, jax.random.key(0)).masks
    _check_left(config, [mask.size for mask in jax.tree.leaves(masks)])
    return initialise


def _check_left(config: ConfigDict, layers: list[int]) -> None:
    """Raise ConfigError if the last level would leave nothing of the layers."""
    weights = [sum(layers)] if config.prune.scope == "global" else layers
    if config.prune.densities:
        shares = [1 - Fraction(str(config.prune.densities[-1]))]
    else:
        shares = [Fraction(str(config.prune.fraction))] * config.prune.levels
    for share in shares:
        weights = [kept - math.ceil(share * kept) for kept in weights]
    if not sum(weights):
        raise ConfigError(
            f"config.prune: nothing would be left of {sum(layers)} weights at the last "
            "level"
        )


def _optimizer(config: ConfigDict) -> Callable[..., optax.GradientTransformation]:
    make = partial(
        optim.optimizer,
        config.optim.name,
        decay_everything=config.optim.decay_everything,
        **config.optim.options,
    )
    with options("optim.options"):
        make(config.optim.learning_rate, None)
    return make


def _one_update(config: ConfigDict) -> Callable[[PyTree], PyTree]:
    """Return a first step of the optimizer: it meets all of its options."""
    optimizer = _optimizer(config)(config.optim.learning_rate, None)
    return lambda params: optimizer.update(params, optimizer.init(params), params)
