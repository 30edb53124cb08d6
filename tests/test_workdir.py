"""The folder of a run: whose it is, and from where a run goes on in it."""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import config as config_lib
from lth_jax import models
from lth_jax.errors import CheckpointError, ConfigError
from lth_jax.train import optimizers as optim
from lth_jax.train import state
from lth_jax.workdir import Workdir, records
from lth_jax.workdir.records import Member


def config(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return made.lock()


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "runs" / "one")


@functools.cache
def network():
    lenet = models.create("lenet", num_classes=2, widths=(3,))
    sgd = optim.optimizer("sgd", 0.1, None)
    return state.create(jax.random.key(0), lenet, sgd, shape=(2, 2, 1))


def fleet(step, level=1):
    return {
        Member(replicate, 0, level, "ticket", 0): dataclasses.replace(
            network(), step=jnp.int32(step + replicate)
        )
        for replicate in range(2)
    }


def steps(fleet):
    return [int(network.step) for network in fleet.values()]


def measured(workdir, value, level=0):
    workdir.records.add([{"level": level, "value": value}])


def go_on(workdir):
    """In a run of dense networks saved at steps 0 and 20, and of two levels."""
    workdir.recover([0, 20], 2)


def values(workdir):
    return [row["value"] for row in workdir.records.rows()]


