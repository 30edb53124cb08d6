"""Plan: which networks a config trains."""

import dataclasses
import itertools
from collections.abc import Iterator

from ml_collections import ConfigDict

from lth_jax.branches import BRANCHES
from lth_jax.records import Member


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
    def levels(self) -> int:
        """The number of pruning rounds."""
        return len(self.config.prune.densities) or self.config.prune.levels

    def branches(self, level: int) -> tuple[str, ...]:
        """Return the branches that are trained at a level."""
        if level == 0:
            return self.config.dense_branches
        return self.config.branches if self.is_studied(level) else ("ticket",)

    def copies(self, level: int) -> int:
        """Return the number of copies that are trained at a level."""
        return self.config.copies if self.is_studied(level) else 1

    def is_studied(self, level: int) -> bool:
        """Return whether more than tickets are trained at a level."""
        levels = self.config.branch_levels
        return level == 0 or not levels or level in levels

    def members(self, level: int, rewind_steps: list[int]) -> Iterator[Member]:
        """Yield the networks that are trained at a level.

        Args:
            level: 0 for the dense networks after their first copy.
            rewind_steps: the steps k of the rewind states.
        """
        for origin, step, name in itertools.product(
            self.origins, rewind_steps, self.branches(level)
        ):
            for copy in range(BRANCHES[name].copies_from, self.copies(level)):
                yield origin._replace(
                    rewind_step=step, level=level, branch=name, copy=copy
                )
