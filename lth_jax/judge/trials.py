"""Trials: what is trained to judge masks, as one run of the engine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from lth_jax import export, lottery
from lth_jax import masks as masks_lib
from lth_jax.errors import ConfigError
from lth_jax.given import Given
from lth_jax.judge import claims, evidence, files
from lth_jax.judge.claims import Verdict
from lth_jax.judge.facts import facts
from lth_jax.judge.files import MasksError
from lth_jax.judge.page import text, write
from lth_jax.named import give
from lth_jax.paths import local
from lth_jax.report.rows import load
from lth_jax.train.experiment import Experiment

Named = Path | str


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


class Judged(NamedTuple):
    """What is judged: masks in a network's layout, and where they belong."""

    given: Given
    rewind_step: int | None  # of the weights; None for the config's first
    claimed: float | None  # the density that was said
    before: Any = None  # masks of the level before


def judge(
    masks: Sequence[Named] | Named | Given,
    config: ConfigDict,
    workdir: Named,
    *,
    weights: Sequence[Named] = (),
    rewind_step: int | None = None,
    margin: float | None = None,
    until: str = "",
    most: int = 20,
    before: Named | None = None,
    claimed: float | None = None,
    accept_code_change: bool = False,
    say: Callable[[Judgement], object] = lambda judgement: None,
    **objects: Any,
) -> Judgement:
    """Train the trials of masks, and return what they are found to be.

    Args:
        masks: files, one a seed; a run's folder stands for the tickets of all its seeds
            at its last level, with their weights. Or masks in the network's layout.
        config: how trials are trained, `replicates` of each.
        workdir: folder of the trials, new or to go on.
        weights: files of W_0 or W_k, one a mask, whole or under the masks. Without
            them, masks are judged on W_k of fresh networks.
        rewind_step: step k of the weights, and of the trials; by default the config's.
        margin: as of `claims.judge`.
        until: "resolved" adds seeds until every claim is decided, `most` at most.
        before: file of the level before, of which the masks should be a part.
        claimed: the density that was said of the masks.
        accept_code_change, objects: as of `lottery.run`.
        say: is called with what is known at every look but the last.

    Raises:
        MasksError, ConfigError: before anything is trained; one line, naming the file
            or the field.
    """
    config = give(config, **objects) if objects else config
    _check_config(config, until, most)
    _, made = lottery.build(_bare(config))
    if isinstance(masks, Given):
        judged = Judged(masks, rewind_step, claimed)
    else:
        names = [masks] if isinstance(masks, Path | str) else masks
        judged = read(names, weights, made, config, rewind_step, before, claimed)
    config = trials(config, judged, made)
    directory = local(workdir, "--workdir")
    looks = evidence.looks(config.replicates, most) if until else (config.replicates,)
    _keep_looks(directory, looks)
    known, about = _facts(judged, made, config), _about(config, judged, made)
    for n in looks:
        with config.unlocked():
            config.replicates = n
        ran = lottery.run(
            config,
            directory,
            given=judged.given,
            accept_code_change=accept_code_change,
        )
        verdict = claims.judge(load(directory), margin=margin, looks=looks)
        page = write(verdict, known, directory / "verdict", about)
        found = Judgement(verdict, known, page, ran.diverged)
        if verdict.is_resolved or n == looks[-1]:
            return found
        say(found)
    raise AssertionError(looks)


