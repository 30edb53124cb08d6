"""Find lottery tickets: fit, prune, rewind.

    lth-jax --config=configs/digits.py --workdir=runs/digits
    lth-jax --config=configs/resnet20.py:low --workdir=runs/low --config.replicates=1

A config is a file of your own or one that comes with the package. Any of its fields
can be set on top, as --config.optim.learning_rate=0.01; lth_jax/config.py explains
them all. To see the resolved config, and what it would train, add --dry_run; a run
writes it to config.json in its workdir. The same command again goes on where a run was
interrupted.
"""

import os
import signal
import sys
import textwrap
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from lth_jax import config, dry_run, lottery, machine, report
from lth_jax.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Diverged,
    ProcessError,
    RecordsError,
)
from lth_jax.lottery import search
from lth_jax.train import experiment, processes
from lth_jax.workdir.pauses import Interrupted

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; after a colon its variants, joined by commas.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: new, or to go on.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print what would be trained, for how long; write nothing."
)
_SUMMARY = flags.DEFINE_bool(
    "summary", False, "Print the network's layers, and train nothing."
)
_EARLIEST = flags.DEFINE_enum(
    "earliest_rewind",
    None,
    list(search.CRITERIA),
    "Search for the earliest rewind step whose tickets are stable, or match dense.",
)
_ERRORS = (
    ConfigError,
    DataError,
    CheckpointError,
    RecordsError,
    Diverged,
    ProcessError,
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the other processes that the cluster has started."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Join other processes; host:port of the first one."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "The number of processes.")
_PROCESS = flags.DEFINE_integer("process", None, "Which process this is, from 0.")
TRY_AGAIN = 75  # EX_TEMPFAIL: interrupted; the same command goes on from there

flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Run what the flags say."""
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument: {argv[1]}")
    if not (_WORKDIR.value or _SUMMARY.value or _DRY_RUN.value):
        sys.exit("error: --workdir: name the folder of the run")
    if "://" in str(_WORKDIR.value):
        sys.exit(
            f"error: --workdir: {_WORKDIR.value} is no folder; mount what it names, "
            "and name the folder where it is mounted"
        )
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at INFO
    # One XLA device per core: members on devices of their own train faster than one
    # after another on all cores. Other platforms do not look at it.
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", machine.cores())
    try:
        if _DISTRIBUTED.value or _COORDINATOR.value:
            processes.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        if _SUMMARY.value:
            print(experiment.summary(_CONFIG.value))
            return
        if _DRY_RUN.value:
            print(dry_run.describe(_CONFIG.value))
            return
        workdir = Path(str(_WORKDIR.value))
        if _EARLIEST.value:
            found = search.earliest_rewind(_CONFIG.value, workdir, _EARLIEST.value)
            runs = [probe.workdir for probe in found.probes]
            # All probes share the dense networks.
            lost = {line: None for probe in found.probes for line in probe.diverged}
        else:
            lost = lottery.run(_CONFIG.value, workdir)
            found, runs = None, [workdir]

        def describe() -> None:
            print(found or report.table(report.load(workdir)))
            page = report.write(*runs, directory=workdir / "report")
            print(f"\nreport: {page}")

        try:
            processes.by_first(describe)
        except OSError as error:
            sys.exit(f"error: all is trained, but the report is missing: {error}")
        if lost:
            sys.exit("\n".join(f"error: {line}" for line in lost))
    except _ERRORS as error:
        sys.exit(f"error: {error}")
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(TRY_AGAIN)
    except jax.errors.JaxRuntimeError as error:
        reason = _one_line(error)[:200]
        if not processes.several():
            if "RESOURCE_EXHAUSTED" in reason:
                together = _CONFIG.value.train.layout == "fleet"
                field = "train.members: fewer" if together else "train.accumulate: more"
                sys.exit(f"error: config.{field} may fit: {reason}")
            raise
        print(
            f"error: another process has ended ({reason}); start all of them again: "
            "the same commands go on",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the way out through JAX waits for the others
    except KeyboardInterrupt:  # before anything was trained
        sys.exit(128 + signal.SIGINT)


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; a mistake in them, or in the config's file, is one line."""
    if {"--help", "-h"} & {*argv}:
        print(_help())
        sys.exit()
    if "--config" in argv[:-1]:
        i = argv.index("--config")
        argv = [*argv[:i], f"--config={argv[i + 1]}", *argv[i + 2 :]]
    try:
        rest = flags.FLAGS([located(argument) for argument in argv])
        _CONFIG.value.is_locked  # noqa: B018  (a missing file shows when it is used)
    except flags.Error as error:  # a config's own error comes with its traceback
        problem = str(error).splitlines()[-1]
        sys.exit(f"error: {problem.removeprefix('lth_jax.config.ConfigError: ')}")
    except AttributeError as error:
        problem = error.__context__ or error  # a KeyError, whose text is quoted
        sys.exit(f"error: --config: no such field: {_one_line(problem.args[0])}")
    except OSError as error:
        sys.exit(f"error: --config: {_one_line(error)}")
    return rest


def located(argument: str) -> str:
    """Return `--config=configs/NAME.py` with a path: the package's, if none is there.

    Example:
        >>> located("--config=configs/digits.py:smoke").endswith("/digits.py:smoke")
        True
    """
    name, _, value = argument.partition("=")
    file, colon, variant = value.partition(":")
    if name not in ("--config", "-config") or not file:
        return argument
    return f"{name}={config.located(file)}{colon}{variant}"


def _help() -> str:
    lines = [str(__doc__), "Flags:"]
    own = (
        _CONFIG,
        _WORKDIR,
        _DRY_RUN,
        _SUMMARY,
        _EARLIEST,
        _DISTRIBUTED,
        _COORDINATOR,
        _PROCESSES,
        _PROCESS,
    )
    for flag in own:
        lines.append(f"  --{flag.name:<15} {flags.FLAGS[flag.name].help}")
    lines += ["", "Configs of the package, as configs/NAME.py:"]
    lines += textwrap.wrap(", ".join(config.names()), 80)
    return "\n".join(lines)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def command() -> None:
    """Run the command line."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    command()
