"""Runs of which some masks move: nothing is lost, and nothing compiled twice."""

import contextlib
import os
import signal

import jax
import pytest
from small import build, configuring
from tqdm.auto import tqdm
from trees import assert_same

from lth_jax import check, lottery
from lth_jax import masks as masks_lib
from lth_jax.lottery import loop
from lth_jax.train import experiment
from lth_jax.workdir import Workdir
from lth_jax.workdir.pauses import Interrupted

MOVERS = ("rigl", "set", "gmp")


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    settings = {
        "replicates": 2,
        "optim.name": "adam",
        "optim.learning_rate": 0.01,
        "train.length": "8it",
        "move.every": "2it",
        "prune.fraction": 0.3,
        "prune.levels": 3,
        "branches": ("ticket", *MOVERS),
    }
    return configuring(tmp_path_factory, **settings)


def trained(config, directory, patch):
    """Run a config; return all networks of all levels, and how much was compiled."""
    compiled, levels, networks = [], {}, {}

    def listen(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    study = loop.study

    def studied(run):
        networks.update(run.networks)
        found = study(run)
        levels[run.level] = len(compiled) - sum(levels.values())
        return found

    patch.setattr(loop, "study", studied)
    jax.monitoring.register_event_duration_secs_listener(listen)
    lottery.run(config, directory)
    jax.monitoring.unregister_event_duration_listener(listen)
    patch.setattr(loop, "study", study)
    return networks, levels


@pytest.fixture(scope="module")
def whole(configure, tmp_path_factory):
    """A run in peace: its config, its folder, its networks and what was compiled."""
    config, directory = configure(), tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", build)
        return config, directory, *trained(config, directory, patch)


def masks_of(networks):
    return {member: masks_lib.checksum(n.masks) for member, n in networks.items()}


@pytest.mark.slow
def test_all_keep_as_many_weights_as_the_ticket_in_the_end(whole):
    _, directory, networks, _ = whole
    assert len(networks) == 2 + 3 * 2 * 4
    for member, network in networks.items():
        if member.level:
            kept = [888, 621, 434, 303][member.level]
            assert masks_lib.count(network.masks) == (kept, 888)
    assert len({*masks_of(networks).values()}) == 1 + 3 * 2 * 4
    assert check.problems(directory) == []


@pytest.mark.slow
def test_no_mover_compiles_after_the_first_level(whole):
    _, _, _, compiled = whole
    assert compiled[1] > 0
    assert (compiled[2], compiled[3]) == (0, 0)


@pytest.mark.slow
def test_one_device_moves_masks_as_two_do(whole, configure, tmp_path, monkeypatch):
    _, _, two, _ = whole
    monkeypatch.setattr(experiment, "build", build)
    config = configure(**{"train.devices": 1, "prune.levels": 2})
    one, _ = trained(config, tmp_path, monkeypatch)
    assert masks_of(one) == {m: x for m, x in masks_of(two).items() if m.level < 3}


@pytest.mark.slow
def test_a_cut_within_a_wave_that_moves_loses_no_wave_before_it(
    whole, configure, tmp_path, monkeypatch
):
    """What is paused has members of several structures; those of a wave go on."""
    monkeypatch.setattr(experiment, "build", build)
    config, update, cuts = configure(**{"prune.levels": 1}), tqdm.update, []
    # 2 dense networks and 2 tickets of 8 steps; GMP of half as many.
    moment = 2 * 8 + 2 * 8 + 2 * 4

    def cut(bar, steps):
        update(bar, steps)
        if bar.n >= moment and not cuts:
            cuts.append(bar.n)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tqdm, "update", cut)
    with pytest.raises(Interrupted):
        lottery.run(config, tmp_path)
    workdir = Workdir(tmp_path)
    paused = workdir.members(workdir.paused, workdir.paused.numbers()[-1])
    assert [m.branch for m in paused] == ["ticket"] * 2 + ["gmp"] * 2
    assert len(cuts) == 1
    on_course = [
        saved["course"] is not None
        for saved in workdir.paused.raw(workdir.paused.numbers()[-1])
    ]
    assert on_course == [False, False, True, True]
    networks, _ = trained(config, tmp_path, monkeypatch)
    wanted = {m: n for m, n in whole[2].items() if m.level == 1}
    assert networks.keys() == wanted.keys()
    assert_same(networks, wanted)
    rows = [r for r in Workdir(whole[1]).records.rows() if r["level"] < 2]
    assert workdir.records.rows() == rows


@pytest.mark.slow
def test_a_cut_after_every_call_changes_nothing(
    whole, configure, tmp_path, monkeypatch
):
    monkeypatch.setattr(experiment, "build", build)
    config = configure(**{"prune.levels": 1, "replicates": 1})
    lottery.run(config, tmp_path / "whole")
    monkeypatch.setattr(tqdm, "update", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    cuts = 0
    while cuts < 99:
        with contextlib.suppress(Interrupted):
            lottery.run(config, tmp_path / "cut")
            break
        cuts += 1
    assert cuts == 4 * 5  # calls of two steps
    rows = [Workdir(tmp_path / n).records.path.read_text() for n in ("whole", "cut")]
    assert rows[0] == rows[1]
