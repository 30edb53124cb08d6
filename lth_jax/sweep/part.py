"""Part: one run of a sweep, wherever it is: a process, and how it stands."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

INTERRUPTED, DIVERGED = 75, 3  # as `job.TRY_AGAIN` and its other, which import JAX


class Part:
    """What a job does: train one run from wherever it stands.

    Submitit calls it, on a machine of the cluster; and before that ends the job,
    `checkpoint`, whose result it queues again.
    """

    config: str | None = None  # of a part that an older version has queued

    def __init__(
        self, workdir: str, flags: tuple[str, ...], config: str | None
    ) -> None:
        self.workdir, self.flags, self.config = workdir, flags, config

    def __call__(self) -> int:
        """Train; return the exit status, or raise where a job is to fail."""
        # A process of its own: signals reach its own handlers, as anywhere else.
        command = [sys.executable, "-m", "lth_jax.main", *self.flags]
        # By USR2 Slurm tells all processes of a job of its end; it is for `checkpoint`.
        handler = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        child = subprocess.Popen([*command, f"--workdir={self.workdir}"])
        signal.signal(signal.SIGUSR2, handler)
        self.child = child.pid
        status = self._ended(child)
        if status not in (0, DIVERGED) and "SUBMITIT_EXECUTOR" in os.environ:
            raise RuntimeError(f"{self.workdir}: exit status {status}")
        return status

    def _ended(self, child: subprocess.Popen[bytes]) -> int:
        self._say(None)
        # Not child.wait, whose lock a signal's handler would wait for.
        _, ended = os.waitpid(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(ended)
        self._say(child.returncode)
        return child.returncode

    def checkpoint(self) -> Any:
        """Have the run save itself, and return what goes on with it."""
        from submitit.helpers import DelayedSubmission

        os.kill(self.child, signal.SIGTERM)
        os.waitpid(self.child, 0)
        self._say(INTERRUPTED)
        return DelayedSubmission(Part(self.workdir, self.flags, self.config))

    def _say(self, status: int | None) -> None:
        path = Path(self.workdir).with_suffix(".status.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        told = {"status": status, "config": self.config, "host": socket.gethostname()}
        told["job"] = os.environ.get("SLURM_JOB_ID", "")
        unfinished.write_text(json.dumps(told))
        unfinished.replace(path)


def told(workdir: Path) -> dict[str, Any] | None:
    """Return what a part has said of itself last; None if it has not begun."""
    path = workdir.with_suffix(".status.json")
    return json.loads(path.read_text()) if path.exists() else None


def is_at_work(workdir: Path) -> bool:
    """Return whether a process trains a run, or replicates that it takes in."""
    return any(_is_locked(folder / "lock") for folder in (workdir, workdir / "more"))


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nothing is there, or this file system has no locks
        return False
    return False
