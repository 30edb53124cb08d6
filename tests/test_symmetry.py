"""Symmetry: which hidden units can be permuted, and how two networks are matched."""

from collections import Counter
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from trees import assert_same

from lth_jax import masks as masks_lib
from lth_jax import measures, models, symmetry
from lth_jax.models import lean
from lth_jax.symmetry.axes import Segment, Solver, fixed, size

BATCH, INPUTS = 3, 4


def functions(forward, **shapes):
    """A network of plain functions of these parameters and a batch of rows."""

    def init(key, inputs):
        return {name: jnp.ones(shape) for name, shape in shapes.items()}, {}

    def apply(params, state, inputs, *, train, key):
        return forward(inputs, **params), state

    return models.Functions(init, apply)


def found(network, *shape):
    return symmetry.groups(network, jax.ShapeDtypeStruct(shape, jnp.float32))


def drawn(tree):
    """Arrays of these shapes, of a network's size, in which no two units are alike."""
    rng = np.random.default_rng(0)

    def one(leaf):
        if len(leaf.shape) < 2:
            return jnp.float32(1 + rng.uniform(-0.1, 0.1, leaf.shape))
        inputs = np.prod(leaf.shape) / max(leaf.shape)
        return jnp.float32(rng.normal(size=leaf.shape) / inputs**0.5)

    return jax.tree.map(one, tree)


def permuted_alike(network, *shape):
    """A network, the same with its units permuted, which has the same outputs."""
    groups = found(network, *shape)
    inputs = jnp.float32(np.random.default_rng(1).normal(size=(BATCH, *shape)))
    params, state = drawn(jax.eval_shape(network.init, jax.random.key(0), inputs))
    order = symmetry.random(jax.random.key(1), groups)
    copy = symmetry.permute(params, order, groups.params)
    moved = symmetry.permute(state, order, groups.state)

    @jax.jit
    def apply(params, state):
        return network.apply(params, state, inputs, train=False, key=None)[0]

    outputs = apply(params, state)
    largest = float(jnp.abs(outputs).max())
    assert 0 < largest < np.inf
    np.testing.assert_allclose(apply(copy, moved), outputs, atol=1e-4 * largest)
    return SimpleNamespace(
        params=params,
        copy=copy,
        order=order,
        groups=groups,
        apart=lambda other: (
            float(jnp.abs(apply(other, state) - outputs).max()) / largest
        ),
    )


