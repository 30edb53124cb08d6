"""Search: the earliest rewind step whose tickets are good, by bisection."""

import contextlib
import dataclasses
import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from ml_collections import ConfigDict

from lth_jax import report
from lth_jax.devices import processes
from lth_jax.errors import ConfigError
from lth_jax.lottery import loop
from lth_jax.lottery.plan import Plan
from lth_jax.numbers.answers import STABLE
from lth_jax.tasks import Unit
from lth_jax.train.experiment import Experiment
from lth_jax.workdir import identity
from lth_jax.workdir.folder import Workdir


@dataclasses.dataclass(frozen=True)
class Probe:
    """What was found of the tickets of one rewind step, at the last level.

    Whether the mean over replicates, of which none is lost, met the criterion; mean and
    deviation (NaN for one replicate) of test instability, or of the task's error on the
    test (or accuracy) above dense; the probe's own run.
    """

    rewind_step: int
    met: bool
    mean: float
    std: float
    n: int
    workdir: Path
    diverged: list[str]


@dataclasses.dataclass(frozen=True)
class Bracket:
    """Between which rewind steps the onset of a criterion lies.

    `below` is the latest step that failed, `at` the earliest that did not, each None if
    there is none; probes are in their order, trainings counted with the dense ones.
    """

    criterion: str
    below: int | None
    at: int | None
    probes: list[Probe]
    trainings: int
    unit: Unit  # of the task's error

    def __str__(self) -> str:
        factor, shares = self.unit.factor, self.unit.name == "%"
        digits, name = (2, "points") if shares else (4, self.unit.name or "in all")
        lines = [
            f"rewind step {p.rewind_step}: {'' if p.met else 'not '}{self.criterion}, "
            f"{factor * p.mean:.{digits}f} ± {factor * p.std:.{digits}f} {name}, "
            f"n = {p.n} ({p.workdir})"
            for p in self.probes
        ]
        lines.append(f"{self.trainings} trainings, the dense networks' among them")
        if self.at is None:
            return "\n".join([*lines, f"not {self.criterion} up to step {self.below}"])
        failed = "" if self.below is None else f", not yet at {self.below}"
        return "\n".join([*lines, f"{self.criterion} from step {self.at} on{failed}"])


def earliest_rewind(
    config: ConfigDict,
    directory: Path | str,
    criterion: str,
    *,
    accept_code_change: bool = False,
) -> Bracket:
    """Find the earliest of the config's rewind steps whose tickets meet a criterion.

    The candidates, `config.rewind.steps`, share one dense training; of n candidates at
    most log2(n + 1), rounded up, get tickets. That a later rewind step is no worse is
    taken for granted. A probe is a run of its own in `directory`, and its numbers are
    those that a sweep over all rewind steps would give. The same call goes on where the
    search was interrupted.

    Args:
        config: of the sweep. Only tickets are trained, compared at the last level.
        directory: folder of the search.
        criterion: "stable": test instability below 2 % (Frankle et al., 2020, Section
            3), where the task's error is a share; "matching": test accuracy, or what is
            the error, within one standard deviation of dense, or less than 0.2 points
            worse (Sections 4 and 4.4); "winning": at least as good as dense (Frankle et
            al., 2019, Section 1). Means over replicates.
        accept_code_change: as of `lottery.run`, which also says what is raised.
    """
    config, directory = tickets_alone(config, criterion), Workdir(directory).directory
    plan, experiment = loop.build(config)
    task = experiment.program.task
    unit = task.units[task.error]
    if criterion == "stable" and unit.name != "%":
        raise ConfigError(
            f"--earliest_rewind: 'stable' is of a share, and {task.error} is none; "
            "choose matching or winning"
        )
    candidates, probes = plan.rewind_steps, []
    below, at = -1, len(candidates)
    with identity.lock(directory):
        built, dense = (plan, experiment), directory / "dense"
        with loop.opened(config, dense, built, accept_code_change) as run:
            loop.fit_dense(run)
            experiment = run.experiment  # which knows how members go
        while at - below > 1:
            middle = (below + at) // 2
            alone = dataclasses.replace(plan, rewind_steps=(candidates[middle],))
            built = alone, experiment
            probes.append(
                probe := _probe(config, directory, built, criterion, accept_code_change)
            )
            below, at = (below, middle) if probe.met else (middle, at)
    alone = dataclasses.replace(plan, rewind_steps=candidates[:1])
    levels = range(plan.levels + 1)
    each = sum(len(alone.trainings(level)) for level in levels) - len(plan.dense)
    first = candidates[at] if at < len(candidates) else None
    last = candidates[below] if below >= 0 else None
    trainings = len(plan.dense) + each * len(probes)
    return Bracket(criterion, last, first, probes, trainings, unit)


