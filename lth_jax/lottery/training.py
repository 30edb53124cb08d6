"""Training: a fleet of a run goes on, is measured, and is saved when it must stop."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lth_jax.devices import processes
from lth_jax.train.fit import fit
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member, Networks
from lth_jax.workdir.records import DIVERGED, numbered

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run
    from lth_jax.train.moves import Moves


def train(
    run: "Run",
    starts: Networks,
    stop: int,
    done: Networks | None = None,
    begin: int | None = None,
    moves: "Moves | None" = None,
) -> Networks:
    """Fit: train a fleet to step `stop`, recording and saving on the way.

    Args:
        run: to which it belongs.
        starts: where its members start.
        stop: step at which to stop.
        done: other networks of the level, to be saved together.
        begin: step at which its members began; by default where each of them is.
        moves: how their masks move, if they do.

    Returns:
        Those that are at `stop`; others have diverged.
    """
    starts = {m: network for m, network in starts.items() if m not in run.diverged}
    trained = run.workdir.resume(starts)
    run.skip(sum(int(trained[m].step - starts[m].step) for m in starts))
    begins = {m: int(n.step) if begin is None else begin for m, n in starts.items()}
    del starts  # `trained` has the networks, and lets go of a start when it is over
    legs = [
        ([member for member in begins if begins[member] == first], until)
        for first in sorted({*begins.values()})
        for until in run.experiment.stops(first, stop)
    ]
    for members, until in legs:
        together = [member for member in members if member in trained]
        while any(_is_behind(trained[member], until) for member in together):
            networks = [trained[member] for member in together]
            networks = _fit(run, networks, until, moves)
            trained.update(zip(together, networks))
            if not any(_is_behind(network, until) for network in networks):
                together = _finish_leg(run, together, trained)
            run.rest((done or {}) | trained)
    return trained


def _fit(
    run: "Run", networks: list[TrainState], stop: int, moves: "Moves | None"
) -> list[TrainState]:
    others = run.progress.update, run.interruption.due, moves
    number = len(networks)
    return run.with_room(number, lambda e: fit(networks, stop, e.program, *others))


def _finish_leg(run: "Run", together: list[Member], trained: Networks) -> list[Member]:
    """Record members; return those that can go on, and take others from `trained`."""
    lost = {m: trained.pop(m) for m in together if not _is_finite(trained[m])}
    together = [member for member in together if member not in lost]
    rows = []
    for member, network in lost.items():
        rows += numbered(member, network, [(DIVERGED, 1.0)])
    rows += _measure(run, {member: trained[member] for member in together})
    run.workdir.records.add(rows)
    for member in together:
        network = trained[member]
        trained[member] = replace(network, loss=jnp.float32(0), loss_from=network.step)
    for member, network in lost.items():
        run.diverged[member] = int(network.step)
        if processes.is_first():
            warning = f"warning: {run.divergences()[-1]}"
            run.progress.write(warning, file=sys.stderr)
    return together


def _measure(run: "Run", networks: Networks) -> list[dict[str, Any]]:
    """Return the rows of some networks; the training loss since the last ones."""
    steps = [max(1, int(n.step - n.loss_from)) for n in networks.values()]
    losses = [float(n.loss) / taken for n, taken in zip(networks.values(), steps)]
    measured = [{"train_loss": loss} for loss in losses]
    some = [*networks.values()]
    for split in run.experiment.evaluators:
        names = [m for m in run.experiment.measures if m.startswith(f"{split}_")]
        if names and some:
            evaluated = run.with_room(
                len(some), lambda e, s=split: e.evaluators[s](some)
            )
            for numbers, found in zip(measured, evaluated):
                numbers |= {m: found[m[len(split) + 1 :]] for m in names}
    found = zip(networks.items(), measured)
    return [row for of, numbers in found for row in numbered(*of, numbers.items())]


def _is_behind(network: TrainState, step: int) -> bool:
    """Return whether a network can still be trained to a step."""
    return bool(network.step < step and jnp.isfinite(network.loss))


@jax.jit
def _is_finite(network: TrainState) -> Array:
    """Return whether the loss and all parameters are finite."""
    finite = [jnp.isfinite(w).all() for w in jax.tree.leaves(network.params)]
    return jnp.isfinite(network.loss) & jnp.stack(finite).all()
