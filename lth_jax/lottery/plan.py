"""Plan: every training of a run, from where to where, before anything is trained."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from lth_jax import densities
from lth_jax import masks as masks_lib
from lth_jax.branch_masks import OTHERS
from lth_jax.branches import BRANCHES, Branch, origins
from lth_jax.config.fields import field
from lth_jax.errors import ConfigError, one_line
from lth_jax.movers import MOVERS
from lth_jax.rule import Counts, Rule
from lth_jax.train.moves import Moves
from lth_jax.workdir.member import Member, Training

if TYPE_CHECKING:
    from lth_jax.lottery.methods import Method


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The networks of a run, and every training of them.

    Attributes:
        config: of the run.
        length: steps of a full training.
        rewind_steps: the steps k of the rewind states, rising.
        interval: steps between the Z- and U-steps of ADMM pruning.
        method: how masks are made, which may train something, too.
        move_every: steps between two moves of masks.
    """

    config: ConfigDict
    length: int
    rewind_steps: tuple[int, ...]
    interval: int = 0
    method: "Method | None" = None
    move_every: int = 0

    @property
    def levels(self) -> int:
        """The number of pruning rounds."""
        return len(self.config.prune.densities) or self.config.prune.levels

    @property
    def scored_at(self) -> str:
        """The step whose weights decide on masks: "0", "k" or the "end"."""
        own = self.method.at if self.method else ""
        return self.config.prune.at or own or "end"

    @property
    def table(self) -> list[tuple[str, float]]:
        """Densities of layers by regular expression, as the config has them.

        Raises ConfigError unless there is a number behind each.
        """
        pairs = [text.rpartition("=") for text in self.config.prune.table]
        try:
            return [(pattern, float(density)) for pattern, _, density in pairs]
        except ValueError as error:
            raise ConfigError(
                f"config.prune.table: {one_line(error)}; write 'pattern=0.1'"
            ) from error

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
            steps = self.rewind_steps if parts else (member.rewind_step,)
            first = not member.level or member.rewind_step == self.rewind_steps[0]
            if branch.once and not first:
                steps = ()
            for k in steps:
                for copy in range(branch.first_copy, self.copies(member.level, name)):
                    named = member._replace(rewind_step=k, branch=name, copy=copy)
                    yield self._training(named, k, ticket)

    def _training(self, member: Member, k: int, ticket: Training | None) -> Training:
        """Return the training of a member whose rewind step is k, beside a ticket."""
        branch = BRANCHES[member.branch]
        part = origins(branch, member.level, self.config.rewind)
        at = {"k": k, "0": 0, "end": self.length, "init": 0, "given": k}
        begin, after = at[part["step"]], ticket if branch.after else None
        stop = round(self.lengths(branch, member.level) * self.length)
        if part["step"] == "end" and branch.clock == "k":
            stop += self.length - k  # as many steps as from k
        levels = member.level - 1 if self.config.prune.schedule == "iterative" else 0
        ticket_from = origins(BRANCHES["ticket"], 1, self.config.rewind)["step"]
        again = self.length - (0 if ticket_from == "0" else k)
        at["before"] = self.length + levels * again  # of tickets
        had = after.had + after.steps if after else at[part["params"]]
        return Training(member, begin, stop, had, after)

    def lengths(self, branch: Branch, level: int) -> int | float:
        """Return at which step a branch stops, in full trainings."""
        if branch.lengths is not None:
            return branch.lengths
        densities = self.config.prune.densities
        left = (1 - self.config.prune.fraction) ** level
        return max(1 / self.length, densities[level - 1] if densities else left)

    def moves(self, fleet: Sequence[Training]) -> Moves | None:
        """Return how the masks of a fleet move, all by one mover; None if they do not.

        Raises ConfigError if there would be no move, or one after training.
        """
        mover, options = BRANCHES[fleet[0].member.branch].mover, self.config.move
        if not mover:
            return None
        begin, stop = max(t.begin for t in fleet), fleet[0].stop
        last = math.floor(Fraction(str(options.until)) * stop)
        last = min(last, stop - 1) // self.move_every
        last *= self.move_every
        moves = Moves(MOVERS[mover], self.move_every, last, options.fraction)
        if not moves.number(begin):
            raise ConfigError(
                f"config.move.every: {options.every!r} is {self.move_every} steps, but "
                f"{mover!r} moves between steps {begin} and {options.until:g} of {stop}"
            )
        return moves

    def waves(self, level: int) -> list[list[Training]]:
        """Return the trainings of a level's branches as fleets, in their order."""
        fleets: dict[tuple[Any, ...], list[Training]] = {}
        for training in self.trainings(level):
            if training.member.branch in BRANCHES and training.member not in self.dense:
                branch = BRANCHES[training.member.branch]
                key = training.after is not None, training.stop
                key = (*key, branch.has_course, branch.mover)
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
        if self.scored_at != "end":
            return ticket.rewind_step if self.scored_at == "k" else 0
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
        levels = [*filter(self.is_studied, range(self.levels + 1))]
        trainings = [t for level in levels for t in self.trainings(level)]
        for member, begin, stop, *_ in trainings:
            if stop <= begin:
                raise ConfigError(
                    f"config.branches: {member.branch!r} would train from step {begin} "
                    f"to {stop}; see its lengths, and rewind.steps"
                )
        stretched = {name for name, branch in BRANCHES.items() if branch.stretched}
        later = [t.member.branch for t in trainings if t.stop > self.length]
        later = [name for name in later if name not in stretched]
        for level in levels:
            for fleet in self.waves(level):
                self.moves(fleet)
        if any(BRANCHES[name].masks == "table" for name in self.config.branches):
            with field("prune.table"):
                # Those that are stacked are one layer here.
                sizes = {re.sub(r"\[\d+\]$", "", p): (n,) for p, n in layers.items()}
                for path in masks_lib.matching(self.config.prune.keep, [*sizes]):
                    del sizes[path]
                densities.table(sizes, self.table)
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
            "others": [[list(one) for one in pair] for pair in self._others()],
            "trainings": [
                [list(t.member), *t[1:4], t.after and list(t.after.member)]
                for t in itertools.chain(*self._trainings)
            ],
        }

    def _others(self) -> Iterator[tuple[Member, Member]]:
        """Yield networks whose masks depend on another ticket's, and that ticket."""
        for training in itertools.chain(*self._trainings):
            branch = BRANCHES.get(training.member.branch)
            if branch and (other := OTHERS.get(branch.masks)):
                yield training.member, other(self, training.member.ticket)
