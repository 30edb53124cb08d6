"""The benchmarks of an accelerator: what they say, and when they end."""

import dataclasses
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import accelerator, networks, waiting
from benchmarks.figures import TIMES, Budget, Figure, LeftOut, Way, compared, measured
from lth_jax.train.fit import fit

ROOT = Path(__file__).parents[1]
KEYS = {*(field.name for field in dataclasses.fields(Figure))}
SLOW = pytest.mark.slow
ABOUT = {"card", "versions", "commit", "command"}


def check(line):
    """Check the form of a line, and return it."""
    found = json.loads(line)
    assert found.keys() == KEYS | ABOUT
    assert found["card"] and found["versions"]["jax"] == jax.__version__
    if found["error"] is None:
        low, high = found["spread"]
        assert low <= found["value"] <= high
        assert found["unit"] and found["n"] >= 1
    else:
        assert found["error"].count("\n") == 0 and found["error"]
        assert (found["value"], found["n"], found["spread"]) == (None, 0, None)
    return found


def tiny(tmp_path, *arguments):
    """Return the lines of a command, which it prints and leaves in a file."""
    out = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "benchmarks.accelerator", "--tiny", f"--out={out}"]
    shown = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout == out.read_text()
    return [check(line) for line in shown.stdout.splitlines()]


def fine(budget):
    yield measured("fine", "ms", [2.0, 1.0, 4.0])


def broken(budget):
    yield measured("half", "ms", [1.0])
    raise MemoryError("no\nroom")


def missing(budget):
    import a_package_that_is_not_there  # noqa: F401  # pyright: ignore

    yield


@SLOW
def test_a_command_prints_a_line_a_figure(tmp_path):
    lines = tiny(tmp_path, "--minutes=20", "lenet/16")
    units = {(line["name"], line["unit"]): line["value"] for line in lines}
    for way in ("vmapped", "in turn"):
        rate = units[f"lenet/16/{way} float32", "member-steps/s"]
        images = units[f"lenet/16/{way} float32", "images/s"]
        assert images / rate == pytest.approx(60, rel=1e-6)
    assert "--tiny" in lines[0]["command"] and "lenet/16" in lines[0]["command"]


@pytest.mark.slow
def test_all_blocks_can_be_tried_without_an_accelerator(tmp_path):
    lines = tiny(tmp_path, "--minutes=60")
    values = {line["name"]: line["value"] for line in lines if line["error"] is None}
    errors = {line["name"]: line["error"] for line in lines if line["error"]}
    assert values["compilations/after level 1"] == 0
    assert {"pruning/magnitude", "resnet50/jpegs/bfloat16", "start/cold"} <= {*values}
    assert {"waiting/lenet", "waiting/resnet20"} <= {*errors}
    without_torch = {name for name in errors if "torch" not in name}
    assert without_torch == {"waiting/lenet", "waiting/resnet20"}


def test_a_block_that_fails_does_not_stop_others():
    blocks = {"broken": broken, "missing": missing, "fine": fine}
    found = list(accelerator.figures(blocks, Budget(60)))
    assert [figure.name for figure in found] == ["half", "broken", "missing", "fine"]
    assert found[1].error == "MemoryError: no room"
    assert found[2].error and "ModuleNotFoundError" in found[2].error
    assert found[3] == Figure("fine", 2.0, "ms", 3, (1.0, 4.0))


def test_nothing_begins_that_would_not_end():
    def long(budget):
        budget.ask(100)
        yield from fine(budget)

    found = list(accelerator.figures({"long": long, "fine": fine}, Budget(10)))
    assert [figure.name for figure in found] == ["long", "fine"]
    assert found[0].error == "left out: takes 100 s, and 10 s are left"
    assert found[1].error is None
    found = list(accelerator.figures({"fine": fine}, Budget(0)))
    assert [(figure.name, figure.value) for figure in found] == [("fine", None)]


@pytest.mark.slow
def test_the_clock_ends_what_is_under_way():
    def endless(budget):
        yield from fine(budget)
        time.sleep(60)

    budget = Budget(0.5)
    found = list(accelerator.figures({"endless": endless, "after": fine}, budget))
    assert budget.left > -30
    assert [(figure.name, figure.error) for figure in found] == [
        ("fine", None),
        ("endless", "cut off, as the time is over"),
        ("after", "left out: the time is over"),
    ]


