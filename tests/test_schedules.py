"""Schedules: the rate of every step, by name, and what one of optax is given."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lth_jax import config as config_lib
from lth_jax import lottery
from lth_jax.errors import ConfigError
from lth_jax.optim import schedules
from lth_jax.optim.schedules import SCHEDULES, Schedule

# What those of optax need beside what the engine knows.
NEEDED = {
    "piecewise_interpolate_schedule": {"interpolate_type": "linear"},
    "polynomial_schedule": {"power": 2},
    "sgdr_schedule": {
        "cosine_kwargs": [
            {"init_value": 0, "peak_value": 1.0, "decay_steps": n, "warmup_steps": 1}
            for n in (4, 6)
        ]
    },
    "warmup_constant_schedule": {"warmup_steps": 2},
    "warmup_cosine_decay_schedule": {"warmup_steps": 2},
    "warmup_exponential_decay_schedule": {"warmup_steps": 2, "decay_rate": 0.5},
}


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    data_dir = str(tmp_path_factory.getbasetemp() / "tfds")

    def configure(name, options=None, **changes):
        config = config_lib.default()
        config.data.dir = data_dir
        config.model.options = {"widths": (4,)}
        config.optim.schedule, config.optim.schedule_options = name, options or {}
        config.update_from_flattened_dict(changes)
        return config.lock()

    return configure


def rates(schedule, steps):
    return [round(float(schedule(i)), 4) for i in steps]


def complaint(config):
    with pytest.raises(ConfigError) as caught:
        lottery.build(config)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("constant", optax.constant_schedule(0.3)),
        ("step", optax.piecewise_constant_schedule(0.3, {3: 0.2, 7: 0.2})),
        ("linear", optax.linear_schedule(0.3, 0.01, 10)),
        ("exponential", optax.exponential_decay(0.3, 10, 0.01 / 0.3)),
    ],
)
def test_rates_are_those_of_optax_bit_by_bit(name, wanted):
    made = Schedule(name, 0.3, 10, milestones=(3, 7), gamma=0.2, end_value=0.01)
    for step in range(13):
        assert made(step) == jnp.float32(wanted(jnp.minimum(step, 10)))


def test_a_cosine_falls_to_the_end_value_and_stays():
    made = Schedule("cosine", 0.4, 100, end_value=0.1)
    assert rates(made, (0, 50, 100, 150)) == [0.4, 0.25, 0.1, 0.1]
    assert rates(Schedule("cosine", 0.4, 100), (0, 25, 50, 100)) == [
        0.4,
        0.3414,
        0.2,
        0.0,
    ]


def test_one_of_optax_is_given_what_it_takes():
    line = Schedule("linear_schedule", 0.4, 100, end_value=0.2)
    assert rates(line, (0, 50, 100)) == [0.4, 0.3, 0.2]
    late = Schedule("linear_schedule", 0.4, 100, options={"transition_begin": 20})
    assert rates(late, (0, 20, 70, 100)) == [0.4, 0.4, 0.2, 0.08]
    assert rates(Schedule("constant_schedule", 0.4, 100), (0, 100)) == [0.4, 0.4]


def test_an_option_goes_before_what_is_known():
    short = Schedule("linear_schedule", 0.4, 100, options={"transition_steps": 10})
    assert rates(short, (0, 5, 10)) == [0.4, 0.2, 0.0]


def test_one_that_warms_up_to_a_peak_begins_at_0():
    """As `warm_up` does, which multiplies any schedule."""
    own = Schedule(
        "warmup_cosine_decay_schedule", 0.4, 100, options={"warmup_steps": 10}
    )
    assert rates(own, (0, 5, 10, 55, 100)) == [0.0, 0.2, 0.4, 0.2, 0.0]
    assert rates(Schedule("cosine", 0.4, 100, warm_up=10), (0, 5, 50)) == [
        0.0,
        0.1988,
        0.2,
    ]


def test_steps_that_are_texts_as_in_json_are_numbers():
    options = {"boundaries_and_scales": {"20": 0.5, "100": 0.1}}
    made = Schedule("piecewise_constant_schedule", 0.4, 200, options=options)
    assert rates(made, (19, 21, 101)) == [0.4, 0.2, 0.02]


@pytest.mark.parametrize("name", sorted(schedules.of_optax()))
def test_all_of_optax_give_a_finite_rate_for_every_step(name):
    made = Schedule(name, 0.4, 10, options=NEEDED.get(name, {}))
    found = jax.jit(jax.vmap(made))(jnp.arange(12))
    assert found.dtype == jnp.float32
    assert np.isfinite(found).all()
    assert found.max() > 0
    assert found[10] == found[11]


def test_what_is_missing_is_named_with_all_that_is_taken(configure):
    assert complaint(configure("polynomial_schedule")) == (
        "config.optim.schedule_options: missing a required argument: 'power'; "
        "polynomial_schedule takes init_value, end_value, power, transition_steps, "
        "transition_begin"
    )
    for name, options in NEEDED.items():
        needs = inspect.signature(schedules.of_optax()[name]).parameters
        assert set(options) <= set(needs)


def test_what_is_not_taken_is_named_with_all_that_is(configure):
    assert complaint(configure("cosine", {"alpha": 0.1})) == (
        "config.optim.schedule_options: got an unexpected keyword argument 'alpha'; "
        "cosine takes none"
    )
    said = complaint(configure("cosine_decay_schedule", {"alfa": 0.1}))
    assert said.endswith(
        "cosine_decay_schedule takes init_value, decay_steps, alpha, exponent"
    )


def test_bad_values_are_named(configure):
    said = complaint(configure("cosine_decay_schedule", {"decay_steps": 0}))
    assert said.startswith("config.optim.schedule_options: ")


def test_a_users_own_takes_options_by_name(configure, monkeypatch):
    def steps(schedule, every=1):
        return lambda step: schedule.learning_rate / (1 + step // every)

    monkeypatch.setitem(SCHEDULES, "mine", steps)
    _, made = lottery.build(configure("mine", {"every": 5}))
    assert rates(made.program.schedule, (0, 4, 5)) == [0.1, 0.1, 0.05]
    assert complaint(configure("mine", {"ever": 5})).endswith("mine takes every")


def test_a_config_names_one_of_optax(configure):
    options = {"warmup_steps": 19}
    _, made = lottery.build(configure("warmup_cosine_decay_schedule", options))
    schedule = made.program.schedule
    assert rates(schedule, (0, 19, 190)) == [0.0, 0.1, 0.0]
    step = jax.jit(functools.partial(schedule))
    assert step(jnp.int32(19)) == jnp.float32(0.1)


def test_one_that_ends_at_0_cannot_go_on(configure):
    said = complaint(configure("cosine", **{"prune.method": "admm"}))
    assert said.startswith("config.optim.schedule: ends at 0, where 'admm' goes on")
    lottery.build(
        configure("cosine", **{"prune.method": "admm", "optim.end_value": 0.01})
    )


def test_falls_of_one_step_are_as_many():
    rate = Schedule("step", 1.0, 10, milestones=(3, 3, 7), gamma=0.5)
    assert [float(rate(i)) for i in (0, 2, 3, 6, 7)] == [1, 1, 0.25, 0.25, 0.125]
