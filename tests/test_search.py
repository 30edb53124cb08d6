"""Search: the earliest rewind step is that of a full sweep, for fewer trainings."""

import json
import math

import pytest
from small import build

from lth_jax import config as config_lib
from lth_jax import experiment, lottery, search
from lth_jax.interruption import Interrupted

STEPS = (0, 2, 4, 6, 8)


@pytest.fixture(autouse=True)
def _built_once(monkeypatch):
    monkeypatch.setattr(experiment, "build", build)


def sweep(**fields):
    config = config_lib.default()
    config.update_from_flattened_dict(
        {
            "replicates": 2,
            "train.length": "10it",
            "train.checkpoint_minutes": 0.0,
            "prune.levels": 2,
            "rewind.steps": tuple(f"{step}it" for step in STEPS),
            "study.examples": 60,
            "study.points": 3,
        }
        | fields
    )
    return config


def rows(workdir):
    return [json.loads(r) for r in (workdir / "results.jsonl").read_text().splitlines()]


def pretend(monkeypatch, onset):
    """Let tickets meet the criterion from a rewind step on."""

    def judge(workdir):
        step = int(workdir.name.removeprefix("rewind_"))
        return step >= onset, 0.5, 0.1, 2

    monkeypatch.setitem(search.CRITERIA, "stable", judge)


@pytest.mark.parametrize(
    ("onset", "below", "at", "probed"),
    [
        (0, None, 0, [4, 0]),
        (1, 0, 2, [4, 0, 2]),
        (4, 2, 4, [4, 0, 2]),
        (5, 4, 6, [4, 6]),
        (9, 8, None, [4, 6, 8]),
    ],
)
def test_the_onset_is_bracketed(tmp_path, monkeypatch, onset, below, at, probed):
    pretend(monkeypatch, onset)
    monkeypatch.setattr(lottery, "run", lambda config, workdir, experiment: None)
    found = search.earliest_rewind(sweep(), tmp_path, "stable")
    assert (found.below, found.at) == (below, at)
    assert [probe.rewind_step for probe in found.probes] == probed
    assert len(probed) <= math.ceil(math.log2(len(STEPS) + 1))
    last = str(found).splitlines()[-1]
    assert (
        last
        == {
            (None, 0): "stable from step 0 on",
            (0, 2): "stable from step 2 on, not yet at 0",
            (2, 4): "stable from step 4 on, not yet at 2",
            (4, 6): "stable from step 6 on, not yet at 4",
            (8, None): "not stable up to step 8",
        }[below, at]
    )


def test_the_numbers_are_those_of_the_sweep_and_dense_networks_train_once(
    tmp_path, monkeypatch
):
    config = sweep(
        copies=2,
        studies=("instability",),
        branches=("ticket",),
        branch_levels=(2,),
    )
    trained = []
    train = lottery.train
    monkeypatch.setattr(
        lottery,
        "train",
        lambda run, fleet, *rest: trained.append([*fleet]) or train(run, fleet, *rest),
    )
    pretend(monkeypatch, 5)
    found = search.earliest_rewind(config, tmp_path / "search", "stable")
    dense = [member for fleet in trained for member in fleet if member.level == 0]
    starts = 1 + len(STEPS)  # it stops at every rewind step, and at the end
    assert len(dense) == config.replicates * starts
    lottery.run(config, tmp_path / "sweep")
    all_rows = rows(tmp_path / "sweep")
    for probe in found.probes:
        wanted = [r for r in all_rows if r["rewind_step"] == probe.rewind_step]
        own = [
            r
            for r in rows(probe.workdir)
            if r["rewind_step"] == probe.rewind_step and r["level"]
        ]
        assert own == [r for r in wanted if r["level"]]
        assert len(own) > 0


def test_a_search_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    whole = search.earliest_rewind(sweep(), tmp_path / "whole", "matching")
    run = lottery.run

    def cut(config, workdir, built):
        run(config, workdir, built)
        if workdir.name == "rewind_4":
            raise Interrupted("now")

    monkeypatch.setattr(lottery, "run", cut)
    with pytest.raises(Interrupted):
        search.earliest_rewind(sweep(), tmp_path / "cut", "matching")
    monkeypatch.setattr(lottery, "run", run)
    again = search.earliest_rewind(sweep(), tmp_path / "cut", "matching")
    assert (again.below, again.at) == (whole.below, whole.at)
    for one, other in zip(whole.probes, again.probes, strict=True):
        assert (one.met, one.mean) == (other.met, other.mean)
        assert rows(one.workdir) == rows(other.workdir)


def test_stable_is_below_two_per_cent(tmp_path):
    found = search.earliest_rewind(sweep(), tmp_path, "stable")
    for probe in found.probes:
        assert probe.met == (probe.mean < 0.02)
        assert probe.n == 2
