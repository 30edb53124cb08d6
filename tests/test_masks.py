"""Masks: what is prunable, multiplied, counted, checked and packed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import Net, assert_same, boolean

from lth_jax import masks, prune

LENET = {
    "fc1": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    "fc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    "scale": jnp.ones(()),
}


def test_kernels_are_prunable_and_leaves_of_lower_rank_are_not():
    full = masks.full(LENET)
    assert masks.by_layer(full) == {"fc/kernel": (4, 4), "fc1/kernel": (6, 6)}
    assert full["fc1"]["bias"] is None
    assert full["scale"] is None
    assert full["fc1"]["kernel"].dtype == bool


@pytest.mark.parametrize(
    ("exclude", "layers"),
    [
        (["^fc/"], {"fc1/kernel": (6, 6)}),
        ("^fc/", {"fc1/kernel": (6, 6)}),
        (["fc1"], {"fc/kernel": (4, 4)}),
        ([], {"fc/kernel": (4, 4), "fc1/kernel": (6, 6)}),
    ],
)
def test_excluded_kernels_are_never_pruned(exclude, layers):
    assert masks.by_layer(masks.full(LENET, exclude)) == layers


@pytest.mark.parametrize(
    ("exclude", "said"),
    [
        (["conv"], "'conv' matches no prunable parameter; they are fc/kernel, fc1/"),
        (["bias"], "'bias' matches no prunable parameter"),
        (["fc"], "nothing is left to prune"),
    ],
)
def test_an_exclusion_that_does_nothing_or_everything_is_an_error(exclude, said):
    with pytest.raises(ValueError, match=said):
        masks.full(LENET, exclude)


def test_what_is_included_is_pruned_whatever_it_is():
    """Biases and scales, of any rank; what is excluded stays so."""
    full = masks.full(LENET, include=["bias", "^scale$"])
    assert masks.by_layer(full) == {
        "fc/bias": (2, 2),
        "fc/kernel": (4, 4),
        "fc1/bias": (2, 2),
        "fc1/kernel": (6, 6),
        "scale": (1, 1),
    }
    assert masks.by_layer(masks.full(LENET, "^fc/", "bias")) == {
        "fc1/bias": (2, 2),
        "fc1/kernel": (6, 6),
    }
    assert masks.count(masks.full({"bias": jnp.ones(2)}, include="bias")) == (2, 2)


def test_complex_weights_are_pruned_only_if_included():
    """By their size: of 3 + 4j, 4 and 6j, the second goes."""
    params = {"c": jnp.array([[3 + 4j, 4, 6j]]), "w": jnp.ones((1, 2))}
    assert masks.by_layer(masks.full(params)) == {"w": (2, 2)}
    full = masks.full(params, exclude=["w"], include=["c"])
    assert masks.by_layer(full) == {"c": (3, 3)}
    left = prune.magnitude(params, full, 0.2)
    assert left["c"].tolist() == [[True, False, True]]
    assert masks.apply(params, left)["c"].tolist() == [[3 + 4j, 0, 6j]]


def test_integers_and_booleans_are_never_pruned():
    params = {"w": W, "ids": jnp.ones((2, 2), int), "on": jnp.ones((2, 2), bool)}
    assert masks.by_layer(masks.full(params, include=["."])) == {"w": (4, 4)}
    for pattern in ("ids", "^on"):
        with pytest.raises(ValueError, match="no floating-point parameter; they are w"):
            masks.full(params, include=[pattern])


EMBEDDINGS = {
    "linen": lambda: nn.Embed(5, 2).init(jax.random.key(0), jnp.zeros(3, int)),
    "nnx": lambda: nnx.split(nnx.Embed(5, 2, rngs=nnx.Rngs(0)))[1],
    "equinox": lambda: eqx.nn.Embedding(5, 2, key=jax.random.key(0)),
    "haiku": lambda: {"embed": {"embeddings": jnp.ones((5, 2))}},
    "positions": lambda: {"pos_embedding": jnp.ones((1, 5, 2))},
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_tables_of_weights_unless_they_are_excluded(name):
    params = {"table": EMBEDDINGS[name](), "kernel": W}
    found = masks.by_layer(masks.full(params))
    assert sorted(found.values()) == [(4, 4), (10, 10)]
    without = masks.full(params, exclude=["^table/"])
    assert masks.by_layer(without) == {"kernel": (4, 4)}


@pytest.mark.slow
def test_depthwise_and_grouped_kernels_count_what_is_there():
    """A kernel of [h, w, inputs of a group, outputs]."""
    depthwise = nn.Conv(4, (3, 3), feature_group_count=4, use_bias=False)
    grouped = nn.Conv(6, (3, 3), feature_group_count=2, use_bias=False)
    image = jnp.ones((1, 5, 5, 4))
    params = {
        name: conv.init(jax.random.key(0), image)["params"]
        for name, conv in {"depthwise": depthwise, "grouped": grouped}.items()
    }
    full = masks.full(params)
    assert masks.by_layer(full) == {
        "depthwise/kernel": (36, 36),  # 3 * 3 * 1 * 4
        "grouped/kernel": (108, 108),  # 3 * 3 * 2 * 6
    }
    left = prune.magnitude(params, full, 0.5, "layer")
    assert masks.by_layer(left) == {
        "depthwise/kernel": (18, 36),
        "grouped/kernel": (54, 108),
    }
    # A channel whose nine weights are all pruned is 0, and no other changes.
    kernel = jnp.asarray(params["depthwise"]["kernel"])
    kept = jnp.ones_like(kernel, bool).at[..., 2].set(False)
    masked = {"kernel": masks.apply({"k": kernel}, {"k": kept})["k"]}
    dense, sparse = (
        jnp.asarray(depthwise.apply({"params": p}, image))
        for p in (params["depthwise"], masked)
    )
    assert not sparse[..., 2].any()
    assert (sparse[..., [0, 1, 3]] == dense[..., [0, 1, 3]]).all()


def test_tied_weights_are_one_leaf():
    """A table for input and output is counted once, its two gradients masked once."""
    params = {"table": jnp.array([[1.0, -2.0], [3.0, 0.5]])}
    full = masks.full(params)
    assert masks.count(full) == (4, 4)
    kept = prune.magnitude(params, full, 0.5)
    assert kept["table"].tolist() == [[False, True], [True, False]]

    def loss(params):
        under = masks.apply(params, kept)
        return (under["table"][1] @ under["table"].T).sum()

    # By w[1]: the sum of both rows, and twice its own: 6, of which one is kept.
    found = jax.grad(loss)(params)["table"]
    assert found.tolist() == [[0.0, 0.0], [6.0, 0.0]]


def test_masks_without_some_are_those_of_the_others():
    pruned = {"fc1": boolean(1, 0), "fc": boolean(0, 1), "bias": None}
    rest = masks.without(pruned, ["^fc$"])
    assert_same(rest, {"fc1": boolean(1, 0), "fc": None, "bias": None})
    assert_same(masks.without(pruned, []), pruned)
    with pytest.raises(ValueError, match="^'x' matches no prunable parameter; .* fc,"):
        masks.without(pruned, ["^fc$", "x"])
    with pytest.raises(ValueError, match="nothing is left to prune"):
        masks.without(pruned, ["fc"])


def linen(make, *shapes, **more):
    return lambda: make.init(jax.random.key(0), *map(jnp.ones, shapes), **more)[
        "params"
    ]


def nnx_of(make):
    return lambda: nnx.split(make(nnx.Rngs(0)))[1]


def eqx_of(make):
    return lambda: eqx.filter(make(jax.random.key(0)), eqx.is_array)


SEQUENCE, CARRY = (1, 3, 4), ((1, 4), (1, 4))
ATTENTION = ["key/kernel", "out/kernel", "query/kernel", "value/kernel"]
GATES = {
    "LSTM": [*(f"h{g}/kernel" for g in "fgio"), *(f"i{g}/kernel" for g in "fgio")],
    "GRU": [*(f"h{g}/kernel" for g in "nrz"), *(f"i{g}/kernel" for g in "nrz")],
}


class Twice(nn.Module):
    """A kernel and the weights of a normalisation over two axes."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(feature_axes=(-2, -1), reduction_axes=(-2, -1))(x)
        x = nn.RMSNorm(feature_axes=(-2, -1), reduction_axes=(-2, -1))(x)
        return nn.DenseGeneral((2, 3), axis=(-2, -1), name="out")(x)


