"""Lottery: fit, prune, rewind.

Iterative magnitude pruning with rewinding (Frankle et al., 2019, Algorithm 1), for all
replicates and rewind steps of a config at once.
"""

import contextlib
import functools
import itertools
import operator
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm.auto import tqdm

from lth_jax import masks as masks_lib
from lth_jax.errors import Diverged
from lth_jax.lottery import admm
from lth_jax.lottery.branches import BRANCHES, Origin
from lth_jax.lottery.methods import METHODS, Round
from lth_jax.lottery.studies import STUDIES, Scene
from lth_jax.lottery.training import Lottery, costs, numbered, train
from lth_jax.masks import Masks
from lth_jax.prune import ScoreError
from lth_jax.train import experiment as experiment_lib
from lth_jax.train import processes, state
from lth_jax.train.evaluate import Evaluation
from lth_jax.train.experiment import Experiment
from lth_jax.train.fit import next_loss
from lth_jax.train.state import TrainState
from lth_jax.workdir import Fleet, Workdir
from lth_jax.workdir.pauses import Interruption
from lth_jax.workdir.records import Member


def run(
    config: ConfigDict, directory: Path, experiment: Experiment | None = None
) -> list[str]:
    """Find lottery tickets as configured, from wherever `directory` stands.

    Args:
        config: of the run.
        directory: its folder.
        experiment: what the config means, where that is built already.

    Returns:
        A line for every network that diverged. What depends on it is left out, and all
        others are trained.

    Raises:
        ConfigError, DataError: before anything is trained or written.
        CheckpointError, RecordsError: a file is damaged, missing or cannot be written.
        Diverged: all dense networks did, or weights cannot be scored.
        Interrupted: the process was asked to end; the same call goes on from there.
    """
    with opened(config, directory, experiment) as lottery:
        tickets = train_dense(lottery)
        for level in range(lottery.levels + 1):
            tickets = train_level(lottery, level, tickets)
        return lottery.divergences()


@contextlib.contextmanager
def opened(
    config: ConfigDict, directory: Path, experiment: Experiment | None = None
) -> Iterator[Lottery]:
    """Open a run, new or to go on, and keep other processes out; as `run` does."""
    experiment = experiment or experiment_lib.build(config)
    workdir = Workdir(directory)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    quiet = not (watched and processes.is_first())
    with (
        contextlib.closing(experiment),
        Interruption(60 * config.train.checkpoint_minutes) as interruption,
        workdir.lock(),
        tqdm(unit="step", unit_scale=True, disable=quiet) as progress,
    ):
        lottery = Lottery(config, experiment, workdir, progress, interruption)
        workdir.open(config, experiment.data)
        workdir.recover(experiment.dense_steps, lottery.levels)
        lottery.diverged.update(workdir.records.diverged())
        if not progress.disable:
            progress.reset(sum(map(lottery.planned, range(lottery.levels + 1))))
        yield lottery


def _waves(lottery: Lottery, level: int) -> list[tuple[int, list[str]]]:
    """Return (stop, branches) of a level in the order in which they are trained."""
    waves: dict[tuple[bool, int], list[str]] = {}
    for name in lottery.branches(level):
        branch = BRANCHES[name]
        waves.setdefault((branch.after, branch.lengths), []).append(name)
    return [
        (lengths * lottery.experiment.length, waves[after, lengths])
        for after, lengths in sorted(waves)
    ]


def train_dense(lottery: Lottery) -> Fleet:
    """Fit: train the dense networks, and save their states at the rewind steps.

    Returns:
        The trained networks, as the tickets of level 0.
    """
    experiment, series = lottery.experiment, lottery.workdir.dense
    saved = series.numbers()
    if saved:
        fleet = lottery.dense(saved[-1])
        lottery.skip(lambda: saved[-1] * len(fleet))
    else:
        fleet = {member: lottery.initial(member) for member in lottery.origins}
    for stop in experiment.dense_steps[len(saved) :]:
        fleet = train(lottery, fleet, stop, {})
        if not fleet:
            raise Diverged("; ".join(lottery.divergences()))
        lottery.workdir.finish(series, stop, fleet)
    return {
        member._replace(rewind_step=step): network
        for step in experiment.rewind_steps
        for member, network in fleet.items()
    }


