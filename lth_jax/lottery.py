"""Lottery: fit, prune, rewind.

Iterative magnitude pruning with rewinding (Frankle et al., 2019, Algorithm 1), for all
replicates and rewind steps of a config at once.
"""

import functools
import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
from ml_collections import ConfigDict
from tqdm import tqdm

from lth_jax import experiment as experiment_lib
from lth_jax import masks as masks_lib
from lth_jax import prune, report, state
from lth_jax.branches import BRANCHES, Origin
from lth_jax.experiment import Experiment
from lth_jax.fit import fit
from lth_jax.interruption import Interruption
from lth_jax.masks import Masks
from lth_jax.methods import METHODS
from lth_jax.records import Member, row
from lth_jax.state import TrainState
from lth_jax.workdir import Workdir

Chain = tuple[int, int]  # (replicate, rewind step): pruned level by level


class Diverged(RuntimeError):
    """A loss is not finite any more; one line that names the network and the step."""


@dataclass(frozen=True, eq=False)
class Lottery:
    """A run: its config, what that means, its folder, and how far it is."""

    config: ConfigDict
    experiment: Experiment
    workdir: Workdir
    progress: tqdm
    interruption: Interruption

    @property
    def levels(self) -> int:
        """The number of pruning rounds."""
        return len(self.config.prune.densities) or self.config.prune.levels

    def key(self, replicate: int, *purposes: int) -> Key[Array, ""]:
        """Return the key of a replicate, or one derived from it."""
        key = jax.random.key(self.config.seed)
        for number in (replicate, *purposes):
            key = jax.random.fold_in(key, number)
        return key

    def dense(self, step: int) -> list[TrainState]:
        """Return the dense states of all replicates after `step` steps, from disk."""
        like = jax.eval_shape(self.experiment.initialise, self.key(0))
        return self.workdir.dense.restore(step, [like] * self.config.replicates)


def run(config: ConfigDict, directory: Path) -> None:
    """Find lottery tickets as configured, from wherever `directory` stands.

    Raises:
        ConfigError, DataError: before anything is trained or written.
        Diverged: while training.
        Interrupted: the process was asked to end; the same call goes on from there.
    """
    experiment = experiment_lib.build(config)
    workdir = Workdir(directory)
    workdir.open(config)
    with (
        tqdm(unit="step", unit_scale=True, disable=None) as progress,
        Interruption(60 * config.train.checkpoint_minutes) as interruption,
    ):
        lottery = Lottery(config, experiment, workdir, progress, interruption)
        tickets = train_dense(lottery)
        for level in range(1, lottery.levels + 1):
            tickets = train_level(lottery, level, tickets)
    print(report.table(workdir.records.rows()))


def train_dense(lottery: Lottery) -> dict[Chain, TrainState]:
    """Fit: train the dense networks, and save their states at the rewind steps.

    Returns:
        The trained networks, as level 0 of every chain.
    """
    experiment, series = lottery.experiment, lottery.workdir.dense
    names = [Member(r, 0, 0, "dense", 0) for r in range(lottery.config.replicates)]
    saved = series.numbers()
    if saved:
        members = lottery.dense(saved[-1])
    else:
        members = [experiment.initialise(lottery.key(m.replicate)) for m in names]
    for stop in sorted({0, *experiment.rewind_steps, experiment.length} - {*saved}):
        fleet = train(lottery, f"dense-{stop}", dict(zip(names, members)), stop)
        members = list(fleet.values())
        lottery.workdir.finish(series, stop, members)
    return {
        (name.replicate, step): member
        for step in experiment.rewind_steps
        for name, member in zip(names, members)
    }


def train_level(
    lottery: Lottery, level: int, tickets: dict[Chain, TrainState]
) -> dict[Chain, TrainState]:
    """Prune, rewind, fit: from the trained tickets of a level to those of the next.

    Returns:
        The level's trained tickets, with their masks.
    """
    series = lottery.workdir.levels
    if level in series.numbers():
        return dict(zip(tickets, series.restore(level, list(tickets.values()))))
    masks = prune_tickets(lottery, level, tickets)
    starts = rewind_branches(lottery, level, masks)
    trained = train(lottery, f"level-{level}", starts, lottery.experiment.length)
    tickets = {
        (member.replicate, member.rewind_step): network
        for member, network in trained.items()
        if (member.branch, member.copy) == ("ticket", 0)
    }
    lottery.workdir.finish(series, level, list(tickets.values()))
    return tickets


