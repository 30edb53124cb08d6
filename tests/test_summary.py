"""The summary of layers: what a network of any make multiplies by which parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from lth_jax import models
from lth_jax.layers import summary

STEPS, WIDTH = 4, 6  # of a sequence, and of each of its elements


def network(forward):
    """A module that hands on a batch of sequences."""

    class Sequences(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return forward(self, x.reshape(-1, STEPS, WIDTH))

    return Sequences()


def weight(module, name, *shape):
    return module.param(name, nn.initializers.lecun_normal(), shape)


def equinox(module, made):
    """An Equinox module whose arrays are one parameter of a Linen module."""
    arrays, static = eqx.partition(made(key=jax.random.key(0)), eqx.is_array)
    return eqx.combine(module.param("eqx", lambda key: arrays), static)


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x @ weight(self, "w", WIDTH, 5), {"x": x}


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(WIDTH, name="fc")(x), None


class TwoLinear(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Linear(WIDTH, 7, rngs=rngs)
        self.b = nnx.Linear(7, 5, rngs=rngs)

    def __call__(self, x):
        return self.b(nnx.relu(self.a(x)))


class Recurrent(nnx.Module):
    def __init__(self, rngs):
        self.rnn = nnx.RNN(nnx.GRUCell(WIDTH, 8, rngs=rngs))

    def __call__(self, x):
        return self.rnn(x)


def attention(module, x):
    return nn.MultiHeadDotProductAttention(2, qkv_features=8, name="a")(x, x)


def repeated(module, x):
    again = nn.scan(
        Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )
    return again(name="s")(x, None)[0]


def shared(module, x):
    layer = nn.Dense(WIDTH, name="fc")
    return layer(layer(x))


def tied(module, x):
    embed = nn.Embed(10, WIDTH, name="e")
    return embed.attend(x + embed(jnp.zeros(x.shape[:2], int)))


def positions(module, x):
    x = x + weight(module, "pos", 1, STEPS, WIDTH)
    first = jnp.tile(weight(module, "first", 1, 1, WIDTH), (len(x), 1, 1))
    x = nn.LayerNorm(name="norm")(jnp.concatenate([first, x], 1))
    return nn.Dense(5, name="fc")(x)


def adapted(module, x):
    low = weight(module, "a", WIDTH, 2) @ weight(module, "b", 2, WIDTH)
    return x @ (weight(module, "w", WIDTH, WIDTH) + low)


def masked(module, x):
    w = weight(module, "w", 5, WIDTH).astype(jnp.bfloat16)
    w = jnp.where(jnp.abs(w) > 0.1, w, 0) * (w > 0)
    return x @ w.T.astype(jnp.float32)


def in_pieces(module, x):
    a, b = jnp.split(weight(module, "w", WIDTH, 10), 2, axis=1)
    return x @ a + x @ b


def branching(module, x):
    w = weight(module, "w", WIDTH, WIDTH)
    return lax.cond(x.sum() > 0, lambda: x @ w, lambda: x)


def unending(module, x):
    w = weight(module, "w", WIDTH, WIDTH)
    return lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ w, x)


def equinox_mlp(module, x):
    mlp = equinox(module, lambda key: eqx.nn.MLP(WIDTH, 5, 8, 1, key=key))
    return jax.vmap(jax.vmap(mlp))(x)


def equinox_conv(module, x):
    conv = equinox(module, lambda key: eqx.nn.Conv1d(WIDTH, 5, 3, padding=1, key=key))
    return jax.vmap(conv)(x.swapaxes(1, 2))


def equinox_gru(module, x):
    cell = equinox(module, lambda key: eqx.nn.GRUCell(WIDTH, 8, key=key))

    def run(xs):
        return lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(8), xs)[0]

    return jax.vmap(run)(x)


GRU = {"ir": 6, "iz": 6, "in": 6, "hr": 8, "hz": 8, "hn": 8}
LSTM = {f"{source}{gate}": n for source, n in (("i", 6), ("h", 8)) for gate in "ifgo"}


@pytest.mark.parametrize(
    ("forward", "wanted"),
    [
        (lambda m, x: Pair(name="p")(x)[0], {"p/w": 4 * 6 * 5}),
        (
            attention,
            {f"a/{n}/kernel": 4 * 6 * 8 for n in ("query", "key", "value", "out")},
        ),
        (
            lambda m, x: nn.RNN(nn.GRUCell(8))(x),
            {f"GRUCell_0/{gate}/kernel": 4 * n * 8 for gate, n in GRU.items()},
        ),
        (
            lambda m, x: nn.RNN(nn.OptimizedLSTMCell(8))(x),
            {
                f"OptimizedLSTMCell_0/{gate}/kernel": 4 * n * 8
                for gate, n in LSTM.items()
            },
        ),
        (repeated, {"s/fc/kernel": 3 * 4 * 6 * 6}),
        (shared, {"fc/kernel": 2 * 4 * 6 * 6}),
        (tied, {"e/embedding": 4 * 6 * 10}),
        (positions, {"fc/kernel": 5 * 6 * 5}),
        (adapted, {"w": 4 * 6 * 6}),
        (masked, {"w": 4 * 6 * 5}),
        (in_pieces, {"w": 4 * 6 * 10}),
        (branching, {"w": 4 * 6 * 6}),
        (unending, {}),
        (lambda m, x: nn.remat(nn.Dense)(7, name="d")(x), {"d/kernel": 4 * 6 * 7}),
        (
            lambda m, x: nn.WeightNorm(nn.Dense(7, name="d"))(x),
            {"d/kernel": 4 * 6 * 7},
        ),
        (
            lambda m, x: nn.ConvTranspose(5, (3,), 2, name="c")(x),
            {"c/kernel": 4 * 3 * 6 * 5},  # of 8 outputs, each of half the kernel
        ),
        (
            equinox_mlp,
            {"eqx/layers/0/weight": 4 * 6 * 8, "eqx/layers/1/weight": 4 * 8 * 5},
        ),
        (equinox_conv, {"eqx/weight": 4 * 3 * 6 * 5}),
        (equinox_gru, {"eqx/weight_ih": 4 * 6 * 24, "eqx/weight_hh": 4 * 8 * 24}),
        (
            lambda m, x: nnx.bridge.to_linen(TwoLinear, name="n")(x),
            {"n/a/kernel": 4 * 6 * 7, "n/b/kernel": 4 * 7 * 5},
        ),
        (
            lambda m, x: nnx.bridge.to_linen(Recurrent, name="n")(x),
            {
                "n/rnn/cell/dense_i/kernel": 4 * 6 * 24,
                "n/rnn/cell/dense_h/kernel": 4 * 8 * 24,
            },
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_multiplied_is_counted_for_each_parameter(forward, wanted):
    """Once for each use of it on one example; and every parameter is in one layer."""
    made, shape = models.linen(network(forward)), (STEPS, WIDTH, 1)
    rows = summary.layers(made, jax.ShapeDtypeStruct(shape, jnp.float32))
    found = {path: n for row in rows for path, n in row.weights.items() if n}
    assert found == wanted
    assert sum(row.multiply_adds for row in rows) == sum(wanted.values())
    params, _ = made.init(jax.random.key(0), jnp.ones((1, *shape)))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    assert sum(row.parameters for row in rows) == sum(sizes)
