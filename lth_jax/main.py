"""The command line: python -m lth_jax.main --config=C.py --workdir=W."""

import os
import signal
import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from lth_jax import lottery, processes
from lth_jax.checkpoint import CheckpointError
from lth_jax.config import ConfigError
from lth_jax.data import DataError
from lth_jax.interruption import Interrupted
from lth_jax.processes import ProcessError
from lth_jax.records import RecordsError
from lth_jax.training import Diverged

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with its variant after a colon.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: new, or to go on.")
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

flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    """Run what the flags say."""
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument: {argv[1]}")
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at INFO
    # One XLA device per core: members on devices of their own train faster than one
    # after another on all cores. Other platforms do not look at it.
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    try:
        if _DISTRIBUTED.value or _COORDINATOR.value:
            processes.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        lottery.run(_CONFIG.value, Path(str(_WORKDIR.value)))
    except _ERRORS as error:
        sys.exit(f"error: {error}")
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(TRY_AGAIN)
    except jax.errors.JaxRuntimeError as error:
        if not processes.several():
            raise
        reason = " ".join(str(error).split())[:200]
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
    try:
        rest = flags.FLAGS(argv)
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


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