def prune_tickets(
    lottery: Lottery, level: int, tickets: dict[Chain, TrainState]
) -> dict[Chain, Masks]:
    """Prune: return the next masks of every chain."""
    options = lottery.config.prune
    one_shot = options.schedule == "one_shot"
    finals = lottery.dense(lottery.experiment.length) if one_shot else []
    masks = {}
    for (replicate, step), network in tickets.items():
        trained = finals[replicate] if one_shot else network
        key = lottery.key(replicate, state.PRUNING, level)
        scores = METHODS[options.method](trained, key)
        if options.densities:
            shrink, amount = prune.to_density, options.densities[level - 1]
        else:
            shrink, amount = prune.by_fraction, options.fraction
        masks[replicate, step] = shrink(scores, network.masks, amount, options.scope)
    return masks


def rewind_branches(
    lottery: Lottery, level: int, masks: dict[Chain, Masks]
) -> dict[Member, TrainState]:
    """Rewind: return where every branch of a level starts."""
    dense = functools.cache(lottery.dense)
    starts = {}
    for (replicate, step), mask in masks.items():
        for branch in lottery.config.branches:
            number = zlib.crc32(branch.encode())  # other branches change no draws
            origin = Origin(
                dense=lambda step, replicate=replicate: dense(step)[replicate],
                rewind_step=step,
                length=lottery.experiment.length,
                fresh=tuple(lottery.config.rewind.fresh),
                initialise=lottery.experiment.initialise,
                masks=mask,
                key=lottery.key(replicate, state.BRANCH, level, number),
            )
            start = BRANCHES[branch](origin)
            for copy in range(lottery.config.copies):
                seed = state.data_seed(lottery.key(replicate), copy)
                member = Member(replicate, step, level, branch, copy)
                starts[member] = replace(start, data_seed=seed)
    return starts


def train(
    lottery: Lottery, unit: str, fleet: dict[Member, TrainState], stop: int
) -> dict[Member, TrainState]:
    """Fit: train a fleet to step `stop`, recording and saving on the way.

    Args:
        lottery: the run.
        unit: name of this training among those of the run, to find its checkpoints by.
        fleet: where its members start.
        stop: step at which to stop.

    Raises:
        Diverged: a loss is not finite.
        Interrupted: the process was asked to end; what was done is saved.
    """
    trained = lottery.workdir.resume(unit, fleet)
    for together, since, until in _legs(lottery.experiment, fleet, stop):
        while any(trained[member].step < until for member in together):
            networks = fit(
                [trained[member] for member in together],
                until,
                lottery.experiment.program,
                lottery.progress.update,
                lottery.interruption.due,
            )
            if all(network.step == until for network in networks):
                rows = measure(lottery, together, networks, until - since)
                lottery.workdir.records.add(rows)
                check_finite(rows)
                networks = [replace(n, loss=jnp.zeros_like(n.loss)) for n in networks]
            trained.update(zip(together, networks))
            if lottery.interruption.due():
                lottery.workdir.pause(unit, trained)
                lottery.interruption.handle()
    return trained


def _legs(
    experiment: Experiment, fleet: dict[Member, TrainState], stop: int
) -> Iterator[tuple[list[Member], int, int]]:
    """Yield (members that train together, from step, to step)."""
    starts = {member: int(network.step) for member, network in fleet.items()}
    for start in sorted(set(starts.values())):
        together = [member for member in fleet if starts[member] == start]
        stops = [start, *experiment.stops(start, stop)]
        yield from ((together, *leg) for leg in itertools.pairwise(stops))


def measure(
    lottery: Lottery, members: list[Member], networks: list[TrainState], steps: int
) -> list[dict[str, Any]]:
    """Return the rows of some networks, `steps` after they were last measured."""
    measured = [{"train_loss": float(network.loss) / steps} for network in networks]
    for split, evaluator in lottery.experiment.evaluators.items():
        names = [m for m in lottery.config.measures if m.startswith(f"{split}_")]
        if names:
            for numbers, evaluation in zip(measured, evaluator(networks)):
                numbers |= {m: getattr(evaluation, m[len(split) + 1 :]) for m in names}
    return [
        row(
            member,
            density=masks_lib.density(network.masks),
            step=int(network.step),
            measure=name,
            value=value,
        )
        for member, network, numbers in zip(members, networks, measured)
        for name, value in numbers.items()
    ]


def check_finite(rows: list[dict[str, Any]]) -> None:
    """Raise Diverged, naming network and step, if a row's value is not finite."""
    for found in rows:
        if not math.isfinite(found["value"]):
            where = {key: found[key] for key in (*Member._fields, "step")}
            text = ", ".join(f"{key} {value}" for key, value in where.items())
            raise Diverged(f"{found['measure']} is {found['value']} at {text}")
