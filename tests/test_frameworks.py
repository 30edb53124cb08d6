"""Networks of each framework: from equal weights, the same training and masks."""

import dataclasses
from functools import partial

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from lth_jax import masks, models, prune, rewind
from lth_jax.data import Memory, Split, normalise
from lth_jax.devices.layout import Layout
from lth_jax.models.network import over
from lth_jax.optim import optimizers
from lth_jax.optim.schedules import Schedule
from lth_jax.tasks import Classification
from lth_jax.train import state
from lth_jax.train.fit import fit
from lth_jax.train.step import Program

SIDE, HIDDEN, CLASSES, EXAMPLES = 4, 8, 3, 20


class LinenMlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(HIDDEN, name="one")(x.reshape(len(x), -1)))
        return nn.Dense(CLASSES, name="two")(x)


class NnxMlp(nnx.Module):
    def __init__(self, rngs):
        self.one = nnx.Linear(SIDE * SIDE, HIDDEN, rngs=rngs)
        self.two = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.two(nnx.relu(self.one(x.reshape(len(x), -1))))


class EquinoxMlp(eqx.Module):
    one: eqx.nn.Linear
    two: eqx.nn.Linear

    def __init__(self, key):
        self.one = eqx.nn.Linear(SIDE * SIDE, HIDDEN, key=key)
        self.two = eqx.nn.Linear(HIDDEN, CLASSES, key=key)

    def __call__(self, x):
        return self.two(jax.nn.relu(self.one(x.ravel())))


def haiku_mlp(x, is_training):
    del is_training
    x = jax.nn.relu(hk.Linear(HIDDEN, name="one")(x.reshape(len(x), -1)))
    return hk.Linear(CLASSES, name="two")(x)


def plain_mlp():
    def init(key, inputs):
        sizes = (SIDE * SIDE, HIDDEN, CLASSES)
        return {
            name: {"w": jax.random.normal(key, size), "b": jnp.zeros(size[1])}
            for name, size in zip(("one", "two"), zip(sizes, sizes[1:]))
        }, {}

    def apply(params, state, inputs, *, train, key):
        x = inputs.reshape(len(inputs), -1)
        x = jax.nn.relu(x @ params["one"]["w"] + params["one"]["b"][None])
        return x @ params["two"]["w"] + params["two"]["b"][None], state

    return models.Functions(init, apply)


class LinenCnn(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(HIDDEN, (3, 3), use_bias=False, name="one")(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name="batch", name="norm")(x)
        return nn.Dense(CLASSES, name="two")(nn.relu(x).mean((1, 2)))


class NnxCnn(nnx.Module):
    def __init__(self, rngs):
        self.one = nnx.Conv(1, HIDDEN, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(HIDDEN, momentum=0.9, axis_name="batch", rngs=rngs)
        self.two = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.two(nnx.relu(self.norm(self.one(x))).mean((1, 2)))


class EquinoxCnn(eqx.Module):
    one: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    two: eqx.nn.Linear

    def __init__(self, key):
        self.one = eqx.nn.Conv2d(1, HIDDEN, 3, padding=1, use_bias=False, key=key)
        self.norm = eqx.nn.BatchNorm(HIDDEN, "batch", momentum=0.9, mode="batch")
        self.two = eqx.nn.Linear(HIDDEN, CLASSES, key=key)

    def __call__(self, x, state):
        x, state = self.norm(self.one(x.transpose(2, 0, 1)), state)
        return self.two(jax.nn.relu(x).mean((1, 2))), state


def haiku_cnn(x, is_training):
    x = hk.Conv2D(HIDDEN, 3, with_bias=False, name="one")(x)
    norm = hk.BatchNorm(True, True, 0.9, cross_replica_axis="batch", name="norm")
    x = jax.nn.relu(norm(x, is_training))
    return hk.Linear(CLASSES, name="two")(x.mean((1, 2)))


def along(vector):
    return vector[None, None, None]


def plain_cnn():
    def init(key, inputs):
        params = {
            "one": {"w": jax.random.normal(key, (3, 3, 1, HIDDEN))},
            "norm": {"scale": jnp.ones(HIDDEN), "offset": jnp.zeros(HIDDEN)},
            "two": {"w": jnp.ones((HIDDEN, CLASSES)), "b": jnp.zeros(CLASSES)},
        }
        return params, {"mean": jnp.zeros(HIDDEN), "var": jnp.ones(HIDDEN)}

    def apply(params, state, inputs, *, train, key):
        dimensions = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            inputs, params["one"]["w"], (1, 1), "SAME", dimension_numbers=dimensions
        )
        if train:
            mean = jax.lax.pmean(x.mean((0, 1, 2)), "batch")
            var = jax.lax.pmean((x * x).mean((0, 1, 2)), "batch") - mean**2
            found = {"mean": mean, "var": var}
            state = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state, found)
        else:
            mean, var = state["mean"], state["var"]
        scale = params["norm"]["scale"] / jnp.sqrt(var + 1e-5)
        offset = params["norm"]["offset"] - mean * scale
        x = jax.nn.relu(x * along(scale) + along(offset))
        return x.mean((1, 2)) @ params["two"]["w"] + params["two"]["b"][None], state

    return models.Functions(init, apply)


