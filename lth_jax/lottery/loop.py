"""Lottery: fit, prune, rewind.

Iterative magnitude pruning with rewinding (Frankle et al., 2019, Algorithm 1), for all
replicates and rewind steps of a config at once.
"""

import contextlib
import itertools
import operator
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm.auto import tqdm

from lth_jax import bill, demands
from lth_jax import masks as masks_lib
from lth_jax.branches import BRANCHES, MASKS
from lth_jax.config import fields
from lth_jax.config.fields import known
from lth_jax.devices import processes
from lth_jax.errors import Diverged, ProcessError
from lth_jax.live import Curves
from lth_jax.lottery import checks
from lth_jax.lottery import progress as progress_lib
from lth_jax.lottery.costs import costs
from lth_jax.lottery.fleets import settled
from lth_jax.lottery.methods import METHODS
from lth_jax.lottery.plan import Plan
from lth_jax.lottery.running import Run
from lth_jax.lottery.training import train
from lth_jax.movers import MOVERS
from lth_jax.named import give, given, own
from lth_jax.optim import optimizers, schedules
from lth_jax.prune import ScoreError
from lth_jax.report.results import Results
from lth_jax.studies import STUDIES
from lth_jax.train import experiment as experiment_lib
from lth_jax.train.experiment import Experiment
from lth_jax.workdir import environment, growth, identity
from lth_jax.workdir.folder import Workdir
from lth_jax.workdir.member import Networks, Training
from lth_jax.workdir.pauses import Interruption
from lth_jax.workdir.records import numbered


def run(
    config: ConfigDict,
    directory: Path | str,
    built: tuple[Plan, Experiment] | None = None,
    *,
    accept_code_change: bool = False,
    **objects: Any,
) -> Results:
    """Find lottery tickets as configured, from wherever `directory` stands.

    Args:
        config: of the run.
        directory: its folder.
        built: the plan and what the config means, where `build` made them already.
        accept_code_change: go on though the code is not that which began the run.
        objects: `network`, `data`, `task` in place of the config's, or `given` masks,
            as of `named.give`.

    Returns:
        The results, with a line for every network that diverged. What depends on it is
        left out, and all others are trained.

    Raises:
        ConfigError, DataError: before anything is trained or written.
        CheckpointError, RecordsError: a file is damaged, missing or cannot be written.
        Diverged: all dense networks did, or weights cannot be scored.
        Interrupted: the process was asked to end; the same call goes on from there.
    """
    config = give(config, **objects) if objects else config
    grow(config, Workdir(directory), accept_code_change)
    with opened(config, directory, built, accept_code_change) as run:
        fit_dense(run)
        plan, curves = run.plan, Curves(run.workdir.directory)
        for level in range(plan.levels + 1):
            run.at(level)
            if not resumed(run):
                prune(run)
                for fleet in plan.waves(level):
                    stop, done, moves = fleet[0].stop, run.networks, plan.moves(fleet)
                    starts = rewind(run, fleet)
                    run.networks = done | train(run, starts, stop, done, moves=moves)
                study(run)
            processes.by_first(curves.draw)
            if not run.tickets:
                break
        return Results(directory, run.divergences())


def grow(config: ConfigDict, here: Workdir, accept_code_change: bool) -> None:
    """Train replicates that a run does not have as a run of their own, and add them."""
    more = Workdir(here.directory / "more")
    if parts := growth.apart(here, config):
        demands.grows(config)
        for part, folder in zip(parts, (here.directory, more.directory)):
            try:
                run(part, folder, accept_code_change=accept_code_change)
            except Diverged:
                if not growth.is_lost(Workdir(folder)):
                    raise
        growth.take_in(here, more, config)


def build(config: ConfigDict) -> tuple[Plan, Experiment]:
    """Plan a run and make everything that it needs; nothing is trained or written.

    Raises:
        ConfigError, DataError: the config cannot be run; one line, naming the field.
    """
    environment.check_settings()
    fields.check(config)
    known("prune.method", config.prune.method, METHODS)
    for name in config.studies:
        known("studies", name, STUDIES)
    checks.check(config, METHODS[config.prune.method])
    demands.check(config)
    sketch = Plan(config, 1, tuple(range(len(config.rewind.steps))))
    together = max(sketch.largest(), config.study.points if config.studies else 0)
    made = experiment_lib.build(config, together)
    method = METHODS[config.prune.method]
    admm, every = made.intervals
    plan = Plan(config, made.length, made.rewind_steps, admm, method, every)
    plan.check(made.prunable, made.program.schedule)
    checks.check_shapes(plan, made.like)
    demands.check_made(config, made)
    demands.check_units(config, made.program.network, made.program.feed.example)
    with fields.field("prune.method", Exception):
        method.check(made.program, made.like.params)
    return plan, made