def probed(candidates: int) -> int:
    """Return of how many candidates, at most, a search makes tickets.

    >>> probed(7)
    3
    """
    return candidates.bit_length()


def tickets_alone(config: ConfigDict, criterion: str) -> ConfigDict:
    """Return the config of a sweep without what the criterion does not look at.

    Raises ConfigError for a config in which nothing can be searched.
    """
    if max(map(len, config.sweep.to_dict().values())) > 1:
        raise ConfigError(
            "config.sweep: rewind steps are searched at one learning rate and one "
            "weight decay"
        )
    if not (config.prune.densities or config.prune.levels):
        raise ConfigError("config.prune.levels: 0: there are no tickets to search at")
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.branches, config.dense_branches = ("ticket",), ()
        config.copied_branches = ()
        config.branch_levels = (len(config.prune.densities) or config.prune.levels,)
        config.measures = tuple(dict.fromkeys([*config.measures, "test"]))
        config.copies = max(config.copies, 2 if criterion == "stable" else 1)
        config.studies = ("instability",) if criterion == "stable" else ()
    return config


def _probe(
    config: ConfigDict,
    directory: Path,
    built: tuple[Plan, Experiment],
    criterion: str,
    accept_code_change: bool,
) -> Probe:
    """Make the tickets of a rewind step, and return what they are like."""
    plan, _ = built
    (step,) = plan.rewind_steps
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.rewind.steps = (f"{step}it",)
    workdir = directory / f"rewind_{step}"
    processes.by_first(lambda: _adopt(directory / "dense", workdir, plan.dense_steps))
    ran = loop.run(config, workdir, built, accept_code_change=accept_code_change)
    found = CRITERIA[criterion](report.load(workdir))
    found = found[found["level"] == plan.levels]
    if found.empty:
        return Probe(step, False, math.nan, math.nan, 0, workdir, ran.diverged)
    (last,) = found.itertuples()
    met = bool(last.met) and last.n == config.replicates
    return Probe(step, met, last.mean, last.std, last.n, workdir, ran.diverged)


def _adopt(source: Path, target: Path, steps: Sequence[int]) -> None:
    """Begin a run with the dense networks, and their records, of another."""
    if target.exists():
        return
    unfinished = target.with_suffix(".unfinished")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(unfinished)
    there, here = Workdir(source), Workdir(unfinished)
    try:
        for step in steps:
            name = str(step)
            shutil.copytree(there.dense.directory / name, here.dense.directory / name)
        shutil.copyfile(there.records.path, here.records.path)
        unfinished.rename(target)
    except OSError as error:
        raise ConfigError(f"--workdir: {error}") from error


def _compared(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return accuracies above dense; they meet a criterion by a rule of `matching`."""
    return report.matching(rows).rename(columns={"difference": "mean", rule: "met"})


# From rows to columns level, met, mean, std, n.
CRITERIA: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "stable": lambda rows: report.summary(rows, "instability", split="test").assign(
        met=lambda found: found["mean"] < STABLE
    ),
    "matching": partial(_compared, rule="matches"),
    "winning": partial(_compared, rule="reaches_dense"),
}
