"""Lottery: fit, prune, rewind.

Iterative magnitude pruning with rewinding (Frankle et al., 2019, Algorithm 1), for all
replicates and rewind steps of a config at once.
"""

import dataclasses
import functools
import math
import zlib
from pathlib import Path

import jax
from jaxtyping import Array, Key
from ml_collections import ConfigDict
from tqdm import tqdm

from lth_jax import experiment as experiment_lib
from lth_jax import masks as masks_lib
from lth_jax import prune, report, state
from lth_jax.branches import BRANCHES, Origin
from lth_jax.experiment import Experiment
from lth_jax.fit import fit
from lth_jax.masks import Masks
from lth_jax.methods import METHODS
from lth_jax.records import Member, row
from lth_jax.state import TrainState
from lth_jax.workdir import Workdir

Chain = tuple[int, int]  # (replicate, rewind step): pruned level by level


class Diverged(RuntimeError):
    """A loss is not finite any more; one line that names the network and the step."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lottery:
    """A run: its config, what that means, its folder, and how far it is."""

    config: ConfigDict
    experiment: Experiment
    workdir: Workdir
    progress: tqdm

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
    """
    experiment = experiment_lib.build(config)
    workdir = Workdir(directory)
    workdir.open(config)
    with tqdm(unit="step", unit_scale=True, disable=None) as progress:
        lottery = Lottery(config, experiment, workdir, progress)
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
        members = list(train(lottery, dict(zip(names, members)), stop).values())
        series.save(stop, members, records=lottery.workdir.records.size())
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
    trained = train(lottery, starts, lottery.experiment.length)
    tickets = {
        (member.replicate, member.rewind_step): network
        for member, network in trained.items()
        if (member.branch, member.copy) == ("ticket", 0)
    }
    size = lottery.workdir.records.size()
    series.save(level, list(tickets.values()), records=size)
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
                starts[member] = dataclasses.replace(start, data_seed=seed)
    return starts


def train(
    lottery: Lottery, fleet: dict[Member, TrainState], stop: int
) -> dict[Member, TrainState]:
    """Fit: train a fleet to step `stop`, recording on the way.

    Raises:
        Diverged: a loss is not finite.
    """
    trained = dict(fleet)
    starts = {member: int(network.step) for member, network in fleet.items()}
    for start in sorted(set(starts.values())):
        together = [member for member in fleet if starts[member] == start]
        for pause in lottery.experiment.stops(start, stop):
            networks, losses = fit(
                [trained[member] for member in together],
                pause,
                lottery.experiment.program,
                lottery.progress.update,
            )
            trained.update(zip(together, networks))
            record(lottery, together, networks, losses)
    return trained


def record(
    lottery: Lottery,
    members: list[Member],
    networks: list[TrainState],
    losses: list[float],
) -> None:
    """Append what was measured of some networks to the records."""
    step = int(networks[0].step)
    measured = [{"train_loss": loss} for loss in losses]
    for split, evaluator in lottery.experiment.evaluators.items():
        for numbers, evaluation in zip(measured, evaluator(networks)):
            for name, value in evaluation._asdict().items():
                if f"{split}_{name}" in lottery.config.measures:
                    numbers[f"{split}_{name}"] = value
    lottery.workdir.records.add(
        row(
            member,
            density=masks_lib.density(network.masks),
            step=step,
            measure=name,
            value=value,
        )
        for member, network, numbers in zip(members, networks, measured)
        for name, value in numbers.items()
    )
    for member, numbers in zip(members, measured):
        if not all(math.isfinite(value) for value in numbers.values()):
            raise Diverged(f"{member} diverged at or before step {step}: {numbers}")