@contextlib.contextmanager
def opened(
    config: ConfigDict,
    directory: Path | str,
    built: tuple[Plan, Experiment] | None = None,
    accept_code_change: bool = False,
) -> Iterator[Run]:
    """Open a run, new or to go on, and keep other processes out; as `run` does."""
    workdir = Workdir(directory)
    plan, experiment = built or build(config)
    steps = sum(map(plan.steps, range(plan.levels + 1)))
    with (
        contextlib.closing(experiment),
        precision(config),
        Interruption(60 * config.train.checkpoint_minutes) as interruption,
        identity.lock(workdir.directory),
        tqdm(**progress_lib.options(steps, plan.at(0))) as progress,
    ):
        identity.begin(
            workdir.directory,
            config,
            experiment.data,
            plan.to_json() | experiment.told,
            _own(config, experiment),
            given(config) | _made(config, experiment),
            accept_code_change=accept_code_change,
        )
        workdir.recover(plan.dense_steps, plan.levels)
        diverged = workdir.records.diverged()

        def say(line: str) -> None:
            processes.by_first(lambda: progress.write(line, file=sys.stderr))

        experiment = settled(plan, experiment, workdir, say)
        run = Run(config, plan, experiment, workdir, progress, interruption, diverged)
        run.bills |= bill.recorded(workdir.records.rows())
        yield run


def precision(config: ConfigDict) -> contextlib.AbstractContextManager[None]:
    """Compute products as precisely as a config says, in this thread."""
    if (asked := config.train.precision) == "default":
        return contextlib.nullcontext()
    return jax.default_matmul_precision(asked)


def _own(config: ConfigDict, experiment: Experiment) -> list[object]:
    """Return what the config names: its code may be the user's own."""
    branches = [BRANCHES[n] for n in (*config.branches, *config.dense_branches)]
    method = METHODS[config.prune.method]
    return [
        *own(config).values(),
        optimizers.named(config.optim.name),
        schedules.named(config.optim.schedule),
        experiment.program.network,
        experiment.program.feed,
        type(experiment.program.task),
        *(STUDIES[name] for name in config.studies),
        *(x for owner in (*branches, method) for x in vars(owner).values()),
        *(MASKS[branch.masks] for branch in branches),
        *(MOVERS[branch.mover] for branch in branches if branch.mover),
    ]


def _made(config: ConfigDict, experiment: Experiment) -> dict[str, object]:
    """Return what is registered, by what it is: it may be made with values."""
    names = (*config.branches, *config.dense_branches)
    branches = {name: BRANCHES[name] for name in names}
    return {
        **{f"branch {name}": branch for name, branch in branches.items()},
        **{f"masks {b.masks}": MASKS[b.masks] for b in branches.values()},
        **{f"mover {b.mover}": MOVERS[b.mover] for b in branches.values() if b.mover},
        **{f"study {name}": STUDIES[name] for name in config.studies},
        "method": METHODS[config.prune.method],
        "augmentation of data": getattr(experiment.program.feed, "augment", None),
    }


def fit_dense(run: Run) -> None:
    """Fit: train the dense networks, and save their states at the rewind steps."""
    series = run.workdir.dense
    saved = series.numbers()
    if saved:
        networks = run.load(series, saved[-1])
        run.skip(saved[-1] * len(networks))
    else:
        networks = {m: run.initial(m, run.key(m)) for m in run.plan.dense}
    for stop in run.plan.dense_steps[len(saved) :]:
        networks = train(run, networks, stop)
        run.workdir.finish(series, stop, networks)
    if not networks:
        raise Diverged("; ".join(run.divergences()))
    run.networks = networks


def resumed(run: Run) -> bool:
    """Return whether the level was done before; then its tickets are here again."""
    if run.level not in run.workdir.levels.numbers():
        return False
    run.networks |= run.load(run.workdir.levels, run.level)
    fleets = itertools.chain(*run.plan.waves(run.level))
    run.skip(sum(training.steps for training in fleets))
    return True


def prune(run: Run) -> None:
    """Prune: make the masks of the level's tickets; at level 0 they keep all."""
    if run.level == 0:
        run.kept = {member: network.masks for member, network in run.tickets.items()}
        return
    tickets = [t for t in run.plan.tickets(run.level) if t.previous in run.before]
    try:
        run.kept = METHODS[run.config.prune.method].masks(run, tickets)
    except ScoreError as error:
        raise Diverged(f"level {run.level} cannot be pruned: {error}") from error
    said = map(masks_lib.checksum, run.kept.values() if processes.several() else ())
    if not processes.same("".join(said)):
        raise ProcessError(f"level {run.level}: processes have come to other masks")


def rewind(run: Run, fleet: list[Training]) -> Networks:
    """Rewind: return where the networks of a fleet start, but for those left out."""
    starts = {training.member: run.start(training.member) for training in fleet}
    run.forget()
    return {member: start for member, start in starts.items() if start is not None}


def study(run: Run) -> None:
    """Measure what the level's networks cost and have in common, and save tickets."""
    rows, trained = [], {}
    for training in run.plan.trainings(run.level):
        if network := run.trained(training.member):
            trained[training.member] = training, network
            run.bills[training.member] = bill.to_train(run, training, network)
    for member, (training, network) in trained.items():
        rows += costs(run, training, network)
        rows += numbered(member, network, bill.rows(run, training))
    if run.plan.is_studied(run.level) and run.networks:
        found = itertools.chain(*(STUDIES[name](run) for name in run.config.studies))
        for member, numbers in itertools.groupby(found, operator.itemgetter(0)):
            network = run.networks[member]
            rows += numbered(member, network, (number[1:] for number in numbers))
    run.forget()
    # At once: a study may pause, and what it has recorded then would come twice.
    run.workdir.records.add(rows)
    run.workdir.finish(run.workdir.levels, run.level, run.to_keep)
