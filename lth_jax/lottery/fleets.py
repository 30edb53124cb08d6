"""Fleets: the way in which the members of a run's fleets go, found once and kept."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from lth_jax.errors import RunError
from lth_jax.train import ways
from lth_jax.train.state import TrainState
from lth_jax.workdir import identity

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.train.experiment import Experiment
    from lth_jax.workdir.folder import Workdir


def settled(
    plan: "Plan",
    experiment: "Experiment",
    workdir: "Workdir | None" = None,
    say: Callable[[str], object] = lambda line: None,
) -> "Experiment":
    """Return an experiment that knows how the members of its fleets go.

    Where there are several ways, the fastest is found by some steps of each, and said.
    It is kept in the workdir, with how many members go at a time where devices have no
    room for more: a run that goes on goes the same way. One that is done tries none.
    """
    if workdir and not workdir.to_come(plan.dense_steps, plan.levels):
        return experiment
    if workdir and (kept := _read(workdir, experiment, say)):
        return kept
    number, some, rates = plan.largest(), experiment.ways, {}
    if number <= len(experiment.program.layout.devices):
        some = some[:1]
    began = time.monotonic()
    programs = {way: experiment.trial(way, number) for way in some}
    way = some[0]
    if len(some) > 1:
        rates = ways.timed(programs, largest_fleet(plan, experiment), plan.length)
        way = max(rates, key=rates.__getitem__)
        shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        seconds = time.monotonic() - began
        say(f"train.way: {way} (steps a second: {shown}; tried in {seconds:.0f} s)")
    found = experiment.going(way, programs[way])
    if workdir and (rates or found.program is not experiment.program):
        workdir.keep_way(way, found.program.layout.members, rates)
    return found


def largest_fleet(plan: "Plan", experiment: "Experiment") -> list[TrainState]:
    """Return as many networks as the largest fleet has, all alike, to be timed."""
    return [experiment.initialise(jax.random.key(0))] * plan.largest()


def _read(
    workdir: "Workdir", experiment: "Experiment", say: Callable[[str], object]
) -> "Experiment | None":
    """Return an experiment that goes as was kept; None if that cannot be."""
    path = workdir.way
    if not path.exists():
        return None
    try:
        kept: Any = identity.read(path)
        way, members = kept["way"], kept["members"]
        if way not in experiment.ways or type(members) is not int or members < 0:
            raise ValueError(f"{way!r} with {members!r} members at a time")
    except (RunError, KeyError, TypeError, ValueError) as error:
        say(f"warning: {path} is not of this run ({error!r}): ways are tried again")
        return None
    return experiment.going(way, ways.going(experiment.program, way, members))
