"""Kill a run at random moments, and see that it loses nothing.

    python tests/kill.py --kills=50
    python tests/kill.py --kills=50 --signal=TERM
    python tests/kill.py --kills=20 --moving

A lottery on digits (three replicates, branches, copies that are compared, two rewind
steps) runs once in peace.
Then it is killed at random moments of its training, and started again each time; what
has finished begins anew, until there were as many kills as asked for.
Every finished run must have left what the first one left, to the last bit.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from lth_jax import check
from lth_jax.job import TRY_AGAIN
from lth_jax.workdir import Workdir

ROOT = Path(__file__).parents[1]
LEVELS = 2
OVERRIDES = (
    "replicates=3",
    "model.options.widths=(30,)",
    "train.length=200it",
    "train.evaluate_every=50it",
    "train.checkpoint_minutes=0.005",
    "train.average=0.9",
    "rewind.steps=('0it','20it')",
    f"prune.levels={LEVELS}",
    "copies=2",
    "copied_branches=('ticket',)",
    "studies=('stability','instability')",
    "study.points=3",
    "study.examples=60",
)
# Beside tickets, networks whose masks move: shorter, of one copy each.
MOVING = (
    *OVERRIDES[1:6],
    "replicates=2",
    f"prune.levels={LEVELS}",
    "branches=('ticket','rigl','set','gmp')",
    "move.every=10it",
)


class Outcome(NamedTuple):
    """What killing a run came to.

    Attributes:
        kills: processes that were killed.
        runs: runs that were killed, begun again and finished.
        levels: kills by the number of levels that were done.
        seconds: from the signal to the end of the process, where it saves first.
    """

    kills: int
    runs: int
    levels: dict[int, int]
    seconds: list[float]


def start(folder: Path, overrides: Sequence[str] = OVERRIDES) -> subprocess.Popen:
    """Start a run, or go on with it, in a process of its own."""
    command = [sys.executable, "-m", "lth_jax.main"]
    command += [f"--config={ROOT / 'configs' / 'digits.py'}", f"--workdir={folder}"]
    command += [f"--config.{override}" for override in overrides]
    # With its programs at hand, a run spends its time on what could go wrong.
    settings = {"JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled")}
    settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(process: subprocess.Popen, folder: Path) -> None:
    """Wait until a process is at work."""
    mine = f"process {process.pid}"
    while process.poll() is None:
        if (folder / "lock").exists() and (folder / "lock").read_text() == mine:
            return
        time.sleep(0.01)


def trained(process: subprocess.Popen, folder: Path) -> None:
    """Wait until a process has saved its last level; a report is all that follows."""
    while process.poll() is None and len(Workdir(folder).levels.numbers()) <= LEVELS:
        time.sleep(0.01)


def end(process: subprocess.Popen, *expected: int) -> int:
    """Wait for a process to end as it should."""
    _, said = process.communicate()
    if process.returncode not in expected:
        raise AssertionError(f"exit status {process.returncode}: {said}")
    return process.returncode


def assert_same(one: Path, other: Path) -> None:
    """Compare rows, and masks and parameters of all networks, to the last bit."""
    rows = [Workdir(folder).records.path.read_bytes() for folder in (one, other)]
    assert rows[0] == rows[1], "the rows differ"
    for name in ("dense", "levels"):
        mine, theirs = (getattr(Workdir(folder), name) for folder in (one, other))
        assert mine.numbers() == theirs.numbers() != []
        for number in mine.numbers():
            assert mine.about(number) == theirs.about(number), (name, number)
            trees = mine.raw(number), theirs.raw(number)
            assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
            jax.tree.map(np.testing.assert_array_equal, *trees)
    problems = check.problems(other)
    assert not problems, problems


def attack(
    folder: Path,
    kills: int,
    number: signal.Signals,
    seed: int = 0,
    overrides: Sequence[str] = OVERRIDES,
) -> Outcome:
    """Kill runs in a folder, and compare each with one that was left in peace.

    Raises:
        AssertionError: something was lost, or a process did not end as it should.
    """
    peaceful, run, moments = folder / "peaceful", folder / "run", random.Random(seed)
    for _ in range(2):  # the second time as fast as those that follow
        shutil.rmtree(peaceful, ignore_errors=True)
        process = start(peaceful, overrides)
        begun(process, peaceful)
        since = time.monotonic()
        trained(process, peaceful)
        length = time.monotonic() - since
        end(process, 0)
    saves = number != signal.SIGKILL
    killed, runs, levels, seconds = 0, 0, {}, []
    while killed < kills or run.exists():
        process = start(run, overrides)
        begun(process, run)
        hit = killed < kills
        if hit:
            # Half of the way: a run that goes on has less before it.
            time.sleep(moments.uniform(0, length / 2))
            hit = process.poll() is None
            process.send_signal(number)
        expected = (TRY_AGAIN, 0, -number) if saves else (-number,)
        since = time.monotonic()
        status = end(process, *(expected if hit else (0,)))
        if status:
            killed += 1
            seconds += [time.monotonic() - since] if status == TRY_AGAIN else []
            done = len(Workdir(run).levels.numbers())
            if saves and status != TRY_AGAIN:
                assert done == LEVELS + 1, "it had not saved, and was not done"
            levels[done] = levels.get(done, 0) + 1
            print(f"kill {killed}: {done} levels done", flush=True)
        else:
            assert_same(peaceful, run)
            shutil.rmtree(run)
            runs += 1
    return Outcome(killed, runs, levels, seconds)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moving", action="store_true", help="masks move, too")
    asked = parser.parse_args()
    number = signal.Signals[f"SIG{asked.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        overrides = MOVING if asked.moving else OVERRIDES
        found = attack(Path(folder), asked.kills, number, asked.seed, overrides)
    done = ", ".join(f"{found.levels[n]} after {n}" for n in sorted(found.levels))
    print(f"{found.kills} kills (by levels done: {done}) of {found.runs} runs:")
    print("rows, masks and parameters are those of a run in peace, to the last bit")
    if found.seconds:
        print(
            f"from {number.name} to exit status {TRY_AGAIN}: median "
            f"{statistics.median(found.seconds):.1f} s, at most "
            f"{max(found.seconds):.1f} s"
        )


if __name__ == "__main__":
    main()
