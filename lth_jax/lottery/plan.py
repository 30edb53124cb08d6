"""Plan: every training of a run, from where to where, before anything is trained."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from lth_jax.config.fields import known
from lth_jax.errors import ConfigError
from lth_jax.lottery.branches import BRANCHES, CLOCKS, MASKS, WEIGHTS
from lth_jax.rule import Counts, Rule
from lth_jax.workdir.member import Member, Training

if TYPE_CHECKING:
    from lth_jax.lottery.methods import Method


def check(config: ConfigDict) -> None:
    """Raise ConfigError unless branches are known, and can be."""
    sparse = [name for name, branch in BRANCHES.items() if not branch.first_copy]
    unmasked = [n for n, b in BRANCHES.items() if b.masks == "none" or b.after]
    for name in config.branches:
        known("branches", name, sparse)
    for name in config.dense_branches:
        known("dense_branches", name, unmasked)
    for name in config.copied_branches:
        known("copied_branches", name, (*config.branches, *config.dense_branches))
    for name in (*config.branches, *config.dense_branches):
        branch = BRANCHES[name]
        known(f"branches: weights of {name!r}", branch.weights, WEIGHTS)
        known(f"branches: clock of {name!r}", branch.clock, CLOCKS)
        known(f"branches: masks of {name!r}", branch.masks, MASKS)
        if branch.masks == "other_rate" and len(config.sweep.learning_rate) != 2:
            raise ConfigError(
                f"config.branches: {name!r} needs two sweep.learning_rate"
            )
    if "ticket" not in config.branches:
        raise ConfigError("config.branches: 'ticket' is what is pruned, add it")


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The networks of a run, and every training of them.

    Attributes:
        config: of the run.
        length: steps of a full training.
        rewind_steps: the steps k of the rewind states, rising.
        interval: steps between the Z- and U-steps of ADMM pruning.
        method: how masks are made, which may train something, too.
    """

    config: ConfigDict
    length: int
    rewind_steps: tuple[int, ...]
    interval: int = 0
    method: "Method | None" = None

    @property
    def levels(self) -> int:
        """The number of pruning rounds."""
        return len(self.config.prune.densities) or self.config.prune.levels

    @property
    def dense_steps(self) -> list[int]:
        """The steps after which dense networks are saved, rising."""
        return sorted({0, *self.rewind_steps, self.length})

    @cached_property
    def dense(self) -> list[Member]:
        """The dense networks: all replicates of all settings of a sweep."""
        swept = (self.config.sweep[name] or (None,) for name in Member._fields[5:])
        first = self.config.first_replicate
        settings = itertools.product(*swept)
        seeds = range(first, first + self.config.replicates)
        return [Member(i, 0, 0, "dense", 0, *one) for one in settings for i in seeds]

    def tickets(self, level: int) -> list[Member]:
        """Return the tickets of a level, from 1."""
        return [
            dense._replace(rewind_step=step, level=level, branch="ticket")
            for dense in self.dense
            for step in self.rewind_steps
        ]

    def trainings(self, level: int) -> list[Training]:
        """Return every training of a level: at level 0 of the dense networks."""
        return self._trainings[level]

    @cached_property
    def _trainings(self) -> list[list[Training]]:
        dense = [Training(member, 0, self.length, 0) for member in self.dense]
        branches = self.config.dense_branches
        levels = [dense + [t for one in dense for t in self._beside(one, branches)]]
        for level in range(1, self.levels + 1):
            branches = self.config.branches if self.is_studied(level) else ("ticket",)
            found = self.method.trainings(self, level) if self.method else []
            for ticket in self.tickets(level):
                own = self._training(ticket, ticket.rewind_step, None)
                found = [*found, *self._beside(own, branches)]
            levels.append(found)
        return levels

    def _beside(self, ticket: Training, branches: Sequence[str]) -> Iterator[Training]:
        """Yield the trainings of branches beside a ticket, a copy each."""
        member = ticket.member
        for name in branches:
            branch = BRANCHES[name]
            # Copies of dense networks part from them at every k.
            parts = member.level == 0 and "k" in (branch.weights, branch.clock)
            for k in self.rewind_steps if parts else (member.rewind_step,):
                for copy in range(branch.first_copy, self.copies(member.level, name)):
                    named = member._replace(rewind_step=k, branch=name, copy=copy)
                    yield self._training(named, k, ticket)

    def _training(self, member: Member, k: int, ticket: Training | None) -> Training:
        """Return the training of a member whose rewind step is k, beside a ticket."""
        branch, fresh = BRANCHES[member.branch], self.config.rewind.fresh
        at = {"k": k, "0": 0, "end": self.length, "init": 0}
        begin = 0 if "step" in fresh and branch.clock == "k" else at[branch.clock]
        after = ticket if branch.after else None
        had = after.had + after.steps if after else at[branch.weights]
        if "params" in fresh and branch.weights == "k":
            had = 0
        return Training(member, begin, branch.lengths * self.length, had, after)

    def waves(self, level: int) -> list[list[Training]]:
        """Return the trainings of a level's branches as fleets, in their order."""
        fleets: dict[tuple[bool, int], list[Training]] = {}
        for training in self.trainings(level):
            if training.member.branch in BRANCHES and training.member not in self.dense:
                key = training.after is not None, training.stop
                fleets.setdefault(key, []).append(training)
        return [fleets[key] for key in sorted(fleets)]

    def steps(self, level: int) -> int:
        """Return the training steps of a level."""
        return sum(training.steps for training in self.trainings(level))

    def at(self, level: int) -> str:
        """Return where a run is, in words."""
        return f"level {level} of {self.levels}"

    def largest(self) -> int:
        """Return the number of networks of the fleet that has most of them."""
        fleets = map(self.waves, range(self.levels + 1))
        return max(map(len, [self.dense, *itertools.chain(*fleets)]))

    def steps_to_find(self, ticket: Member) -> int:
        """Return the training steps of a run until a ticket's masks are known."""
        if ticket.level == 0:
            return 0
        first = ticket.level if self.config.prune.schedule == "one_shot" else 1
        found = self.length
        for level in range(first, ticket.level + 1):
            for member, begin, stop, *_ in self.trainings(level):
                drawn = member.branch not in BRANCHES and member.dense == ticket.dense
                before = member == ticket._replace(level=level) and member != ticket
                found += (stop - begin) * (drawn or before)
        return found

    def copies(self, level: int, branch: str) -> int:
        """Return the number of copies of a branch that are trained at a level."""
        copied = self.config.copied_branches
        is_copied = self.is_studied(level) and (not copied or branch in copied)
        return self.config.copies if is_copied else 1

    def is_studied(self, level: int) -> bool:
        """Return whether more than tickets are trained at a level."""
        levels = self.config.branch_levels
        return level == 0 or not levels or level in levels

    def rule(self, level: int) -> Rule:
        """Return what a level prunes, from 1."""
        options = self.config.prune
        densities = options.densities
        density = float(densities[level - 1]) if densities else None
        keep, stacked = tuple(options.keep), tuple(options.stacked)
        return Rule(options.fraction, density, options.scope, keep, stacked)

    def densities(self, layers: Mapping[str, int]) -> Iterator[float]:
        """Yield the exact density of every level, by each layer's prunable weights.

        Raises ConfigError for a level that cannot be reached.
        """
        now: Counts = {path: (total, total) for path, total in layers.items()}
        yield 1.0
        for level in range(1, self.levels + 1):
            try:
                now = self.rule(level).left(now)
            except ValueError as error:
                name = "prune.keep" if self.config.prune.keep else "prune"
                raise ConfigError(f"config.{name}: level {level}: {error}") from error
            kept, total = (sum(numbers) for numbers in zip(*now.values()))
            yield kept / total

    def check(self, layers: Mapping[str, int], schedule: Any) -> None:
        """Raise ConfigError if a level would be empty, or a training stand still."""
        *_, _ = self.densities(layers)
        trainings = [*self.trainings(0), *self.trainings(self.levels)]
        later = [t.member.branch for t in trainings if t.stop > self.length]
        if later and not schedule(self.length):
            raise ConfigError(
                f"config.optim.schedule: ends at 0, where {later[0]!r} goes on; see "
                "end_value"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as it stands in the run's folder."""
        return {
            "length": self.length,
            "rewind_steps": list(self.rewind_steps),
            "nested": bool(self.method and self.method.nested),
            "crossing": [n for n, b in BRANCHES.items() if b.masks == "other_rate"],
            "trainings": [
                [list(t.member), *t[1:4], t.after and list(t.after.member)]
                for t in itertools.chain(*self._trainings)
            ],
        }
