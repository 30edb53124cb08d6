"""Dry run: what a config would train, how long that takes here, and how much disk."""

import contextlib
import itertools
from collections import Counter
from dataclasses import replace

from ml_collections import ConfigDict

from lth_jax.branches import BRANCHES
from lth_jax.config.table import flatten
from lth_jax.devices import memory
from lth_jax.devices.layout import Layout
from lth_jax.lottery import loop
from lth_jax.lottery.fleets import largest_fleet, settled
from lth_jax.lottery.plan import Plan
from lth_jax.train.experiment import Experiment
from lth_jax.train.ways import steps_per_second

_SECONDS = 3.0  # how long training is timed
_PAUSES = 3  # of a level on its way: two are kept, and another is being written


def describe(config: ConfigDict) -> str:
    """Return the plan of a run as text; some steps are trained, to time them.

    Every field of the config as it is resolved, and what is trained at every level.

    Raises:
        ConfigError, DataError: as `lottery.run` would.
    """
    plan, experiment = loop.build(config)
    with contextlib.closing(experiment), loop.precision(config):
        experiment = settled(plan, experiment)
        fleet = largest_fleet(plan, experiment)
        rate = steps_per_second(experiment.program, fleet, plan.length, _SECONDS)
    fields = sorted(flatten(config).items())
    lines = [f"config.{name}={value}" for name, value in fields]
    lines += ["", f"{'level':>5}  {'density':>8}  {'trainings':>9}  {'steps':>13}"]
    levels = [plan.trainings(level) for level in range(plan.levels + 1)]
    for level, density in enumerate(plan.densities(experiment.prunable)):
        lines.append(
            f"{level:>5}  {density:>8.2%}  {len(levels[level]):>9,}  "
            f"{plan.steps(level):>13,}"
        )
    steps = sum(map(plan.steps, range(plan.levels + 1)))
    layout = experiment.program.layout
    timed = len(next(iter(layout.groups(fleet)))) / layout.each(len(fleet)) / rate
    # Of dense networks, tickets and their copies; what a method trains counts twice.
    copies = dict.fromkeys(BRANCHES, 0) | {"dense": 1, "ticket": 1}
    saved = len(plan.dense) * (len(plan.dense_steps) - 1) + sum(
        copies.get(training.member.branch, 2) for training in itertools.chain(*levels)
    )
    saved += _PAUSES * max(map(len, levels))
    return "\n".join(
        [
            *lines,
            f"total            {sum(map(len, levels)):>9,}  {steps:>13,}",
            "",
            f"time: about {_duration(timed * _turns(plan, layout))}, {rate:,.0f} steps "
            "a second here where all devices have members",
            f"disk: at most {saved * _bytes(experiment) / 1e6:,.1f} MB of checkpoints",
            "Nothing was written, but data that had to be prepared. To train, leave "
            "--dry_run out.",
        ]
    )


def _turns(plan: Plan, layout: Layout) -> int:
    """Return how often devices take a step of a member, one after another.

    Those of a fleet that begin together go together. Where they do not fill the
    devices, some of these wait.
    """
    turns = 0
    for level in range(plan.levels + 1):
        others = [t for t in plan.trainings(level) if t.member.branch not in BRANCHES]
        dense = [t for t in plan.trainings(level) if t.member in plan.dense]
        for fleet in (dense, others, *plan.waves(level)):
            for steps, n in Counter(training.steps for training in fleet).items():
                groups = sum(1 for _ in layout.groups(range(n)))
                turns += groups * layout.each(n) * steps
    return turns


def _bytes(experiment: Experiment) -> int:
    """Return the size of a saved network: masks take a bit a weight."""
    bits = sum(experiment.prunable.values())
    return bits // 8 + memory.size(replace(experiment.like, masks=()))


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