# A layer of a framework, and what of it is prunable.
STANDARD = {
    "linen Dense": (linen(nn.Dense(3), (1, 2)), ["kernel"]),
    "linen DenseGeneral": (linen(nn.DenseGeneral((2, 3)), (1, 2)), ["kernel"]),
    "linen Einsum": (
        linen(nn.Einsum((4, 2, 3), "abc,cde->abde"), SEQUENCE),
        ["kernel"],
    ),
    "linen Conv": (linen(nn.Conv(3, (2, 2)), (1, 4, 4, 2)), ["kernel"]),
    "linen ConvLocal": (linen(nn.ConvLocal(3, (2, 2)), (1, 4, 4, 2)), ["kernel"]),
    "linen ConvTranspose": (linen(nn.ConvTranspose(3, (2,)), SEQUENCE), ["kernel"]),
    "linen Embed": (lambda: {"e": {"embedding": jnp.ones((5, 2))}}, ["e/embedding"]),
    "linen attention": (
        linen(nn.MultiHeadDotProductAttention(2, normalize_qk=True), SEQUENCE),
        ATTENTION,
    ),
    "linen norms": (linen(Twice(), SEQUENCE), ["out/kernel"]),
    "linen BatchNorm": (linen(nn.BatchNorm(True), SEQUENCE), []),
    "linen GroupNorm": (linen(nn.GroupNorm(2), SEQUENCE), []),
    "linen InstanceNorm": (linen(nn.InstanceNorm(), SEQUENCE), []),
    "linen WeightNorm": (
        linen(nn.WeightNorm(nn.DenseGeneral((2, 3)), feature_axes=(-2, -1)), (1, 4)),
        ["layer_instance/kernel"],
    ),
    "linen SpectralNorm": (
        linen(nn.SpectralNorm(nn.Dense(3)), (1, 4), update_stats=False),
        ["layer_instance/kernel"],
    ),
    "linen PReLU": (linen(nn.PReLU(), SEQUENCE), []),
    "linen LSTMCell": (lambda: cell(nn.LSTMCell(4)), GATES["LSTM"]),
    "linen OptimizedLSTMCell": (lambda: cell(nn.OptimizedLSTMCell(4)), GATES["LSTM"]),
    "linen GRUCell": (lambda: cell(nn.GRUCell(4)), GATES["GRU"]),
    "linen MGUCell": (
        lambda: cell(nn.MGUCell(4)),
        ["hf/kernel", "hn/kernel", "if/kernel", "in/kernel"],
    ),
    "linen SimpleCell": (lambda: cell(nn.SimpleCell(4)), ["h/kernel", "i/kernel"]),
    "linen ConvLSTMCell": (
        lambda: cell(nn.ConvLSTMCell(2, (2,)), (1, 3, 2)),
        ["hh/kernel", "ih/kernel"],
    ),
    "nnx Linear": (nnx_of(lambda r: nnx.Linear(2, 3, rngs=r)), ["kernel/value"]),
    "nnx LinearGeneral": (
        nnx_of(lambda r: nnx.LinearGeneral(2, (3, 2), rngs=r)),
        ["kernel/value"],
    ),
    "nnx Einsum": (
        nnx_of(lambda r: nnx.Einsum("abc,cde->abde", (4, 2, 3), (2, 3), rngs=r)),
        ["kernel/value"],
    ),
    "nnx Conv": (nnx_of(lambda r: nnx.Conv(2, 3, (2,), rngs=r)), ["kernel/value"]),
    "nnx ConvTranspose": (
        nnx_of(lambda r: nnx.ConvTranspose(2, 3, (2,), rngs=r)),
        ["kernel/value"],
    ),
    "nnx Embed": (nnx_of(lambda r: nnx.Embed(5, 2, rngs=r)), ["embedding/value"]),
    "nnx attention": (
        nnx_of(lambda r: nnx.MultiHeadAttention(2, 4, normalize_qk=True, rngs=r)),
        [f"{path}/value" for path in ATTENTION],
    ),
    "nnx Dropout": (nnx_of(lambda r: nnx.Dropout(0.5, rngs=r)), []),
    "nnx BatchNorm": (nnx_of(lambda r: nnx.BatchNorm(2, rngs=r)), []),
    "nnx LayerNorm": (
        nnx_of(
            lambda r: nnx.LayerNorm(
                2, feature_axes=(-2, -1), reduction_axes=(-2, -1), rngs=r
            )
        ),
        [],
    ),
    "nnx GroupNorm": (nnx_of(lambda r: nnx.GroupNorm(2, 1, rngs=r)), []),
    "nnx InstanceNorm": (nnx_of(lambda r: nnx.InstanceNorm(2, rngs=r)), []),
    "nnx RMSNorm": (nnx_of(lambda r: nnx.RMSNorm(2, rngs=r)), []),
    "nnx PReLU": (nnx_of(lambda r: nnx.PReLU()), []),
    "nnx WeightNorm": (
        nnx_of(
            lambda r: nnx.WeightNorm(
                nnx.LinearGeneral(2, (3, 2), rngs=r), feature_axes=(-2, -1), rngs=r
            )
        ),
        ["layer_instance/kernel/value"],
    ),
    "nnx SpectralNorm": (
        nnx_of(lambda r: nnx.SpectralNorm(nnx.Linear(2, 3, rngs=r), rngs=r)),
        ["layer_instance/kernel/value"],
    ),
    "nnx LoRA": (
        nnx_of(lambda r: nnx.LoRA(2, 1, 3, rngs=r)),
        ["lora_a/value", "lora_b/value"],
    ),
    "nnx LSTMCell": (
        nnx_of(lambda r: nnx.LSTMCell(4, 4, rngs=r)),
        [f"{path}/value".replace("if/", "if_/") for path in GATES["LSTM"]],
    ),
    "nnx OptimizedLSTMCell": (
        nnx_of(lambda r: nnx.OptimizedLSTMCell(4, 4, rngs=r)),
        ["dense_h/kernel/value", "dense_i/kernel/value"],
    ),
    "nnx GRUCell": (
        nnx_of(lambda r: nnx.GRUCell(4, 4, rngs=r)),
        ["dense_h/kernel/value", "dense_i/kernel/value"],
    ),
    "nnx SimpleCell": (
        nnx_of(lambda r: nnx.SimpleCell(4, 4, rngs=r)),
        ["dense_h/kernel/value", "dense_i/kernel/value"],
    ),
    "eqx Linear": (eqx_of(lambda k: eqx.nn.Linear(2, 3, key=k)), ["weight"]),
    "eqx Conv2d": (eqx_of(lambda k: eqx.nn.Conv2d(2, 3, 2, key=k)), ["weight"]),
    "eqx ConvTranspose1d": (
        eqx_of(lambda k: eqx.nn.ConvTranspose1d(2, 3, 2, key=k)),
        ["weight"],
    ),
    "eqx Embedding": (eqx_of(lambda k: eqx.nn.Embedding(5, 2, key=k)), ["weight"]),
    "eqx GRUCell": (
        eqx_of(lambda k: eqx.nn.GRUCell(2, 3, key=k)),
        ["weight_hh", "weight_ih"],
    ),
    "eqx LSTMCell": (
        eqx_of(lambda k: eqx.nn.LSTMCell(2, 3, key=k)),
        ["weight_hh", "weight_ih"],
    ),
    "eqx MLP": (
        eqx_of(lambda k: eqx.nn.MLP(2, 3, 4, 1, key=k)),
        ["layers/0/weight", "layers/1/weight"],
    ),
    "eqx attention": (
        eqx_of(
            lambda k: eqx.nn.MultiheadAttention(
                2, 4, use_query_bias=True, use_output_bias=True, key=k
            )
        ),
        [f"{name}_proj/weight" for name in ("key", "output", "query", "value")],
    ),
    "eqx LayerNorm": (eqx_of(lambda k: eqx.nn.LayerNorm((2, 3))), []),
    "eqx RMSNorm": (eqx_of(lambda k: eqx.nn.RMSNorm((2, 3))), []),
    "eqx GroupNorm": (eqx_of(lambda k: eqx.nn.GroupNorm(2, 4)), []),
    "eqx PReLU": (eqx_of(lambda k: eqx.nn.PReLU(jnp.ones((2, 2)))), []),
    "eqx WeightNorm": (
        eqx_of(lambda k: eqx.nn.WeightNorm(eqx.nn.Conv1d(2, 3, 2, key=k))),
        ["layer/weight"],
    ),
    # As Haiku names them.
    "haiku Linear": (lambda: {"linear": {"w": W, "b": jnp.ones(2)}}, ["linear/w"]),
    "haiku Conv2D NCHW": (lambda: {"conv": {"w": W, "b": W}}, ["conv/w"]),
    "haiku Bias": (lambda: {"bias": {"b": W}}, []),
    "haiku BatchNorm": (lambda: {"batch_norm": {"scale": W, "offset": W}}, []),
    "haiku GRU": (
        lambda: {"gru": {"w_i": W, "w_h": W, "b": jnp.ones(2)}},
        ["gru/w_h", "gru/w_i"],
    ),
    "haiku Embed": (lambda: {"embed": {"embeddings": W}}, ["embed/embeddings"]),
    # What has no such name is prunable from rank 2 on.
    "plain": (lambda: {"a": W, "b": W, "w": [W, jnp.ones(2)]}, ["a", "w/0"]),
    "plain names": (lambda: {"a": W, "b": W, "mean": W}, ["a", "b", "mean"]),
    "modules": (lambda: {"scale": {"kernel": W}}, ["scale/kernel"]),
    "strange": (
        lambda: {"w": W, "ids": jnp.ones((2, 2), int), "f": len, "k": KEYS, "n": 3},
        ["w"],
    ),
}
W, KEYS = jnp.ones((2, 2)), jax.random.split(jax.random.key(0), (2, 2))


