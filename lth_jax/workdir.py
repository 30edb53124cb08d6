"""Workdir: the folder of a run."""

import dataclasses
import json
from pathlib import Path

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import records
from lth_jax.checkpoint import Series
from lth_jax.config import ConfigError
from lth_jax.records import Member, Records
from lth_jax.state import TrainState

Fleet = dict[Member, TrainState]

# A run may go on although these differ: they do not change its numbers.
_HARMLESS = {"data.dir", "data.stream.workers"}


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
        """Begin a run here, or go on with one: forget what no checkpoint knows of.

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
        self.records.truncate(self._recorded())

    def _recorded(self) -> int:
        """Return the size of the records when the newest checkpoint was saved."""
        series = (self.dense, self.levels, self.paused)
        newest = [(s, s.numbers()[-1]) for s in series if s.numbers()]
        return max((s.about(number)["records"] for s, number in newest), default=0)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