def train_level(lottery: Lottery, level: int, tickets: Fleet) -> Fleet:
    """Prune, rewind, fit: from the trained tickets of a level to those of the next.

    Level 0 is the dense networks themselves, with nothing pruned.

    Returns:
        The level's trained tickets, with their masks.
    """
    series = lottery.workdir.levels
    if not tickets:
        return {}
    if level in series.numbers():
        like = next(iter(tickets.values()))
        trained = lottery.workdir.load(series, level, like)
        dense = 0 if level else len(lottery.origins) * lottery.experiment.length
        lottery.skip(lambda: lottery.planned(level) - dense)
    else:
        trained = {} if level else dict(tickets)
        masks = prune_tickets(lottery, level, tickets)
        for stop, branches in _waves(lottery, level):
            # Its starts are held by nothing else, and make room as it goes on.
            trained |= train(
                lottery,
                rewind_branches(lottery, branches, masks, trained),
                stop,
                trained,
            )
        # At once: a study may pause, and what it has recorded then would come twice.
        rows = costs(lottery, trained) + study(lottery, level, masks, trained)
        lottery.workdir.records.add(rows)
        tickets = {m: n for m, n in trained.items() if m.branch in ("ticket", "dense")}
        lottery.workdir.finish(series, level, tickets or trained)
    return {m: network for m, network in trained.items() if m.is_ticket}


def prune_tickets(lottery: Lottery, level: int, tickets: Fleet) -> dict[Member, Masks]:
    """Prune: return the masks of a level's tickets."""
    if level == 0:
        return {member: network.masks for member, network in tickets.items()}
    options, networks = lottery.config.prune, tickets
    if options.schedule == "one_shot":
        finals = lottery.dense(lottery.experiment.length)
        networks = {
            member: replace(finals[member.origin], masks=ticket.masks)
            for member, ticket in tickets.items()
        }
    program = lottery.experiment.program
    this_round = Round(
        networks=networks,
        shrink=functools.partial(lottery.shrink, level),
        initial=lambda member: lottery.initial(member.origin),
        key=lambda member: lottery.key(member, state.PRUNING, level),
        loss=functools.partial(next_loss, program=program),
        flow=program.flow,
        draw=functools.partial(draw, lottery, level),
        scope=options.scope,
    )
    try:
        masks = METHODS[options.method](this_round)
    except ScoreError as error:
        raise Diverged(f"level {level} cannot be pruned: {error}") from error
    return {m._replace(level=level, branch="ticket"): mask for m, mask in masks.items()}


def draw(
    lottery: Lottery, level: int, networks: Fleet, sparse: dict[Member, Masks]
) -> Fleet:
    """Return the dense networks as ADMM draws them towards sparse weights.

    The steps that this takes are recorded as those of the branch "admm", of k = 0:
    tickets of all rewind steps share it.
    """
    scope = lottery.config.prune.scope
    finals, initials = lottery.dense(lottery.experiment.length), lottery.dense(0)
    names = {m: m.origin._replace(level=level, branch="admm") for m in networks}
    # ADMM looks at how many weights masks keep, not at which: any k's do.
    sparse = {names[member]: masks for member, masks in sparse.items()}
    fleet = {
        name: replace(
            finals[name.origin],
            opt_state=initials[name.origin].opt_state,
            data_seed=state.data_seed(lottery.key(name), 0, state.DATA_AGAIN),
            proximal=admm.start(finals[name.origin].params, masks, scope),
        )
        for name, masks in sparse.items()
    }
    series, like = lottery.workdir.drawn, next(iter(fleet.values()))
    if level in series.numbers():
        fleet = lottery.workdir.load(series, level, like)
    else:
        fleet = _train_with_admm(lottery, fleet, sparse)
        lottery.workdir.finish(series, level, fleet)
    return {m: fleet[name] for m, name in names.items() if name in fleet}


def _train_with_admm(
    lottery: Lottery, fleet: Fleet, sparse: dict[Member, Masks]
) -> Fleet:
    """Fit: train networks on, drawn towards as few weights as masks keep.

    The strength rises in stages; in each, the learning rate falls to a tenth.
    """
    options, scope = lottery.config.prune.admm, lottery.config.prune.scope
    start, interval = lottery.experiment.length, lottery.experiment.admm_interval
    rate = options.learning_rate / float(lottery.experiment.program.schedule(start))
    for i, strength in enumerate(np.repeat(options.rho, options.updates)):
        falls = i % options.updates / max(1, options.updates - 1)
        for name, network in fleet.items():
            assert network.proximal is not None
            fleet[name] = replace(
                network,
                proximal=replace(network.proximal, strength=jnp.float32(strength)),
                learning_rate=jnp.float32(rate * 0.1**falls),
            )
        begin, stop = (start + j * interval for j in (i, i + 1))
        fleet = train(lottery, fleet, stop, {}, begin)
        for name, network in fleet.items():
            assert network.proximal is not None
            # A run that resumes finds networks for which this was done already.
            if network.step == stop and network.proximal.updates == i:
                zeros = sparse[name]
                proximal, residuals = admm.update(
                    network.params, network.proximal, zeros, scope
                )
                if (i + 1) % options.updates == 0:  # U is in units of the strength
                    again = admm.start(network.params, zeros, scope)
                    proximal = replace(again, updates=proximal.updates)
                fleet[name] = replace(network, proximal=proximal)
                numbers = ((f"{side}_residual", r) for side, r in residuals.items())
                lottery.workdir.records.add(numbered(name, network, numbers))
    return fleet


