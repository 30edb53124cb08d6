"""Optimizers: by name, with decay and options, and under masks whatever they do."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lth_jax import config as config_lib
from lth_jax import lottery, prune, rewind
from lth_jax.errors import ConfigError
from lth_jax.optim import descent, optimizers
from lth_jax.sparse import sparse_optimizer
from lth_jax.train.step import train_step

USUAL = sorted(optimizers.OPTIMIZERS)
OPTIONS = {
    "noisy_sgd": {"key": 0},
    "dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 1.0, "seed": 0},
}
# What they need is not a gradient alone, or no mask fits what they keep.
REFUSED = {
    "cocob": "which a mask makes 0",
    "dpsgd": "",
    "galore": "which no mask fits",
    "lbfgs": "'value_fn'",
    "momo": "'value'",
    "momo_adam": "'value'",
    "optimistic_adam": "deprecated",
    "schedule_free": "missing 1 required positional argument",
    "sophia": "obj_fn must be provided",
}
MOVING = {
    *("acprop", "adabelief", "adafactor", "adamax", "adamaxw"),
    *("muon", "noisy_sgd"),
}


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    """A config with some fields changed."""
    data_dir = str(tmp_path_factory.getbasetemp() / "tfds")

    def configure(name="sgd", options=None, **changes):
        config = config_lib.default()
        config.data.dir = data_dir
        config.model.options = {"widths": (4,)}
        config.optim.name, config.optim.options = name, options or {}
        config.update_from_flattened_dict(changes)
        return config.lock()

    return configure


def experiment(config):
    return lottery.build(config)[1]


@pytest.fixture(scope="module")
def usual(configure):
    return experiment(configure())


def complaint(config):
    with pytest.raises(ConfigError) as caught:
        lottery.build(config)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture(scope="module")
def train(usual):
    """Take three steps under masks; return the states and which masks are over them."""
    program = dataclasses.replace(usual.program, steps_per_call=1)
    dense = usual.initialise(jax.random.key(0))
    masks = prune.random(jax.random.key(1), dense.masks, 0.4)
    batch = program.feed.batch(program.supply(0, 0), jnp.uint32(0), 0)

    def train(config):
        decay = descent.weight_decay(config)
        made = dataclasses.replace(
            program,
            optimizer=descent.optimizer(config),
            guard=descent.guard(config),
        )
        state = dataclasses.replace(
            dense,
            opt_state=made.optimizer(0.1, decay).init(dense.params),
            weight_decay=None if decay is None else jnp.float32(decay),
        )
        descent.check(config, jax.eval_shape(lambda: state))
        step = jax.jit(functools.partial(train_step, program=made))
        states = [rewind.to(state, masks)]
        for _ in range(3):
            states.append(step(states[-1], batch))
        return states, rewind.over(states[0], masks)

    return train


def assert_zero(state, over):
    for x, mask in zip(jax.tree.leaves(state), over, strict=True):
        if mask is not None:
            assert not np.asarray(x)[np.broadcast_to(~mask, x.shape)].any()


def names():
    for name in sorted({*optimizers.OPTIMIZERS, *optimizers.of_optax()}):
        mark = () if name in (*USUAL, "adamax") else pytest.mark.slow
        yield pytest.param(name, marks=mark)


def test_those_of_optax_are_its_functions_of_a_learning_rate():
    found = optimizers.of_optax()
    assert {"adamw", "lion", "lamb", "nadam", "muon", "yogi"} <= set(found)
    assert not {"chain", "scale_by_adam", "scale_by_learning_rate"} & set(found)
    assert len(found) > 40
    assert found["nadam"] is optax.nadam


@pytest.mark.parametrize("name", [*names()])
def test_all_keep_what_is_pruned_at_0_or_are_refused(name, configure, train):
    """Weights and moments, at every step; others change."""
    config = configure(name, OPTIONS.get(name), **{"optim.weight_decay": 0.01})
    if name in REFUSED:
        said = complaint(config)
        assert said.startswith("config.optim.")
        assert REFUSED[name] in said
        return
    states, over = train(config)
    assert (descent.guard(config) is not None) == (name in MOVING)
    for state in states:
        assert_zero(state, over)
    first, last = (
        state.params["fc1"]["kernel"] for state in states[:: len(states) - 1]
    )
    assert (first != last).any()
    assert np.isfinite(last).all()


@pytest.mark.parametrize("name", USUAL)
def test_the_usual_ones_need_no_masks_of_their_own(name, configure):
    assert experiment(configure(name)).program.guard is None


def test_what_moves_pruned_weights_is_seen_by_the_experiment(configure):
    assert experiment(configure("muon")).program.guard is sparse_optimizer


def test_a_users_own_is_always_masked(configure, train, monkeypatch):
    """It may tell parameters by their names: the few that are tried would not do."""

    def mine(learning_rate):
        def update(updates, state, params=None):
            return jax.tree.map(lambda g: g - learning_rate, updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", mine)
    states, over = train(configure("mine"))
    assert_zero(states[-1], over)
    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", optax.adamax)
    assert descent.guard(configure("mine")) is sparse_optimizer
    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", optax.sgd)
    assert descent.guard(configure("mine")) is None


def test_a_users_own_goes_before_that_of_optax(monkeypatch):
    monkeypatch.setitem(optimizers.OPTIMIZERS, "lamb", optax.sgd)
    assert optimizers.named("lamb") is optax.sgd


# ---------------------------------------------------------------------------- decay


def change(tx, params, grads):
    return tx.update(grads, tx.init(params), params)[0]


PARAMS = {"w": jnp.array([[2.0]]), "b": jnp.array([4.0])}
GRADS = {"w": jnp.array([[1.0]]), "b": jnp.array([1.0])}


def test_decay_is_l2_where_the_optimizer_has_none():
    """Added to the gradient, it is in the moments: Adam's first step is the rate."""
    found = change(optimizers.optimizer("adam", 0.5, 0.1), PARAMS, GRADS)
    np.testing.assert_allclose(found["w"], [[-0.5]], rtol=1e-5)
    found = change(optimizers.optimizer("sgd", 0.5, 0.1), PARAMS, GRADS)
    np.testing.assert_allclose(found["w"], [[-0.6]], rtol=1e-5)  # 0.5 * (1 + 0.1 * 2)