NETWORKS = {
    "mlp": {
        "linen": models.linen(LinenMlp()),
        "nnx": models.nnx(NnxMlp),
        "equinox": models.equinox(EquinoxMlp),
        "haiku": models.haiku(hk.transform(haiku_mlp)),
        "plain": plain_mlp(),
    },
    "cnn": {
        "linen": models.linen(LinenCnn()),
        "nnx": models.nnx(NnxCnn),
        "equinox": models.equinox(eqx.nn.make_with_state(EquinoxCnn)),
        "haiku": models.haiku(hk.transform_with_state(haiku_cnn)),
        "plain": plain_cnn(),
    },
}


def weights(name):
    """Equal weights of all frameworks, as Linen has them."""
    linen = over(NETWORKS[name]["linen"], None)
    return linen.init(jax.random.key(3), IMAGES[:1])[0]


def common(params):
    """Kernels and other parameters of any framework, by layer, as Linen has them."""
    found = {}
    for path, leaf in masks.leaves(params):
        layer = path.split("/")[0]
        leaf = np.asarray(leaf)
        if path.endswith("weight") and leaf.ndim == 2:
            leaf = leaf.T
        if path.endswith("weight") and leaf.ndim == 4:
            leaf = leaf.transpose(2, 3, 1, 0)
        of = "kernel" if leaf.squeeze().ndim > 1 else path.split("/")[-1]
        of = {"b": "bias", "offset": "bias", "weight": "scale"}.get(of, of)
        found[layer, of] = leaf
    return found


def given(network, name):
    """The network, with equal weights at its start."""
    wanted = common(weights(name))

    def init(key, inputs):
        params, begun = network.init(key, inputs)

        def place(path, leaf):
            one = {"it": leaf}
            for part in reversed(masks.name(path).split("/")):
                one = {part: leaf} if one == {"it": leaf} else {part: one}
            (key,) = common(jax.tree.map(lambda x: np.zeros(x.shape), one))
            value = wanted[key]
            if masks.name(path).endswith("weight") and value.ndim == 2:
                value = value.T
            if masks.name(path).endswith("weight") and value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            return jnp.asarray(value.reshape(leaf.shape))

        return jax.tree_util.tree_map_with_path(place, params), begun

    return models.Functions(init, network.apply)


rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
DATA = Split(
    rng.integers(256, size=(EXAMPLES, SIDE, SIDE, 1), dtype=np.uint8),
    rng.integers(CLASSES, size=EXAMPLES, dtype=np.int32),
)


