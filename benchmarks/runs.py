"""Runs: whole runs of the program, and what of their time is not training."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lth_jax.lottery import loop, training
from lth_jax.train.state import TrainState

_PATIENCE = 300  # seconds that a command may take to its first steps

# The command, which ends itself where its first steps would begin.
_COMMAND = """
import os, sys, time
from lth_jax.lottery import training
original = training.fit
def fit(members, stop, program, progress, pause):
    def first(steps):
        print("STEPS", time.time(), flush=True)
        os._exit(0)
    return original(members, stop, program, first, pause)
training.fit = fit
from absl import app
from lth_jax import main
app.run(main.main, flags_parser=main.parse)
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a whole run took.

    Attributes:
        whole: seconds of all of it.
        outside: seconds of these that were not spent in `fit`.
        late: programs that were compiled when levels 0 and 1 were done.
    """

    whole: float
    outside: float
    late: int


@contextlib.contextmanager
def compilations(compiled: Callable[[], None]) -> Iterator[None]:
    """Call a function whenever XLA compiles a program."""

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled()

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextlib.contextmanager
def _observed(spent: list[float], done: list[int]) -> Iterator[None]:
    """Note the seconds of every `fit` of a run, and every level that is done."""
    original, level = training.fit, loop.study

    def measured(*args: object) -> list[TrainState]:
        start = time.perf_counter()
        found = original(*args)
        jax.block_until_ready(found)
        spent.append(time.perf_counter() - start)
        return found

    def counted(run: Any) -> None:
        level(run)
        done.append(run.level)

    training.fit, loop.study = measured, counted
    try:
        yield
    finally:
        training.fit, loop.study = original, level


def levels(config: ConfigDict) -> Run:
    """Return what a run of several levels takes."""
    spent, compiled, done = [], [], []
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as directory,
        compilations(lambda: compiled.append(len(done))),
        _observed(spent, done),
    ):
        loop.run(config, Path(directory) / "run")
    whole = time.perf_counter() - start
    assert compiled, "the compiler is not heard any more"
    late = sum(levels >= 2 for levels in compiled)
    return Run(whole, whole - sum(spent), late)


def to_first_steps(times: int) -> list[float]:
    """Return seconds from the command to its first steps, on digits.

    All have one compilation cache, which is empty before the first.
    """
    taken = []
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{directory}/cache"}
        for i in range(times):
            begun = time.time()
            shown = subprocess.run(
                [sys.executable, "-c", _COMMAND, "--config=configs/digits.py"]
                + [f"--workdir={directory}/{i}"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=_PATIENCE,
            )
            taken.append(float(shown.stdout.split("STEPS")[1].split()[0]) - begun)
    return taken
