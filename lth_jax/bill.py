"""Bill: the multiply-adds that a network took to be found and to be trained."""

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from lth_jax import masks as masks_lib
from lth_jax.branch_masks import (
    COUNTED,
    FINDERS,
    FROM_ELSEWHERE,
    OF_DENSE,
    OF_PREVIOUS,
)
from lth_jax.branches import BRANCHES, origins
from lth_jax.layers.summary import multiply_adds
from lth_jax.train import moves as moves_lib
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member, Training
from lth_jax.workdir.records import member as member_of

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run

_KINDS = ("", "dense_")  # before the names of measures
_STEP = 3  # times what a batch takes forward: as much again for each gradient


class Bill(NamedTuple):
    """Multiply-adds, of weights that are not pruned, and as if none were."""

    sparse: float
    dense: float

    def plus(self, other: "Bill") -> "Bill":
        return Bill(self.sparse + other.sparse, self.dense + other.dense)


def recorded(rows: Iterable[dict[str, Any]]) -> dict[Member, Bill]:
    """Return what networks took to be trained, as rows have it."""
    found: dict[Member, dict[str, float]] = {}
    for row in rows:
        if row["measure"].endswith("multiply_adds_to_train"):
            found.setdefault(member_of(row), {})[row["measure"]] = row["value"]
    return {
        member: Bill(*(numbers[f"{kind}multiply_adds_to_train"] for kind in _KINDS))
        for member, numbers in found.items()
    }


def rows(run: "Run", training: Training) -> list[tuple[str, float]]:
    """Return what a network took, as (measure, value).

    Those of its level that are trained have their `to_train` in `run.bills`.

    `multiply_adds_to_train`: of its own training, forward and for both gradients; with
    the dense gradients that moves of its masks look at. `multiply_adds_to_find`: what
    was trained and scored before its masks and weights were known. Both by weights that
    are not pruned, and with `dense_` before them as if none were. Normalisations and
    the optimizer are not counted, nor are the comparisons of a pruning.
    """
    bills = {"train": run.bills[training.member], "find": to_find(run, training)}
    return [
        (f"{kind}multiply_adds_to_{what}", number)
        for what, bill in bills.items()
        for kind, number in zip(_KINDS, bill or ())
    ]


def to_train(run: "Run", training: Training, network: TrainState) -> Bill:
    """Return the bill of a training."""
    steps, batch = training.steps, run.config.data.batch_size
    uses = multiply_adds(run.experiment.layers)
    whole, masks = sum(uses.values()), network.masks
    course, moved = network.course, 0.0
    if course is None:
        layers = masks_lib.by_layer(masks)
        kept = {path: steps * n / size for path, (n, size) in layers.items()}
    else:
        sums = jax.device_get(moves_lib.spent(course, masks, training.stop).spent)
        kept = {path: float(n) for path, n in masks_lib.leaves(sums)}
    total = sum(n * kept.get(path, steps) for path, n in uses.items())
    moves = run.plan.moves([training]) if training.member.branch in BRANCHES else None
    if moves and moves.mover not in run.looks:
        looks = moves_lib.looks_at_gradient(moves.mover, network)
        run.looks[moves.mover] = looks
    if moves and run.looks[moves.mover]:
        moved = moves.number(training.begin)
    # Backward to the activations, as forward, a gradient is of what is kept.
    sparse = _STEP * total + moved * (2 * total / steps + whole)
    return Bill(float(batch * sparse), float(batch * _STEP * (steps + moved) * whole))


def to_find(run: "Run", training: Training) -> Bill | None:
    """Return the bill of what came before a training.

    None if an older version, which has not recorded it, trained earlier levels; and of
    masks from elsewhere, as nothing here found them.
    """
    member = training.member
    if member == member.dense:
        return Bill(0.0, 0.0)
    if member.branch not in BRANCHES:  # a method's own, which goes on from the dense
        return run.bills.get(member.dense)
    branch, config = BRANCHES[member.branch], run.config
    if member.level and branch.masks in FROM_ELSEWHERE:
        return None
    weights = origins(branch, member.level, config.rewind)["params"]
    networks = []
    if weights == "ticket":
        networks.append(member.ticket)
        own = origins(BRANCHES["ticket"], member.level, config.rewind)["params"]
        weights = own if member.level else ""  # which dense networks have paid for
    steps = {"k": member.rewind_step, "end": run.plan.length}
    of_dense, bill = {member.dense: steps.get(weights, 0)}, Bill(0.0, 0.0)
    before = weights == "before"
    if member.level and branch.masks not in COUNTED or before:
        finder = FINDERS.get(branch.masks, lambda _, own: own)(run.plan, member.ticket)
        scored = "end" if before else run.plan.scored_at
        looked = "end" if branch.masks in (*OF_DENSE, *OF_PREVIOUS) else scored
        least = of_dense.get(finder.dense, 0)
        of_dense[finder.dense] = max(least, steps.get(looked, 0))
        # ADMM alone, which trains for itself, begins with the dense network again.
        rescored = scored == "end" and bool(run.method.at)
        chained = run.method.nested or before or rescored
        of_tickets = scored == "end" and chained or branch.masks in OF_PREVIOUS
        if config.prune.schedule == "iterative" and of_tickets:
            earlier = range(1, member.level)
            networks += [finder._replace(level=level) for level in earlier]
        bill = _of_method(run, finder, chained=chained)
    if not run.bills.keys() >= {*of_dense, *networks}:
        return None
    for dense, taken in of_dense.items():
        whole, share = run.bills[dense], taken / run.plan.length
        bill = bill.plus(Bill(share * whole.sparse, share * whole.dense))
    return functools.reduce(Bill.plus, (run.bills[m] for m in networks), bill)


def _of_method(run: "Run", ticket: Member, *, chained: bool) -> Bill:
    """Return the bill of scoring for, and of what a method trains of its own.

    Chained, its masks or weights are of those of the levels before.
    """
    config, method = run.config, run.method
    iterative = config.prune.schedule == "iterative"
    rounds = config.prune.rounds or method.rounds
    examples = rounds * method.passes(config.data.batch_size)
    first = 1 if iterative and chained else ticket.level
    examples *= ticket.level - first + 1
    for level in range(first, ticket.level + 1):
        for training in run.plan.trainings(level):
            of = training.member
            if of.branch not in BRANCHES and of.dense == ticket.dense:
                examples += _STEP * training.steps * config.data.batch_size
    number = float(examples * sum(multiply_adds(run.experiment.layers).values()))
    return Bill(number, number)
