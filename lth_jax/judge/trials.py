"""Trials: what is trained to judge masks, as one run of the engine."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from lth_jax import evidence, lottery
from lth_jax import masks as masks_lib
from lth_jax.errors import ConfigError
from lth_jax.given import Given
from lth_jax.judge import claims
from lth_jax.judge.claims import Verdict
from lth_jax.judge.facts import facts
from lth_jax.judge.page import text, write
from lth_jax.judge.reading import Judged, Named, read
from lth_jax.named import give
from lth_jax.numbers.rows import load
from lth_jax.paths import local
from lth_jax.train.experiment import Experiment
from lth_jax.workdir import identity


class Judgement(NamedTuple):
    """A verdict on masks, with what is known of them at once.

    Attributes:
        verdict: by the rows of the trials.
        facts: in words, by what they are about.
        page: where all of it stands; beside it is `verdict.json`.
        diverged: a line for every network that did, and is left out.
    """

    verdict: Verdict
    facts: dict[str, str]
    page: Path
    diverged: list[str]

    def __str__(self) -> str:
        return f"{text(self.verdict, self.facts)}\n\nverdict: {self.page}"


class Trials(NamedTuple):
    """What is to be trained, before it is.

    Attributes:
        config: of the run.
        judged: the masks.
        made: what the config means.
        looks: at how many seeds one looks.
        margin: the difference that would matter, in the unit of the task's error.
    """

    config: ConfigDict
    judged: Judged
    made: Experiment
    looks: tuple[int, ...]
    margin: float


def judge(
    masks: Sequence[Named] | Named | Given,
    config: ConfigDict,
    workdir: Named,
    *,
    accept_code_change: bool = False,
    say: Callable[[Judgement], object] = lambda judgement: None,
    **options: Any,
) -> Judgement:
    """Train the trials of masks, and return what they are found to be.

    Args:
        masks, config, options: as of `prepare`.
        workdir: folder of the trials, new or to go on.
        accept_code_change: as of `lottery.run`.
        say: is called with what is known at every look but the last.

    Raises as `prepare`, and as `lottery.run`.
    """
    planned = prepare(masks, config, **options)
    config, judged, made, looks, margin = planned
    directory = local(workdir, "--workdir")
    begun = _begin(directory, looks, margin)
    known, about = _facts(judged, made, config), _about(config, judged, made)
    for n in looks[looks.index(begun) :]:
        with config.unlocked():
            config.replicates = n
        ran = lottery.run(config, directory, accept_code_change=accept_code_change)
        verdict = claims.judge(load(directory), margin=margin, looks=looks)
        told = [about, *(f"Left out: {line}." for line in ran.diverged)]
        page = write(verdict, known, directory / "verdict", told)
        found = Judgement(verdict, known, page, ran.diverged)
        if verdict.is_resolved or n == looks[-1]:
            return found
        say(found)
    raise AssertionError(looks)


def prepare(
    masks: Sequence[Named] | Named | Given,
    config: ConfigDict,
    *,
    weights: Sequence[Named] = (),
    rewind_step: int | None = None,
    margin: float | None = None,
    until: str = "",
    most: int = 20,
    before: Named | None = None,
    claimed: float | None = None,
    names: Named | None = None,
    **objects: Any,
) -> Trials:
    """Return what is to be trained to judge masks; nothing is trained or written.

    Args:
        masks: files, one a seed; a run's folder stands for the tickets of all its seeds
            at its last level, with their weights. Or masks in the network's layout.
        config: how trials are trained, `replicates` of each.
        weights: files of W_0 or W_k, one a mask, whole or under the masks. Without
            them, masks are judged on W_k of fresh networks.
        rewind_step: step k of the weights, and of the trials; by default the config's.
        margin: the difference that would matter, as of `claims.judge`.
        until: "resolved" adds seeds until every claim is decided, `most` at most.
        before: file of the level before, of which the masks should be a part.
        claimed: the density that was said of the masks.
        names: JSON file with PyTorch's names of layers, as `lth_jax.export` takes it.
        objects: `network`, `data`, `task`, as of `lottery.run`.

    Raises:
        MasksError, ConfigError, DataError: one line, naming the file or the field.
    """
    config = give(config, **objects) if objects else config
    _check_config(config, until, most)
    _, made = lottery.build(_bare(config))
    task = made.program.task
    if margin is None:
        margin = claims.default_margin(task.units[task.error].name)
    if margin is None or not 0 < margin < math.inf:
        raise ConfigError(
            f"--margin: say which difference of {task.error} would matter, above 0"
        )
    judged = read(
        masks,
        made,
        config,
        weights=weights,
        rewind_step=rewind_step,
        before=before,
        claimed=claimed,
        names=names,
    )
    n = config.replicates
    looks = evidence.looks(n, most) if until else (n,)
    return Trials(trials(config, judged, made), judged, made, looks, margin)


def trials(config: ConfigDict, judged: Judged, made: Experiment) -> ConfigDict:
    """Return the config of the run that trains what masks are compared with.

    The branches of the last level are the trials. The ticket there is what magnitude
    pruning finds at the same density, by the config's own schedule and scope: in scope
    "layer" as many weights, but for what each layer rounds down.
    """
    given = judged.given
    kept, total = masks_lib.count(given.masks[0])
    density = (kept + 0.5) / total  # exactly as many, whatever is rounded
    config = give(config, given=given)
    with config.unlocked():
        prune = config.prune
        levels = [(1 - prune.fraction) ** n for n in range(1, prune.levels + 1)]
        levels = [*prune.densities] or levels
        above = [d for d in levels if d > 1.02 * density]
        prune.densities = (*(above if prune.schedule == "iterative" else ()), density)
        prune.method, prune.at, prune.rounds = "magnitude", "", 0
        config.branches = ("ticket", "given", "given_shuffled", "given_random")
        config.branches += ("given_reinit",) if given.params else ()
        config.branches += ("given_sibling",) if len(given.masks) > 1 else ()
        config.branch_levels = (len(prune.densities),)
        config.dense_branches, config.copied_branches, config.studies = (), (), ()
        config.copies = 1
        config.rewind.weights = config.rewind.clock = "k"
        if judged.rewind_step is not None:
            config.rewind.steps = (f"{judged.rewind_step}it",)
        config.rewind.steps = tuple(config.rewind.steps[:1])
        error = made.program.task.error
        config.measures = tuple(dict.fromkeys([*config.measures, f"test_{error}"]))
    return config


def _bare(config: ConfigDict) -> ConfigDict:
    """Return a config that can be built before masks are there."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.branches, config.studies, config.given = ("ticket",), (), ""
    return config