def cell(module, shape=(1, 4)):
    carry = module.initialize_carry(jax.random.key(0), shape)
    return module.init(jax.random.key(0), carry, jnp.ones(shape))["params"]


@pytest.mark.parametrize("name", STANDARD)
def test_no_bias_and_no_normalisation_of_any_framework_is_prunable(name):
    make, prunable = STANDARD[name]
    params = make()
    full = masks.full({"layer": params, "w": W})
    found = [path.removeprefix("layer/") for path, _ in masks.leaves(full)]
    assert found == [*prunable, "w"]


def test_every_layer_of_the_frameworks_is_in_the_table():
    """But for those without parameters, of others, and base classes."""
    without = {"Dropout", "Sequential", "Module", "RNN", "Bidirectional", "RNNCellBase"}
    without |= {"Dict", "List", "LoRALinear", "MultiHeadAttention", "SelfAttention"}
    without |= {"RoPE"}  # of newer versions
    named = {name.split()[-1] for name in STANDARD}
    for kind, package in ((nn.Module, nn), (nnx.Module, nnx)):
        layers = {
            name
            for name, layer in vars(package).items()
            if isinstance(layer, type) and issubclass(layer, kind) and "Fp8" not in name
        }
        layers = {name for name in layers if name[0] != "_"}
        same = {"MultiHeadDotProductAttention", "LayerNorm", "RMSNorm"}
        assert layers - named - without - same == set()