def test_a_new_folder_says_what_the_run_is(workdir):
    workdir.open(config(**{"train.length": "5it"}))
    written = json.loads((workdir.directory / "config.json").read_text())
    assert written["train"]["length"] == "5it"
    assert written["branches"] == ["ticket", "random_reinit", "shuffled_mask"]
    environment = json.loads((workdir.directory / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__


def test_the_same_config_goes_on_and_leaves_the_environment_alone(workdir):
    workdir.open(config())
    before = (workdir.directory / "environment.json").stat().st_mtime_ns
    workdir.open(config())
    assert (workdir.directory / "environment.json").stat().st_mtime_ns == before


def test_another_config_is_refused_naming_what_differs_with_both_values(workdir):
    workdir.open(config())
    measured(workdir, 1.0)
    other = config(
        **{"replicates": 5, "train.length": "3it", "prune.densities": (0.5,)}
    )
    message = re.escape(
        f"--workdir: {workdir.directory} was made by another config "
        "(config.prune.densities: [] there, [0.5] here; "
        "config.replicates: 3 there, 5 here; "
        "config.train.length: '10ep' there, '3it' here)"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        workdir.open(other)
    assert values(workdir) == [1.0]


def test_fields_that_only_one_config_has_are_named_too(workdir):
    workdir.open(config())
    changed = config_lib.default()
    changed.model.options = {"widths": (3,)}
    with pytest.raises(ConfigError, match=r"model\.options.widths: None there, \[3\]"):
        workdir.open(changed.lock())


def test_where_the_data_is_and_how_often_to_save_make_no_difference(workdir, capsys):
    workdir.open(config())
    harmless = {"data.dir": "/elsewhere", "train.checkpoint_minutes": 1.0}
    workdir.open(config(**harmless))
    assert capsys.readouterr().err == ""


def test_another_data_set_is_refused(workdir):
    data = {"examples": {"train": 4}, "sha256": "ab"}
    workdir.open(config(), data)
    workdir.open(config(), data)
    said = r"another data set \(data\.sha256: 'ab' there, 'cd' here\)$"
    with pytest.raises(ConfigError, match=said):
        workdir.open(config(), data | {"sha256": "cd"})


def test_other_code_is_refused_unless_someone_knows_better(workdir, monkeypatch):
    workdir.open(config())
    monkeypatch.setattr(records, "code", lambda: "changed")
    said = "another code .code: '[0-9a-f]*' there, 'changed' here.; .* remove \"code\""
    with pytest.raises(ConfigError, match=said):
        workdir.open(config())
    edit(workdir, "code", None)
    workdir.open(config())


def edit(workdir, name, value):
    path = workdir.directory / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


def test_other_versions_are_accepted_with_a_warning(workdir, capsys):
    workdir.open(config())
    edit(workdir, "devices", ["abacus"])
    workdir.open(config())
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: devices ['abacus'] before, ['cpu', 'cpu'] now")


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("content", ["", "{", "[3]", "\0"])
def test_a_file_that_is_damaged_is_named(workdir, name, content):
    workdir.open(config())
    (workdir.directory / name).write_text(content)
    with pytest.raises(ConfigError, match=f"^--workdir: .*{name} cannot be read"):
        workdir.open(config())


def test_a_second_run_is_refused_until_the_first_one_is_done(workdir):
    said = (
        f"^--workdir: process {os.getpid()} is at work in .*{workdir.directory.name}$"
    )
    with workdir.lock(), pytest.raises(ConfigError, match=said), workdir.lock():
        pass
    with workdir.lock():
        pass


HOLD = """
import sys
from pathlib import Path
from lth_jax.workdir import Workdir
with Workdir(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_dead_process_keeps_nobody_out(workdir):
    command = [sys.executable, "-c", HOLD, str(workdir.directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        said = f"process {other.pid} is at work"
        with pytest.raises(ConfigError, match=said), workdir.lock():
            pass
        other.kill()
        other.wait()
        with workdir.lock():
            pass


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    below = Workdir(tmp_path / "file" / "run")
    with (
        pytest.raises(ConfigError, match="^--workdir: .*Not a directory"),
        below.lock(),
    ):
        pass


@pytest.fixture
def begun(workdir):
    """A run whose second level is on its way."""
    workdir.open(config())
    for series, number, level in (
        (workdir.dense, 0, 0),
        (workdir.dense, 20, 0),
        (workdir.levels, 0, 0),
        (workdir.levels, 1, 1),
    ):
        if number:
            measured(workdir, float(number), level)
        workdir.finish(series, number, fleet(0))
    for step in (3, 4):
        measured(workdir, 2 + step / 10, level=2)
        workdir.pause(fleet(step, level=2))
    workdir.paused.wait()
    return workdir


def test_what_no_checkpoint_knows_of_is_forgotten(begun):
    measured(begun, 9.0, level=2)
    with begun.records.path.open("a") as file:
        file.write('{"value": 3')
    go_on(begun)
    assert values(begun) == [20.0, 1.0, 2.3, 2.4]


def test_without_pauses_a_level_begins_anew(begun):
    begun.paused.clear()
    go_on(begun)
    assert values(begun) == [20.0, 1.0]


def harm(series, number):
    """Cut off the largest file of a checkpoint."""
    found = (series.directory / str(number)).rglob("*")
    path = max(found, key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-100])


def test_a_damaged_pause_is_named_and_the_one_before_it_counts(begun, capsys):
    harm(begun.paused, 2)
    go_on(begun)
    assert values(begun) == [20.0, 1.0, 2.3]
    assert steps(begun.resume(fleet(0, level=2))) == [3, 4]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {begun.paused.directory / '2'} cannot be read")
    harm(begun.paused, 1)
    go_on(begun)
    assert values(begun) == [20.0, 1.0]
    assert steps(begun.resume(fleet(0, level=2))) == [0, 1]
    assert f"{begun.paused.directory / '1'} " in capsys.readouterr().err


@pytest.mark.parametrize(("series", "number"), [("dense", 20), ("levels", 1)])
def test_other_damage_is_an_error_that_changes_nothing(begun, series, number):
    measured(begun, 9.0, level=2)
    rows = begun.records.rows()
    harm(getattr(begun, series), number)
    with pytest.raises(CheckpointError, match=f"{series}/{number} cannot be read"):
        go_on(begun)
    assert begun.records.rows() == rows


@pytest.mark.parametrize(
    ("series", "number"), [("dense", 0), ("dense", 20), ("levels", 0), ("levels", 1)]
)
def test_what_is_missing_is_not_made_again_in_silence(begun, series, number):
    rows = begun.records.rows()
    getattr(begun, series).remove(number)
    begun.paused.clear()
    with pytest.raises(CheckpointError, match=f"{series}/{number} is missing"):
        go_on(begun)
    assert begun.records.rows() == rows


def test_rows_without_any_checkpoint_are_not_thrown_away(begun):
    for series in (begun.dense, begun.levels, begun.paused):
        series.clear()
    with pytest.raises(CheckpointError, match="dense/0 is missing"):
        go_on(begun)


def test_rows_that_are_gone_are_missed(begun):
    begun.records.truncate(begun.records.size() - 1)
    with pytest.raises(CheckpointError, match=r"results\.jsonl has \d+ bytes, and its"):
        go_on(begun)


def test_networks_come_back_with_their_names(workdir):
    saved = {
        Member(1, 5, 2, "ticket", 0, learning_rate=0.1): network(),
        Member(0, 5, 2, "dense", 1, weight_decay=1e-4): network(),
    }
    workdir.save(workdir.levels, 2, saved)
    loaded = workdir.load(workdir.levels, 2, jax.eval_shape(network))
    assert list(loaded) == list(saved)
    assert all(isinstance(member, Member) for member in loaded)
    for member in saved:
        jax.tree.map(np.testing.assert_array_equal, loaded[member], saved[member])


def test_networks_go_on_from_their_last_pause(workdir):
    assert steps(workdir.resume(fleet(0))) == [0, 1]
    for step in (4, 5, 6):
        workdir.pause(fleet(step))
    workdir.paused.wait()
    resumed = workdir.resume(fleet(0))
    assert list(resumed) == list(fleet(0))
    assert steps(resumed) == [6, 7]
    for was, now in zip(fleet(6).values(), resumed.values()):
        jax.tree.map(np.testing.assert_array_equal, was, now)


def test_a_pause_of_others_is_none_of_their_business(workdir):
    workdir.pause(fleet(4, level=1))
    workdir.paused.wait()
    assert steps(workdir.resume(fleet(0, level=2))) == [0, 1]
    assert workdir.resume({}) == {}


def test_nobody_goes_back_to_a_pause(workdir):
    """A run may be killed after its networks are saved, before pauses are forgotten."""
    workdir.pause(fleet(4))
    workdir.paused.wait()
    assert steps(workdir.resume(fleet(9))) == [9, 10]


def test_pauses_are_forgotten_when_the_level_is_done(workdir):
    workdir.pause(fleet(4))
    workdir.finish(workdir.levels, 1, fleet(9))
    assert workdir.paused.numbers() == []
    assert workdir.levels.numbers() == [1]