def trained(network, layout=None):
    """Masks and loss after three levels of ten steps, and the state at the end."""
    layout = layout or Layout("data", tuple(jax.devices()[:1]))
    half, third = np.full(1, 0.5, np.float32), np.full(1, 0.3, np.float32)
    feed = Memory(DATA, 10, prepare=partial(normalise, mean=half, std=third))
    arrays = layout.replicate(feed.arrays)
    program = Program(
        network=network,
        task=Classification(),
        optimizer=partial(optimizers.optimizer, "sgd", momentum=0.9),
        schedule=Schedule("constant", 0.1, length=10),
        feed=feed,
        supply=lambda data_seed, step: arrays,
        layout=layout,
    )
    sgd = program.optimizer(0.1, None)
    dense = state.create(jax.random.key(0), IMAGES[:1], network, sgd)
    ticket, losses = dense, []
    for _ in range(3):
        (end,) = fit([ticket], 10, program)
        losses.append(float(end.loss))
        ticket = rewind.to(dense, prune.magnitude(end.params, end.masks, 0.2))
    return ticket.masks, losses, end


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_every_framework_finds_the_same_masks(name):
    kept, losses, _ = trained(given(NETWORKS[name]["linen"], name))
    for framework in ("nnx", "equinox", "haiku", "plain"):
        found, lost, _ = trained(given(NETWORKS[name][framework], name))
        np.testing.assert_allclose(lost, losses, rtol=2e-4, err_msg=framework)
        one, other = common(kept), common(found)
        assert one.keys() == other.keys()
        for layer in one:
            np.testing.assert_array_equal(one[layer], other[layer], framework)


OTHERS = ("linen", "haiku", "plain")


@pytest.mark.slow
@pytest.mark.parametrize(
    "framework",
    ["nnx", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)],
)
def test_two_devices_are_one_in_every_framework(framework):
    network = NETWORKS["cnn"][framework]
    kept, losses, end = trained(network)
    found, lost, other = trained(network, Layout("data", tuple(jax.devices()[:2])))
    np.testing.assert_allclose(lost, losses, rtol=1e-4)
    assert masks.checksum(kept) == masks.checksum(found)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
        end.batch_stats,
        other.batch_stats,
    )


@pytest.mark.slow
@pytest.mark.parametrize("framework", NETWORKS["mlp"])
def test_two_devices_are_one_where_nothing_is_averaged(framework):
    network = NETWORKS["mlp"][framework]
    kept, losses, _ = trained(network)
    found, lost, _ = trained(network, Layout("data", tuple(jax.devices()[:2])))
    np.testing.assert_allclose(lost, losses, rtol=1e-4)
    assert masks.checksum(kept) == masks.checksum(found)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("framework", NETWORKS["mlp"])
def test_a_call_is_pure_and_keeps_the_structure(name, framework):
    network = over(NETWORKS[name][framework], None)
    params, begun = network.init(jax.random.key(0), IMAGES[:1])
    calls = [
        network.apply(params, begun, IMAGES, train=True, key=jax.random.key(1))
        for _ in range(2)
    ]
    jax.tree.map(np.testing.assert_array_equal, *calls)
    assert jax.tree.structure(calls[0][1]) == jax.tree.structure(begun)
    outputs, after = network.apply(params, begun, IMAGES, train=False, key=None)
    assert outputs.shape == (EXAMPLES, CLASSES)
    jax.tree.map(np.testing.assert_array_equal, after, begun)


class Dropping(nnx.Module):
    def __init__(self, rngs):
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return self.scale * self.drop(x)


class EquinoxDropping(eqx.Module):
    drop: eqx.nn.Dropout
    scale: jax.Array

    def __init__(self, key):
        self.drop, self.scale = eqx.nn.Dropout(0.5), jnp.ones(())

    def __call__(self, x, key):
        return self.scale * self.drop(x, key=key)