def test_a_network_without_kernels_has_nothing_to_prune():
    with pytest.raises(ValueError, match="nothing is left to prune"):
        masks.full({"bias": jnp.ones(2)})


def test_pruned_weights_are_0_and_the_others_stay_to_the_last_bit():
    params = {"w": jnp.array([1.5, -2.5, 3.5]), "b": jnp.array([4.5])}
    ticket = {"w": boolean(1, 0, 1), "b": None}
    want = {"w": jnp.array([1.5, 0, 3.5]), "b": jnp.array([4.5])}
    assert_same(masks.apply(params, ticket), want)
    assert_same(jax.jit(masks.apply)(params, ticket), want)
    assert not np.signbit(masks.apply(params, ticket)["w"][1]), "0 is not -0"


def test_neither_nan_nor_infinity_comes_through_a_mask():
    params = {"w": jnp.array([jnp.nan, jnp.inf, 1])}
    assert_same(
        masks.apply(params, {"w": boolean(0, 0, 1)}), {"w": jnp.array([0.0, 0, 1])}
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, bool])
def test_masked_parameters_keep_their_dtype(dtype):
    under = masks.apply({"w": jnp.ones((1, 2), dtype)}, {"w": boolean([1, 0])})
    assert under["w"].dtype == dtype
    assert under["w"].tolist() == [[1, 0]]


