"""The folder of a run: whose it is, and from where a run goes on in it."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import config as config_lib
from lth_jax import models, optim, state
from lth_jax.config import ConfigError
from lth_jax.records import Member
from lth_jax.workdir import Workdir


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


def measured(workdir, value):
    workdir.records.add([{"value": value}])


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


def test_where_the_data_is_makes_no_difference(workdir):
    workdir.open(config())
    workdir.open(config(**{"data.dir": "/elsewhere"}))


@pytest.mark.parametrize("series", ["dense", "levels"])
def test_what_no_checkpoint_knows_of_is_forgotten(workdir, series):
    workdir.open(config())
    measured(workdir, 1.0)
    workdir.finish(getattr(workdir, series), 3, fleet(0))
    measured(workdir, 2.0)
    with (workdir.directory / "results.jsonl").open("a") as file:
        file.write('{"value": 3')
    workdir.open(config())
    assert values(workdir) == [1.0]


def test_without_a_checkpoint_everything_is_forgotten(workdir):
    workdir.open(config())
    measured(workdir, 1.0)
    workdir.open(config())
    assert values(workdir) == []


def test_the_newest_checkpoint_of_all_counts(workdir):
    workdir.open(config())
    for series, number in (
        (workdir.dense, 0),
        (workdir.dense, 20),
        (workdir.levels, 1),
    ):
        measured(workdir, float(number))
        workdir.finish(series, number, fleet(0))
    measured(workdir, 1.5)
    workdir.pause(fleet(3))
    measured(workdir, 9.0)
    workdir.open(config())
    assert values(workdir) == [0.0, 20.0, 1.0, 1.5]


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
    resumed = workdir.resume(fleet(0))
    assert list(resumed) == list(fleet(0))
    assert steps(resumed) == [6, 7]
    for was, now in zip(fleet(6).values(), resumed.values()):
        jax.tree.map(np.testing.assert_array_equal, was, now)


def test_a_pause_of_others_is_none_of_their_business(workdir):
    workdir.pause(fleet(4, level=1))
    assert steps(workdir.resume(fleet(0, level=2))) == [0, 1]
    assert workdir.resume({}) == {}


def test_nobody_goes_back_to_a_pause(workdir):
    """A run may be killed after its networks are saved, before pauses are forgotten."""
    workdir.pause(fleet(4))
    assert steps(workdir.resume(fleet(9))) == [9, 10]


def test_pauses_are_forgotten_when_the_level_is_done(workdir):
    workdir.pause(fleet(4))
    workdir.finish(workdir.levels, 1, fleet(9))
    assert workdir.paused.numbers() == []
    assert workdir.levels.numbers() == [1]
