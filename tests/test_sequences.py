"""The networks of sequences, and of images as sequences: sizes, masks, costs, modes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import masks, models
from lth_jax.layers import products, summary

SMALL = {"width": 8, "depth": 1, "heads": 2, "hidden": 16}
NETWORKS = {  # fields, inputs of two examples and classes
    "mlp": ({"widths": (6, 5)}, np.float32, (2, 4), 3),
    "token_mlp": ({"embedding": 6, "width": 5}, np.int32, (2, 2), 7),
    "gru": ({"width": 5, "embedding": 4}, np.int32, (2, 3), 7),
    "vit": (SMALL, np.float32, (2, 8, 8, 3), 4),
    "transformer": ({**SMALL, "context": 6}, np.int32, (2, 6), 20),
}
BARE = {"per_token": False, "layer_norm": False, "use_bias": False}
ADDITION = BARE | {"vocabulary": 114, "depth": 1, "context": 3, "activation": "relu"}
EVERY = pytest.mark.parametrize("name", NETWORKS)


def made(name, **fields):
    """A network, its parameters without compiling an initialisation, and inputs."""
    given, dtype, shape, classes = NETWORKS[name]
    network = models.create(name, num_classes=classes, **{**given, **fields})
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(3 * rng.random(shape), dtype)
    params, state = jax.eval_shape(network.init, jax.random.key(0), inputs)
    assert state == {}
    drawn = jax.tree.map(lambda w: jnp.asarray(rng.normal(0, 0.3, w.shape)), params)
    return network, jax.tree.map(lambda w: w.astype(jnp.float32), drawn), inputs


def applied(network, params, inputs, key=None):
    return network.apply(params, {}, inputs, train=key is not None, key=key)[0]


def evaluated(network, *arguments):
    return jax.jit(partial(applied, network))(*arguments)


def multiply_adds(network, params, inputs):
    """Multiplications by each parameter for one example."""
    key = jax.random.key(0)
    program = jax.make_jaxpr(partial(applied, network))(params, inputs, key).jaxpr
    paths, _ = zip(*jax.tree_util.tree_leaves_with_path(params))
    given = [{masks.name(path): 1} for path in paths]
    others = [{}] * (len(program.invars) - len(given))
    counted, _ = products.count(program, [*given, *others])
    return {path: n / len(inputs) for path, n in counted.items()}


@pytest.mark.parametrize(
    ("name", "fields", "shape", "classes", "parameters", "prunable"),
    [
        ("mlp", {"widths": (64, 64)}, (54,), 7, 8_135, 54 * 64 + 64 * 64 + 64 * 7),
        ("token_mlp", {}, (2,), 67, 115_000, 115_000),
        ("gru", {}, (28, 28), 10, 221_706, 3 * 256 * (28 + 256) + 256 * 10),
        ("gru", {}, (9,), 65, 320_961, 65 * (128 + 256) + 3 * 256 * (128 + 256)),
        ("vit", {}, (32, 32, 3), 10, 2_697_610, 2_677_824),
        ("transformer", {}, (128,), 256, 875_520, 868_352),
        ("transformer", {"tied": True}, (128,), 256, 842_496, 868_352 - 32_768),
        ("transformer", ADDITION, (3,), 113, 226_048, 226_048),
    ],
)
def test_parameters_and_those_that_are_pruned(
    name, fields, shape, classes, parameters, prunable
):
    network = models.create(name, num_classes=classes, **fields)
    integers = len(shape) == 1 and name != "mlp"
    dtype = jnp.int32 if integers else jnp.float32
    inputs = jax.ShapeDtypeStruct((1, *shape), dtype)
    params, _ = jax.eval_shape(network.init, jax.random.key(0), inputs)
    pruned = jax.eval_shape(masks.full, params)
    for tree, size in ((params, parameters), (pruned, prunable)):
        assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == size


HEADS = {f"block1/attention/{n}/kernel": 64 for n in ("query", "key", "value", "out")}
BLOCK = HEADS | {"block1/fc1/kernel": 8 * 16, "block1/fc2/kernel": 16 * 8}
CELL = {f"gru1/{gate}/kernel": 4 * 5 for gate in ("ir", "iz", "in")}
CELL |= {f"gru1/{gate}/kernel": 5 * 5 for gate in ("hr", "hz", "hn")}
IMAGE = BLOCK | {"patches/kernel": 48 * 8, "positions": 5 * 8, "fc/kernel": 8 * 4}
TEXT = BLOCK | {"embed/embedding": 20 * 8, "positions": 6 * 8}
SUMS = {"fc1/kernel": 6 * 5, "fc2/kernel": 5 * 6, "fc/kernel": 6 * 7}
OUT, STATE = {"fc/kernel": 8 * 20}, {"fc/kernel": 5 * 7}
WORDS = CELL | STATE | {"embed/embedding": 7 * 4}


@pytest.mark.parametrize(
    ("name", "fields", "pruned", "times"),
    [
        ("token_mlp", {}, SUMS | {"embed/embedding": 7 * 6}, dict.fromkeys(SUMS, 1)),
        ("gru", {}, WORDS, dict.fromkeys(CELL, 3) | {"fc/kernel": 1}),
        ("gru", {"per_token": True}, WORDS, dict.fromkeys(CELL | STATE, 3)),
        (
            "vit",
            {},
            IMAGE,
            dict.fromkeys(BLOCK, 5) | {"patches/kernel": 4, "fc/kernel": 1},
        ),
        ("transformer", {}, TEXT | OUT, dict.fromkeys(BLOCK | OUT, 6)),
        (
            "transformer",
            {"tied": True, "context": 9},
            TEXT | {"positions": 9 * 8},
            dict.fromkeys(BLOCK, 6) | {"embed/embedding": 6},
        ),
        ("transformer", BARE, TEXT | OUT, dict.fromkeys(BLOCK, 6) | {"fc/kernel": 1}),
    ],
)
def test_what_is_pruned_and_how_often_it_multiplies(name, fields, pruned, times):
    """Looking a token up multiplies by nothing; a cell does at every step."""
    network, params, inputs = made(name, **fields)
    full = masks.by_layer(masks.full(params))
    assert full == {path: (size, size) for path, size in pruned.items()}
    wanted = {path: n * pruned[path] for path, n in times.items()}
    assert multiply_adds(network, params, inputs) == wanted
    if inputs.dtype == jnp.float32:
        rows = summary.layers(
            network, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype)
        )
        assert sum(row.multiply_adds for row in rows) == sum(wanted.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(x, marks=[pytest.mark.slow] * (x in ("vit", "transformer")))
        for x in NETWORKS
    ],
)
def test_networks_are_the_same_jitted_alone_and_as_a_fleet(name):
    network, params, inputs = made(name)
    apply = partial(applied, network)
    logits = apply(params, inputs)
    assert logits.dtype == jnp.float32
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(evaluated(network, params, inputs), logits)
    close(evaluated(network, params, inputs[:1]), logits[:1])
    other = jax.tree.map(lambda w: w[..., ::-1], params)
    fleet = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
    together = jax.jit(jax.vmap(apply, in_axes=(0, None)))(fleet, inputs)
    close(together, jnp.stack([logits, evaluated(network, other, inputs)]))
    assert (together[0] != together[1]).any()


@EVERY
def test_every_parameter_has_a_gradient(name):
    network, params, inputs = made(name)

    def loss(params):
        logits = applied(network, params, inputs, jax.random.key(0))
        return (logits**2).sum()

    for path, gradient in masks.leaves(jax.jit(jax.grad(loss))(params)):
        # A constant that is added to all keys changes no softmax.
        assert gradient.any() or path.endswith("key/bias"), path


@EVERY
def test_bfloat16_computes_float32_logits_from_float32_parameters(name):
    network, params, inputs = made(name)
    half = network.clone(dtype="bfloat16")
    made_by, _ = jax.eval_shape(half.init, jax.random.key(0), inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(made_by)} == {np.dtype("float32")}
    logits, exact = (evaluated(n, params, inputs) for n in (half, network))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, rtol=0.1, atol=0.1)
    assert (logits != exact).any()
    lines = str(jax.make_jaxpr(partial(applied, half))(params, inputs)).splitlines()
    assert not any("bf16" in line for line in lines if "= exp" in line)  # softmax


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"token_mlp"}))
def test_dropout_follows_its_key_and_is_off_in_evaluation(name):
    plain, params, inputs = made(name)
    network, _, _ = made(name, dropout=0.5)
    apply = jax.jit(partial(applied, network))
    key = jax.random.key(1)
    dropped = apply(params, inputs, key)
    np.testing.assert_array_equal(apply(params, inputs, key), dropped)
    assert (apply(params, inputs, jax.random.key(2)) != dropped).any()
    np.testing.assert_array_equal(
        apply(params, inputs), evaluated(plain, params, inputs)
    )


@pytest.mark.parametrize("fields", [{}, {"layer_norm": False}, {"tied": True}])
def test_a_transformer_sees_no_later_token(fields):
    network, params, inputs = made("transformer", **fields)
    changed = inputs.at[:, 4].add(1)
    before, after = (evaluated(network, params, x) for x in (inputs, changed))
    assert before.shape == (2, 6, 20)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4] != after[:, 4]).any() and (before[:, 5] != after[:, 5]).any()


def test_a_transformer_tells_positions_apart_and_takes_shorter_sequences():
    network, params, inputs = made("transformer")
    whole = evaluated(network, params, inputs)
    part = evaluated(network, params, inputs[:, :3])
    np.testing.assert_allclose(part, whole[:, :3], rtol=1e-5, atol=1e-6)
    same = evaluated(network, params, jnp.zeros((1, 6), int))
    assert (same[0, 0] != same[0, 1]).any()
    with pytest.raises(ValueError, match="7 tokens: context is 6"):
        evaluated(network, params, jnp.zeros((1, 7), int))


@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_the_last_logits_are_those_of_the_last_position(name):
    every, params, inputs = made(name, per_token=True)
    last, _, _ = made(name, per_token=False)
    np.testing.assert_allclose(
        evaluated(last, params, inputs),
        evaluated(every, params, inputs)[:, -1],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_block_adds_attention_and_then_an_mlp(layer_norm):
    """The one-layer transformer of modular addition, written out, or normalised."""
    fields = BARE | {"activation": "relu", "layer_norm": layer_norm}
    network, params, inputs = made("transformer", **fields)

    def normed(x, layers, name):
        if not layer_norm:
            return x
        scale, bias = (layers[name][n][None, None] for n in ("scale", "bias"))
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    block = params["block1"]
    x = params["embed"]["embedding"][inputs] + params["positions"][None]
    y = normed(x, block, "norm1")
    kernels = (block["attention"][n]["kernel"] for n in ("query", "key", "value"))
    q, k, v = (jnp.einsum("btd,dhe->bhte", y, kernel) for kernel in kernels)
    seen = jnp.tril(jnp.ones((6, 6), bool))[None, None]
    scores = jnp.where(seen, jnp.einsum("bhqe,bhke->bhqk", q, k) / 2.0, -jnp.inf)
    mixed = jnp.einsum("bhqk,bhke->bqhe", jax.nn.softmax(scores), v)
    x += jnp.einsum("bqhe,hed->bqd", mixed, block["attention"]["out"]["kernel"])
    hidden = jax.nn.relu(normed(x, block, "norm2") @ block["fc1"]["kernel"])
    x += hidden @ block["fc2"]["kernel"]
    wanted = normed(x, params, "norm")[:, -1] @ params["fc"]["kernel"]
    logits = evaluated(network, params, inputs)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_a_vit_sees_patches_by_their_positions():
    network, params, inputs = made("vit")
    params = params | {"positions": 5 * params["positions"]}
    rows = jnp.concatenate([inputs[:, 4:], inputs[:, :4]], axis=1)
    order = np.array([0, 3, 4, 1, 2])  # the token, and the patches of those rows
    moved = params | {"positions": params["positions"][order]}
    logits = evaluated(network, params, inputs)
    same = evaluated(network, moved, rows)
    np.testing.assert_allclose(same, logits, rtol=1e-4, atol=1e-5)
    assert (abs(evaluated(network, params, rows) - logits) > 1e-3).any()


def test_a_token_mlp_is_the_equation_of_its_paper():
    network, params, inputs = made("token_mlp")
    w = {name: layer["kernel"] for name, layer in params.items() if name != "embed"}
    e = params["embed"]["embedding"][inputs]
    wanted = jax.nn.relu((e[:, 0] + e[:, 1]) @ w["fc1"]) @ w["fc2"] @ w["fc"]
    logits = evaluated(network, params, inputs)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    swapped = evaluated(network, params, inputs[:, ::-1])
    np.testing.assert_allclose(logits, swapped, rtol=1e-5, atol=1e-6)


def test_a_vocabulary_may_have_more_tokens_than_classes():
    for name in ("token_mlp", "gru", "transformer"):
        network, params, inputs = made(name, vocabulary=30)
        assert params["embed"]["embedding"].shape[0] == 30
        logits = evaluated(network, params, inputs)
        assert logits.shape[-1] == NETWORKS[name][3]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("transformer", {"tied": True, "vocabulary": 30}, "30 tokens are not 20 class"),
        ("vit", {"patch": 3}, "patches of 3 do not fill 8 x 8 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        made(name, **fields)


def test_initial_values():
    """Kernels as `init` says, whatever their rank; embeddings of unit vectors."""
    network = models.create("transformer", num_classes=50, depth=1)
    init = jax.jit(network.init)
    params, _ = init(jax.random.key(0), jnp.zeros((1, 4), int))
    attention = params["block1"]["attention"]
    for kernel in (attention["query"]["kernel"], attention["out"]["kernel"]):
        np.testing.assert_allclose(kernel.var(), 2 / 128, rtol=0.05)
    for table in (params["embed"]["embedding"], params["positions"]):
        np.testing.assert_allclose(table.var(), 1 / 128, rtol=0.05)
