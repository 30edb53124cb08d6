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
        """The dense states of all replicates, by step: every W_k, and the end."""
        return Series(self.directory / "checkpoints" / "dense")

    @property
    def levels(self) -> Series:
        """The trained tickets of all chains, by level."""
        return Series(self.directory / "checkpoints" / "levels")

    @property
    def paused(self) -> Series:
        """Trainings on their way, by number of the pause."""
        return Series(self.directory / "checkpoints" / "paused", keep=2)

    def pause(self, unit: str, fleet: Fleet) -> None:
        """Save a training on its way.

        Args:
            unit: name of the training in the run.
            fleet: its members now.
        """
        number = max(self.paused.numbers(), default=0) + 1
        self.paused.save(
            number, [*fleet.values()], records=self.records.size(), unit=unit
        )

    def finish(self, series: Series, number: int, members: list[TrainState]) -> None:
        """Save what a training came to, and forget its pauses."""
        series.save(number, members, records=self.records.size())
        self.paused.clear()

    def resume(self, unit: str, fleet: Fleet) -> Fleet:
        """Return the members of a training where it was paused last, or as they are.

        Args:
            unit: name of the training in the run.
            fleet: its members as they start.
        """
        numbers = self.paused.numbers()
        if not numbers or self.paused.about(numbers[-1])["unit"] != unit:
            return dict(fleet)
        return dict(zip(fleet, self.paused.restore(numbers[-1], [*fleet.values()])))

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
