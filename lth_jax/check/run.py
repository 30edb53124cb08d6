"""Run: what is wrong with one run's folder."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from lth_jax import masks as masks_lib
from lth_jax import scores
from lth_jax.config import fields
from lth_jax.config.files import from_json
from lth_jax.errors import CheckpointError, RunError, one_line
from lth_jax.export import bundle
from lth_jax.lottery.plan import Plan
from lth_jax.masks import Masks
from lth_jax.pool import OF_NEXT
from lth_jax.workdir import Member, Training, Workdir, read
from lth_jax.workdir import records as records_lib
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.member import planned, text


class Network(NamedTuple):
    saved: dict[str, PyTree]  # all that is on disk of it
    masks: Masks


Found = dict[Member, Network]


@dataclass(frozen=True, eq=False)
class Check:
    """What is wrong with a run, one line a problem."""

    workdir: Workdir
    plan: Plan  # how masks are counted
    trainings: dict[Member, Training]  # of the plan that the run has written
    nested: bool  # whether masks of a level are among those of the level before
    measures: list[str]  # of every network
    others: dict[Member, Member]  # on which other tickets masks depend

    @cached_property
    def diverged(self) -> dict[Member, int]:  # and at which step
        return self.workdir.records.diverged()

    def problems(self) -> Iterator[str]:
        dense: dict[int, Found] = {}
        for step in self.plan.dense_steps:
            if step in self.workdir.dense.numbers():
                dense[step] = yield from self._load(self.workdir.dense, step)
                yield from self._dense(step, dense[step])
        before = dense.get(self.plan.length, {})
        for level in range(self.plan.levels + 1):
            if level in self.workdir.levels.numbers():
                now = yield from self._load(self.workdir.levels, level)
                yield from self._level(level, now, before, dense)
                before = now if level else before
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
                    yield f"{where}: {member}: masks have another checksum"
                # Of one whose loss is not finite, weights are no numbers any more.
                for path in _alive(saved, masks) if np.isfinite(saved["loss"]) else ():
                    yield f"{where}: {member}: {path} is not 0 where pruned"
        except CheckpointError as error:
            yield str(error)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            yield f"{where}: not networks of a run ({reason})"
        return networks

    def _dense(self, step: int, networks: Found) -> Iterator[str]:
        yield from self._same(f"dense {step}", networks, self.plan.dense)
        for member, (saved, masks) in networks.items():
            if masks_lib.density(masks) != 1:
                yield f"dense {step}: {member}: masks are not dense"
            if saved["step"] != step:
                yield f"dense {step}: {member}: is at step {saved['step']}"

    def _level(
        self, level: int, now: Found, before: Found, dense: dict[int, Found]
    ) -> Iterator[str]:
        where, branch = f"level {level}", "ticket" if level else "dense"
        here = [m for m in self.trainings if (m.level, m.branch) == (level, branch)]
        yield from self._same(where, now, [m for m in here if m != m.dense])
        for member, (saved, masks) in now.items():
            who = f"{where}: {member}"
            planned = self.trainings.get(member)
            if planned and saved["step"] != planned.stop:
                yield f"{who}: is at step {saved['step']}, not {planned.stop}"
            origin = dense.get(0, {}).get(member.dense)
            seed = origin.saved["data_seed"] if origin else None
            own = level and self.plan.config.rewind.reorder
            if origin and not member.copy and (saved["data_seed"] == seed) == own:
                yield f"{who}: data come in another order than they should"
            parent = before.get(member.previous) if level else None
            if parent:
                scored = dense.get(self._scored(member), {}).get(member.dense, parent)
                found = self._pruned(level, masks, parent, scored)
                yield from (f"{who}: {problem}" for problem in found)

    def _scored(self, ticket: Member) -> int:
        """Return which step's dense network masks are made from; -1: the ticket's."""
        options = self.plan.config.prune
        whole = self.plan.length if options.schedule == "one_shot" else -1
        return {"0": 0, "k": ticket.rewind_step}.get(options.at, whole)

    def _pruned(
        self, level: int, masks: Masks, parent: Network, scored: Network
    ) -> Iterator[str]:
        """Yield what is wrong with masks, beside those before and what was scored."""
        options = self.plan.config.prune
        was, now = (dict(masks_lib.leaves(m)) for m in (parent.masks, masks))
        for path in now if self.nested else ():
            grown = np.count_nonzero(now[path] & ~was[path])
            if grown:
                yield f"{path}: {grown} weights that were pruned are back"
        rule = self.plan.rule(level)
        wanted = rule.left(rule.counts(parent.masks))
        for path, (kept, total) in rule.together(rule.counts(masks)).items():
            if kept != (n := wanted[path][0]):
                yield f"{path or 'in all'}: {kept} of {total} weights are kept, not {n}"
        if options.method == "magnitude" and options.rounds < 2:
            magnitudes = scores.magnitude(scored.saved["params"])
            smallest = rule.shrink(magnitudes, parent.masks)
            if masks_lib.checksum(smallest) != masks_lib.checksum(masks):
                yield "other weights than the smallest are pruned"

    def _starts(
        self, where: str, networks: Found, dense: dict[int, Found]
    ) -> Iterator[str]:
        for member, (saved, masks) in networks.items():
            origin = dense.get(member.rewind_step, {}).get(member.dense)
            options = self.plan.config.rewind
            fresh = "params" in options.fresh or options.weights != "k"
            rewound = member.branch == "ticket" and saved["step"] == member.rewind_step
            if not origin or fresh or not rewound:
                continue
            masked = masks_lib.apply(origin.saved["params"], masks)
            wanted = dict(masks_lib.leaves(masked))
            for path, found in masks_lib.leaves(saved["params"]):
                if not np.array_equal(found, wanted[path]):
                    what = f"{path} is not the mask times the rewind state"
                    yield f"{where}: {member}: {what}"

    def _rows(self) -> Iterator[str]:
        """Yield what is wrong with the rows of what is saved."""
        rows = self.workdir.records.rows()
        found = Counter(map(records_lib.key, rows))
        for key, times in found.items():
            if times > 1:
                yield f"results.jsonl: {times} rows of {text(dict(key))}"
        for row in rows:
            if not math.isfinite(value := row["value"]):
                key = dict(records_lib.key(row))
                yield f"results.jsonl: {value} in the row of {text(key)}"
        own = ("train_loss", *self.measures)
        wanted: dict[Any, None] = {}
        for member, training in self.trainings.items():
            for measure in own if self._is_done(training) else ():
                numbers = {"density": 0.0, "step": training.stop, "value": 0.0}
                row = records_lib.row(member, measure=measure, **numbers)
                wanted[records_lib.key(row)] = None
        # What else was measured, was measured of every replicate: but for pairs of
        # replicates, and what depends on how dense layers are.
        levels = {dict(key)["level"] for key in wanted}
        for key in found:
            row = dict(key)
            is_of_some = row.get("pair") in OF_NEXT or "p" in row
            is_own = row["measure"] != records_lib.DIVERGED and not is_of_some
            if row["level"] in levels and is_own:
                for replicate in {member.replicate for member in self.plan.dense}:
                    wanted[tuple((row | {"replicate": replicate}).items())] = None
        lost = {(m.replicate, m.setting) for m in self.diverged}
        for key in wanted:
            member = records_lib.member(dict(key))
            # Others compare it with other networks of its replicate.
            compares = dict(key)["measure"] not in own
            excused = compares and (member.replicate, member.setting) in lost
            if key not in found and not excused and not self._is_left_out(member):
                yield f"results.jsonl: no row of {text(dict(key))}"

    def _is_done(self, training: Training) -> bool:
        """Return whether the training's level is saved, or the dense network is."""
        member, done = training.member, self.workdir.dense.numbers()
        is_dense = member == member.dense and training.stop in done
        return is_dense or member.level in self.workdir.levels.numbers()

    def _same(
        self, where: str, found: Iterable[Member], wanted: list[Member]
    ) -> Iterator[str]:
        for member in wanted:
            if member not in found and not self._is_left_out(member):
                yield f"{where}: {member} is missing"
        for member in found:
            if member not in wanted:
                yield f"{where}: {member} is too many"

    def _is_left_out(self, member: Member) -> bool:
        """Return whether a network, or one that it comes from, diverged."""
        return not self.diverged.keys().isdisjoint(self._line(member))

    def _line(self, member: Member) -> Iterator[Member]:
        """Yield a network and all that it comes from."""
        yield member
        training = self.trainings.get(member)
        if training and training.after:
            yield training.after.member
        for one in {member, self.others.get(member, member)}:
            ticket = one._replace(branch="ticket", copy=0)
            yield ticket.dense
            for level in range(1, member.level + 1):
                if level < member.level:
                    yield ticket._replace(level=level)
                for branch in {m.branch for m in self.trainings if m.level}:
                    if branch not in self.plan.config.branches:  # a method's own
                        yield ticket.dense._replace(level=level, branch=branch)


