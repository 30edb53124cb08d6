"""Workdir: the folder of a run.

One run's numbers come from one config, one code and one data set: a folder is refused
to any other. What may differ when a run goes on, because it changes no number, or only
the last digits of some:

- config: the fields in `HARMLESS`;
- code: the modules in `records.HARMLESS`. Any other change counts, by the SHA-256 of
  the source in `environment.json`; who knows that a change is harmless removes `code`
  from there;
- versions of other packages, Python, the system, devices and the number of processes:
  with a warning, as the last digits may change;
- the command and the git commit.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from lth_jax import masks as masks_lib
from lth_jax.config import flatten
from lth_jax.errors import CheckpointError, ConfigError
from lth_jax.train import processes
from lth_jax.train.state import TrainState
from lth_jax.workdir import records
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.records import Member, Records

Fleet = dict[Member, TrainState]

_NUMBER = (int, float, type(None))
_TYPES = (int, int, int, str, int, _NUMBER, _NUMBER)

HARMLESS = {"data.dir", "data.stream.workers", "train.checkpoint_minutes"}
_HINTS = {
    "code": "; go back to that one or, if you know that the change is harmless, remove "
    '"code" from environment.json'
}


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
    def drawn(self) -> Series:
        """The networks that ADMM drew towards sparse weights, by level."""
        return Series(self.directory / "checkpoints" / "drawn")

    @property
    def paused(self) -> Series:
        """The networks of a level that is on its way, by number of the pause."""
        return Series(self.directory / "checkpoints" / "paused", keep=2)

    def save(
        self, series: Series, number: int, fleet: Fleet, *, wait: bool = True
    ) -> None:
        """Save networks, and the size of the records: what they know goes with them."""
        series.save(
            number,
            [*fleet.values()],
            wait=wait,
            members=[*fleet],
            masks=[masks_lib.checksum(network.masks) for network in fleet.values()],
            records=self.records.size(),
        )

    def members(self, series: Series, number: int) -> list[Member]:
        """Return which networks were saved, in their order."""
        found = [Member(*member) for member in series.about(number)["members"]]
        for member in found:
            if not all(map(isinstance, member, _TYPES)):
                where = series.directory / str(number)
                raise CheckpointError(f"{where} is damaged: {member} is no network")
        return found

    def load(self, series: Series, number: int, like: TrainState) -> Fleet:
        """Return saved networks.

        Args:
            series: where they were saved.
            number: of the checkpoint.
            like: a network of the same structure, shapes and types.
        """
        members = self.members(series, number)
        return dict(zip(members, series.restore(number, [like] * len(members))))

    def finish(self, series: Series, number: int, fleet: Fleet) -> None:
        """Save what a level, or a dense training, came to, and forget its pauses."""
        if fleet:
            self.save(series, number, fleet)
        self.paused.clear()

    def pause(self, fleet: Fleet) -> None:
        """Save the networks of a level that is on its way, while it goes on."""
        self.paused.wait()
        if not fleet:
            return
        number = max(self.paused.numbers(), default=0) + 1
        self.save(self.paused, number, fleet, wait=False)

    def resume(self, fleet: Fleet) -> Fleet:
        """Return networks where they were paused last, or else as they are."""
        numbers = self.paused.numbers()
        if not numbers or not fleet:
            return dict(fleet)
        if fleet.keys().isdisjoint(self.members(self.paused, numbers[-1])):
            return dict(fleet)  # another training's, which may be of another structure
        like = next(iter(fleet.values()))
        paused = self.load(self.paused, numbers[-1], like)
        resumed = {
            member: paused.get(member, network) for member, network in fleet.items()
        }
        return {
            member: network if _is_before(resumed[member], network) else resumed[member]
            for member, network in fleet.items()
        }

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out. The system opens the lock of a process that ends.

        Raises:
            ConfigError: another process is at work here, or the folder cannot be made.
        """
        with contextlib.ExitStack() as stack:
            processes.by_first(lambda: self._lock(stack))
            yield

    def _lock(self, stack: contextlib.ExitStack) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"--workdir: {error}") from error
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.read(descriptor, 200).decode(errors="replace")
            raise ConfigError(
                f"--workdir: {other} is at work in {self.directory}"
            ) from error
        except OSError as error:  # some network file systems have no locks
            print(f"warning: --workdir: no lock ({error})", file=sys.stderr)
        with contextlib.suppress(OSError):  # who it is, is for the other's message
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}".encode())

    def open(self, config: ConfigDict, data: dict[str, Any] | None = None) -> None:
        """Begin a run here, or see that the one that is here is the same.

        Args:
            config: of the run.
            data: what tells its data set from others.

        Raises:
            ConfigError: the folder belongs to another config, code or data set; the
                difference is named.
        """
        processes.by_first(lambda: self._open(config, data or {}))

    def _open(self, config: ConfigDict, data: dict[str, Any]) -> None:
        path = self.directory / "config.json"
        environment = records.environment() | {"data": data}
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            _write(self.directory / "environment.json", environment)
            _write(path, config.to_dict())
        self._check_same("config", config.to_dict(), read(path))
        there = read(self.directory / "environment.json")
        for what, names in (("code", ("code", "git_commit")), ("data set", ("data",))):
            if there.get(names[0]) not in (None, {}, environment[names[0]]):
                self._check_same(
                    what,
                    {name: environment[name] for name in names},
                    {name: there.get(name) for name in names},
                )
        for name in ("packages", "python", "platform", "devices", "processes"):
            if there.get(name) != environment[name]:
                print(
                    f"warning: {name} {there.get(name)} before, {environment[name]} "
                    "now: last digits may differ",
                    file=sys.stderr,
                )

    def _check_same(self, what: str, here: dict, there: dict) -> None:
        """Raise ConfigError, naming the difference, unless both are the same."""
        before, now = (flatten(ConfigDict(tree)) for tree in (there, here))
        prefix = "config." if what == "config" else ""
        different = [
            f"{prefix}{name}: {before.get(name)!r} there, {now.get(name)!r} here"
            for name in sorted((before.keys() | now.keys()) - HARMLESS)
            if before.get(name) != now.get(name)
        ]
        if different:
            raise ConfigError(
                f"--workdir: {self.directory} was made by another {what} "
                f"({'; '.join(different)}){_HINTS.get(what, '')}"
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
        self.paused.wait()  # for a run that this process has left
        processes.by_first(lambda: self._recover(steps, levels))

    def _recover(self, steps: Sequence[int], levels: int) -> None:
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
        for series in (self.dense, self.levels, self.drawn, self.paused):
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


def _is_before(network: TrainState, start: TrainState) -> bool:
    """Return whether a network is of an earlier stage than where a training starts."""
    return bool(network.step <= start.step and jnp.isfinite(network.loss))


def _write(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"--workdir: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """Return a JSON file of a run; raise ConfigError if it is damaged."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--workdir: {path} cannot be read ({error}); put it back from a copy"
        ) from error
