"""Check: python -m lth_jax.check WORKDIR verifies what a run has left.

It needs neither the data nor an accelerator, changes nothing, and may look on while the
run goes on. Exit status 0: all is well; 1: each line says what is not.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from lth_jax import config as config_lib
from lth_jax import masks as masks_lib
from lth_jax import scores
from lth_jax.errors import CheckpointError, ConfigError, RecordsError
from lth_jax.lottery.branches import BRANCHES
from lth_jax.lottery.plan import Plan
from lth_jax.masks import Masks
from lth_jax.workdir import Workdir, read
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.records import DIVERGED, KEY, Member, text

# Their masks at a level are not among those of the level before.
_FROM_THE_WHOLE = ("synflow", "admm")


class Network(NamedTuple):
    """A saved network: all that is on disk of it, and its masks."""

    saved: dict[str, PyTree]
    masks: Masks


Networks = dict[Member, Network]


@dataclass(frozen=True, eq=False)
class Check:
    """What is wrong with a run, one line a problem."""

    workdir: Workdir
    plan: Plan
    steps_per_epoch: int

    @cached_property
    def lengths(self) -> dict[str, Any]:
        """The config's lengths in steps."""
        return config_lib.lengths(self.plan.config, self.steps_per_epoch)

    @cached_property
    def diverged(self) -> dict[Member, int]:
        """The networks whose training ended early, and at which step."""
        return self.workdir.records.diverged()

    @property
    def rewind_steps(self) -> list[int]:
        """The steps k of the rewind states, rising."""
        return sorted({*self.lengths["rewind.steps"]})

    def problems(self) -> Iterator[str]:
        """Yield all problems."""
        length = self.lengths["train.length"]
        dense: dict[int, Networks] = {}
        for step in sorted({0, *self.rewind_steps, length}):
            if step in self.workdir.dense.numbers():
                dense[step] = yield from self._load(self.workdir.dense, step)
                yield from self._dense(step, dense[step])
        before: Networks = {}
        for level in range(self.plan.levels + 1):
            if level in self.workdir.levels.numbers():
                now = yield from self._load(self.workdir.levels, level)
                yield from self._level(level, now, before, dense)
                before = now
        for number in self.workdir.drawn.numbers():
            yield from self._load(self.workdir.drawn, number)
        for number in self.workdir.paused.numbers():
            paused = yield from self._load(self.workdir.paused, number)
            yield from self._starts(f"paused {number}", paused, dense)
        yield from self._rows()

    def _load(self, series: Series, number: int) -> Any:
        """Yield what is wrong with a checkpoint by itself; return its networks."""
        where, networks = f"{series.directory.name} {number}", {}
        try:
            about = series.about(number)
            members = [Member(*member) for member in about["members"]]
            found = list(zip(members, series.raw(number), strict=True))
            for i, (member, saved) in enumerate(found):
                masks = masks_lib.unpack(saved["masks"], saved["params"])
                masks = jax.device_get(masks)
                networks[member] = Network(saved, masks)
                if masks_lib.checksum(masks) != about["masks"][i]:
                    yield f"{where}: {text(member)}: masks have another checksum"
                if not np.isfinite(saved["loss"]):
                    continue  # its weights are no numbers any more
                for path in _alive(saved, masks):
                    yield f"{where}: {text(member)}: {path} is not 0 where pruned"
        except CheckpointError as error:
            yield str(error)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            yield f"{where}: not networks of a run ({_one_line(error)})"
        return networks

    def _dense(self, step: int, networks: Networks) -> Iterator[str]:
        yield from self._same(f"dense {step}", [*networks], self.plan.origins)
        for member, (saved, masks) in networks.items():
            if masks_lib.density(masks) != 1:
                yield f"dense {step}: {text(member)}: masks are not dense"
            if saved["step"] != step:
                yield f"dense {step}: {text(member)}: is at step {saved['step']}"

    def _level(
        self, level: int, now: Networks, before: Networks, dense: dict[int, Networks]
    ) -> Iterator[str]:
        where, length = f"level {level}", self.lengths["train.length"]
        wanted = [
            member
            for member in self.plan.members(level, self.rewind_steps)
            if member.branch in ("ticket", "dense")
        ]
        if level == 0:
            wanted += [
                origin._replace(rewind_step=step)
                for origin in self.plan.origins
                for step in self.rewind_steps
            ]
        # Where no ticket is left, others are saved.
        others = {*self.plan.members(level, self.rewind_steps)} - {*wanted}
        now = {
            member: network for member, network in now.items() if member not in others
        }
        yield from self._same(where, [*now], wanted)
        for member, (saved, masks) in now.items():
            who = f"{where}: {text(member)}"
            if saved["step"] != length:
                yield f"{who}: is at step {saved['step']}, not {length}"
            origin = dense.get(0, {}).get(member.origin)
            seed = origin.saved["data_seed"] if origin else None
            if origin and member.copy == 0 and saved["data_seed"] != seed:
                yield f"{who}: another data order than the dense network's"
            parent = before.get(_parent(member))
            if level and parent:
                trained = dense.get(length, {}).get(member.origin, parent)
                found = self._pruned(level, masks, parent, trained)
                yield from (f"{who}: {problem}" for problem in found)

    def _pruned(
        self, level: int, masks: Masks, parent: Network, trained: Network
    ) -> Iterator[str]:
        """Yield what is wrong with a ticket's masks.

        Args:
            level: of the ticket.
            masks: of the ticket.
            parent: the ticket of the level before.
            trained: the dense network.
        """
        options = self.plan.config.prune
        was, now = (dict(masks_lib.leaves(m)) for m in (parent.masks, masks))
        for path in () if options.method in _FROM_THE_WHOLE else now:
            grown = np.count_nonzero(now[path] & ~was[path])
            if grown:
                yield f"{path}: {grown} weights that were pruned are back"
        counts, before = (masks_lib.by_layer(m) for m in (masks, parent.masks))
        if options.scope == "global":
            counts, before = (
                {"in all": tuple(map(sum, zip(*layers.values())))}
                for layers in (counts, before)
            )
        for path, (kept, total) in counts.items():
            wanted = self.plan.left(level, before[path][0], total)
            if kept != wanted:
                yield f"{path}: {kept} of {total} weights are kept, not {wanted}"
        if options.method == "magnitude":
            scored = trained if options.schedule == "one_shot" else parent
            magnitudes = scores.magnitude(scored.saved["params"])
            smallest = self.plan.shrink(level, magnitudes, parent.masks)
            if masks_lib.checksum(smallest) != masks_lib.checksum(masks):
                yield "other weights than the smallest are pruned"

    def _starts(
        self, where: str, networks: Networks, dense: dict[int, Networks]
    ) -> Iterator[str]:
        """Yield what is wrong with tickets that are where they start."""
        for member, (saved, masks) in networks.items():
            origin = dense.get(member.rewind_step, {}).get(member.origin)
            if (
                origin
                and member.branch == "ticket"
                and "params" not in self.plan.config.rewind.fresh
                and saved["step"] == member.rewind_step
            ):
                wanted = masks_lib.apply(origin.saved["params"], masks)
                pairs = zip(masks_lib.leaves(saved["params"]), jax.tree.leaves(wanted))
                for (path, found), want in pairs:
                    if not np.array_equal(found, want):
                        yield (
                            f"{where}: {text(member)}: {path} is not the mask times "
                            "the rewind state"
                        )

    def _rows(self) -> Iterator[str]:
        """Yield what is wrong with the rows of what is saved."""
        rows = self.workdir.records.rows()
        keys: list[tuple[Any, ...]] = [tuple(map(row.get, KEY)) for row in rows]
        found = Counter(keys)
        for key, times in found.items():
            if times > 1:
                yield f"results.jsonl: {times} rows of {text(key)}"
        for key, row in zip(keys, rows):
            if not math.isfinite(row["value"]):
                yield f"results.jsonl: {row['value']} in the row of {text(key)}"
        wanted: dict[tuple[Any, ...], None] = {
            (*member, step, measure): None
            for member, step in self._trained()
            for measure in ("train_loss", *self.plan.config.measures)
        }
        # What else was measured, was measured of every replicate.
        level = KEY.index("level")
        levels = {key[level] for key in wanted}
        for key in found:
            if key[level] in levels and key[-1] != DIVERGED:
                replicates = range(self.plan.config.replicates)
                wanted |= {(replicate, *key[1:]): None for replicate in replicates}
        own = ("train_loss", *self.plan.config.measures)
        lost = {(m.replicate, m.setting) for m in self.diverged}
        for key in wanted:
            if key in found:
                continue
            member = Member(*key[:-2])
            # Others compare it with other networks of its replicate.
            other_lost = (member.replicate, member.setting) in lost
            if not (other_lost and key[-1] not in own or self._is_left_out(member)):
                yield f"results.jsonl: no row of {text(key)}"

    def _same(
        self, where: str, found: list[Member], wanted: list[Member]
    ) -> Iterator[str]:
        for member in wanted:
            if member not in found and not self._is_left_out(member):
                yield f"{where}: {text(member)} is missing"
        for member in found:
            if member not in wanted:
                yield f"{where}: {text(member)} is too many"

    def _is_left_out(self, member: Member) -> bool:
        """Return whether a network, or one that it comes from, diverged."""
        return not self.diverged.keys().isdisjoint(self._line(member))

    def _line(self, member: Member) -> Iterator[Member]:
        """Yield a network and all that it comes from."""
        yield member
        branch = BRANCHES.get(member.branch)  # none: "admm"
        across, after = (branch.across, branch.after) if branch else (False, False)
        rates = self.plan.config.sweep.learning_rate if across else ()
        for rate in rates or (member.learning_rate,):
            ticket = member._replace(branch="ticket", copy=0, learning_rate=rate)
            yield ticket.origin
            for level in range(1, member.level + 1):
                yield ticket.origin._replace(level=level, branch="admm")
                if level < member.level or after:
                    yield ticket._replace(level=level)

    def _trained(self) -> Iterator[tuple[Member, int]]:
        """Yield the networks of what is saved, and the steps they were trained to."""
        length = self.lengths["train.length"]
        if length in self.workdir.dense.numbers():
            yield from ((origin, length) for origin in self.plan.origins)
        for level in self.workdir.levels.numbers():
            for member in self.plan.members(level, self.rewind_steps):
                yield member, BRANCHES[member.branch].lengths * length


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _parent(ticket: Member) -> Member:
    """Return the network whose weights decide which of a ticket's are pruned."""
    branch = "ticket" if ticket.level > 1 else "dense"
    return ticket._replace(level=ticket.level - 1, branch=branch, copy=0)


