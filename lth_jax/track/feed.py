"""Feed: from the folder of a run to a tracker."""

import contextlib
import hashlib
import importlib
import json
import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax import jsonl
from lth_jax.config.table import flatten
from lth_jax.errors import ExportError, RunError, one_line
from lth_jax.paths import local
from lth_jax.track.names import digest
from lth_jax.track.tracker import State, Tracker

TRACKERS = ("wandb", "mlflow", "trackio", "tensorboard")
_SECONDS = 5  # between looks
_BATCH = 1000  # rows, between which it is written down how far it is


def track(workdir: Path | str, to: str, *, follow: bool = False) -> int:
    """Write what a run's folder has to a tracker; return how many rows are there.

    Started again after it was interrupted anywhere, it goes on in the same run of the
    tracker, with every row there once. Where rows are others than those that were
    written (a run that went on on other hardware), a new one begins.

    Args:
        workdir: folder of a run, which may be on its way.
        to: of TRACKERS; its own settings say where that is.
        follow: go on as the run does, until KeyboardInterrupt.

    Raises:
        RunError: no run has begun there, or its rows cannot be read.
        ImportError: the tracker is not installed.
    """
    workdir = local(workdir)
    path = workdir / "config.json"
    if not path.exists():
        raise RunError(f"{workdir}: no run has begun there")
    config = flatten(ConfigDict(json.loads(path.read_text())))
    try:
        with contextlib.closing(_Feed(workdir, to, config)) as feed:
            with contextlib.suppress(KeyboardInterrupt):
                feed.look()
                while follow:
                    time.sleep(_SECONDS)
                    feed.look()
            _keep(workdir, feed.state, feed.tracker)
        return feed.state.rows
    except (ImportError, OSError, RunError):
        raise
    except Exception as error:  # whatever trackers raise
        raise RunError(f"--to={to}: {one_line(error)}") from error


class _Feed:
    """A tracker that is open, and how far it is."""

    def __init__(self, workdir: Path, to: str, config: dict[str, Any]) -> None:
        self.workdir, self.config = workdir, config
        name = importlib.import_module(f"lth_jax.track.to_{to}")
        self.make: type[Tracker] = getattr(name, to.capitalize())
        self.state = State.read(workdir / "track" / f"{to}.json")
        self._open()

    def look(self) -> None:
        """Write what is new."""
        path, state = self.workdir / "results.jsonl", self.state
        rows = jsonl.read(path) if path.exists() else []
        if len(rows) < state.rows and not self.tracker.forgets:
            return  # the run was cut off, and makes some again
        if digest(rows[: state.rows]) != state.checksum:
            print(f"rows are not what they were: {state.id} ends, a new run begins")
            self.close()
            self.state = State(state.path)
            self._open()
        if self.number is None:
            self.number = self.tracker.there(rows)
        for first in range(self.number, len(rows), _BATCH):
            batch = rows[first : first + _BATCH]
            self.is_within_batch = True
            self.tracker.write(batch, first)
            self.number = first + len(batch)
            self.state.rows = self.number
            self.state.checksum = digest(rows[: self.number])
            self.state.write()
            self.is_within_batch = False

    def close(self) -> None:
        self.tracker.close()
        if not self.is_within_batch:  # else nobody knows which rows came there
            self.state.session = {}
        self.state.write()

    def _open(self) -> None:
        self.state.write()
        self.is_within_batch = False
        self.tracker = self.make(self.workdir, self.state, self.config)
        self.number: int | None = None  # of rows that it has
        print(f"to look at it: {self.tracker.look}", flush=True)


def _keep(workdir: Path, state: State, tracker: Tracker) -> None:
    """Keep the page, and the tickets of the first replicate, one a level."""
    if not state.rows:
        return
    kinds = {"report": [_page(workdir)], "tickets": _tickets(workdir)}
    for kind, files in kinds.items():
        found = {x.name: hashlib.sha256(x.read_bytes()).hexdigest() for x in files}
        if not found.items() <= state.kept.items():
            tracker.keep(kind, files)
            state.kept |= found
            state.write()


def _page(workdir: Path) -> Path:
    """Return the page, written anew if there are later rows."""
    page, rows = workdir / "report" / "index.html", workdir / "results.jsonl"
    if page.exists() and page.stat().st_mtime >= rows.stat().st_mtime:
        return page
    from lth_jax import report  # which takes a second

    return report.write(workdir)


def _tickets(workdir: Path) -> list[Path]:
    """Return files of the tickets of the first replicate and rewind step."""
    if not (workdir / "checkpoints" / "levels").exists():
        return []
    from lth_jax.export import find, save_ticket  # these import JAX
    from lth_jax.workdir import Workdir

    run, files = Workdir(workdir), []
    for level in run.levels.numbers():
        path = workdir / "tickets" / f"level_{level}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            members = run.members(run.levels if level else run.dense, level)
            first = min((m.replicate for m in members), default=0)
            with contextlib.suppress(ExportError):  # none was left
                unfinished = path.with_name(f"unfinished_{path.name}")
                save_ticket(unfinished, find(workdir, level, replicate=first))
                unfinished.replace(path)
        files += [path] if path.exists() else []
    return files
