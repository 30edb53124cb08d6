"""Reading: the masks that are judged, from files, a run's folder, or as they are."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from lth_jax import export
from lth_jax import masks as masks_lib
from lth_jax.export import torch_names
from lth_jax.given import Given
from lth_jax.judge import files
from lth_jax.judge.files import MasksError
from lth_jax.masks import Masks
from lth_jax.paths import local
from lth_jax.train.experiment import Experiment

Named = Path | str


class Judged(NamedTuple):
    """What is judged: masks in a network's layout, and where they belong."""

    given: Given
    rewind_step: int | None  # of the weights; None for the config's first
    claimed: float | None = None  # the density that was said
    before: Masks | None = None  # masks of the level before


def read(
    masks: Sequence[Named] | Named | Given,
    made: Experiment,
    config: ConfigDict,
    *,
    weights: Sequence[Named] = (),
    rewind_step: int | None = None,
    before: Named | None = None,
    claimed: float | None = None,
    names: Named | None = None,
) -> Judged:
    """Return the masks that are judged, with their weights; arguments as of `judge`.

    Raises MasksError unless they all keep as many weights, some but not all of them.
    """
    if isinstance(masks, Given) and weights:
        raise MasksError("--weights: put them into Given(masks, params)")
    like = made.like
    about = {"model": config.model.to_dict(), "data": made.data}
    of = files.layout(
        like.params,
        like.batch_stats,
        like.masks,
        about,
        torch_names.table(names) if names else None,
    )
    earlier = files.read_masks(before, of)[0] if before else None
    if isinstance(masks, Given):
        found, paths = Judged(masks, rewind_step, claimed), range(len(masks.masks))
    else:
        paths = [masks] if isinstance(masks, Path | str) else masks
        if len(paths) == 1 and os.path.isdir(local(paths[0], "masks")):
            if weights:
                raise MasksError("--weights: a run's folder has them; leave them out")
            found = _of_run(local(paths[0]), of, rewind_step)
        else:
            found = _of_files(paths, weights, of)._replace(rewind_step=rewind_step)
        claimed = found.claimed if claimed is None else claimed
    found = found._replace(claimed=claimed, before=earlier)
    counts = [masks_lib.count(one) for one in found.given.masks]
    if len({*counts}) > 1:
        several = ", ".join(f"{path}: {n:,}" for path, (n, _) in zip(paths, counts))
        raise MasksError(f"masks keep different numbers of weights: {several}")
    ((kept, total),) = {*counts}
    if not 0 < kept < total:
        what = "prune nothing" if kept else "keep nothing"
        raise MasksError(f"masks {what} of {total:,} weights: there is no ticket")
    return found


def _of_files(
    masks: Sequence[Named], weights: Sequence[Named], of: files.Layout
) -> Judged:
    if weights and len(weights) != len(masks):
        raise MasksError(
            f"--weights: {len(weights)} files for {len(masks)} of masks; one for each"
        )
    read = [files.read_masks(path, of) for path in masks]
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
    return Judged(given, None, said[0] if said else None)


def _of_run(folder: Path, of: files.Layout, rewind_step: int | None) -> Judged:
    """Return the tickets of a run's last level, and the weights they start from."""
    from lth_jax.workdir import Workdir
    from lth_jax.workdir import read as read_json

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
    rewind = read_json(folder / "config.json")["rewind"]
    if rewind.get("weights") == "trained":
        raise MasksError(
            f"{folder}: its tickets begin with trained weights, which are not judged; "
            "export its masks, and judge those"
        )

    def networks(level: int, k: int) -> list[export.Ticket]:
        how = {"rewind_step": k, "rewound": True}
        return [
            export.find(folder, level, replicate=n, **how) for n in dict.fromkeys(seeds)
        ]

    found, whole = networks(level, k), networks(0, k)
    fresh = networks(0, 0) if rewind.get("fresh") else whole
    params = fresh if "params" in rewind.get("fresh", ()) else whole
    stats = fresh if "batch_stats" in rewind.get("fresh", ()) else whole
    for ticket in found:
        try:
            masks_lib.check(of.params, ticket.masks)
        except ValueError as error:
            raise MasksError(f"{folder}: of another network: {error}") from error
    given = Given(
        [t.masks for t in found],
        [t.params for t in params],
        [t.batch_stats for t in stats] if jax.tree.leaves(of.batch_stats) else [],
    )
    return Judged(given, k, found[0].about["density"])