U, V = (INPUTS, 6), (6, 2)
# By name: a function, the shapes of its parameters, and the sizes of its groups.
CASES = {
    "plain": (lambda x, u, v: jnp.tanh(x @ u) @ v, {"u": U, "v": V}, [6]),
    "transposed": (
        lambda x, u, v: (v @ (u @ x.T)).T,
        {"u": U[::-1], "v": V[::-1]},
        [6],
    ),
    "softmax": (lambda x, u, v: jax.nn.softmax(x @ u) @ v, {"u": U, "v": V}, [6]),
    "normalised": (
        lambda x, u, v: jax.nn.standardize(x @ u) @ v,
        {"u": U, "v": V},
        [6],
    ),
    "largest": (
        lambda x, u, v: (x @ u).max(1, keepdims=True) @ v,
        {"u": U, "v": (1, 2)},
        [6],
    ),
    "gated": (
        lambda x, u, v: ((x @ u)[:, :3] * jax.nn.sigmoid((x @ u)[:, 3:])) @ v,
        {"u": U, "v": (3, 2)},
        [3],
    ),
    "random features": (
        lambda x, u, v: jnp.cos(x @ (u + jax.random.normal(jax.random.key(42), U))) @ v,
        {"u": U, "v": V},
        [],
    ),
    "joined": (
        lambda x, a, b, v: jnp.concatenate([x @ a, x @ b], 1) @ v,
        {"a": (INPUTS, 3), "b": (INPUTS, 2), "v": (5, 2)},
        [3, 2],
    ),
    "joined again": (
        lambda x, a, v: jnp.concatenate([x @ a, jnp.abs(x @ a)], 1) @ v,
        {"a": (INPUTS, 3), "v": V},
        [3],
    ),
    "padded": (
        lambda x, a, b, v: (jnp.pad(x @ a, ((0, 0), (0, 2))) + x @ b) @ v,
        {"a": (INPUTS, 4), "b": U, "v": V},
        [4, 2],
    ),
    "cut": (
        lambda x, u, v: (x @ u)[:, :4] @ v[:4] + (x @ u)[:, 1:3] @ v[4:],
        {"u": U, "v": V},
        [2, 2],
    ),
    "residual": (
        lambda x, u, w, v: (lambda h: (h + jnp.tanh(h @ w)) @ v)(x @ u),
        {"u": U, "w": (6, 6), "v": V},
        [6],
    ),
    "heads": (
        lambda x, u, v: jnp.tanh((x @ u).reshape(len(x), 3, -1)).reshape(len(x), 6) @ v,
        {"u": U, "v": V},
        [3, 2],
    ),
    "shuffled by heads": (
        lambda x, u, v: (x @ u).reshape(-1, 2, 3).swapaxes(1, 2).reshape(-1, 6) @ v,
        {"u": U, "v": V},
        [2, 3],
    ),
    "in pairs": (
        lambda x, u, v: jnp.einsum("bi,bj->bij", x @ u, x @ u).reshape(-1, 36) @ v,
        {"u": U, "v": (36, 2)},
        [6],
    ),
    "flattened by channel": (
        lambda x, u, v: (x[:, None] * u[:, :, None]).reshape(len(x), -1) @ v,
        {"u": (1, 5), "v": (5 * INPUTS, 2)},
        [5],
    ),
    "dense and convolved": (
        lambda x, u, k: lax.conv(
            (x @ u).reshape(len(x), 3, 2, 2), k, (1, 1), "VALID"
        ).sum((2, 3)),
        {"u": (INPUTS, 12), "k": (2, 3, 2, 2)},
        [3],
    ),
    "used twice": (lambda x, w, v: x @ w @ w @ v, {"w": (4, 4), "v": (4, 2)}, []),
    "shifted": (
        lambda x, u, v: (x @ u + jnp.roll(x @ u, 1, 1)) @ v,
        {"u": U, "v": V},
        [],
    ),
    "sorted": (lambda x, u, v: jnp.sort(x @ u) @ v, {"u": U, "v": V}, []),
    "summed up": (lambda x, u, v: jnp.cumsum(x @ u, 1) @ v, {"u": U, "v": V}, []),
    "reversed": (lambda x, u, v: (x @ u)[:, ::-1] @ v, {"u": U, "v": V}, []),
    "every other": (lambda x, u, v: (x @ u)[:, ::2] @ v, {"u": U, "v": (3, 2)}, []),
    "looked up": (
        lambda x, u, v: (x @ u)[:, jnp.array([1, 1, 0])] @ v,
        {"u": U, "v": (3, 2)},
        [],
    ),
    "by position": (
        lambda x, u, v: (x @ u * jnp.arange(6.0)[None]) @ v,
        {"u": U, "v": V},
        [],
    ),
    "by a constant": (
        lambda x, u, v: (x @ u * np.float32([[1, 2, 3, 4, 5, 6]])) @ v,
        {"u": U, "v": V},
        [],
    ),
    "where the largest is": (
        lambda x, u: (x @ u).argmax(1).astype(jnp.float32),
        {"u": U},
        [],
    ),
    "in a loop": (
        lambda x, u, w, v: lax.fori_loop(0, 3, lambda _, h: h @ w, x @ u) @ v,
        {"u": U, "w": (6, 6), "v": V},
        [],
    ),
    "in a loop with parts": (
        lambda x, u, w, v: lax.scan(lambda h, _: (h @ w, None), x @ u, length=2)[0] @ v,
        {"u": U, "w": (6, 6), "v": V},
        [],
    ),
    "embedded": (
        lambda x, e, v: jnp.tanh(e[jnp.int32(x > 0)].sum(1)) @ v,
        {"e": (3, 5), "v": (5, 2)},
        [5],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_units_are_found_and_their_order_does_not_matter(case):
    forward, shapes, wanted = CASES[case]
    groups = permuted_alike(functions(forward, **shapes), INPUTS).groups
    assert sorted(groups.sizes.values()) == sorted(wanted)


def test_what_happens_in_training_alone_counts():
    def apply(params, state, inputs, *, train, key):
        hidden = inputs @ params["u"]
        outputs = hidden @ params["v"]
        return (outputs, jnp.sort(hidden)) if train else outputs, state

    plain = functions(lambda x, u, v: x @ u @ v, u=U, v=V)
    assert found(plain, INPUTS).sizes == {1: 6}
    assert found(models.Functions(plain.init, apply), INPUTS).sizes == {}


@pytest.mark.parametrize(("swapped", "wanted"), [(False, [6, 6]), (True, [6])])
def test_statistics_go_with_their_units(swapped, wanted):
    """What is recorded of one layer's units and used of another's ties them."""

    def init(key, inputs):
        shapes = {"u": U, "w": U, "v": (1, 2)}
        params = {name: jnp.ones(shape) for name, shape in shapes.items()}
        return params, {"u": jnp.ones(6), "w": jnp.ones(6)}

    def apply(params, state, inputs, *, train, key):
        hidden = {name: inputs @ params[name] for name in ("u", "w")}
        outputs = sum(
            ((hidden[n] - state[n][None]) ** 2).sum(1, keepdims=True) for n in hidden
        )
        of = {"u": "w", "w": "u"} if swapped else {"u": "u", "w": "w"}
        after = {name: hidden[of[name]].mean(0) for name in hidden}
        return outputs @ params["v"], after if train else state

    groups = found(models.Functions(init, apply), INPUTS)
    assert [*groups.sizes.values()] == wanted
    for name in ("u", "w"):
        assert groups.state[name] == groups.params[name][1:]


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Dense(8, name="fc1")(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(2, name="fc")(nn.BatchNorm(use_running_average=not train)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = (nnx.Linear(*n, rngs=rngs) for n in ((4, 8), (8, 2)))
        self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.norm(self.hidden(x)))))


class Equinox(eqx.Module):
    """Channels first, flattened before the last layer."""

    conv: eqx.nn.Conv2d
    fc1: eqx.nn.Linear
    fc: eqx.nn.Linear

    def __init__(self, key):
        a, b, c = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(1, 3, 3, padding=1, key=a)
        self.fc1 = eqx.nn.Linear(12, 8, key=b)
        self.fc = eqx.nn.Linear(8, 2, key=c)

    def __call__(self, x):
        x = jax.nn.relu(self.conv(x.reshape(1, 2, 2)))
        return self.fc(jax.nn.relu(self.fc1(x.ravel())))


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (models.linen(Linen()), [8]),
        (models.nnx(Nnx), [8]),
        (models.equinox(Equinox), [3, 8]),
    ],
    ids=["linen", "nnx", "equinox"],
)
def test_networks_of_any_framework_have_groups(network, wanted):
    groups = permuted_alike(network, INPUTS).groups
    assert sorted(groups.sizes.values()) == wanted


