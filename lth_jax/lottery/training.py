"""Training: a fleet of a run goes on, is measured, and is saved when it must stop."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
from tqdm.auto import tqdm

from lth_jax import masks as masks_lib
from lth_jax.lottery import branches
from lth_jax.lottery.plan import Plan
from lth_jax.train import processes
from lth_jax.train.experiment import Experiment
from lth_jax.train.fit import fit
from lth_jax.train.state import TrainState
from lth_jax.workdir import Fleet, Workdir, records
from lth_jax.workdir.pauses import Interruption
from lth_jax.workdir.records import Member, row


@dataclass(frozen=True, eq=False)
class Lottery(Plan):
    """A run: its config, what that means, its folder, and how far it is.

    Attributes:
        diverged: networks whose training ended early, and at which step.
    """

    experiment: Experiment
    workdir: Workdir
    progress: tqdm
    interruption: Interruption
    diverged: dict[Member, int] = field(default_factory=dict)

    def divergences(self) -> list[str]:
        """Return a line for every network that diverged."""
        what = "a loss or a weight is not finite any more"
        return [
            f"{what}: {records.text((*member, step))}"
            for member, step in self.diverged.items()
        ]

    def planned(self, level: int) -> int:
        """Return the training steps of a level; the dense networks' are at level 0."""
        made = self.experiment
        ks = list(made.rewind_steps)
        return self.steps(level, ks, made.length, made.admm_interval)

    def steps_to_find(self, ticket: Member) -> int:
        """Return the training steps of a run until a ticket's masks are known."""
        if ticket.level == 0:
            return 0
        made, fresh = self.experiment, tuple(self.config.rewind.fresh)
        again, _ = branches.steps("ticket", ticket.rewind_step, made.length, fresh)
        one_shot = self.config.prune.schedule == "one_shot"
        rounds = 1 if one_shot else ticket.level
        drawn = rounds * self.draws * made.admm_interval
        return made.length + drawn + (rounds - 1) * again

    def skip(self, steps: Callable[[], int]) -> None:
        """Count what was trained before this process began: it took no time here."""
        if not self.progress.disable:
            taken = steps()
            self.progress.initial += taken
            self.progress.last_print_n += taken
            self.progress.n += taken
            self.progress.refresh()

    def rest(self, fleet: Fleet) -> None:
        """Save a level's networks if it is time to; give way if that is asked for.

        Raises:
            Interrupted: the process was asked to end; the networks are saved.
        """
        if self.interruption.due():
            self.workdir.pause(fleet)
            self.interruption.handle(self.workdir.paused.wait)

    def key(self, member: Member, *purposes: int) -> Key[Array, ""]:
        """Return the key of a member's replicate, or one derived from it."""
        key = jax.random.key(self.config.seed)
        for number in (member.replicate, *purposes):
            key = jax.random.fold_in(key, number)
        return key

    def dense(self, step: int) -> Fleet:
        """Return the dense states after `step` steps, from disk."""
        like = jax.eval_shape(lambda: self.initial(self.origins[0]))
        return self.workdir.load(self.workdir.dense, step, like)

    def initial(self, member: Member, key: Key[Array, ""] | None = None) -> TrainState:
        """Return a dense state at step 0 in a member's setting; by default its own."""
        key = self.key(member) if key is None else key
        return self.experiment.initialise(key, *member.setting)


def train(
    lottery: Lottery, fleet: Fleet, stop: int, done: Fleet, start: int | None = None
) -> Fleet:
    """Fit: train a fleet to step `stop`, recording and saving on the way.

    Args:
        lottery: the run.
        fleet: where its members start.
        stop: step at which to stop.
        done: other networks of the level, to be saved together.
        start: step at which its members began; by default where each of them is.

    Returns:
        Those at `stop`. Of others, a loss or a weight is not finite any more.

    Raises:
        Interrupted: the process was asked to end; what was done is saved.
    """
    fleet = {m: network for m, network in fleet.items() if m not in lottery.diverged}
    trained = lottery.workdir.resume(fleet)
    lottery.skip(lambda: sum(int(trained[m].step - fleet[m].step) for m in fleet))
    starts = {m: int(n.step) if start is None else start for m, n in fleet.items()}
    del fleet  # `trained` has the networks, and lets go of a start when it is over
    for members, until in _legs(lottery.experiment, starts, stop):
        together = [member for member in members if member in trained]
        while any(_is_behind(trained[member], until) for member in together):
            networks = fit(
                [trained[member] for member in together],
                until,
                lottery.experiment.program,
                lottery.progress.update,
                lottery.interruption.due,
            )
            trained.update(zip(together, networks))
            if not any(_is_behind(network, until) for network in networks):
                together = finish_leg(lottery, together, trained)
            lottery.rest(done | trained)
    return trained


