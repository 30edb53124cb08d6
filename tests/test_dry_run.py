"""The plan of a run is what the run does."""

import dataclasses
import multiprocessing
import re
import time

import jax.numpy as jnp
import pytest

from lth_jax import config as config_lib
from lth_jax import dry_run, lottery, masks, prune
from lth_jax.lottery import loop
from lth_jax.lottery.plan import Plan


def configure(**fields):
    config = config_lib.default()
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return config


def plan(config):
    return Plan(config, length=1, rewind_steps=(0,))


@pytest.fixture
def small(tmp_path):
    """A config of small networks, with some fields changed."""
    fields = {
        "data.dir": str(tmp_path),
        "model.options": {"widths": (4,)},
        "replicates": 2,
        "train.length": "25it",
        "prune.levels": 1,
    }
    return lambda **changes: configure(**fields | changes)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_densities_are_those_that_pruning_makes(scope):
    params = {"a": jnp.arange(21.0).reshape(3, 7), "b": jnp.arange(32.0).reshape(4, 8)}
    kept = masks.full(params)
    config = configure(
        **{"prune.fraction": 0.3, "prune.levels": 4, "prune.scope": scope}
    )
    planned = list(plan(config).densities({"a": 21, "b": 32}))
    assert len(planned) == 5
    for density in planned:
        assert density == masks.density(kept)
        kept = prune.magnitude(params, kept, 0.3, scope)


def test_densities_that_are_given_are_rounded_alike():
    params = {"a": jnp.arange(21.0).reshape(3, 7)}
    config = configure(**{"prune.densities": (1, 0.5, 0.1)})
    for density, planned in zip(
        (1.0, 0.5, 0.1), list(plan(config).densities({"a": 21}))[1:]
    ):
        kept = prune.to_density(params, masks.full(params), density)
        assert planned == masks.density(kept)


def test_the_plan_of_digits(tmp_path):
    """Two tickets and controls of each replicate, from step 5 on; all dense first."""
    config = configure(
        **{
            "data.dir": str(tmp_path),
            "model.options": {"widths": (8,)},
            "replicates": 2,
            "train.length": "25it",
            "rewind.steps": ("5it",),
            "prune.levels": 2,
            "branches": ("ticket", "shuffled_mask"),
            "branch_levels": (2,),
        }
    )
    text = dry_run.describe(config)
    assert text.startswith("config.branch_levels=[2]\n")
    lines = text.partition("\n\n")[2].splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["level", "density", "trainings", "steps"],
        ["0", "100.00%", "2", "50"],
        ["1", "79.90%", "2", "40"],
        ["2", "63.85%", "4", "80"],
        ["total", "8", "170"],
    ]
    assert lines[6].startswith("time: about ")
    # Dense at steps 0, 5, 25, and four tickets; Adam's moments are not here.
    state = 4 * (64 * 8 + 8 + 80 + 10) + (64 * 8 + 80) // 8 + 4 * 4
    # On the way, three pauses of four networks at level 2.
    assert lines[7] == f"disk: at most {22 * state / 1e6:.1f} MB of checkpoints"


@pytest.mark.parametrize(("replicates", "turns"), [(1, 65), (2, 85), (3, 150)])
def test_a_fleet_that_does_not_fill_two_devices_takes_as_long(
    replicates, turns, tmp_path
):
    """25 steps of dense networks; 20 of tickets, and of as many controls at level 2."""
    fields = {
        "data.dir": str(tmp_path),
        "model.options": {"widths": (8,)},
        "replicates": replicates,
        "train.length": "25it",
        "rewind.steps": ("5it",),
        "prune.levels": 2,
        "branches": ("ticket", "shuffled_mask"),
        "branch_levels": (2,),
    }
    plan, experiment = lottery.build(configure(**fields))
    assert dry_run._turns(plan, experiment.program.layout) == turns


def seconds(text):
    """How long a dry run says that a run takes, and its steps a second."""
    found = re.search(r"time: about ([\d.]+) (\w+), ([\d,]+) steps a second", text)
    unit = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}[found[2]]
    return float(found[1]) * unit, int(found[3].replace(",", ""))


@pytest.mark.parametrize(
    "steps",
    [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 15, 16, 17))],
)
def test_trainings_that_are_over_at_once_are_timed_too(small, steps, monkeypatch):
    """Of 16 steps and fewer, one compiled call is all."""
    monkeypatch.setattr(dry_run, "_SECONDS", 0.2)
    shown = dry_run.describe(small(**{"train.length": f"{steps}it"}))
    assert re.search(rf"\ntotal +8 +{8 * steps}\n", shown)
    _, rate = seconds(shown)
    assert rate > 0


@pytest.mark.slow
def test_networks_that_diverge_are_timed_all_the_same(small):
    assert "\ntime: about " in dry_run.describe(small(**{"optim.learning_rate": 1e35}))


@pytest.fixture
def built(small, monkeypatch):
    """Build an experiment with some parts replaced, for a dry run to find."""

    def build(**changes):
        config = small()
        made, experiment = lottery.build(config)
        program = {
            name: changes.pop(name)(experiment.program)
            for name in [*changes]
            if hasattr(experiment.program, name)
        }
        program = dataclasses.replace(experiment.program, **program)
        experiment = dataclasses.replace(experiment, program=program, **changes)
        monkeypatch.setattr(loop, "build", lambda config: (made, experiment))
        return config

    return build


def test_what_makes_batches_ahead_is_ended(built, monkeypatch):
    closed = []
    monkeypatch.setattr(dry_run, "_SECONDS", 0.1)
    dry_run.describe(built(close=lambda: closed.append(True)))
    assert closed == [True]


@pytest.mark.slow
def test_also_where_it_fails(built):
    closed = []

    def fail(*_):
        raise KeyError

    config = built(close=lambda: closed.append(True), supply=lambda _: fail)
    with pytest.raises(KeyError):
        dry_run.describe(config)
    assert closed == [True]


@pytest.mark.slow
def test_what_takes_long_to_begin_is_no_step_that_takes_long(built, monkeypatch):
    """Processes that make batches start once a training, not at every step of it."""
    monkeypatch.setattr(dry_run, "_SECONDS", 0.5)
    at = [None]

    def slow(program):
        def supply(data_seed, step):
            if step != at[0]:
                time.sleep(2)
            at[0] = step + 1
            return program.supply(data_seed, step)

        return supply

    config = built(supply=slow, steps_per_call=lambda _: 1)
    _, rate = seconds(dry_run.describe(config))
    assert rate > 5


@pytest.mark.slow
def test_the_workers_of_a_stream_are_ended(small):
    stream = {
        "data.feed": "stream",
        "data.stream.image_size": 8,
        "data.stream.resize": 8,
        "data.stream.workers": 1,
        "train.layout": "data",
    }
    assert "\ntime: about " in dry_run.describe(small(**stream))
    assert multiprocessing.active_children() == []
