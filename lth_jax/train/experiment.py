"""Experiment: what a config means, built once."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree
from ml_collections import ConfigDict

from lth_jax import masks as masks_lib
from lth_jax import models, tasks
from lth_jax.config import fields
from lth_jax.config.fields import field, known
from lth_jax.devices import memory
from lth_jax.devices.layout import Layout, choose, on_cpu
from lth_jax.layers import summary as summary_lib
from lth_jax.models import lean
from lth_jax.models.network import Network, over
from lth_jax.optim import descent
from lth_jax.stacked import apart
from lth_jax.tasks import TASKS, Task
from lth_jax.tasks import task as task_lib
from lth_jax.train import inputs, soundness, state, ways
from lth_jax.train.evaluate import Evaluator, Refresher, refresher
from lth_jax.train.state import TrainState
from lth_jax.train.step import Program


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """A network, its data, how it is trained, and for how long."""

    program: Program
    data: dict[str, Any]  # what tells the set from others, and how it is normalised
    measures: tuple[str, ...]  # of every network, as "test_accuracy"
    evaluators: dict[str, Evaluator]  # by name of the split
    layers: list[summary_lib.Layer]  # in the order of their calls
    prunable: dict[str, int]  # number of prunable weights of every layer, by path
    like: TrainState  # shapes and types of a network's
    # From a replicate's key, and values of what is swept (None for the config's), to
    # its dense state at step 0.
    initialise: Callable[..., TrainState]
    length: int  # steps of a full training
    rewind_steps: tuple[int, ...]  # the steps k of the rewind states, rising
    evaluate_every: int  # steps between evaluations, `length` for the end only
    intervals: tuple[int, int]  # steps between ADMM's updates, and moves of masks
    path: dict[str, Evaluator]  # evaluate networks on a path
    refresh: Refresher  # recomputes batch statistics there
    close: Callable[[], None]  # ends what makes batches ahead, until it is asked again
    ways: tuple[str, ...]  # in which members of a fleet can go
    members: int  # at most on a device at a time, 0 for no limit

    @property
    def told(self) -> dict[str, Any]:
        """What a run's plan says of what is measured, as JSON."""
        task = task_lib.about(self.program.task)
        return {"measures": [*self.measures], "task": task}

    def trial(self, way: str, number: int) -> Program:
        """Return the program of a way, with as many members as there is room for."""
        program = self.program  # which goes the first way
        if way != self.ways[0]:
            program = ways.going(program, way, self.members)
        # A member is in memory thrice: where it starts, on its way, and as saved.
        others = 3 * number * memory.size(self.like)
        others += sum(e.size for e in (*self.evaluators.values(), *self.path.values()))
        return ways.fitting(program, self.like, number, others)

    def going(self, way: str, program: Program) -> "Experiment":
        """Return the same, going a way: trained by this program, evaluated alike.

        What is trained as products is evaluated in turn.
        """
        if program is self.program:
            return dataclasses.replace(self, ways=(way,))
        alike, members = ways.evaluated(way), program.layout.members
        refreshed = ways.going(self.refresh.program, alike, members)
        layout = refreshed.layout
        return dataclasses.replace(
            self,
            program=program,
            evaluators={n: e.going(layout) for n, e in self.evaluators.items()},
            path={n: e.going(layout) for n, e in self.path.items()},
            refresh=dataclasses.replace(self.refresh, program=refreshed),
            ways=(way,),
        )

    def smaller(self, number: int) -> "Experiment | None":
        """Return the same for half as many of so many members at a time, if it can."""
        layout = self.program.layout
        if layout.each(number) == 1:
            return None
        layout = layout.limited(number, 0.5)
        program = dataclasses.replace(self.program, layout=layout)
        return self.going(self.ways[0], program)

    def stops(self, start: int, stop: int) -> list[int]:
        """Return the steps after which to evaluate members on their way to `stop`."""
        first = start - start % self.evaluate_every + self.evaluate_every
        between = range(first, stop, self.evaluate_every)
        return [*between, stop] if start < stop else []


def build(config: ConfigDict, together: int | None = None) -> Experiment:
    """Load the data and make everything that a run needs; nothing is trained.

    Args:
        config: whose fields are checked (`config.check`).
        together: most networks that train or are evaluated at a time, if known; no more
            devices are used.

    Raises:
        ConfigError, DataError: the config cannot be run; one line, naming the field.
    """
    _check_names(config)
    devices = choose(config, together)
    layout = Layout(config.train.layout, devices)
    task = _task(config)
    measures, input = _measures(config, task), inputs.build(config, layout)
    steps = fields.training_lengths(config, input.feed.steps_per_epoch)
    network, example = _network(config, input.num_classes), input.feed.example
    initialise = _initialise(config, network, example)
    initial = jax.eval_shape(initialise, jax.random.key(0))
    soundness.check(network, task, input, initial)
    layers = partial(apart, stacked=tuple(config.prune.stacked))
    # XLA's CPU backend runs a convolution's gradient 65 times slower in a loop. Members
    # that a core takes one after another stay in its caches, have no convolutions in
    # groups, and need one program for all fleets (benchmarks/NOTES.md).
    convolves = any(w.ndim == 4 for w in jax.tree.leaves(initial.params))
    slow_loop = on_cpu() and convolves
    options = lean.COMPILER_OPTIONS if slow_loop else {}
    layout = dataclasses.replace(layout, compiler_options=options)
    program = Program(
        network=network,
        task=task,
        optimizer=descent.optimizer(config),
        schedule=descent.schedule(config, steps),
        feed=input.feed,
        supply=input.supply,
        layout=layout,
        steps_per_call=1 if slow_loop or input.feed.divided else 500,
        accumulate=config.train.accumulate,
        unroll=slow_loop,
        average=config.train.average,
        guard=descent.guard(config),
    )
    most = config.train.members
    some = ways.candidates(
        program, config.train.way, most, together, convolves=convolves
    )
    plain = ways.going(program, ways.evaluated(some[0]), most)
    program = ways.going(program, some[0], most) if some[0] == "products" else plain
    layout = plain.layout

    def evaluators(without: str, most: int | None = None) -> dict[str, Evaluator]:
        found = {}
        for name, split in input.splits.items():
            if most:  # the first ones may be of a few classes
                some = np.random.RandomState(0).permutation(len(split))[:most]
                split = split.take(np.sort(some))
            if name != without:
                of = input.split(split), input.feed.prepare, layout
                found[name] = Evaluator(network, task, *of)
        return found

    return Experiment(
        program=program,
        data=input.about,
        evaluators=evaluators(without="train"),
        measures=measures,
        layers=_layers(network, example, initial),
        prunable={p: m.size for p, m in jax.eval_shape(layers, initial.masks).items()},
        like=initial,
        initialise=initialise,
        length=steps["train.length"],
        rewind_steps=tuple(sorted({*steps["rewind.steps"]})),
        evaluate_every=steps.get("train.evaluate_every", steps["train.length"]),
        intervals=(steps["prune.admm.interval"], steps["move.every"]),
        close=input.close,
        path=evaluators(without="validation", most=config.study.examples),
        refresh=refresher(plain, config),
        ways=some,
        members=most,
    )