def read(
    masks: Sequence[Named],
    weights: Sequence[Named],
    made: Experiment,
    config: ConfigDict,
    rewind_step: int | None = None,
    before: Named | None = None,
    claimed: float | None = None,
) -> Judged:
    """Return masks, and weights, from files or a run's folder; as `judge`."""
    like = made.like
    about = {"model": config.model.to_dict(), "data": made.data}
    of = files.layout(like.params, like.batch_stats, like.masks, about)
    if len(masks) == 1 and local(masks[0], "masks").is_dir():
        if weights:
            raise MasksError("--weights: a run's folder has them; leave them out")
        return _of_run(local(masks[0]), of, rewind_step, before and _before(before, of))
    if weights and len(weights) != len(masks):
        raise MasksError(
            f"--weights: {len(weights)} files for {len(masks)} of masks; one for each"
        )
    read = [files.read_masks(path, of) for path in masks]
    kept = {str(path): masks_lib.count(m)[0] for path, (m, _) in zip(masks, read)}
    if len({*kept.values()}) > 1:
        several = ", ".join(f"{path}: {n:,}" for path, n in kept.items())
        raise MasksError(f"masks keep different numbers of weights: {several}")
    networks = [files.read_weights(path, of) for path in weights]
    for path, (m, _), (params, _) in zip(weights, read, networks):
        files.check_together(str(path), m, params)
    stats = [s for _, s in networks if s is not None]
    given = Given(
        [m for m, _ in read],
        [p for p, _ in networks],
        stats if len(stats) == len(networks) else [],
    )
    said = [about.get("density") for _, about in read if about.get("density")]
    claimed = claimed if claimed is not None else said[0] if said else None
    return Judged(given, rewind_step, claimed, before and _before(before, of))


def _before(path: Named, of: files.Layout) -> Any:
    return files.read_masks(path, of)[0]


def _of_run(
    folder: Path, of: files.Layout, rewind_step: int | None, before: Any
) -> Judged:
    """Return the tickets of a run's last level, and the weights they start from."""
    from lth_jax.workdir import Workdir

    run = Workdir(folder)
    level = max(run.levels.numbers(), default=0)
    if not level:
        raise MasksError(f"{folder}: a run without tickets, or none")
    members = [m for m in run.members(run.levels, level) if m.is_ticket]
    steps = sorted({m.rewind_step for m in members})
    k = steps[0] if rewind_step is None else rewind_step
    seeds = [m.replicate for m in members if m.rewind_step == k]
    if not seeds:
        raise MasksError(f"--rewind_step: {k} is not among {steps} of {folder}")
    found = [
        export.find(folder, level, replicate=seed, rewind_step=k, rewound=True)
        for seed in dict.fromkeys(seeds)
    ]
    for ticket in found:
        try:
            masks_lib.check(of.params, ticket.masks)
        except ValueError as error:
            raise MasksError(f"{folder}: of another network: {error}") from error
    given = Given(
        [t.masks for t in found],
        [t.params for t in found],
        [t.batch_stats for t in found] if jax.tree.leaves(of.batch_stats) else [],
    )
    return Judged(given, k, found[0].about["density"], before)


def trials(config: ConfigDict, judged: Judged, made: Experiment) -> ConfigDict:
    """Return the config of the run that trains what masks are compared with.

    The branches of the last level are the trials. The ticket there is what magnitude
    pruning finds at the same density, by the config's own schedule and scope: in scope
    "layer" as many weights, but for what each layer rounds down.
    """
    given, masks = judged.given, judged.given.masks[0]
    kept, total = masks_lib.count(masks)
    density = (kept + 0.5) / total  # exactly as many, whatever is rounded
    config = config.copy_and_resolve_references()
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
    for name in ("learning_rate", "weight_decay"):
        if config.sweep[name]:
            raise ConfigError(f"config.sweep.{name}: masks are judged in one setting")


def _keep_looks(directory: Path, looks: Sequence[int]) -> None:
    """Write at how many seeds one looks; raise ConfigError if others were planned.

    Looking oftener than planned would show what does not hold more often than said.
    """
    path = directory / "looks.json"
    if path.exists() and (there := json.loads(path.read_text())) != [*looks]:
        raise ConfigError(
            f"--workdir: {directory} was planned with looks at {there} seeds, and "
            f"not at {[*looks]}; keep --until, --most and config.replicates, or take "
            "another folder"
        )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*looks]))


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
    return (
        f"{number} mask{'s' * (number > 1)} of {config.model.name} on "
        f"{config.data.name}, each on its weights of {of}; trials of "
        f"{made.length:,} steps with {config.optim.name} at a rate of "
        f"{config.optim.learning_rate:g}, as the config says."
    )
