"""Identity: whose a folder is, and who is at work in it.

One run's numbers come from one config, one code and one data set: a folder is refused
to any other. What may differ when a run goes on, because it changes no number, or only
the last digits of some:

- config: fields of which `config.table` says so, with a warning if of last digits;
  further levels, and replicates (`growth`), to which a run grows;
- code: the modules in `environment.HARMLESS`. Any other change, of the package's files
  or of the user's own, or of the values with which the user's objects are made, is
  refused until it is accepted;
- settings of JAX, but for what is drawn: with a warning;
- versions of other packages, Python, the system, devices and the number of processes:
  with a warning, as the last digits may change;
- the command and the git commit.
"""

import contextlib
import datetime
import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from lth_jax import compare
from lth_jax.config.files import from_json
from lth_jax.config.table import flatten
from lth_jax.devices import processes
from lth_jax.errors import ConfigError
from lth_jax.workdir import environment as environment_lib

_GROWING = {"prune.levels", "prune.densities", "branch_levels"}


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep other processes out. The system opens the lock of a process that ends."""
    with contextlib.ExitStack() as stack:
        processes.by_first(lambda: _lock(directory, stack))
        yield


def _lock(directory: Path, stack: contextlib.ExitStack) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"--workdir: {error}") from error
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        other = os.read(descriptor, 200).decode(errors="replace")
        raise ConfigError(f"--workdir: {other} is at work in {directory}") from error
    except OSError as error:  # some network file systems have no locks
        print(f"warning: --workdir: no lock ({error})", file=sys.stderr)
    with contextlib.suppress(OSError):  # who it is, is for the other's message
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}".encode())


def begin(
    directory: Path,
    config: ConfigDict,
    data: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    own: Iterable[object] = (),
    given: Mapping[str, object] = MappingProxyType({}),
    *,
    accept_code_change: bool = False,
) -> None:
    """Begin a run here, or see that the one that is here is the same.

    Args:
        config: of the run; `data` is what tells its set from others.
        plan: every training, as JSON.
        own: what the config names, of which the code counts.
        given: those of them, by what they are, whose values count as code does.
        accept_code_change: go on with other code, which is recorded.

    Raises:
        ConfigError: the folder is another's; what differs is named.
    """
    environment = environment_lib.environment(own, given) | {"data": data or {}}
    processes.by_first(
        lambda: _begin(directory, config, environment, plan or {}, accept_code_change)
    )


def _begin(
    directory: Path,
    config: ConfigDict,
    environment: dict[str, Any],
    plan: dict[str, Any],
    accept: bool,
) -> None:
    names = ("config", "environment", "plan")
    path, described, planned = (directory / f"{name}.json" for name in names)
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write(described, environment | {"begun": now})
        write(path, config.to_dict())
    written, there = from_json(read(path)).to_dict(), read(described)
    grown = planned.exists() and _is_grown(config, plan, written, read(planned))
    may_differ = compare.may_differ(config) | (_GROWING if grown else set())
    configs = (
        compare.used(config.to_dict(), environment),
        compare.used(written, there),
    )
    _check_same(directory, "config", *configs, may_differ)
    if there.get("data"):
        _check_same(directory, "data set", environment["data"], there["data"])
    before, now = there.get("jax", {}), environment["jax"]
    drawn = compare.draws(now, before)
    _check_same(directory, "setting of JAX", *drawn)
    _check_code(directory, there, environment, accept)
    _warn(config, environment, written, there)
    if grown:
        write(path, config.to_dict())
    write(planned, plan)


def _warn(
    config: ConfigDict, here: dict[str, Any], written: dict[str, Any], there: Any
) -> None:
    """Say what is not as it was, and changes last digits at most."""
    for name, was, now in compare.digits(config.to_dict(), here, written, there):
        print(
            f"warning: {name} {was} before, {now} now: last digits may differ",
            file=sys.stderr,
        )


def _is_grown(
    config: ConfigDict, plan: dict[str, Any], written: dict[str, Any], planned: Any
) -> bool:
    """Return whether levels are new, and those that were there are as they were."""
    begun, here = planned.get("trainings"), plan.get("trainings", ())
    level = max((training[0][2] for training in begun or ()), default=0)
    there = [training for training in here if training[0][2] <= level]
    name, tree = "prune.densities", ConfigDict(written)
    before, now = (flatten(made).get(name, []) for made in (tree, config))
    same = bool(before) == bool(now) and before == now[: len(before)]
    return bool(begun) and same and begun == there and len(there) < len(here)


def _check_same(
    directory: Path, what: str, here: dict, there: dict, but: Iterable[str] = ()
) -> None:
    """Raise ConfigError, naming the difference, unless both are the same."""
    different = compare.named(what, here, there, but)
    if different:
        raise ConfigError(
            f"--workdir: {directory} was made by another {what} "
            f"({'; '.join(different)})"
        )


def _check_code(
    directory: Path, there: dict[str, Any], here: dict[str, Any], accept: bool
) -> None:
    """Warn of other code, and raise ConfigError unless that is accepted."""
    files = compare.changed(there.get("code"), here["code"])
    if not files:
        return
    said = f"{directory} was made by other code: {compare.some(files)} differ"
    if not accept:
        raise ConfigError(
            f"--workdir: {said}; go back to that code or, if no number depends on "
            "the change, add --accept_code_change"
        )
    print(f"warning: {said}, which is accepted", file=sys.stderr)
    accepted = {"files": files, "git_commit": here["git_commit"]}
    history = [*there.get("accepted_code_changes", ()), accepted]
    code = {"code": here["code"], "accepted_code_changes": history}
    write(directory / "environment.json", there | code)


def write(path: Path, content: object) -> None:
    """Write a JSON file of a run atomically, unless it is there already."""
    indent = 2 if path.stem != "plan" else None  # a plan may be long
    text = json.dumps(content, indent=indent) + "\n"
    unfinished = path.with_suffix(".unfinished")
    try:
        if not path.exists() or path.read_text() != text:
            unfinished.write_text(text)
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