def _alive(saved: dict[str, PyTree], masks: Masks) -> Iterator[str]:
    """Yield the paths of weights and moments that are not 0 where they are pruned."""
    pruned = [(f"/{path}", ~mask) for path, mask in masks_lib.leaves(masks)]
    for path, leaf in masks_lib.leaves(saved):
        for end, where in pruned:
            if path.endswith(end) and leaf.shape == where.shape and leaf[where].any():
                yield path


def problems(directory: Path | str) -> list[str]:
    """Return what is wrong with a run's folder, or a bundle, one line a problem."""
    found = []
    try:
        if bundle.is_one(directory):
            return [f"{directory}: {line}" for line in bundle.problems(directory)]
        found.extend(_opened(directory).problems())
    except RunError as error:
        found.append(f"{directory}: {error}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        found.append(f"{directory} is no run of this version ({reason})")
    return found


def standing(directory: Path | str) -> str:
    """Return how far the run in a folder is, where nothing is wrong with it."""
    check = _opened(directory)
    levels, plan = len(check.workdir.levels.numbers()), check.plan
    if to_come := check.workdir.to_come(plan.dense_steps, plan.levels):
        return f"{levels} of {plan.levels + 1} levels; still to come: {to_come}"
    return f"{levels} levels"


def _opened(directory: Path | str) -> Check:
    workdir = Workdir(directory)
    config = from_json(read(workdir.directory / "config.json"))
    fields.check(config)
    written = read(workdir.directory / "plan.json")
    plan = Plan(config, written["length"], tuple(written["rewind_steps"]))
    trainings, nested = planned(written["trainings"]), written["nested"]
    others = {Member(*one): Member(*other) for one, other in written["others"]}
    return Check(workdir, plan, trainings, nested, written["measures"], others)