def _legs(
    experiment: Experiment, starts: dict[Member, int], stop: int
) -> Iterator[tuple[list[Member], int]]:
    """Yield (members that train together, to step)."""
    for start in sorted(set(starts.values())):
        together = [member for member in starts if starts[member] == start]
        yield from ((together, until) for until in experiment.stops(start, stop))


def finish_leg(
    lottery: Lottery, together: list[Member], trained: Fleet
) -> list[Member]:
    """Record members that are where they were to go.

    Returns:
        Those that can go on. The others, which diverged, are taken from `trained`.
    """
    lost = {m: trained.pop(m) for m in together if not _is_finite(trained[m])}
    together = [member for member in together if member not in lost]
    rows = [
        one
        for member, network in lost.items()
        for one in numbered(member, network, [(records.DIVERGED, 1.0)])
    ]
    networks = [trained[member] for member in together]
    lottery.workdir.records.add(rows + measure(lottery, together, networks))
    for member, network in zip(together, networks):
        trained[member] = replace(network, loss=jnp.float32(0), loss_from=network.step)
    for member, network in lost.items():
        lottery.diverged[member] = int(network.step)
        if processes.is_first():
            warning = f"warning: {lottery.divergences()[-1]}"
            lottery.progress.write(warning, file=sys.stderr)
    return together


def measure(
    lottery: Lottery, members: list[Member], networks: list[TrainState]
) -> list[dict[str, Any]]:
    """Return the rows of some networks; the training loss since the last ones."""
    measured = [{"train_loss": _mean_loss(network)} for network in networks]
    for split, evaluator in lottery.experiment.evaluators.items():
        names = [m for m in lottery.config.measures if m.startswith(f"{split}_")]
        if names and networks:
            for numbers, evaluation in zip(measured, evaluator(networks)):
                numbers |= {m: getattr(evaluation, m[len(split) + 1 :]) for m in names}
    return [
        one
        for member, network, numbers in zip(members, networks, measured)
        for one in numbered(member, network, numbers.items())
    ]


def costs(lottery: Lottery, trained: Fleet) -> list[dict[str, Any]]:
    """Return the rows of what networks cost.

    Of each, `steps_trained`: how many its weights went through in all, before they were
    pruned or rewound, too. Of tickets, `steps_to_find`: how many the run took until
    their masks were known; `parameters` that are not pruned, biases and normalisation
    among them; `bytes` in a file, masks at a bit a weight included
    (`ticket.save_ticket`); `multiply_adds` of one example, by weights that are not
    pruned; and the density of every layer (`density_of_fc1/kernel`), in the order of
    the network.
    """
    layers, rows = lottery.experiment.layers, []
    length, fresh = lottery.experiment.length, tuple(lottery.config.rewind.fresh)
    for member, network in trained.items():
        taken = length
        if member.level or not member.is_ticket:
            k, sparse = member.rewind_step, member.level > 0
            taken = sum(branches.steps(member.branch, k, length, fresh, sparse))
        rows += numbered(member, network, [("steps_trained", float(taken))])
        if not member.is_ticket:
            continue
        left = masks_lib.by_layer(network.masks)
        pruned = sum(total - kept for kept, total in left.values())
        densities = {
            path: left[path][0] / left[path][1]
            for path in (f"{layer.path}/kernel" for layer in layers)
            if path in left
        }
        weights = sum(w.size for w in jax.tree.leaves(network.params)) - pruned
        others = sum(x.size for x in jax.tree.leaves(network.batch_stats))
        bits = sum(-(-total // 8) for _, total in left.values())
        measured = {
            "steps_to_find": float(lottery.steps_to_find(member)),
            "parameters": float(weights),
            "bytes": float(4 * (weights + others) + bits),
            "multiply_adds": sum(
                layer.multiply_adds * densities.get(f"{layer.path}/kernel", 1)
                for layer in layers
            ),
        }
        measured |= {f"density_of_{path}": d for path, d in densities.items()}
        rows += numbered(member, network, measured.items())
    return rows


def numbered(
    member: Member, network: TrainState, numbers: Iterable[tuple[str, float | Array]]
) -> list[dict[str, Any]]:
    """Return the rows of measures of a network and their values."""
    density, step = masks_lib.density(network.masks), int(network.step)
    return [
        row(member, density=density, step=step, measure=measure, value=float(value))
        for measure, value in numbers
    ]


def _mean_loss(network: TrainState) -> float:
    """Return the mean training loss since it was recorded last."""
    return float(network.loss) / max(1, int(network.step - network.loss_from))


def _is_behind(network: TrainState, step: int) -> bool:
    """Return whether a network can still be trained to a step."""
    return bool(network.step < step and jnp.isfinite(network.loss))


@jax.jit
def _is_finite(network: TrainState) -> Array:
    """Return whether the loss and all parameters are finite."""
    finite = [jnp.isfinite(w).all() for w in jax.tree.leaves(network.params)]
    return jnp.isfinite(network.loss) & jnp.stack(finite).all()
