"""Job: what a command does, from its flags to its exit status."""

import contextlib
import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from lth_jax import lottery, machine
from lth_jax.devices import memory, processes
from lth_jax.errors import RunError, one_line
from lth_jax.paths import local
from lth_jax.train import experiment
from lth_jax.workdir.pauses import Interrupted

TRY_AGAIN = 75  # EX_TEMPFAIL: interrupted; the same command goes on from there
DIVERGED = 3  # all is trained, but what diverged and what comes of that


def work(config: ConfigDict, asked: Any) -> None:
    """Do what the flags ask for; exit with a line on what is wrong.

    Args:
        config: of the run.
        asked: the flags of `main`, as attributes.
    """
    if not (asked.workdir or asked.summary or asked.dry_run):
        sys.exit("error: --workdir: name the folder of the run")
    told = (asked.coordinator, asked.processes, asked.process)
    with prepared(config, told if asked.distributed or told != (None,) * 3 else None):
        accept = {"accept_code_change": asked.accept_code_change}
        folder = local(asked.workdir or ".", "--workdir")
        if asked.summary:
            print(experiment.summary(config))
        elif asked.dry_run:
            from lth_jax import dry_run, search

            if asked.earliest_rewind:
                config = search.tickets_alone(config, asked.earliest_rewind)
            print(dry_run.describe(config))
            if asked.earliest_rewind:
                n = len(config.rewind.steps)
                print(f"Of {n} rewind steps, {search.probed(n)} at most get tickets.")
        elif asked.earliest_rewind:
            from lth_jax import search

            found = search.earliest_rewind(
                config, folder, asked.earliest_rewind, **accept
            )
            _report(folder, [probe.workdir for probe in found.probes], str(found))
            fail({line: None for probe in found.probes for line in probe.diverged})
        else:
            found = lottery.run(config, folder, **accept)
            _report(folder, [folder])
            fail(found.diverged)


def use_cores() -> None:
    """Let each core be a device of XLA, before a config's file may ask for devices.

    Members on devices of their own train faster than one after another on all cores.
    Other platforms do not look at it.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):  # in a process that has devices
            jax.config.update("jax_num_cpu_devices", machine.cores())


@contextlib.contextmanager
def prepared(config: ConfigDict, told: tuple[Any, ...] | None = None) -> Iterator[None]:
    """Get devices ready; exit with one line, and a status, on what can be put right.

    Args:
        config: of the run.
        told: the coordinator, the number of processes and which this is, where others
            are joined; None of what the cluster knows.
    """
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at INFO
    with _answered(config):
        if told:
            processes.join(*told)
        _look_for_devices()
        yield


def names() -> dict[str, list[str]]:
    """Return what a config can name, by field."""
    from lth_jax.branches import BRANCHES
    from lth_jax.data import KNOWN, SOURCES  # when help is asked for, alone
    from lth_jax.lottery.methods import METHODS
    from lth_jax.models import MODELS
    from lth_jax.optim.optimizers import OPTIMIZERS
    from lth_jax.optim.schedules import SCHEDULES
    from lth_jax.studies import STUDIES
    from lth_jax.tasks import TASKS

    known: dict[str, Iterable[str]] = {
        "model.name": MODELS,
        "task.name": TASKS,
        "data.name": [*KNOWN, *SOURCES, "any of TFDS", "a file or folder"],
        "optim.name": [*OPTIMIZERS, "any of optax"],
        "optim.schedule": [*SCHEDULES, "any of optax"],
        "prune.method": METHODS,
        "branches": BRANCHES,
        "studies": STUDIES,
    }
    return {field: [*registry] for field, registry in known.items()}


def _look_for_devices() -> None:
    """Exit with a line if JAX finds no device of the platform that is asked for."""
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        asked = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        sys.exit(
            f"error: JAX_PLATFORMS={asked or ''}: JAX finds no such device "
            f"({one_line(error)}); install what JAX needs for it, or choose another"
        )


def _report(workdir: Path, runs: list[Path], found: str | None = None) -> None:
    """Write a page, and print what was found, by default the table."""
    from lth_jax import report

    def attempt(what: str, make: Callable[[], object]) -> str:
        try:
            return str(make())
        except Exception as error:  # whatever it was, the run is done
            print(
                f"warning: all is trained, but the {what} is missing "
                f"({type(error).__name__}: {one_line(error)}); to try again: "
                f"python -m lth_jax.report {shlex.join(map(str, runs))}",
                file=sys.stderr,
            )
            return ""

    def describe() -> None:
        write = functools.partial(report.write, *runs, directory=workdir / "report")
        page = attempt("page", write)
        table = found or attempt("table", lambda: report.table(report.load(workdir)))
        print("\n\n".join(filter(None, [table, page and f"report: {page}"])))

    processes.by_first(describe)


def fail(lost: Iterable[str]) -> None:
    """Exit with a line and status DIVERGED if networks diverged."""
    if lost:
        print(*(f"error: {line}" for line in lost), sep="\n", file=sys.stderr)
        sys.exit(DIVERGED)


@contextlib.contextmanager
def _answered(config: ConfigDict) -> Iterator[None]:
    """Exit with one line, and a status, for what a user can put right."""
    try:
        yield
    except RunError as error:
        sys.exit(f"error: {error}")
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(TRY_AGAIN)
    except jax.errors.JaxRuntimeError as error:
        reason, short = one_line(error), memory.was_short(error)
        if not short and not processes.several():
            raise
        line = (
            f"another process has ended ({reason}); start all of them again: the same "
            "commands go on"
        )
        if short and config.train.layout == "fleet" and config.train.way != "in_turn":
            line = f"config.train.way: 'in_turn', one at a time, may fit: {reason}"
        elif short:
            line = (
                f"config.train.accumulate: more, in a new --workdir, may fit: {reason}"
            )
        if not processes.several():
            sys.exit(f"error: {line}")
        print(f"error: {line}", file=sys.stderr, flush=True)
        os._exit(1)  # the way out through JAX waits for the others
    except KeyboardInterrupt:  # before anything was trained
        sys.exit(128 + signal.SIGINT)
