"""Several processes: the same masks and numbers as one, and none goes on alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from lth_jax import check
from lth_jax.devices import processes
from lth_jax.errors import ProcessError
from lth_jax.job import TRY_AGAIN
from lth_jax.models import lean
from lth_jax.workdir import Workdir

ROOT = Path(__file__).parents[1]
DIGITS = (f"--config={ROOT / 'configs' / 'digits.py'}:smoke",)
RESNET = (f"--config={ROOT / 'configs' / 'resnet20.py'}:smoke",)
RESNET += ("--config.data.name=digits", "--config.measures=('test_loss',)")
# At the published rate, four steps make 1e-3 of the last digits that threads decide.
RESNET += ("--config.optim.learning_rate=0.001",)
# Without masks that are shuffled: XLA cannot do that with what RESNET's flags disable.
RESNET += ("--config.branches=('ticket','random_reinit')",)


def test_alone_everything_is_done_here():
    assert not processes.several()
    assert processes.is_first()
    assert [processes.agree(said) for said in (True, False)] == [True, False]
    assert processes.by_first(lambda: 3) == 3
    assert processes.same("anything")


def test_what_cannot_be_joined_is_a_line():
    jax.devices()  # too late
    with pytest.raises(ProcessError, match="^--distributed: ") as said:
        processes.join("127.0.0.1:1", 2, 1)
    assert len(str(said.value).splitlines()) == 1


def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


MEETING = """
import sys
import numpy as np
from lth_jax.errors import ProcessError
from lth_jax.devices import processes

def fail():
    raise KeyError("the first one's")

mine = int(sys.argv[2])
processes.join(sys.argv[1], 2, mine)
assert processes.several()
assert processes.is_first() == (mine == 0)
for said, answer in ((mine == 0, True), (mine == 1, True), (False, False)):
    assert processes.agree(said) == answer
assert processes.same("masks")
assert not processes.same(f"masks {mine}")
gathered = processes.gather({"x": np.full((2, 3), mine)})
assert gathered["x"].tolist() == [[0] * 3] * 2 + [[1] * 3] * 2
assert processes.least(2**40 - mine) == 2**40 - 1  # more than 32 bits
assert -processes.least(-(2**40 - mine)) == 2**40
done = processes.by_first(lambda: (processes.agree(True), processes.by_first(int)))
assert done == (None if mine else (True, 0))
try:
    processes.by_first(fail)
except (KeyError, ProcessError) as error:
    assert isinstance(error, ProcessError) == (mine == 1), error
assert processes.agree(mine == 0)
"""


def test_processes_meet_and_agree():
    address = f"127.0.0.1:{port()}"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    statuses, said = end(
        [
            subprocess.Popen(
                [sys.executable, "-c", MEETING, address, str(process)],
                env=os.environ | {"JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for process in range(2)
        ]
    )
    assert statuses == [0, 0], said


def start(workdir, arguments, number, devices):
    """Start the processes of a run, each with some CPU devices."""
    joined = [f"--coordinator=127.0.0.1:{port()}", f"--processes={number}"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": path}
    if RESNET[0] in arguments:
        # In the layout "data", several processes do not get these from the layout.
        options = [f"--{name}={value}" for name, value in lean.COMPILER_OPTIONS.items()]
        settings["XLA_FLAGS"] = " ".join(options)
    return [
        subprocess.Popen(
            [sys.executable, "-m", "lth_jax.main", f"--workdir={workdir}", *arguments]
            + [*joined, f"--process={process}"] * (number > 1),
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(number)
    ]


def end(started):
    """Wait for processes; return their exit statuses and what they said."""
    try:
        said = [process.communicate(timeout=1800) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], said


def run(workdir, arguments, number, devices):
    statuses, said = end(start(workdir, arguments, number, devices))
    assert statuses == [0] * number, said
    assert check.problems(workdir) == []
    tables = [out for out, _ in said]
    assert all("accuracy" not in table for table in tables[1:])
    return Workdir(workdir)


def assert_same_run(one, other):
    """The same masks, and the same rows to float tolerance."""
    assert (
        one.levels.numbers()
        == other.levels.numbers()
        == [*range(len(one.levels.numbers()))]
    )
    for level in one.levels.numbers():
        mine, theirs = (w.levels.about(level) for w in (one, other))
        assert mine["members"] == theirs["members"]
        assert mine["masks"] == theirs["masks"]
    rows = [workdir.records.rows() for workdir in (one, other)]
    values = [[row.pop("value") for row in each] for each in rows]
    assert rows[0] == rows[1]
    np.testing.assert_allclose(*values, rtol=1e-3, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fleet", "data"])
@pytest.mark.parametrize("config", [DIGITS, RESNET], ids=["digits", "resnet20"])
def test_two_processes_find_what_one_finds(config, layout, tmp_path):
    arguments = [*config, f"--config.train.layout={layout}"]
    two = run(tmp_path / "two", arguments, 2, 2)
    one = run(tmp_path / "one", arguments, 1, 4)
    assert_same_run(one, two)


STREAM = (*DIGITS, "--config.data.feed=stream", "--config.train.layout=data")
STREAM += ("--config.data.stream.image_size=8", "--config.data.stream.resize=8")
STREAM += ("--config.data.stream.workers=0",)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["snip", "grasp"])
def test_weights_are_scored_by_the_whole_batch_of_a_stream(method, tmp_path):
    """Of which each process reads its own part."""
    arguments = [*STREAM, f"--config.prune.method={method}"]
    two = run(tmp_path / "two", arguments, 2, 2)
    one = run(tmp_path / "one", arguments, 1, 4)
    assert_same_run(one, two)


TORN = """
import jax
from lth_jax import config as config_lib
from lth_jax import scores
from lth_jax.lottery.methods import METHODS, by_score