def _alive(saved: dict[str, PyTree], masks: Masks) -> Iterator[str]:
    """Yield the paths of weights and moments that are not 0 where they are pruned."""
    pruned = [(f"/{path}", ~mask) for path, mask in masks_lib.leaves(masks)]
    for path, leaf in masks_lib.leaves(saved):
        for end, where in pruned:
            if path.endswith(end) and leaf.shape == where.shape and leaf[where].any():
                yield path


def problems(directory: Path) -> list[str]:
    """Return what is wrong with the run in a folder, one line a problem."""
    workdir, found = Workdir(directory), []
    try:
        config = config_lib.from_json(read(directory / "config.json"))
        config_lib.check(config)
        data = read(directory / "environment.json").get("data") or {}
        check = Check(workdir, Plan(config), data["steps_per_epoch"])
        found.extend(check.problems())
    except ConfigError as error:
        found.append(f"{directory}: {error}")
    except (CheckpointError, RecordsError) as error:
        found.append(str(error))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        found.append(f"{directory} is no run of this version ({_one_line(error)})")
    return found


def main() -> None:
    """Check the folder that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m lth_jax.check", description=__doc__
    )
    parser.add_argument("workdir", type=Path, help="folder of the run")
    workdir = parser.parse_args().workdir
    found = problems(workdir)
    for problem in found:
        print(problem)
    if found:
        sys.exit(f"{workdir}: {len(found)} problem{'s' * (len(found) > 1)}")
    levels = len(Workdir(workdir).levels.numbers())
    print(f"{workdir}: all is well with {levels} levels")


if __name__ == "__main__":
    main()
