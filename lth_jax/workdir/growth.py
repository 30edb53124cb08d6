"""Growth: a run takes in further replicates, trained as a run of their own."""

import shutil
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax.devices import processes
from lth_jax.errors import CheckpointError, ConfigError, one_line
from lth_jax.workdir import identity
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.folder import Workdir


def apart(here: Workdir, config: ConfigDict) -> list[ConfigDict]:
    """Return configs of the replicates that a run has, and of those that are new.

    None where it has no others: it has not begun, or has as many. Raises ConfigError if
    one cannot look into its folder.
    """
    path = here.directory / "config.json"
    try:
        processes.by_first(lambda: _go_on(here))
        there = identity.read(path).get("replicates") if path.exists() else None
    except OSError as error:
        raise ConfigError(f"--workdir: {error}") from error
    if not isinstance(there, int) or not 0 < there < config.replicates:
        return []
    parts = [config.copy_and_resolve_references() for _ in range(2)]
    for part, first, number in zip(
        parts, (0, there), (there, config.replicates - there)
    ):
        with part.unlocked():
            part.first_replicate += first
            part.replicates = number
    return parts


def is_lost(workdir: Workdir) -> bool:
    """Return whether all dense networks of a run diverged."""
    steps = workdir.dense.numbers()
    return bool(steps) and not workdir.dense.about(steps[-1])["members"]


def take_in(here: Workdir, more: Workdir, config: ConfigDict) -> None:
    """Add a finished run's rows and networks to those of another finished one.

    It may be cut off anywhere and repeated. Rows come first: until a checkpoint counts
    them, they are as good as not there. The other run's folder is renamed when all is
    in, and removed when the config says so.
    """
    with identity.lock(here.directory):
        processes.by_first(lambda: _take_in(here, more, config))


def _take_in(here: Workdir, more: Workdir, config: ConfigDict) -> None:
    for series in here.lasting:
        series.settle()
    pairs = [
        (series, added, number)
        for series, added in zip(here.lasting, more.lasting)
        for number in added.numbers()
        if added.about(number)["members"]
    ]
    waiting = [pair for pair in pairs if not _is_in(*pair)]
    if len(waiting) == len(pairs):
        here.records.truncate(here.recorded())
        here.records.add(more.records.rows())
    for series, added, number in waiting:
        old, new = _about(series, number), _about(added, number)
        about = {name: old[name] + new[name] for name in ("members", "masks")}
        networks = series.raw(number) if old["members"] else []
        networks = [*networks, *added.raw(number)]
        try:
            series.replace(number, networks, **about, records=here.records.size())
        except Exception as error:  # Orbax passes on whatever its libraries raise
            raise CheckpointError(
                f"{here.directory}: replicates cannot be added ({one_line(error)}); "
                "with that put right, the same command goes on"
            ) from error
    more.directory.replace(_taken(here))
    _settle(here, config.replicates)


def _go_on(here: Workdir) -> None:
    """Go on from where others were in, and the config did not say so or they were left.

    Of their folder a part may be left, which has a config if the run's is not written.
    """
    taken = _taken(here)
    if not taken.exists():
        return
    with identity.lock(here.directory):
        own = identity.read(here.directory / "config.json")
        number = own["replicates"]
        if (taken / "config.json").exists():
            its = identity.read(taken / "config.json")
            last = its["first_replicate"] + its["replicates"]
            number = last - own.get("first_replicate", 0)
        _settle(here, number)


def _settle(here: Workdir, replicates: int) -> None:
    """Write how many replicates a run has by now, and remove where they were."""
    path = here.directory / "config.json"
    identity.write(path, identity.read(path) | {"replicates": replicates})
    shutil.rmtree(_taken(here))


def _taken(here: Workdir) -> Path:
    return here.directory / "more.removed"


def _is_in(series: Series, added: Series, number: int) -> bool:
    """Return whether a checkpoint has the networks of another one."""
    new = _about(added, number)["members"]
    return new[0] in _about(series, number)["members"]


def _about(series: Series, number: int) -> dict[str, Any]:
    there = number in series.numbers()
    return series.about(number) if there else {"members": [], "masks": []}
