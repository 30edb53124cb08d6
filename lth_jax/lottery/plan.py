"""Plan: which networks a config trains."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from lth_jax import prune
from lth_jax.lottery import branches
from lth_jax.lottery.branches import BRANCHES
from lth_jax.masks import Masks
from lth_jax.scores import Scores
from lth_jax.workdir.records import Member


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The networks of a run, by its config."""

    config: ConfigDict

    @property
    def settings(self) -> tuple[tuple[float | None, float | None], ...]:
        """Learning rate and weight decay of every network of a sweep."""
        sweep = self.config.sweep
        rates, decays = sweep.learning_rate or (None,), sweep.weight_decay or (None,)
        return tuple(itertools.product(rates, decays))

    @property
    def origins(self) -> list[Member]:
        """The dense networks: all replicates of all settings."""
        return [
            Member(replicate, 0, 0, "dense", 0, *setting)
            for setting in self.settings
            for replicate in range(self.config.replicates)
        ]

    @property
    def draws(self) -> int:
        """The number of Z- and U-steps of ADMM at a level; 0 without it."""
        options = self.config.prune
        is_drawn = options.method == "admm"
        return is_drawn * len(options.admm.rho) * options.admm.updates

    @property
    def levels(self) -> int:
        """The number of pruning rounds."""
        return len(self.config.prune.densities) or self.config.prune.levels

    def largest(self, rewind_steps: Sequence[int]) -> int:
        """Return the number of networks of the level that has most of them."""
        levels = range(self.levels + 1)
        trained = [len([*self.members(level, rewind_steps)]) for level in levels]
        return max(len(self.origins), *trained)

    def shrink(self, level: int, scores: Scores, masks: Masks) -> Masks:
        """Return a level's masks from the scores and the masks of the level before."""
        options = self.config.prune
        if options.densities:
            density = float(options.densities[level - 1])
            return prune.to_density(scores, masks, density, options.scope)
        return prune.by_fraction(scores, masks, options.fraction, options.scope)

    def left(self, level: int, kept: int, total: int) -> int:
        """Return how many weights of the network, or of a layer, a level keeps.

        Args:
            level: from 1.
            kept: how many the level before keeps.
            total: how many are prunable.
        """
        options = self.config.prune
        if options.densities:
            return prune.at_density(total, float(options.densities[level - 1]))
        return prune.after_fraction(kept, options.fraction)

    def densities(self, layers: Sequence[int]) -> Iterator[float]:
        """Yield the density of every level, 0 included; exact.

        Args:
            layers: number of prunable weights in each layer.
        """
        totals = layers if self.config.prune.scope == "layer" else [sum(layers)]
        kept = totals
        yield 1.0
        for level in range(1, self.levels + 1):
            kept = [self.left(level, n, total) for n, total in zip(kept, totals)]
            yield sum(kept) / sum(totals)

    def branches(self, level: int) -> tuple[str, ...]:
        """Return the branches that are trained at a level."""
        if level == 0:
            return self.config.dense_branches
        return self.config.branches if self.is_studied(level) else ("ticket",)

    def copies(self, level: int, branch: str) -> int:
        """Return the number of copies of a branch that are trained at a level."""
        copied = self.config.copied_branches
        is_copied = self.is_studied(level) and (not copied or branch in copied)
        return self.config.copies if is_copied else 1

    def is_studied(self, level: int) -> bool:
        """Return whether more than tickets are trained at a level."""
        levels = self.config.branch_levels
        return level == 0 or not levels or level in levels

    def steps(
        self, level: int, rewind_steps: list[int], length: int, admm_interval: int
    ) -> int:
        """Return the training steps of a level; the dense networks' are at level 0.

        Args:
            level: from 0.
            rewind_steps: the steps k of the rewind states.
            length: steps of a full training.
            admm_interval: steps between the Z- and U-steps of ADMM pruning.
        """
        fresh = tuple(self.config.rewind.fresh)
        taken = sum(
            branches.steps(member.branch, member.rewind_step, length, fresh)[0]
            for member in self.members(level, rewind_steps)
        )
        if level == 0:
            return taken + len(self.origins) * length
        return taken + len(self.origins) * self.draws * admm_interval

    def members(self, level: int, rewind_steps: Sequence[int]) -> Iterator[Member]:
        """Yield the networks that are trained at a level.

        Args:
            level: 0 for the dense networks after their first copy.
            rewind_steps: the steps k of the rewind states.
        """
        for origin, step, name in itertools.product(
            self.origins, rewind_steps, self.branches(level)
        ):
            for copy in range(BRANCHES[name].copies_from, self.copies(level, name)):
                yield origin._replace(
                    rewind_step=step, level=level, branch=name, copy=copy
                )