def test_decay_is_decoupled_where_the_optimizer_has_its_own():
    """Never both: lion's step is the rate, and rate times decay of the weight."""
    for name in ("adamw", "lion"):
        found = change(optimizers.optimizer(name, 0.5, 0.1), PARAMS, GRADS)
        np.testing.assert_allclose(found["w"], [[-0.6]], rtol=1e-5)
        np.testing.assert_allclose(found["b"], [-0.7], rtol=1e-5)


@pytest.mark.parametrize("decay", [None, 0.0])
def test_no_decay_is_none_whatever_optax_would_choose(decay):
    found = change(optimizers.optimizer("lion", 0.5, decay), PARAMS, GRADS)
    assert found["w"] == -0.5
    usual = change(optax.lion(0.5), PARAMS, GRADS)
    assert usual["w"] != -0.5


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_decay_may_be_that_of_kernels_alone(name):
    """The argument for it is called `mask`, or `weight_decay_mask`."""
    both = [
        change(optimizers.optimizer(name, 0.5, decay, decay_everything=False), *given)
        for decay in (0.0, 0.1)
        for given in [(PARAMS, GRADS)]
    ]
    assert both[0]["b"] == both[1]["b"]
    np.testing.assert_allclose(both[1]["w"] - both[0]["w"], [[-0.1]], rtol=1e-4)


def test_own_decay_of_everything_is_an_error_where_kernels_alone_should(configure):
    said = complaint(configure("novograd", **{"optim.decay_everything": False}))
    assert said == (
        "config.optim.name: novograd cannot decay kernels alone (decay_everything)"
    )


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_stands_in_a_field_of_its_own(name, configure):
    assert complaint(configure(name, {"weight_decay": 0.1})) == (
        "config.optim.options: weight_decay stands in config.optim.weight_decay"
    )


def test_own_decay_can_be_swept(configure):
    """It is an array in the state, as that of any other."""
    config = configure("adamw", **{"sweep.weight_decay": (0.0, 0.5)})
    made = experiment(config)
    start = made.initialise(jax.random.key(0), None, 0.5)
    assert float(start.weight_decay) == 0.5
    program = made.program
    batch = program.feed.batch(program.supply(0, 0), jnp.uint32(0), 0)
    step = jax.jit(functools.partial(train_step, program=program))
    ends = [
        step(dataclasses.replace(start, weight_decay=jnp.float32(decay)), batch).params
        for decay in (0.0, 0.5)
    ]
    shrunk = ends[0]["fc"]["kernel"] - ends[1]["fc"]["kernel"]
    wanted = 0.1 * 0.5 * start.params["fc"]["kernel"]
    np.testing.assert_allclose(shrunk, wanted, atol=1e-6)


# --------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "lamb",
            {"momentun": 0.9},
            "lamb() got an unexpected keyword argument 'momentun'",
        ),
        (
            "sgd",
            {"learning_rate": 0.9},
            "multiple values for argument 'learning_rate'",
        ),
        ("sgd", {"momentum": "fast"}, ""),
    ],
)
def test_bad_options_are_named(configure, name, options, said):
    found = complaint(configure(name, options))
    assert found.startswith(f"config.optim.options: {said}")


def test_a_rate_that_cannot_be_traced_is_refused_at_once(configure, monkeypatch):
    def mine(learning_rate):
        return optax.sgd(learning_rate if learning_rate > 0 else 1.0)

    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", mine)
    said = complaint(configure("mine"))
    assert said.startswith("config.optim.name: Attempted boolean conversion of traced")


def test_updates_of_another_shape_are_refused(configure, monkeypatch):
    def mine(learning_rate):
        def update(updates, state, params=None):
            return jax.tree.map(lambda g: learning_rate * g.sum(), updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", mine)
    said = complaint(configure("mine"))
    assert said == "config.optim.name: params would change in shape or type"


def test_moments_that_no_mask_fits_are_refused_before_anything_is_trained(
    configure, monkeypatch
):
    monkeypatch.setitem(optimizers.OPTIMIZERS, "mine", optax.contrib.cocob)
    assert "which a mask makes 0" in complaint(configure("mine"))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_biases_of_rank_2_are_no_kernels_that_decay(name):
    """Those of attention, [heads, dim], and of layers that are stacked."""
    one = jnp.ones((2, 3))
    params = {
        "query": {"kernel": jnp.ones((4, 2, 3)), "bias": one},
        "norm": {"scale": one},
        "linear": {"w": one, "b": one},
        "out": nnx.Linear(2, 3, rngs=nnx.Rngs(0)).kernel,
    }
    tx = optimizers.optimizer(name, 0.1, 0.01, decay_everything=False)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    moved = jax.tree.map(lambda u: bool(u.any()), updates)
    assert moved["query"] == {"kernel": True, "bias": False}
    assert moved["norm"] == {"scale": False}
    assert moved["linear"] == {"w": True, "b": False}
    assert jax.tree.leaves(moved["out"]) == [True]