def test_the_gradient_through_a_mask_is_0_where_it_prunes():
    def loss(params):
        under = masks.apply(params, {"w": boolean(1, 0), "b": None})
        return jnp.sum(under["w"] ** 2) + jnp.sum(under["b"] ** 2)

    gradient = jax.grad(loss)({"w": jnp.array([3.0, 5]), "b": jnp.array([7.0])})
    assert_same(gradient, {"w": jnp.array([6.0, 0]), "b": jnp.array([14.0])})


def test_counts_are_python_integers_of_prunable_weights():
    ticket = {"w": boolean([1, 0, 0]), "empty": boolean([0, 0]), "b": None}
    assert masks.count(ticket) == (1, 5)
    assert all(type(number) is int for number in masks.count(ticket))
    assert masks.by_layer(ticket) == {"empty": (0, 2), "w": (1, 3)}
    assert masks.density(ticket) == 0.2
    assert masks.count(jax.tree.map(np.asarray, ticket)) == (1, 5)


def test_the_density_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="nothing is prunable"):
        masks.density({"b": None})


def test_a_weightless_layer_counts_as_none():
    assert masks.by_layer({"w": jnp.ones((0, 3), bool)}) == {"w": (0, 0)}


def test_overlap_is_of_the_smaller_mask_and_symmetric():
    a = {"w": boolean(1, 1, 1, 0), "b": None}
    b = {"w": boolean(0, 0, 1, 1), "b": None}
    assert masks.overlap(a, b) == masks.overlap(b, a) == 0.5
    assert masks.overlap(a, a) == 1
    assert masks.overlap(a, {"w": boolean(1, 0, 0, 0), "b": None}) == 1
    assert masks.overlap({"w": boolean(1, 0)}, {"w": boolean(0, 1)}) == 0


