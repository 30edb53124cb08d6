"""Dry run: what a config would train, how long that takes here, and how much disk."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.lottery.plan import Plan
from lth_jax.train import experiment as experiment_lib
from lth_jax.train import processes
from lth_jax.train.experiment import Experiment
from lth_jax.train.fit import fit

_SECONDS = 3  # how long training is timed
_PAUSES = 3  # of a level on its way: two are kept, and another is being written


@dataclass(frozen=True)
class Level:
    """What is trained at a level.

    Attributes:
        number: of the level, 0 for the dense networks.
        density: fraction of the prunable weights that are kept.
        trainings: networks trained.
        steps: training steps of all of them.
        saved: networks whose states stay on disk; one that ADMM draws counts twice.
    """

    number: int
    density: float
    trainings: int
    steps: int
    saved: int


def describe(config: ConfigDict) -> str:
    """Return the plan of a run as text; some steps are trained, to time them.

    Every field of the config as it is resolved, and what is trained at every level.

    Raises:
        ConfigError, DataError: as `lottery.run` would.
    """
    experiment = experiment_lib.build(config)
    levels = list(plan(config, experiment))
    rate = steps_per_second(config, experiment)
    trainings, steps, saved = (
        sum(getattr(level, name) for level in levels)
        for name in ("trainings", "steps", "saved")
    )
    saved += _PAUSES * max(level.trainings for level in levels)
    fields = sorted(config_lib.flatten(config).items())
    lines = [f"config.{name}={value}" for name, value in fields]
    lines += ["", f"{'level':>5}  {'density':>8}  {'trainings':>9}  {'steps':>13}"]
    lines += [
        f"{level.number:>5}  {level.density:>8.2%}  {level.trainings:>9,}  "
        f"{level.steps:>13,}"
        for level in levels
    ]
    return "\n".join(
        [
            *lines,
            f"total            {trainings:>9,}  {steps:>13,}",
            "",
            f"time: about {_duration(steps / rate)}, {rate:,.0f} steps a second here",
            f"disk: at most {saved * _bytes(experiment) / 1e6:,.1f} MB of checkpoints",
            "Nothing was written. To train, leave --dry_run out.",
        ]
    )


def plan(config: ConfigDict, experiment: Experiment) -> Iterator[Level]:
    """Yield what is trained at each level."""
    networks, steps = Plan(config), list(experiment.rewind_steps)
    initial = jax.eval_shape(experiment.initialise, jax.random.key(0))
    layers = [mask.size for mask in jax.tree.leaves(initial.masks)]
    for number, density in enumerate(networks.densities(layers)):
        members = list(networks.members(number, steps))
        dense = 0 if number else len(networks.origins)
        states = dense * (len(experiment.dense_steps) + len(steps))
        drawn = number and bool(networks.draws) * len(networks.origins)
        tickets = sum(member.branch in ("ticket", "dense") for member in members)
        yield Level(
            number=number,
            density=density,
            trainings=len(members) + dense,
            steps=networks.steps(
                number, steps, experiment.length, experiment.admm_interval
            ),
            saved=states + tickets + 2 * drawn,
        )


def steps_per_second(config: ConfigDict, experiment: Experiment) -> float:
    """Train a fleet as large as the run's largest, and return its steps a second."""
    networks, rewind_steps = Plan(config), list(experiment.rewind_steps)
    program, initial = experiment.program, experiment.initialise(jax.random.key(0))
    fleet = [initial] * networks.largest(rewind_steps)
    group = list(next(iter(program.layout.groups(fleet))))
    calls = itertools.count()
    # The first call compiles.
    fit(group, experiment.length, program, pause=lambda: next(calls) > 0)
    began, done = time.monotonic(), []
    group = fit(
        group,
        experiment.length,
        program,
        progress=done.append,
        pause=lambda: processes.agree(time.monotonic() - began > _SECONDS),
    )
    jax.block_until_ready(group)
    return sum(done) / (time.monotonic() - began)


def _bytes(experiment: Experiment) -> int:
    """Return the size of a saved network: masks take a bit a weight."""
    initial = jax.eval_shape(experiment.initialise, jax.random.key(0))
    bits = sum(mask.size for mask in jax.tree.leaves(initial.masks))
    return bits // 8 + sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(replace(initial, masks=()))
    )


def _duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> _duration(5_400.0)
        '1.5 hours'
    """
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"