SMALL_VIT = {"depth": 1, "width": 24, "heads": 3, "hidden": 16}
# By name: options, sides of images, how many groups, and how many of which size.
NETWORKS = {
    "lenet": ({}, 28, {300: 1, 100: 1}),
    "vgg11": ({}, 32, {64: 1, 128: 1, 256: 2, 512: 4}),
    "resnet20": ({"width": 8}, 32, {8: 4, 16: 4, 32: 4}),
    "squeezenet": ({}, 32, None),
    # Heads, what queries and keys share, values, the MLP, and what all layers add to.
    "vit": (SMALL_VIT, 32, {3: 1, 8: 2, 16: 1, 24: 1}),
    "vgg16": ({}, 32, {64: 2, 128: 2, 256: 3, 512: 6}),
    "mobilenet_v2": ({}, 32, None),
    "inception_v3": ({}, 75, None),
    "resnet50": ({"width": 8}, 64, None),
}
SLOW = ("vgg11", "squeezenet", "vgg16", "mobilenet_v2", "inception_v3", "resnet50")
LEAN = {"conv": lean.Conv, "norm": lean.BatchNorm}


def create(name, **fields):
    options, side, _ = NETWORKS[name]
    network = models.create(name, num_classes=10, **options, **fields)
    return network, (side, side, 1 if name == "lenet" else 3)


@pytest.fixture(scope="module")
def permuted():
    """What `permuted_alike` has of a network, made once."""
    made = {}

    def make(name):
        if name not in made:
            network, shape = create(name)
            made[name] = permuted_alike(network, *shape)
        return made[name]

    return make


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NETWORKS]
)
def test_permuted_networks_have_the_same_outputs(name, permuted):
    groups, wanted = permuted(name).groups, NETWORKS[name][2]
    assert not wanted or Counter(groups.sizes.values()) == wanted
    # All but the outputs' biases have units.
    outputs = {"fc/bias", "aux/fc/bias", "classifier/bias"}
    units = {path for group in groups.sizes for path, _ in groups.where(group)}
    assert groups.params.keys() - units <= outputs


@pytest.mark.parametrize("name", ["resnet20", "vgg11"])
def test_convolutions_for_cpus_have_the_same_groups(name):
    plain, shape = create(name)
    network, _ = create(name, **LEAN)
    assert found(network, *shape) == found(plain, *shape)


# -------------------------------------------------------------------- matching