class LinenDropping(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic):
        self.param("scale", nn.initializers.ones, ())
        return nn.Dropout(0.5, deterministic=deterministic)(x)


@pytest.mark.parametrize(
    "network",
    [
        models.linen(LinenDropping()),
        models.nnx(Dropping),
        models.equinox(EquinoxDropping),
        models.haiku(
            hk.transform(
                lambda x, is_training: (
                    hk.dropout(hk.next_rng_key(), 0.5, x) if is_training else x
                )
            )
        ),
    ],
    ids=["linen", "nnx", "equinox", "haiku"],
)
def test_dropout_is_of_the_key_and_in_training_alone(network):
    params, begun = network.init(jax.random.key(0), jnp.ones((2, 64)))
    ones = jnp.ones((2, 64))
    found = [
        network.apply(params, begun, ones, train=True, key=jax.random.key(seed))[0]
        for seed in (1, 1, 2)
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    assert set(np.unique(found[0])) == {0, 2}
    assert (found[0][0] != found[0][1]).any()
    (evaluated, _) = network.apply(params, begun, ones, train=False, key=None)
    assert (evaluated == 1).all()


def test_what_is_no_network_is_said():
    for made in (NnxMlp, 3, LinenMlp, hk.transform(lambda x: x)):
        with pytest.raises(ValueError, match=r"is no network: give a Linen module"):
            models.as_network(made)
    assert models.as_network(LinenMlp()) == models.linen(LinenMlp())
    assert models.nnx(NnxMlp) == models.nnx(NnxMlp)


def test_what_a_class_says_is_no_kernel_of_equinox_either():
    class Network(eqx.Module):
        norm: eqx.nn.LayerNorm
        fc: eqx.nn.WeightNorm

        def __init__(self, key):
            self.norm = eqx.nn.LayerNorm((2, 3))
            self.fc = eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key))

    network = over(models.equinox(Network), None)  # as a run has it
    made = partial(state.create, jax.random.key(0), None, network, optax.sgd(0.1))
    assert [*masks.by_layer(made().masks)] == ["fc/layer/weight"]
    found = made(include=("norm/weight",)).masks
    assert [*masks.by_layer(found)] == ["fc/layer/weight", "norm/weight"]


def test_a_module_of_nnx_may_draw_from_any_stream():
    def make(rngs):
        return nnx.RNN(nnx.OptimizedLSTMCell(3, 4, rngs=rngs), rngs=rngs)

    params, _ = models.nnx(make).init(jax.random.key(0), None)
    assert params["cell"]


def test_a_network_of_linen_trains_without_a_key():
    network = models.linen(LinenMlp())
    params, begun = network.init(jax.random.key(0), inputs := jnp.ones((2, 4)))
    network.apply(params, begun, inputs, train=True, key=None)


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.variable("counters", "calls", jnp.zeros, ())
        return nn.Dense(2)(x)


def test_collections_of_a_linen_module_are_named():
    with pytest.raises(ValueError, match=r"collection 'counters' is not among"):
        models.linen(Counting()).init(jax.random.key(0), jnp.ones((1, 2)))
    both = models.linen(Counting(), ("batch_stats", "counters"))
    params, begun = both.init(jax.random.key(0), jnp.ones((1, 2)))
    assert begun == {"batch_stats": {}, "counters": {"calls": 0}}
    _, after = both.apply(
        params, begun, jnp.ones((1, 2)), train=True, key=jax.random.key(0)
    )
    assert after == begun


def test_counters_of_a_state_are_averaged_as_they_are():
    """Haiku counts calls in whole numbers, also where weights have moving averages."""
    network = NETWORKS["cnn"]["haiku"]
    _, _, end = trained(network, Layout("data", tuple(jax.devices()[:2])))
    counter = end.batch_stats["norm/~/mean_ema"]["counter"]
    assert counter.dtype == jnp.int32
    assert counter == 10
    assert dataclasses.replace(end, average=None).average is None
