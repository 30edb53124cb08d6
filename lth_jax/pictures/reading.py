"""Reading: from a run's checkpoints, in one pass, to what there is to see.

From masks and weights, and not from rows: a picture of every input pixel is no number a
row, and runs that were made before have their checkpoints, too. Those of a run on its
way are whole: a level is there, or it is not.
"""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from lth_jax import jsonl
from lth_jax import masks as masks_lib
from lth_jax.errors import ExportError
from lth_jax.export import chosen
from lth_jax.pictures.seen import Seen
from lth_jax.workdir.folder import Workdir
from lth_jax.workdir.identity import read
from lth_jax.workdir.member import Member

Arrays = dict[str, np.ndarray]  # by the path of a layer, as `fc1/kernel`
_BINS = 60


def see(
    workdir: Path | str,
    *,
    rewind_step: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
) -> Seen:
    """Return what there is to see of a run's tickets; it may be on its way.

    Args:
        workdir: folder of the run.
        rewind_step: k; by default the run's first.
        learning_rate, weight_decay: where a run has several; by default the first.

    Raises:
        ExportError: there are no such tickets; the field and what is there are named.
        CheckpointError: a checkpoint is damaged.
    """
    run = Workdir(workdir)
    levels = [level for level in run.levels.numbers() if level]
    members = {level: run.members(run.levels, level) for level in levels}
    tickets = [m for level in levels for m in members[level] if m.is_ticket]
    if not tickets:
        raise ExportError(f"{workdir}: there are no checkpoints of tickets yet")
    wanted = {"rewind_step": rewind_step, "learning_rate": learning_rate}
    first = chosen(tickets, wanted | {"weight_decay": weight_decay})
    order, shape = _layers(run), _shape(run)
    starts = _starts(run, first.rewind_step)
    found: dict[str, dict[float, Any]] = {}
    weights = {}
    for level in levels:
        at = first._replace(level=level)
        nets = _networks(run, members[level], level, at, starts)
        if not nets:
            continue
        masks = [mask for mask, _, _ in nets]
        density = 100 * sum(m.sum() for m in masks[0].values())
        density /= sum(m.size for m in masks[0].values())
        numbers = (
            _level(nets) | _shared(masks) | {"inputs": _inputs(masks, order, shape)}
        )
        for name, its in numbers.items():
            found.setdefault(name, {})[density] = its
        weights = _weights(nets)
    names = [name for name in order if name in weights]
    names += sorted(weights.keys() - {*names})
    frames = {
        name: pd.DataFrame(found[name]).reindex(names)
        for name in ("kept", "flipped", "dead", "times_chance")
    }
    inputs = {at: its for at, its in found["inputs"].items() if its is not None}
    return Seen(
        _words(first, tickets),
        **frames,
        shared=pd.DataFrame(found["shared"], index=["masks", "by chance"]),
        inputs=inputs,
        weights={name: weights[name] for name in names},
    )


def _words(first: Member, tickets: Iterable[Member]) -> str:
    """Return in words which tickets these are: as far as a run has others."""
    names = ("rewind_step", "learning_rate", "weight_decay")
    several = [n for n in names if len({getattr(t, n) for t in tickets}) > 1]
    words = [f"{name.replace('_', ' ')} {getattr(first, name):g}" for name in several]
    return ", ".join(words)


def _layers(run: Workdir) -> list[str]:
    """Return the layers in the order of the network, as rows name them."""
    rows = jsonl.read(run.records.path)
    return [
        *dict.fromkeys(
            r["layer"] for r in rows if r["measure"] == "density" and r.get("layer")
        )
    ]


def _shape(run: Workdir) -> tuple[int, ...]:
    data = read(run.directory / "environment.json").get("data", {})
    return tuple(data.get("shape") or ())


def _starts(run: Workdir, step: int) -> dict[Member, Arrays]:
    """Return W_k of the dense networks."""
    if step not in run.dense.numbers():
        raise ExportError(f"{run.dense.directory / str(step)} is missing: W_{step}")
    states = run.dense.raw(step)
    members = run.members(run.dense, step)
    return {m: dict(masks_lib.leaves(x["params"])) for m, x in zip(members, states)}


