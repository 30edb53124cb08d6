"""Search: the earliest rewind step is that of a full sweep, for fewer trainings."""

import json
import math

import pandas as pd
import pytest
from small import build

from lth_jax import config as config_lib
from lth_jax import lottery, report, search
from lth_jax.errors import ConfigError
from lth_jax.lottery import loop
from lth_jax.report import Results
from lth_jax.train import experiment
from lth_jax.workdir import records
from lth_jax.workdir.pauses import Interrupted
from lth_jax.workdir.records import Member

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

    def judge(step):
        found = {"level": 2, "met": step >= onset, "mean": 0.5, "std": 0.1, "n": 2}
        return pd.DataFrame([found])

    def load(workdir):
        return int(workdir.name.removeprefix("rewind_"))

    monkeypatch.setattr(report, "load", load)
    monkeypatch.setitem(search.CRITERIA, "stable", judge)


@pytest.mark.parametrize(
    ("onset", "below", "at", "probed"),
    [
        pytest.param(0, None, 0, [4, 0], marks=pytest.mark.slow),
        (1, 0, 2, [4, 0, 2]),
        (4, 2, 4, [4, 0, 2]),
        (5, 4, 6, [4, 6]),
        pytest.param(9, 8, None, [4, 6, 8], marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_the_onset_is_bracketed(tmp_path, monkeypatch, onset, below, at, probed):
    pretend(monkeypatch, onset)
    monkeypatch.setattr(loop, "run", lambda _, workdir, *__, **___: Results(workdir))
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


@pytest.mark.slow
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
    train = loop.train

    def observed(run, fleet, *rest, **options):
        trained.append([*fleet])
        return train(run, fleet, *rest, **options)

    monkeypatch.setattr(loop, "train", observed)
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


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    whole = search.earliest_rewind(sweep(), tmp_path / "whole", "matching")
    run = loop.run

    def cut(config, workdir, built, **options):
        found = run(config, workdir, built, **options)
        if workdir.name == "rewind_4":
            raise Interrupted("now")
        return found

    monkeypatch.setattr(loop, "run", cut)
    with pytest.raises(Interrupted):
        search.earliest_rewind(sweep(), tmp_path / "cut", "matching")
    monkeypatch.setattr(loop, "run", run)
    again = search.earliest_rewind(sweep(), tmp_path / "cut", "matching")
    assert (again.below, again.at) == (whole.below, whole.at)
    for one, other in zip(whole.probes, again.probes, strict=True):
        assert (one.met, one.mean) == (other.met, other.mean)
        assert rows(one.workdir) == rows(other.workdir)


def test_a_sweep_over_learning_rates_is_refused_before_anything_is_trained(tmp_path):
    config = sweep(**{"sweep.learning_rate": (0.1, 0.01)})
    with pytest.raises(ConfigError, match=r"^config\.sweep: "):
        search.earliest_rewind(config, tmp_path / "search", "stable")
    assert [*tmp_path.iterdir()] == []


def test_a_search_measures_what_it_needs(tmp_path):
    config = sweep(measures=(), **{"rewind.steps": ("0it",)})
    found = search.earliest_rewind(config, tmp_path, "matching")
    assert [probe.n for probe in found.probes] == [2]


def row(replicate, level, branch, measure, value, copy=0, **keys):
    member = Member(replicate, 2 * (level > 0), level, branch, copy)
    return records.row(
        member, density=0.5, step=9, measure=measure, value=value, **keys
    )


def instabilities(*values, level=1):
    keys = {"split": "test", "pair": "copies", "copy": 1, "other": 0}
    return [
        row(i, level, "ticket", "instability", value, **keys)
        for i, value in enumerate(values)
    ]


def accuracies(dense, tickets):
    rows = [row(i, 0, "dense", "test_accuracy", v) for i, v in enumerate(dense)]
    return rows + [
        row(i, 1, "ticket", "test_accuracy", v) for i, v in enumerate(tickets)
    ]


@pytest.mark.parametrize(
    ("criterion", "rows", "met", "mean"),
    [
        ("stable", instabilities(0.01, 0.02), True, 0.015),
        ("stable", instabilities(0.01, 0.03), False, 0.02),
        ("stable", instabilities(0.5, 0.5), False, 0.5),
        ("matching", accuracies([0.90, 0.92], [0.90, 0.90]), True, -0.01),
        ("matching", accuracies([0.90, 0.92], [0.89, 0.88]), False, -0.025),
        ("matching", accuracies([0.9, 0.9], [0.899, 0.899]), True, -0.001),
        ("matching", accuracies([0.9], [0.899]), True, -0.001),
        ("matching", accuracies([0.9], [0.89]), False, -0.01),
        ("winning", accuracies([0.90, 0.92], [0.90, 0.90]), False, -0.01),
        ("winning", accuracies([0.90, 0.92], [0.93, 0.89]), True, 0.0),
        ("winning", accuracies([0.9], [0.899]), False, -0.001),
        ("winning", accuracies([0.9], [0.901]), True, 0.001),
    ],
)
def test_the_criteria(criterion, rows, met, mean):
    """Below 2 %; within a standard deviation of dense (0.014 here), or 0.2 points.

    Or at least dense, of the means.
    """
    found = search.CRITERIA[criterion](report.tidy(rows))
    (last,) = found[found["level"] == 1].itertuples()
    assert bool(last.met) == met
    assert last.mean == pytest.approx(mean)


@pytest.mark.parametrize(
    ("rows", "met", "n"),
    [
        (instabilities(0.01, 0.01, level=2), True, 2),
        (instabilities(0.01, level=2), False, 1),
        (instabilities(0.01, 0.01, level=1), False, 0),
    ],
)
def test_a_probe_counts_if_all_replicates_came_to_the_last_level(
    tmp_path, monkeypatch, rows, met, n
):
    monkeypatch.setattr(
        loop, "run", lambda _, workdir, *__, **___: Results(workdir, ["lost"])
    )
    monkeypatch.setattr(report, "load", lambda _: report.tidy(rows))
    found = search.earliest_rewind(sweep(), tmp_path, "stable")
    assert {(probe.met, probe.n) for probe in found.probes} == {(met, n)}
    assert found.probes[0].diverged == ["lost"]
    assert found.trainings == 2 + len(found.probes) * 2 * (1 + 2)