@pytest.mark.parametrize(
    "name", ["lenet", "resnet20", pytest.param("vgg11", marks=pytest.mark.slow)]
)
def test_a_planted_permutation_is_recovered_and_leaves_no_barrier(name, permuted):
    made = permuted(name)
    key = jax.random.key(5)
    matched = symmetry.match(made.params, made.copy, made.groups, key)
    assert_same(matched, symmetry.inverse(made.order))
    aligned = symmetry.permute(made.copy, matched, made.groups.params)
    assert_same(aligned, made.params)
    for other, same in ((aligned, True), (made.copy, False)):
        half = jax.tree.map(lambda x, y: (x + y) / 2, made.params, other)
        assert (made.apart(half) < 1e-5) == same


def test_units_of_one_input_and_one_output_are_matched_too():
    """Where kernels have axes of size 1, they are no biases."""
    network = models.create("lenet", num_classes=1, widths=(8,))
    groups, rng = found(network, 1), np.random.default_rng(0)
    a = {p: rng.normal(size=[*map(size, axes)]) for p, axes in groups.params.items()}
    order = {1: rng.permutation(8)}
    b = symmetry.permute(a, order, groups.params)
    matched = symmetry.match(a, b, groups, jax.random.key(0))
    assert_same(matched, symmetry.inverse(order))


def test_matching_is_the_same_for_the_same_key():
    network = models.create("lenet", num_classes=3, widths=(12, 8))
    groups = found(network, 5)
    rng = np.random.default_rng(0)
    a, b = (
        {
            path: rng.normal(size=[*map(size, axes)])
            for path, axes in groups.params.items()
        }
        for _ in range(2)
    )
    first, again = (symmetry.match(a, b, groups, jax.random.key(0)) for _ in range(2))
    assert_same(first, again)
    product = measures.cosine(a, symmetry.permute(b, first, groups.params))
    assert product > measures.cosine(a, b) + 0.1


def test_a_group_along_two_axes_of_an_array_is_matched():
    forward, shapes, _ = CASES["residual"]
    made = permuted_alike(functions(forward, **shapes), INPUTS)
    key = jax.random.key(0)
    matched = symmetry.match(made.params, made.copy, made.groups, key)
    assert_same(matched, symmetry.inverse(made.order))


# A group of 3, one of 2, and the first again.
AXIS = ((Segment(1, 3), Segment(2, 2), Segment(1, 3)),)


@given(st.integers(0, 10_000))
def test_permuting_and_back_is_the_identity_and_keeps_counts(seed):
    groups = symmetry.Groups(
        {1: 3, 2: 2},
        {"w": (fixed(4), AXIS), "b": (AXIS,), "v": (AXIS, fixed(2))},
        {},
    )
    order = symmetry.random(jax.random.key(seed), groups)
    rng = np.random.default_rng(seed)
    masks = {"w": jnp.asarray(rng.uniform(size=(4, 8)) < 0.4), "b": None, "v": None}
    moved = symmetry.permute(masks, order, groups.params)
    assert moved["b"] is None
    assert masks_lib.by_layer(moved) == masks_lib.by_layer(masks)
    back = symmetry.permute(moved, symmetry.inverse(order), groups.params)
    assert_same(back, masks)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"u": jnp.ones((4, 2))}, r"^symmetry: u has shape \(4, 2\), not \(4, 6\)$"),
        ({"x": jnp.ones(3)}, "^symmetry: x is not among u, v$"),
    ],
)
def test_arrays_of_another_network_are_refused(tree, said):
    groups = found(functions(CASES["plain"][0], u=U, v=V), INPUTS)
    order = symmetry.random(jax.random.key(0), groups)
    with pytest.raises(ValueError, match=said):
        symmetry.permute(tree, order, groups.params)


# ------------------------------------------------------------------------ axes


def test_axes_of_other_digits_are_unified_part_by_part():
    solver = Solver()
    channels = solver.new(5)
    flat = solver.refold((fixed(2), fixed(3), channels), (30,))[0]
    whole = solver.new(30)
    solver.unify(whole, flat)
    assert solver.resolve(whole) == fixed(6) + channels
    rows = (solver.new(2), solver.new(3), solver.new(5))
    solver.unify(solver.refold(rows, (30,))[0], whole)
    assert [solver.resolve(axis) for axis in rows] == [fixed(2), fixed(3), rows[2]]
    assert solver.resolve(channels) == solver.resolve(rows[2])


def test_segments_of_other_lengths_divide_each_other():
    solver = Solver()
    four, six, two, eight = (solver.new(n) for n in (4, 6, 2, 8))
    solver.unify(solver.joined((four, six)), solver.joined((two, eight)))
    (first,), (second,) = solver.resolve(four), solver.resolve(eight)
    assert [segment.size for segment in first] == [2, 2]
    assert [segment.size for segment in second] == [2, 6]
    assert first[0] == solver.resolve(two)[0][0]
    assert first[1] == second[0]
    assert solver.resolve(six) == (second[1:],)
