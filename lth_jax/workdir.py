"""Workdir: the folder of a run."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import records
from lth_jax.checkpoint import CheckpointError, Series
from lth_jax.config import ConfigError
from lth_jax.records import Member, Records
from lth_jax.state import TrainState

Fleet = dict[Member, TrainState]

# A run may go on although these differ: they do not change its numbers.
_HARMLESS = {"data.dir"}


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The folder of a run: config, environment, records, checkpoints.

    Attributes:
        directory: the folder.
    """

    directory: Path

    @property
    def records(self) -> Records:
        """The numbers: results.jsonl."""
        return Records(self.directory / "results.jsonl")

    @property
    def dense(self) -> Series:
        """The dense networks by step: every W_k, and the end."""
        return Series(self.directory / "checkpoints" / "dense")

    @property
    def levels(self) -> Series:
        """The trained tickets by level; at level 0 the dense networks, all copies."""
        return Series(self.directory / "checkpoints" / "levels")

    @property
    def paused(self) -> Series:
        """The networks of a level that is on its way, by number of the pause."""
        return Series(self.directory / "checkpoints" / "paused", keep=2)

    def save(self, series: Series, number: int, fleet: Fleet) -> None:
        """Save networks, and the size of the records: what they know goes with them."""
        series.save(
            number, [*fleet.values()], members=[*fleet], records=self.records.size()
        )

    def load(self, series: Series, number: int, like: TrainState) -> Fleet:
        """Return saved networks.

        Args:
            series: where they were saved.
            number: of the checkpoint.
            like: a network of the same structure, shapes and types.
        """
        members = [Member(*member) for member in series.about(number)["members"]]
        return dict(zip(members, series.restore(number, [like] * len(members))))

    def finish(self, series: Series, number: int, fleet: Fleet) -> None:
        """Save what a level, or a dense training, came to, and forget its pauses."""
        self.save(series, number, fleet)
        self.paused.clear()

    def pause(self, fleet: Fleet) -> None:
        """Save the networks of a level that is on its way."""
        self.save(self.paused, max(self.paused.numbers(), default=0) + 1, fleet)

    def resume(self, fleet: Fleet) -> Fleet:
        """Return networks where they were paused last, or else as they are."""
        numbers = self.paused.numbers()
        if not numbers or not fleet:
            return dict(fleet)
        members = self.paused.about(numbers[-1])["members"]
        if fleet.keys().isdisjoint(Member(*member) for member in members):
            return dict(fleet)  # another training's, which may be of another structure
        like = next(iter(fleet.values()))
        paused = self.load(self.paused, numbers[-1], like)
        resumed = {
            member: paused.get(member, network) for member, network in fleet.items()
        }
        return {
            member: network if network.step > resumed[member].step else resumed[member]
            for member, network in fleet.items()
        }

    def open(self, config: ConfigDict) -> None:
        """Begin a run here, or see that the one that is here is the same.

        Raises:
            ConfigError: the folder belongs to another config; the difference is named.
        """
        path = self.directory / "config.json"
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            _write(self.directory / "environment.json", records.environment())
            _write(path, config.to_dict())
        there = config_lib.flatten(ConfigDict(json.loads(path.read_text())))
        here = config_lib.flatten(config)
        different = [
            f"config.{name}: {there.get(name)!r} there, {here.get(name)!r} here"
            for name in sorted((there.keys() | here.keys()) - _HARMLESS)
            if there.get(name) != here.get(name)
        ]
        if different:
            raise ConfigError(
                f"--workdir: {self.directory} was made by another config "
                f"({'; '.join(different)})"
            )

    def recover(self, steps: Sequence[int], levels: int) -> None:
        """Get ready to go on: forget what is damaged and can be done again.

        A damaged pause is removed with a warning: the run goes on from the one before.
        Rows that no checkpoint knows of are forgotten, a line that was cut off too.

        Args:
            steps: after which dense networks are saved, rising.
            levels: the number of pruning rounds.

        Raises:
            CheckpointError: dense networks, a level or rows are damaged or missing,
                which are never made again in silence.
        """
        for number in reversed(self.paused.numbers()):
            try:
                self.paused.verify(number)
                break
            except CheckpointError as error:
                print(f"warning: {error}: going on from before", file=sys.stderr)
                self.paused.remove(number)
        self._check_complete(steps, levels)
        self.records.truncate(self._recorded())

    def _check_complete(self, steps: Sequence[int], levels: int) -> None:
        """Raise CheckpointError if one is missing that was there before."""
        order = [(self.dense, step) for step in steps]
        order += [(self.levels, level) for level in range(levels + 1)]
        there = [number in series.numbers() for series, number in order]
        rows = self.records.rows()
        reached = max((row["level"] for row in rows), default=0)
        begun = len(steps) + reached if reached else min(len(rows), 1)
        for i, (series, number) in enumerate(order):
            if not there[i] and (i < begun or any(there[i:])):
                raise CheckpointError(
                    f"{series.directory / str(number)} is missing, though the run went "
                    "on from there; put it back from a copy, or start in a new "
                    "--workdir"
                )

    def _recorded(self) -> int:
        """Return the size of the records when the newest checkpoint was saved."""
        size = 0
        for series in (self.dense, self.levels, self.paused):
            for number in series.numbers()[-1:]:
                series.verify(number)
                size = max(size, series.about(number)["records"])
        if self.records.size() < size:
            raise CheckpointError(
                f"{self.records.path} has {self.records.size()} bytes, and its "
                f"checkpoints know of {size}; put it back from a copy, or start in a "
                "new --workdir"
            )
        return size


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