def _networks(
    run: Workdir,
    members: list[Member],
    level: int,
    at: Member,
    starts: dict[Member, Arrays],
) -> list[tuple[Arrays, Arrays, Arrays]]:
    """Return masks, W_k and W_T of a level's tickets, a replicate each."""
    states, found = run.levels.raw(level), []
    for member, state in zip(members, states):
        start = starts.get(member.dense)
        if member != at._replace(replicate=member.replicate) or start is None:
            continue
        ends = dict(masks_lib.leaves(state["params"]))
        masks = masks_lib.unpack(state["masks"], state["params"])
        masks = dict(masks_lib.leaves(jax.device_get(masks)))
        found.append((masks, start, ends))
    return found


def _level(nets: list[tuple[Arrays, Arrays, Arrays]]) -> dict[str, dict[str, float]]:
    """Return kept, flipped and dead of every layer, in %, means over replicates."""
    found: dict[str, dict[str, list[float]]] = {"kept": {}, "flipped": {}, "dead": {}}
    for masks, start, end in nets:
        for name, mask in masks.items():
            flips = (np.sign(start[name]) != np.sign(end[name]))[mask]
            units = mask.reshape(-1, mask.shape[-1]).any(axis=0)
            its = {
                "kept": mask.mean(),
                "flipped": flips.mean() if flips.size else math.nan,
                "dead": 1 - units.mean(),
            }
            for what, value in its.items():
                found[what].setdefault(name, []).append(100 * float(value))
    return {
        what: {name: float(np.mean(values)) for name, values in its.items()}
        for what, its in found.items()
    }


def _shared(masks: list[Arrays]) -> dict[str, Any]:
    """Return overlaps of all pairs of replicates' masks, as `masks.overlap` has them.

    Those by chance are of masks that keep as much of every layer.
    """
    whole, layers = [], {name: [] for name in masks[0]}
    for a, b in itertools.combinations(masks, 2):
        both, chance, fewer = (
            0.0,
            0.0,
            min(sum(m.sum() for m in x.values()) for x in (a, b)),
        )
        for name in a:
            its = float((a[name] & b[name]).sum())
            expected = float(a[name].sum()) * float(b[name].sum()) / a[name].size
            both, chance = both + its, chance + expected
            layers[name].append(100 * its / expected if expected else math.nan)
        whole.append([100 * both / fewer, 100 * chance / fewer])
    mean = np.mean(whole, axis=0) if whole else [math.nan] * 2
    times = {n: float(np.mean(x)) if x else math.nan for n, x in layers.items()}
    return {"shared": mean, "times_chance": times}


def _inputs(
    masks: list[Arrays], order: list[str], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Return kept connections of every pixel, or position of a kernel; or None."""
    name = next((name for name in order if name in masks[0]), None)
    if name is None or len(shape) != 3:
        return None
    kept = np.mean([mask[name] for mask in masks], axis=0)
    if kept.ndim == 2 and kept.shape[0] == math.prod(shape):
        return kept.sum(axis=1).reshape(shape).sum(axis=-1)
    if kept.ndim == 4 and kept.shape[2] == shape[-1]:
        return kept.sum(axis=(2, 3))
    return None


def _weights(
    nets: list[tuple[Arrays, Arrays, Arrays]],
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return histograms of the kept weights of every layer, in W_k and W_T."""
    found = {}
    for name in nets[0][0]:
        start, end = (
            np.concatenate([net[i][name][net[0][name]] for net in nets]).astype(float)
            for i in (1, 2)
        )
        widest = max(np.abs(start).max(initial=0), np.abs(end).max(initial=0)) or 1.0
        edges = np.linspace(-widest, widest, _BINS + 1)
        counts = (np.histogram(x, edges)[0] for x in (start, end))
        found[name] = (edges, *counts)
    return found