def summary(config: ConfigDict) -> str:
    """Return the table of the network's layers; data need not be there.

    Raises:
        ConfigError, DataError: there is no such network, or no such data.
    """
    fields.check(config)
    _check_names(config)
    example, num_classes = inputs.describe(config)
    network = _network(config, num_classes)
    initialise = _initialise(config, network, example)
    initial = jax.eval_shape(initialise, jax.random.key(0))
    return summary_lib.table(_layers(network, example, initial))


def _layers(
    network: Network, example: PyTree, initial: TrainState
) -> list[summary_lib.Layer]:
    """Return the network's layers; it is applied as in training and evaluation."""
    with field("model", Exception):
        return summary_lib.layers(network, example, initial.masks)


def _check_names(config: ConfigDict) -> None:
    """Raise ConfigError unless network, task and optimizer are known."""
    known("task.name", config.task.name, TASKS)
    known("model.name", config.model.name, models.MODELS)
    known("model.init", config.model.init, models.INITIALIZERS)
    known("model.norm_scale", config.model.norm_scale, models.NORM_SCALES)
    descent.check_names(config)


def _task(config: ConfigDict) -> Task:
    options = config.task.options.to_dict()
    own = ("label_smoothing", "aux_weight")
    with field("task.options", Exception):
        return tasks.create(
            config.task.name, options, **{n: config.optim[n] for n in own}
        )


def _measures(config: ConfigDict, task: Task) -> tuple[str, ...]:
    """Return what is measured of every network; a split alone stands for all of it."""
    splits = ("test", "validation") if config.data.validation else ("test",)
    of = {split: [f"{split}_{name}" for name in task.units] for split in splits}
    singles = {name: [name] for names in of.values() for name in names}
    for measure in config.measures:
        known("measures", measure, of | singles)
    return tuple(n for measure in config.measures for n in (of | singles)[measure])


def _network(config: ConfigDict, num_classes: int) -> Network:
    together = config.train.layout == "data" and config.train.sync_batch_stats
    layers = {"conv": lean.Conv, "norm": lean.BatchNorm} if on_cpu() else {}
    with field("model.options", Exception):
        made = models.create(
            config.model.name,
            num_classes=num_classes,
            init=config.model.init,
            norm_scale=config.model.norm_scale,
            norm_momentum=config.model.norm_momentum,
            norm_epsilon=config.model.norm_epsilon,
            norm_group=config.model.norm_group,
            dtype=config.model.dtype,
            **{**layers, **config.model.options},
        )
    return over(made, "batch" if together else None)


def _initialise(
    config: ConfigDict, network: Network, example: PyTree
) -> Callable[..., TrainState]:
    swept = [name[6:] for name in fields.FIELDS if name.startswith("sweep.")]
    base = {name: float(config.optim[name]) for name in swept}
    used = {name for name in swept if base[name] or any(config.sweep[name])}
    optimizer = descent.optimizer(config)
    create = partial(
        state.create,
        inputs=jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), example),
        network=network,
        optimizer=optimizer(base["learning_rate"], descent.weight_decay(config)),
        average=config.train.average > 0,
    )

    def initialise(key: Key[Array, ""], *setting: float | None) -> TrainState:
        """Initialise in a setting of the sweep; by default in that of the config."""
        given = {n: x for n, x in zip(swept, setting) if x is not None}
        values = {name: given.get(name, base[name]) for name in used}
        values["learning_rate"] /= base["learning_rate"]  # a factor on the schedule
        exclude = tuple(config.prune.exclude)
        return create(key, exclude=exclude, include=include, **values)

    include = tuple(config.prune.include)
    with field("model", Exception):
        params = jax.eval_shape(create, jax.random.key(0)).params
    with field("prune.include"):
        jax.eval_shape(partial(masks_lib.full, include=include), params)
    with field("prune.exclude"):
        initial = jax.eval_shape(initialise, jax.random.key(0))
    with field("prune.stacked"):
        jax.eval_shape(
            partial(apart, stacked=tuple(config.prune.stacked)), initial.masks
        )
    descent.check(config, initial)
    with field("prune.keep"):
        keep = tuple(config.prune.keep)
        jax.eval_shape(partial(masks_lib.without, patterns=keep), initial.masks)
    return initialise
