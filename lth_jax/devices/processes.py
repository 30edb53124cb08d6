"""Processes: a run over several of them, on one machine or many.

All do the same: every process has all networks and comes to the same decisions. Each
trains and evaluates its share of them (`layout`), and the first one writes, in a folder
that all can read. With one process everything here comes to nothing.
"""

import hashlib
import re
import socket
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from lth_jax.errors import ProcessError, one_line

State = TypeVar("State", bound=PyTree)
Result = TypeVar("Result")

# After so long without a sign of life from another process, a process gives up.
_PATIENCE = 30  # seconds

_UNTOLD = (
    "nothing says which process this is: have srun, mpirun, Kubernetes or a TPU pod "
    "start it, or give each process --coordinator, --processes and --process"
)

_writing = False  # by_first is at work in this process


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the other processes of a run, before JAX is used for anything else.

    What is None is asked of the cluster: a TPU pod, Slurm, Open MPI or Kubernetes. Else
    host:port of the first process, their number, and which of them this is, from 0.

    Raises:
        ProcessError: nothing says which process this is, or JAX is already in use.
    """
    if coordinator and not re.fullmatch(r".+:\d+", coordinator):
        raise ProcessError(f"--coordinator: {coordinator} is not HOST:PORT")
    if coordinator and process == 0:
        _check_free(int(coordinator.rpartition(":")[2]))
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=_PATIENCE,
            shutdown_timeout_seconds=_PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        reason = one_line(error)
        if isinstance(error, ValueError) and None in (coordinator, processes, process):
            reason = f"{_UNTOLD} ({reason})"
        raise ProcessError(f"--distributed: {reason}") from error


def _check_free(port: int) -> None:
    """Raise ProcessError if the first process cannot have a port to itself.

    JAX would share the port of another run, and end that.
    """
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("", port))
        except (OSError, OverflowError) as error:
            raise ProcessError(
                f"--coordinator: port {port} cannot be had here ({one_line(error)}); "
                "choose another"
            ) from error


def several() -> bool:
    """Return whether there are other processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Return whether this is the process that writes."""
    return not several() or jax.process_index() == 0


def agree(said: bool) -> bool:
    """Return whether any process says so; all must be asked."""
    if not several() or _writing:
        return said
    return bool(multihost_utils.process_allgather(np.array(said)).any())


def same(text: str) -> bool:
    """Return whether all processes say the same."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    return not several() or bool((gather(digest[None]) == digest).all())


def gather(states: State) -> State:
    """Join the first axes of all processes' arrays, in their order."""
    return multihost_utils.process_allgather(jax.device_get(states), tiled=True)


def of_first(found: State) -> State:
    """Return the first process's array, in all of them."""
    return gather(found[None])[0] if several() else found


def least(number: int) -> int:
    """Return the least of all processes' numbers."""
    if not several():
        return number
    halves = np.array([[number]]).view(np.uint32)  # devices have no numbers of 64 bits
    return int(np.asarray(gather(halves)).view(np.int64).min())


def by_first(work: Callable[[], Result]) -> Result | None:
    """Do some work in the first process only, wait until it is done, and return it.

    Where it fails, the others raise ProcessError.
    """
    global _writing
    if not several() or _writing:
        return work()
    result, failed = None, None
    if is_first():
        _writing = True
        try:
            result = work()
        except Exception as error:
            failed = error
        finally:
            _writing = False
    if agree(failed is not None):
        raise failed or ProcessError("the first process has failed, and says why")
    return result