def test_a_way_that_fails_leaves_the_others():
    def late():
        if len(turns) > 2:
            raise ValueError("late")
        turns.append(1)
        return 1.0

    def raises():
        raise ImportError("nothing there")

    turns = []
    ways = [
        Way("a", lambda: lambda: 0.002, 1),
        Way("b", raises, 1, "a"),
        Way("c", lambda: late, 1, "a"),
        Way("d", lambda: lambda: 0.004, 1, "a"),
        Way("e", lambda: lambda: 0.004, 100, "a"),
    ]
    found = {figure.name: figure for figure in compared("x", ways, Budget(60), TIMES)}
    errors = {name: figure.error for name, figure in found.items() if figure.error}
    assert errors.keys() == {"x/b", "x/c", "x/e"}
    assert found["x/a"].value == pytest.approx(2)
    assert found["x/a against d"].value == pytest.approx(2)
    assert found.keys() - errors.keys() == {"x/a", "x/d", "x/a against d"}


def test_names_stand_for_blocks_and_what_is_below():
    blocks = dict.fromkeys(["lenet/1", "lenet/16", "start"], fine)
    assert [*accelerator.chosen([], blocks)] == [*blocks]
    assert [*accelerator.chosen(["lenet/1"], blocks)] == ["lenet/1"]
    assert [*accelerator.chosen(["start", "lenet"], blocks)] == [*blocks]
    with pytest.raises(ValueError, match="'lene' is not known; choose from lenet/1"):
        accelerator.chosen(["lene"], blocks)


def test_a_budget_says_what_is_left():
    Budget(60).ask(9)
    with pytest.raises(LeftOut, match="left out: takes 9 s, and 5 s are left"):
        Budget(5).ask(9)
    with pytest.raises(LeftOut, match="left out: the time is over"):
        Budget(-5).ask(0)


@SLOW
@pytest.mark.parametrize("way", ["mapped", "in turn", "products"])
def test_ways_train_the_same_networks(way):
    """Several at a time, one after another and as products: but for rounding."""
    trained = {}
    for name in ("vmapped", way):
        program = networks.cifar("resnet20", name, "float32", True)
        members = networks.training(program, 2).members
        trained[name] = fit(members, 2, program)
    leaves = (jax.tree.leaves([m.params for m in x]) for x in trained.values())
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def traced(tmp_path, *events):
    """Leave a trace as the profiler does."""
    named = [
        {
            "ph": "M",
            "name": "process_name",
            "pid": 1,
            "args": {"name": "/device:GPU:0"},
        },
        {"ph": "M", "name": "process_name", "pid": 2, "args": {"name": "/host:CPU"}},
    ]
    rows = [(1, 7, "Stream #1(Compute)"), (1, 8, "XLA Modules"), (1, 9, "Stream #2(x)")]
    for pid, tid, name in [*rows, (2, 7, "python")]:
        event = {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid}
        named.append(event | {"args": {"name": name}})
    shown = [
        {"ph": "X", "name": "k", "pid": pid, "tid": tid, "ts": ts, "dur": dur}
        for pid, tid, ts, dur in events
    ]
    folder = tmp_path / "plugins" / "profile" / "now"
    folder.mkdir(parents=True)
    with gzip.open(folder / "x.trace.json.gz", "wt") as file:
        json.dump({"traceEvents": [*named, *shown, {}]}, file)


def test_a_device_waits_where_no_stream_is_at_work(tmp_path):
    traced(
        tmp_path,
        (1, 7, 100.0, 20.0),
        (1, 9, 110.0, 20.0),  # until 130: nothing until 180
        (1, 7, 180.0, 20.0),
        (1, 8, 100.0, 100.0),  # a program, not what is done of it
        (2, 7, 0.0, 1000.0),  # the host
    )
    assert waiting.share(tmp_path) == pytest.approx(0.5)


def test_a_trace_without_devices_has_no_share(tmp_path):
    traced(tmp_path, (2, 7, 0.0, 1000.0))
    assert waiting.share(tmp_path) is None
