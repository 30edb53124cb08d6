"""Pool: several folders, each with replicates of its own, are one experiment.

Replicates are divided over folders by `first_replicate` and `replicates`; all else that
a number depends on has to be the same. What is pooled are rows: those of one run with
all replicates, bit for bit where members of a fleet do not change each other's bits.

Needs no JAX.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax import compare, jsonl
from lth_jax.config.files import from_json
from lth_jax.errors import PoolError
from lth_jax.paths import local

_COMPARED = ("alignment", "mask_overlap")  # studies of the next replicate, and pairs
OF_NEXT = ("replicates", "aligned", "by_chance")
_POOLED = "pooled"  # names the folders, in `environment.json`
_DIVIDED = {"first_replicate", "replicates"}
_FILES = ("config", "environment", "plan")
# What names a network in a row, as in `workdir`, which needs JAX.
_MEMBER = ("replicate", "rewind_step", "level", "branch", "copy")
_MEMBER += ("learning_rate", "weight_decay")


@dataclass(frozen=True)
class Pooled:
    """One experiment of some folders.

    Attributes:
        rows: of all replicates.
        files: config, environment and plan, as a run of all replicates has them.
        notes: a line for what is missing, left out, or may differ in last digits.
    """

    rows: list[dict[str, Any]]
    files: dict[str, dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True)
class _Folder:
    path: Path
    config: ConfigDict
    files: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def replicates(self) -> range:
        first = self.config.first_replicate
        return range(first, first + self.config.replicates)


def read(*workdirs: Path | str) -> Pooled:
    """Return the experiment of which folders have a share each; runs may go on.

    Raises:
        PoolError: folders differ in what numbers depend on, or a replicate is in two.
        RecordsError: a line of results.jsonl is not a row.
    """
    if wrong := problems(*workdirs):
        raise PoolError(wrong[0])
    found = sorted(map(_opened, workdirs), key=lambda one: one.replicates.start)
    seeds = sorted(itertools.chain(*(one.replicates for one in found)))
    notes = [*_missing(found, seeds), *_digits(found)]
    plans = [one.files["plan"] for one in found]
    strange = _strange(plans, seeds)
    last = {one.replicates[-1] for one in found if len(found) > 1}
    pairs = {name for one in found for name in one.config.studies} & {*_COMPARED}
    rows = [
        row
        for one in found
        for row in one.rows
        if _member(row) not in strange
        and not (row.get("pair") in OF_NEXT and row["replicate"] in last)
    ]
    if strange:
        branches = ", ".join(sorted({member[3] for member in strange}))
        notes.append(
            f"left out: {len(strange)} networks of {branches}, whose masks are of "
            "another replicate than in one folder"
        )
    if pairs and last:
        notes.append(
            f"left out: {', '.join(sorted(pairs))} of replicates "
            f"{_ranges(sorted(last))}, whose next is another one than in one folder"
        )
    joined = {
        name: [x for plan in plans for x in plan.get(name, ())]
        for name in ("trainings", "others")
    }
    config = found[0].files["config"]
    config |= {"first_replicate": seeds[0], "replicates": len(seeds)}
    files = found[0].files | {"config": config, "plan": plans[0] | joined}
    of = {_POOLED: [one.path.name for one in found]}
    files["environment"] = files["environment"] | of
    return Pooled(rows, files, notes)


def write(pooled: Pooled, directory: Path | str) -> Path:
    """Write an experiment's rows, config, environment and plan as a folder of one run.

    It has no checkpoints: it can be reported and tracked, not trained further.

    Raises:
        PoolError: a run has its own rows there.
    """
    directory = local(directory)
    has_rows = (directory / "results.jsonl").exists()
    if (directory / "checkpoints").exists() or has_rows and not _is_pooled(directory):
        raise PoolError(f"--out: {directory} is the folder of a run; name another")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in pooled.files.items():
        (directory / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    (directory / "results.jsonl").write_text(jsonl.text(pooled.rows))
    return directory


def _is_pooled(directory: Path) -> bool:
    """Return whether `write` has made a folder."""
    try:
        return _POOLED in json.loads((directory / "environment.json").read_text())
    except (OSError, ValueError):
        return False


def problems(*workdirs: Path | str) -> list[str]:
    """Return why folders are not one experiment, one line a reason."""
    found = [*map(_opened, workdirs)]
    twice = Counter(itertools.chain(*(one.replicates for one in found)))
    lines = []
    for seed in (seed for seed, times in twice.items() if times > 1):
        where = " and ".join(str(one.path) for one in found if seed in one.replicates)
        lines.append(
            f"config.first_replicate: replicate {seed} is there twice, in {where}"
        )
    for other in found[1:]:
        lines += _apart(found[0], other)
    return lines


def _opened(workdir: Path | str) -> _Folder:
    path = local(workdir)
    try:
        files = {n: json.loads((path / f"{n}.json").read_text()) for n in _FILES}
        config = from_json(files["config"])
        written = path / "results.jsonl"
        rows = jsonl.read(written) if written.exists() else []
        found = _Folder(path, config, files, rows)
        _ = found.replicates
    except FileNotFoundError as error:
        raise PoolError(
            f"{error.filename}: no such file; is {path} the folder of a run that has "
            "begun?"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PoolError(f"{path} is no run of this version: {error}") from error
    return found


def _apart(one: _Folder, other: _Folder) -> Iterator[str]:
    """Yield what a number depends on and differs between two folders."""
    but, there = compare.may_differ(one.config) | _DIVIDED, one.files["environment"]
    here, found = other.files["environment"], []
    now, before = (
        compare.used(x.config.to_dict(), x.files["environment"]) for x in (other, one)
    )
    found += compare.named("config", now, before, but)
    data = [e.get("data", {}) for e in (here, there)]
    found += compare.named("data set", data[0], data[1])
    drawn = compare.draws(here.get("jax", {}), there.get("jax", {}))
    found += compare.named("setting of JAX", *drawn)
    if files := compare.changed(there.get("code"), here.get("code", {})):
        found.append(f"other code: {compare.some(files)}")
    for line in found:
        yield f"{line}: {one.path} and {other.path} are not one experiment"


def _missing(found: list[_Folder], seeds: list[int]) -> Iterator[str]:
    """Yield which replicates are in no folder, and which numbers are not yet."""
    gaps = sorted({*range(seeds[0], seeds[-1])} - {*seeds})
    if gaps:
        yield f"missing: replicates {_ranges(gaps)}, of {seeds[0]} to {seeds[-1]}"
    for one in found:
        ends = ("steps_trained", "diverged")
        done = {_member(r) for r in one.rows if r["measure"] in ends}
        planned = [tuple(training[0]) for training in one.files["plan"]["trainings"]]
        planned = [m for m in planned if m[3] != "admm"]  # it has no such row
        late = [member for member in planned if member not in done]
        if late:
            levels = _ranges(sorted({member[2] for member in late}))
            whose = _ranges(sorted({member[0] for member in late}))
            yield (
                f"missing: {len(late)} of {len(planned)} networks of {one.path}, "
                f"replicates {whose}, levels {levels}"
            )


def _digits(found: list[_Folder]) -> Iterator[str]:
    """Yield what differs between folders and changes last digits at most."""
    first, *others = found
    for one in others:
        for name, was, now in compare.digits(
            one.config.to_dict(),
            one.files["environment"],
            first.config.to_dict(),
            first.files["environment"],
        ):
            yield (
                f"{name} {was} in {first.path}, {now} in {one.path}: last digits may "
                "differ"
            )


def _strange(plans: list[dict[str, Any]], seeds: Sequence[int]) -> set[tuple]:
    """Return networks whose masks look at another replicate than in one folder.

    There that is the next one; after the last comes the first (`branch_masks`).
    """
    found = set()
    for member, other in itertools.chain(*(plan.get("others", ()) for plan in plans)):
        after = min((s for s in seeds if s > member[0]), default=min(seeds))
        if other[0] not in (member[0], after):
            found.add(tuple(member))
    return found


def _member(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return which network a row belongs to, as a plan names it."""
    return tuple(row.get(name) for name in _MEMBER)


def _ranges(numbers: list[int]) -> str:
    """Return rising numbers in words.

    Example:
        >>> _ranges([0, 1, 2, 5])
        '0 to 2, 5'
    """
    words, runs = [], itertools.groupby(enumerate(numbers), lambda x: x[1] - x[0])
    for _, run in runs:
        these = [number for _, number in run]
        words.append(f"{these[0]} to {these[-1]}" if these[1:] else f"{these[0]}")
    return ", ".join(words)