def _check_config(config: ConfigDict, until: str, most: int) -> None:
    if config.replicates < 2:
        raise ConfigError(
            f"config.replicates: {config.replicates} seed has no spread: take 2 or more"
        )
    if until not in ("", "resolved"):
        raise ConfigError(f"--until: {until!r} is not 'resolved'")
    if until and most < config.replicates:
        raise ConfigError(
            f"--most: {most} seeds are fewer than config.replicates, "
            f"{config.replicates}, with which it begins"
        )
    if until and most > evidence.LARGEST:
        raise ConfigError(f"--most: {most} is above {evidence.LARGEST:,} seeds")
    for name in ("learning_rate", "weight_decay"):
        if config.sweep[name]:
            raise ConfigError(f"config.sweep.{name}: masks are judged in one setting")


def _begin(directory: Path, looks: Sequence[int], margin: float) -> int:
    """Write what is planned before any outcome, and return the look to go on with.

    Looking oftener, or for a difference chosen when some are known, would show what
    does not hold more often than said.

    Raises:
        ConfigError: something else was planned here, or the folder is of another run.
    """
    path, plan = directory / "looks.json", {"looks": [*looks], "margin": margin}
    run = directory / "config.json"
    if run.exists() and not path.exists():
        raise ConfigError(
            f"--workdir: {directory} is of a run that judges nothing; take another"
        )
    there = identity.read(path) if path.exists() else plan
    if there.get("looks") != plan["looks"]:
        raise ConfigError(
            f"--workdir: {directory} was planned with looks at {there.get('looks')} "
            f"seeds, and not at {[*looks]}; keep --until, --most and "
            "config.replicates, or take another folder"
        )
    if there.get("margin") != margin:
        raise ConfigError(
            f"--margin: {directory} was planned with {there.get('margin')}, and not "
            f"with {margin}; keep it, or take another folder"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--workdir: {error}") from error
    identity.write(path, plan)
    begun = identity.read(run)["replicates"] if run.exists() else looks[0]
    return begun if begun in looks else looks[0]


def _facts(judged: Judged, made: Experiment, config: ConfigDict) -> dict[str, str]:
    params = made.initialise(jax.random.key(config.seed)).params
    return facts(
        judged.given.masks[0],
        params,
        made.program.flow,
        weights=judged.given.of(0, "params"),
        before=judged.before,
        claimed=judged.claimed,
    )


def _about(config: ConfigDict, judged: Judged, made: Experiment) -> str:
    """Return in a line what is judged, and how its trials train."""
    number, k = len(judged.given.masks), made.rewind_steps[0]
    k = k if judged.rewind_step is None else judged.rewind_step
    of = f"step {k}" if judged.given.params else f"step {k} of fresh networks"
    again = (
        " Seeds beyond the masks begin with the first mask again, and are not "
        "independent of it: intervals and p are of training these masks again, and "
        "not of other masks."
    )
    anew = " Moments of the optimizer begin at 0." * (
        bool(judged.given.params) and k > 0
    )
    return (
        f"{number} mask{'s' * (number > 1)} of {config.model.name} on "
        f"{config.data.name}, each on its weights of {of}; trials of "
        f"{made.length:,} steps of {config.data.batch_size} examples with "
        f"{config.optim.name} at a rate of {config.optim.learning_rate:g}, as the "
        "config says, and judged by their last step."
        f"{anew}{again if config.replicates > number else ''}"
    )