def score(run, ticket):
    key = run.key(ticket, jax.process_index())
    return scores.random(key, run.previous(ticket).params)

METHODS["torn"] = by_score(score)

def get_config():
    config = config_lib.load("configs/digits.py:smoke")
    config.prune.method = "torn"
    return config
"""


@pytest.mark.slow
def test_masks_that_differ_between_processes_end_all(tmp_path):
    (tmp_path / "torn.py").write_text(TORN)
    arguments = [f"--config={tmp_path / 'torn.py'}"]
    statuses, said = end(start(tmp_path / "run", arguments, 2, 2))
    assert statuses == [1, 1], said
    for _, err in said:
        line = "error: level 1: processes have come to other masks"
        assert line in err.splitlines()


LONG = (*DIGITS, "--config.train.length=1000it", "--config.train.evaluate_every=50it")
LONG += ("--config.train.checkpoint_minutes=0.01", "--config.prune.levels=1")


def wait_for(workdir, level, started):
    """Wait until a level is being trained."""
    while True:
        assert all(process.poll() is None for process in started), end(started)
        if workdir.levels.numbers() == [*range(level)] and workdir.paused.numbers():
            return
        time.sleep(0.05)


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory):
    return run(tmp_path_factory.mktemp("peaceful") / "run", LONG, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_the_others_end_and_all_go_on(victim, peaceful, tmp_path):
    workdir = Workdir(tmp_path / "run")
    started = start(workdir.directory, LONG, 2, 2)
    wait_for(workdir, 1, started)
    started[victim].kill()
    since = time.monotonic()
    statuses, said = end(started)
    assert time.monotonic() - since < 60
    assert statuses[victim] == -signal.SIGKILL
    assert statuses[1 - victim] not in (0, TRY_AGAIN)
    assert "another" in said[1 - victim][1]
    run(workdir.directory, LONG, 2, 2)
    assert workdir.records.rows() == peaceful.records.rows()
    assert_same_run(peaceful, workdir)


@pytest.mark.slow
def test_a_signal_to_one_process_is_for_all(peaceful, tmp_path):
    workdir = Workdir(tmp_path / "run")
    started = start(workdir.directory, LONG, 2, 2)
    wait_for(workdir, 1, started)
    started[1].terminate()
    statuses, said = end(started)
    assert statuses == [TRY_AGAIN] * 2, said
    run(workdir.directory, LONG, 2, 2)
    assert workdir.records.path.read_bytes() == peaceful.records.path.read_bytes()


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_all(peaceful):
    other = [*LONG, "--config.seed=3"]
    statuses, said = end(start(peaceful.directory, other, 2, 2))
    assert statuses == [1, 1]
    assert "error: --workdir: " in said[0][1]
    assert "error: the first process has failed" in said[1][1]


TRYING = """
from lth_jax import config as config_lib
from lth_jax.train import ways

ways.MEASURED.clear()

def get_config():
    config = config_lib.load("configs/digits.py:smoke")
    config.replicates = 6
    return config
"""


@pytest.mark.slow
def test_processes_try_ways_together_and_go_the_same(tmp_path):
    (tmp_path / "trying.py").write_text(TRYING)
    arguments = [f"--config={tmp_path / 'trying.py'}"]
    statuses, said = end(start(tmp_path / "two", arguments, 2, 2))
    assert statuses == [0, 0], said
    lines = [line for _, err in said for line in err.splitlines()]
    found = [line for line in lines if line.startswith("train.way: ")]
    assert len(found) == 1
    assert (tmp_path / "two" / "way.json").exists()
    assert_same_run(run(tmp_path / "one", arguments, 1, 4), Workdir(tmp_path / "two"))