def test_the_overlap_with_nothing_is_an_error():
    with pytest.raises(ValueError, match="nothing is kept"):
        masks.overlap({"w": boolean(1, 0)}, {"w": boolean(0, 0)})


def test_fitting_masks_pass_the_check():
    masks.check(LENET, masks.full(LENET))
    masks.check(LENET, masks.full(LENET, "^fc/"))
    masks.check({"w": jnp.ones(2), "b": None}, {"w": boolean(1, 0), "b": None})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"a": None}, "masks: b/w is missing"),
        ({"a": None, "b": {}}, "masks: b/w is missing"),
        ({"a": None, "b": {"w": None}, "c": None}, "masks: c is extra"),
        ({"a": None, "b": {"w": None, "x": np.ones(1, bool)}}, "masks: b/x is extra"),
        ({"a": None, "b": {"w": np.ones((2, 2))}}, "masks: b/w is float64, not bool"),
        (
            {"a": None, "b": {"w": np.ones((4,), bool)}},
            r"masks: b/w has shape \(4,\), its parameter \(2, 2\)",
        ),
    ],
)
def test_masks_that_do_not_fit_are_an_error_that_names_the_path(wrong, said):
    params = {"a": jnp.ones(3), "b": {"w": jnp.ones((2, 2))}}
    with pytest.raises(ValueError, match=said):
        masks.check(params, wrong)


