"""A Slurm of two nodes, both this machine: to test with, or to try a job script.

    python tests/slurm.py sbatch --wait job.sh
    python tests/slurm.py srun --nodes=2 hostname

Its configuration, its key and its state are in a temporary folder; nothing else on the
machine is changed, and no other Slurm is talked to. On Debian: apt install slurm-wlm
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

NODES = ("127.0.0.1", "127.0.0.2")  # names that lead here on any machine
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")
# The daemons listen on free ports, and what a job does is not accounted for.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName={nodes[0]} NodeHostname={host} Port={ports[1]} CPUs=2
NodeName={nodes[1]} NodeHostname={host} Port={ports[2]} CPUs=2
PartitionName=all Nodes=ALL Default=YES
"""
_PATIENCE = 60  # seconds


def missing() -> list[str]:
    """Return the programs of Slurm that are not installed."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextlib.contextmanager
def started() -> Iterator[dict[str, str]]:
    """Start Slurm, and end it with all of its jobs.

    Yields:
        The environment in which srun, sbatch and the others speak to it.

    Raises:
        RuntimeError: it does not start; says what its programs did.
    """
    with tempfile.TemporaryDirectory(prefix="slurm") as name:
        folder = Path(name)
        _configure(folder)
        settings = {n: x for n, x in os.environ.items() if not n.startswith("SLURM")}
        settings["SLURM_CONF"] = str(folder / "slurm.conf")
        with contextlib.ExitStack() as stack:
            daemons = [stack.enter_context(_daemon(_munged(folder), settings))]
            _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
            commands = [["slurmctld", "-D", "-i"]]
            commands += [["slurmd", "-D", "-N", node] for node in NODES]
            for command in commands:
                daemons.append(stack.enter_context(_daemon(command, settings)))
            idle = ["idle"] * len(NODES)
            ask = ("sinfo", "--noheader", "--Node", "--format=%T")
            _wait(lambda: _said(ask, settings) == idle, daemons, folder)
            stack.callback(_cancel, settings)
            yield settings


def _program(name: str) -> str | None:
    """Return where a program is, also where only root looks for it."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def _configure(folder: Path) -> None:
    """Write what the daemons read to a folder, and make those that they write to."""
    for name in ("state", *NODES):
        (folder / name).mkdir()
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in taken]
    text = CONFIGURATION.format(
        folder=folder,
        host=socket.gethostname().partition(".")[0],
        nodes=NODES,
        ports=ports,
        user=os.getuid(),
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "munge.key").touch(0o600)
    (folder / "munge.key").write_bytes(os.urandom(128))


def _munged(folder: Path) -> list[str]:
    """Return the command of Munge, which says whose a message between daemons is."""
    files = {name: folder / f"munge.{name}" for name in ("key", "log", "pid", "seed")}
    options = [f"--{name}-file={path}" for name, path in files.items()]
    # In a folder that its user alone may enter, it wants to be forced.
    options += [f"--socket={folder / 'munge.socket'}", "--force", "--foreground"]
    return ["munged", *options]


@contextlib.contextmanager
def _daemon(
    command: list[str], settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a daemon, and end it."""
    process = subprocess.Popen(
        [_program(command[0]) or command[0], *command[1:]],
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _said(command: Sequence[str], settings: dict[str, str]) -> list[str]:
    """Return the words that a command prints."""
    return subprocess.run(
        command, env=settings, capture_output=True, text=True
    ).stdout.split()


def _wait(
    done: Callable[[], bool], daemons: list[subprocess.Popen[bytes]], folder: Path
) -> None:
    """Wait until something is done, as long as all daemons are alive."""
    until = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > until or any(x.poll() is not None for x in daemons):
            logs = [path.read_text() for path in sorted(folder.glob("*.log"))]
            raise RuntimeError("Slurm does not start:\n" + "\n".join(logs))
        time.sleep(0.1)


def _cancel(settings: dict[str, str]) -> None:
    """End all jobs, and wait until their processes have gone."""
    subprocess.run(["scancel", f"--user={os.getuid()}"], env=settings)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and _said(("squeue", "--noheader"), settings):
        time.sleep(0.1)


def main() -> None:
    """Run a command where it finds this Slurm."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    if missing():
        sys.exit(f"error: not installed: {', '.join(missing())}")
    with started() as settings:
        status = subprocess.run(sys.argv[1:], env=settings).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
