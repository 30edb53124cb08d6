"""Run: what branches, methods and studies may ask of a run."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import jax
from jaxtyping import Array, Key, PyTree
from ml_collections import ConfigDict
from tqdm.auto import tqdm

from lth_jax import branches
from lth_jax import masks as masks_lib
from lth_jax.devices import memory, processes
from lth_jax.errors import one_line
from lth_jax.masks import Masks
from lth_jax.rule import Rule
from lth_jax.scores import Scores
from lth_jax.symmetry import matching, units
from lth_jax.train import state as state_lib
from lth_jax.train.state import TrainState
from lth_jax.train.step import next_loss
from lth_jax.workdir.member import Member, Networks

if TYPE_CHECKING:
    from lth_jax.bill import Bill
    from lth_jax.branches import Branch
    from lth_jax.lottery.methods import Method
    from lth_jax.lottery.plan import Plan
    from lth_jax.train.evaluate import Evaluation
    from lth_jax.train.experiment import Experiment
    from lth_jax.train.moves import Mover
    from lth_jax.workdir.checkpoints import Series
    from lth_jax.workdir.folder import Workdir
    from lth_jax.workdir.pauses import Interruption

Result = TypeVar("Result")


@dataclass(eq=False)
class Run:
    """A run: its plan, its folder, and how far it is.

    Attributes:
        config: of the run.
        plan: every training.
        experiment: what the config means: network, data, program.
        workdir: its folder.
        progress: its bar.
        interruption: whether it has been asked to end.
        diverged: networks whose training ended early, and at which step.
        level: that it is at.
        before: the tickets of the level before.
        kept: the masks of the level's tickets, those that diverged among them.
        networks: what the level's networks came to.
        bills: what networks of all levels took to be trained.
        looks: whether a mover looks at the gradient, of those that were asked.
        left: what earlier rounds of scoring have left of tickets that are scored.
        alignments: how to permute the next replicate's dense network, by this one's.
    """

    config: ConfigDict
    plan: "Plan"
    experiment: "Experiment"
    workdir: "Workdir"
    progress: tqdm
    interruption: "Interruption"
    diverged: dict[Member, int] = field(default_factory=dict)
    level: int = 0
    before: Networks = field(default_factory=dict)
    kept: dict[Member, Masks] = field(default_factory=dict)
    networks: Networks = field(default_factory=dict)
    left: dict[Member, Masks] = field(default_factory=dict)
    looks: dict["Mover", bool] = field(default_factory=dict)
    bills: dict[Member, "Bill"] = field(default_factory=dict)
    alignments: dict[Member, matching.Permutation] = field(default_factory=dict)
    _is_halved: bool = False
    _loaded: dict[int, Networks] = field(default_factory=dict)
    _begun: dict[Member, TrainState | None] = field(default_factory=dict)

    def dense(self, member: Member, step: int) -> TrainState:
        """Return the dense network of any member's seed and setting, without masks.

        After `step` steps: 0, a rewind step, or the length of the training.
        """
        if step not in self._loaded:
            self._loaded[step] = self.load(self.workdir.dense, step)
        return self._loaded[step][member.dense]

    def start(self, member: Member) -> TrainState | None:
        """Return where a network of this level starts; None if it has no masks."""
        if member == member.dense:
            return self.dense(member, 0)
        first = member._replace(copy=0)
        if first not in self._begun:
            self._begun = {first: branches.start(self, first)}
        begun, again = self._begun[first], branches.BRANCHES[member.branch].again
        if begun is None:
            return None
        purpose = state_lib.DATA_AGAIN if again else state_lib.DATA
        # Frankle et al. (2020), Algorithm 2, draws new orders every round.
        own = (state_lib.LEVEL, self.level) if self.reorders else ()
        seed = state_lib.data_seed(self.key(member, *own), member.copy, purpose)
        return replace(begun, data_seed=seed, loss_from=begun.step)

    def previous(self, ticket: Member) -> TrainState:
        """Return the network that decides on a ticket's masks, under those before.

        The ticket of the level before, or in one-shot pruning the dense network.
        """
        found = self.before[ticket.previous]
        if self.config.prune.schedule == "iterative":
            return found
        return replace(self.dense(ticket, self.plan.length), masks=found.masks)

    def scored(self, ticket: Member) -> TrainState:
        """Return the network whose weights decide on a ticket's masks.

        The dense one at step 0 or k, or `previous`, as `prune.at` or the method says;
        in a round of scoring, under what the rounds before have left.
        """
        if (at := self.plan.scored_at) == "end":
            found = self.previous(ticket)
        else:
            found = self.dense(ticket, ticket.rewind_step if at == "k" else 0)
        if (left := self.left.get(ticket)) is None:
            return found
        return replace(found, params=masks_lib.apply(found.params, left), masks=left)

    def score(self, ticket: Member) -> Scores:
        """Return what the method thinks of a ticket's weights, if it scores them."""
        assert self.method.score is not None  # `checks` said so
        return self.method.score(self, ticket)

    @property
    def method(self) -> "Method":
        """How masks are made."""
        assert self.plan.method is not None
        return self.plan.method

    def masks(self, member: Member) -> Masks | None:
        """Return the masks of a member's ticket; None if nothing is left of it."""
        return self.kept.get(member.ticket)

    def trained(self, member: Member) -> TrainState | None:
        """Return what a network of this level came to; None if it diverged."""
        return self.networks.get(member)

    def twin(self, member: Member) -> TrainState | None:
        """Return the dense network from the same weights in the same order, if any."""
        training, length = self._trainings[member], self.plan.length
        begin = training.begin
        if (begin, length) != (training.had, training.stop) or self.reorders:
            return None
        if not branches.BRANCHES[member.branch].from_dense:
            return None
        if member.copy == 0:
            return self.dense(member, length)
        twin = member._replace(level=0, branch="dense", rewind_step=begin)
        return self._dense_copies.get(twin)

    def branch(self, member: Member) -> "Branch":
        """Return what a member's branch is."""
        return branches.BRANCHES[member.branch]

    def key(self, member: Member, *purposes: int) -> Key[Array, ""]:
        """Return the key of a member's replicate, or one derived from it."""
        key = jax.random.key(self.config.seed)
        for number in (member.replicate, *purposes):
            key = jax.random.fold_in(key, number)
        return key

    def initial(self, member: Member, key: Key[Array, ""]) -> TrainState:
        """Return a new dense state at step 0 in a member's setting."""
        return self.experiment.initialise(key, *member.setting)

    def shrink(self, ticket: Member, scores: Scores) -> Masks:
        """Return a ticket's masks: of what was left, the lowest scores are pruned."""
        return self.rule.shrink(scores, self.previous(ticket).masks)

    def loss(
        self, state: TrainState, temperature: float = 1.0
    ) -> Callable[[PyTree], Array]:
        """Return the loss on a state's next batch, as a function of the parameters."""
        return next_loss(state, temperature, program=self.experiment.program)

    @property
    def rule(self) -> Rule:
        """How the level is pruned: how much, and what not."""
        return self.plan.rule(self.level)

    @property
    def reorders(self) -> bool:
        """Whether the level's data orders are not those of the dense networks."""
        return self.config.rewind.reorder and self.level > 0

    @property
    def tickets(self) -> Networks:
        """What the level's tickets came to; at level 0 the dense networks."""
        return {m: network for m, network in self.networks.items() if m.is_ticket}

    @property
    def flow(self) -> Callable[[PyTree], Array]:
        """Map parameters to what flows from inputs to outputs, as `step.flow`."""
        return self.experiment.program.flow

    def evaluate(self, networks: Sequence[TrainState]) -> dict[str, list["Evaluation"]]:
        """Return evaluations by split, of batch statistics as the config wants them."""
        self.rest(self.networks)
        networks = [state_lib.evaluated(network) for network in networks]

        def work(experiment: "Experiment") -> dict[str, list["Evaluation"]]:
            found = networks
            if self.config.study.batch_stats != "interpolate":
                found = experiment.refresh(found)
            return {name: split(found) for name, split in experiment.path.items()}

        return self.with_room(len(networks), work)

    def with_room(self, number: int, work: Callable[["Experiment"], Result]) -> Result:
        """Do some work of so many members, which it does not change.

        Where devices have no room for it, half as many go at a time from then on, once
        in a run of one process: others would wait for this one.
        """
        done = self.progress.n
        try:
            return work(self.experiment)
        except jax.errors.JaxRuntimeError as error:
            smaller = self.experiment.smaller(number)
            may_halve = not (self._is_halved or processes.several())
            if not memory.was_short(error) or smaller is None or not may_halve:
                raise
            reason = one_line(error)
        self.experiment, self._is_halved, self.progress.n = smaller, True, done
        self.workdir.keep_way(smaller.ways[0], smaller.program.layout.members)
        warning = f"warning: half as many members go at a time from here on: {reason}"
        self.progress.write(warning, file=sys.stderr)
        return work(self.experiment)

    def load(self, series: "Series", number: int) -> Networks:
        """Return networks that the run has saved."""
        return self.workdir.load(series, number, self._like)

    def at(self, level: int) -> None:
        """Go to a level: what is asked is of its networks now."""
        self.before = self.tickets
        self.level, self.kept = level, {}
        self.progress.set_description(self.plan.at(level))
        self.networks = {} if level else dict(self.before)
        self._trainings = {t.member: t for t in self.plan.trainings(level)}
        self.forget()

    def forget(self) -> None:
        """Let go of dense networks in memory; they are loaded again when asked for."""
        self._loaded, self._begun = {}, {}

    @property
    def to_keep(self) -> Networks:
        """What is saved of the level: its tickets, or copies of dense networks."""
        kept, saved = "ticket" if self.level else "dense", self.plan.dense
        networks = self.networks.items()
        return {m: n for m, n in networks if m.branch == kept and m not in saved}

    def rest(self, networks: Networks) -> None:
        """Save networks if it is time to; raise Interrupted if that is asked for."""
        if self.interruption.due():
            self.workdir.pause(networks)
            self.interruption.handle(self.workdir.paused.wait)

    def skip(self, steps: int) -> None:
        """Count what was trained before this process began: it took no time here."""
        if steps and not self.progress.disable:
            self.progress.initial += steps
            self.progress.last_print_n += steps
            self.progress.n += steps
            self.progress.refresh()

    def divergences(self) -> list[str]:
        """Return a line for every network that diverged."""
        what = "a loss or a weight is not finite any more"
        return [f"{what}: {member}, step {at}" for member, at in self.diverged.items()]

    @cached_property
    def groups(self) -> units.Groups:
        """Which hidden units of the networks can be permuted."""
        program = self.experiment.program
        return units.groups(program.network, program.feed.example)

    @cached_property
    def _like(self) -> TrainState:
        """The structure, shapes and types of every network that is saved for good."""
        key, setting = jax.random.key(0), self.plan.dense[0].setting
        return jax.eval_shape(lambda: self.experiment.initialise(key, *setting))

    @cached_property
    def _dense_copies(self) -> Networks:
        return self.load(self.workdir.levels, 0)