def test_a_check_names_each_leaf_a_fixed_number_of_times(monkeypatch):
    """With every leaf named once a leaf, 200 leaves take as long as pruning them."""
    named, name = [], masks.name
    monkeypatch.setattr(masks, "name", lambda path: named.append(path) or name(path))
    counts = []
    for leaves in (10, 40):
        params = {str(i): jnp.ones((1, 1)) for i in range(leaves)}
        full = masks.full(params)
        named.clear()
        masks.check(params, full)
        counts.append(len(named))
    assert counts[1] == 4 * counts[0]


def test_a_packed_mask_has_its_first_weight_in_the_highest_bit():
    ticket = {"w": boolean([1, 0, 0, 0, 0], [0, 0, 1, 0, 1]), "b": None}
    packed = {"w": jnp.array([0b10000001, 0b01000000], jnp.uint8), "b": None}
    params = {"w": jnp.ones((2, 5)), "b": jnp.ones(1)}
    assert_same(masks.pack(ticket), packed)
    assert_same(jax.jit(masks.pack)(ticket), packed)
    assert_same(masks.unpack(packed, params), ticket)
    assert_same(jax.jit(masks.unpack)(packed, params), ticket)


def test_bytes_that_do_not_fit_are_an_error_that_names_the_path():
    with pytest.raises(
        ValueError, match=r"l/w has 2 bytes, its shape \(8, 1\) needs 1"
    ):
        masks.unpack({"l": {"w": np.zeros(2, np.uint8)}}, {"l": {"w": np.ones((8, 1))}})


@settings(max_examples=20)
@given(hnp.arrays(bool, st.sampled_from([(1, 1), (3, 5), (2, 4, 4), (0, 3)])))
def test_packing_loses_nothing(mask):
    packed = masks.pack({"w": mask})
    assert packed["w"].size == -(-mask.size // 8)
    np.testing.assert_array_equal(packed["w"], np.packbits(mask))
    assert_same(masks.unpack(packed, {"w": mask}), {"w": jnp.asarray(mask)})


def test_leaves_come_in_path_order_whatever_holds_them():
    ordered = {"2": 0, "10": 1, "a": {"b": 2, "c": None, "d": [3, (4,)]}, "a2": 5}
    names = ["2", "10", "a/b", "a/d/0", "a/d/1/0", "a2"]
    assert masks.leaves(ordered) == list(zip(names, range(6)))
    backwards = dict(reversed(ordered.items()))
    assert masks.leaves(backwards) == masks.leaves(ordered)
    assert masks.leaves(Net(kernel=1, bias=0)) == [("bias", 0), ("kernel", 1)]
    assert masks.leaves(7) == [("", 7)]


def test_the_tenth_of_a_list_comes_after_the_second():
    paths = [path for path, _ in masks.leaves({"conv": list(range(12))})]
    assert paths == [f"conv/{i}" for i in range(12)]