def rewind_branches(
    lottery: Lottery, branches: list[str], masks: dict[Member, Masks], trained: Fleet
) -> Fleet:
    """Rewind: return where branches of a level start.

    Args:
        lottery: the run.
        branches: their names.
        masks: of the level's tickets.
        trained: what other branches of the level came to.
    """
    dense = functools.cache(lottery.dense)
    starts = {}
    for ticket, name in itertools.product(masks, branches):
        starts |= rewind_branch(lottery, dense, ticket, name, masks, trained)
    return starts


def rewind_branch(
    lottery: Lottery,
    dense: Callable[[int], Fleet],
    ticket: Member,
    name: str,
    masks: dict[Member, Masks],
    trained: Fleet,
) -> Fleet:
    """Return where the copies of a branch start, of one of a level's tickets.

    Args:
        lottery: the run.
        dense: the dense networks, unmasked, after 0, k or all steps.
        ticket: whose masks they have.
        name: of the branch.
        masks: of the level's tickets.
        trained: what other branches of the level came to.
    """
    branch, key = BRANCHES[name], lottery.key(ticket)
    number = zlib.crc32(name.encode())  # other branches change no draws
    origin = Origin(
        dense=lambda step: dense(step)[ticket.origin],
        rewind_step=ticket.rewind_step,
        length=lottery.experiment.length,
        fresh=tuple(lottery.config.rewind.fresh),
        initialise=functools.partial(lottery.initial, ticket),
        masks=masks[ticket],
        others=tuple(
            masks[other]
            for other in masks
            if other.learning_rate != ticket.learning_rate
            and other._replace(learning_rate=ticket.learning_rate) == ticket
        ),
        trained=trained.get(ticket),
        key=lottery.key(ticket, state.BRANCH, ticket.level, number),
    )
    wanted = [origin.trained] * branch.after + [origin.others] * branch.across
    if not all(wanted):
        return {}  # that network diverged
    start, starts = branch.start(origin), {}
    purpose = state.DATA_AGAIN if branch.again else state.DATA
    for copy in range(branch.copies_from, lottery.copies(ticket.level, name)):
        seed = state.data_seed(key, copy, purpose)
        member = ticket._replace(branch=name, copy=copy)
        starts[member] = replace(start, data_seed=seed, loss_from=start.step)
    return starts


def study(
    lottery: Lottery, level: int, masks: dict[Member, Masks], trained: Fleet
) -> list[dict[str, Any]]:
    """Return the rows of the configured studies of a level.

    Args:
        lottery: the run.
        level: what is studied.
        masks: of the level's tickets, those that diverged among them.
        trained: what the level's networks came to.
    """
    if not (lottery.config.studies and lottery.is_studied(level) and trained):
        return []
    options, experiment = lottery.config.study, lottery.experiment
    saved = functools.cache(lottery.dense)

    @functools.cache
    def copies() -> Fleet:
        if level == 0:
            return trained
        like = next(iter(trained.values()))
        return lottery.workdir.load(lottery.workdir.levels, 0, like)

    @functools.lru_cache(maxsize=1)
    def starts(ticket: Member, branch: str) -> Fleet:
        return rewind_branch(lottery, saved, ticket, branch, masks, trained)

    def start(member: Member) -> TrainState:
        if member.level == 0 and member.is_ticket:
            return saved(member.rewind_step)[member.origin]
        return starts(member.ticket, member.branch)[member]

    def dense(member: Member) -> TrainState | None:
        begun = start(member)
        step = int(begun.step)
        if step not in experiment.dense_steps:
            return None
        if member.copy == 0:
            final = saved(experiment.length)[member.origin]
        else:
            twin = member._replace(level=0, branch="dense", rewind_step=step)
            final = copies().get(twin)
        if final is None or final.data_seed != begun.data_seed:
            return None
        rewound = masks_lib.apply(saved(step)[member.origin].params, begun.masks)
        same = jax.tree.map(jnp.array_equal, rewound, begun.params)
        return final if jax.tree.all(same) else None

    def evaluate(networks: Sequence[TrainState]) -> dict[str, list[Evaluation]]:
        lottery.rest(trained)
        if options.batch_stats == "recompute":
            networks = experiment.refresh(networks)
        return {name: split(networks) for name, split in experiment.path.items()}

    scene = Scene(
        trained=trained,
        dense=dense,
        start=start,
        initial=lambda member: saved(0)[member.origin],
        final=lambda member: saved(experiment.length)[member.origin],
        evaluate=evaluate,
        points=options.points,
        top=tuple(options.top),
        every_tensor=options.tensors == "all",
    )
    found = itertools.chain(*(STUDIES[name](scene) for name in lottery.config.studies))
    return [
        row
        for member, numbers in itertools.groupby(found, operator.itemgetter(0))
        for row in numbered(member, trained[member], (n[1:] for n in numbers))
    ]
