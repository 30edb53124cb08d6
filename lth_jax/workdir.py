"""Workdir: the folder of a run."""

import dataclasses
import json
from pathlib import Path

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import records
from lth_jax.checkpoint import Series
from lth_jax.config import ConfigError
from lth_jax.records import Records

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
        for series in (self.levels, self.dense):
            if numbers := series.numbers():
                return series.records(numbers[-1])
        return 0


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
