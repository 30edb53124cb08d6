"""Workdir: the folder of a run, and from where a run goes on in it."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp

from lth_jax import masks as masks_lib
from lth_jax.devices import processes
from lth_jax.errors import CheckpointError
from lth_jax.paths import local
from lth_jax.train.state import TrainState
from lth_jax.workdir import identity
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.member import Member, Networks
from lth_jax.workdir.records import Records

_NUMBER = (int, float, type(None))
_TYPES = (int, int, int, str, int, _NUMBER, _NUMBER)


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The folder of a run: config, environment, plan, records, checkpoints."""

    directory: Path  # absolute, however it was named

    def __init__(self, directory: Path | str) -> None:
        object.__setattr__(self, "directory", local(directory, "--workdir"))

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
        """The trained tickets by level; at level 0 the copies of dense networks."""
        return Series(self.directory / "checkpoints" / "levels")

    @property
    def drawn(self) -> Series:
        """The networks that ADMM drew towards sparse weights, by level."""
        return Series(self.directory / "checkpoints" / "drawn")

    @property
    def paused(self) -> Series:
        """The networks of a level that is on its way, by number of the pause."""
        return Series(self.directory / "checkpoints" / "paused", keep=2)

    @property
    def way(self) -> Path:
        """How members of fleets go, if that was found or cut: a JSON file."""
        return self.directory / "way.json"

    def keep_way(
        self, way: str, members: int, rates: dict[str, float] | None = None
    ) -> None:
        """Write how members go: so many at a time, and the steps a second of ways."""
        kept = {"way": way, "members": members, "steps_per_second": rates}
        processes.by_first(lambda: identity.write(self.way, kept))

    @property
    def lasting(self) -> tuple[Series, ...]:
        """The series of what is never made again."""
        return self.dense, self.levels, self.drawn

    def save(
        self, series: Series, number: int, networks: Networks, *, wait: bool = True
    ) -> None:
        """Save networks, and the size of the records: what they know goes with them."""
        series.save(
            number,
            [*networks.values()],
            wait=wait,
            members=[*networks],
            masks=[masks_lib.checksum(network.masks) for network in networks.values()],
            records=self.records.size(),
        )

    def members(self, series: Series, number: int) -> list[Member]:
        """Return which networks were saved, in their order."""
        found = [Member(*member) for member in series.about(number)["members"]]
        for member in found:
            if not all(map(isinstance, member, _TYPES)):
                where = series.directory / str(number)
                raise CheckpointError(f"{where} is damaged: {member!r} is no network")
        return found

    def load(self, series: Series, number: int, like: TrainState) -> Networks:
        """Return saved networks, each like another in structure, shapes and types."""
        members = self.members(series, number)
        return dict(zip(members, series.restore(number, [like] * len(members))))

    def finish(self, series: Series, number: int, networks: Networks) -> None:
        """Save what a level, or a dense training, came to, and forget its pauses."""
        self.save(series, number, networks)
        self.paused.clear()

    def pause(self, networks: Networks) -> None:
        """Save the networks of a level that is on its way, while it goes on."""
        self.paused.wait()
        number = max(self.paused.numbers(), default=0) + 1
        self.save(self.paused, number, networks, wait=False)

    def resume(self, starts: Networks) -> Networks:
        """Return networks where they were paused last, or else as they are."""
        self.paused.wait()  # then all processes find the same
        numbers = self.paused.numbers()
        if not numbers or not starts:
            return dict(starts)
        # Others of the level, perhaps of another structure, were paused with them.
        members = self.members(self.paused, numbers[-1])
        places = [i for i, member in enumerate(members) if member in starts]
        if not places:
            return dict(starts)
        like = [starts[members[i]] for i in places]
        found = self.paused.restore(numbers[-1], like, places)
        paused = dict(zip([members[i] for i in places], found))
        return {
            member: paused[member]
            if member in paused and not _is_before(paused[member], start)
            else start
            for member, start in starts.items()
        }

    def to_come(self, steps: Sequence[int], levels: int) -> str:
        """Return what `recover`'s run has not done yet, in words; empty if all is."""
        found, saved, done = [], self.dense.numbers(), self.levels.numbers()
        if missing := [str(step) for step in steps if step not in saved]:
            found.append(f"dense networks at step {', '.join(missing)}")
        is_over = len(done) > 1 and not self.members(self.levels, done[-1])
        if len(done) <= levels and not is_over:  # else no ticket was left
            several = len(done) < levels
            found.append(f"level{'s' * several} {f'{len(done)} to ' * several}{levels}")
        return " and ".join(found)

    def recover(self, steps: Sequence[int], levels: int) -> None:
        """Get ready to go on: forget what is damaged and can be done again.

        A damaged pause is removed with a warning: the run goes on from the one before.
        Rows that no checkpoint knows of are forgotten, a line that was cut off too.
        Dense networks (saved after some steps), levels and rows are never made again in
        silence: what is damaged or missing of them raises CheckpointError.
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
        for series in self.lasting:
            series.settle()
        self._check_complete(steps, levels)
        self.records.truncate(self.recorded())

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

    def recorded(self) -> int:
        """Return the size of the records that checkpoints know of."""
        size = 0
        # A pause before the last one may be damaged, and is not needed.
        there = [(series, series.numbers()) for series in self.lasting]
        there.append((self.paused, self.paused.numbers()[-1:]))
        for series, numbers in there:
            for number in numbers:
                size = max(size, series.about(number)["records"])
            for number in numbers[-1:]:
                series.verify(number)
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
