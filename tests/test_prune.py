"""Pruning: exact counts, ties, errors, and the same masks however they are computed."""

import hashlib
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from trees import Net, assert_same, boolean

from lth_jax import _drop, prune, scores
from lth_jax import masks as masks_lib
from lth_jax.optim import optimizers as optim

KNOWN = json.loads(Path(__file__).with_name("conformance.json").read_text())


def bits(mask):
    return np.asarray(mask, int).tolist()


def lowest_dropped(scored, kept, n):
    """The masks that `drop` must return, by sorting lists of arrays."""
    flat = np.concatenate([np.ravel(s).astype(np.float64) for s in scored])
    left = np.concatenate([np.ravel(m) for m in kept])
    index = np.flatnonzero(left)
    values = np.nan_to_num(flat[index], nan=0.0, posinf=np.inf, neginf=-np.inf)
    order = np.lexsort((-index, values, np.isnan(flat[index])))
    left[index[order[:n]]] = False
    ends = np.cumsum([np.size(m) for m in kept])[:-1]
    return [x.reshape(np.shape(m)) for x, m in zip(np.split(left, ends), kept)]


# drop


@pytest.mark.parametrize(
    ("scored", "n", "left"),
    [
        ([3, 1, 2, 0, 4], 2, [1, 0, 1, 0, 1]),
        ([1, 1, 1, 1, 1], 2, [1, 1, 1, 0, 0]),
        ([0, 1, 0, 1, 0], 2, [1, 1, 0, 1, 0]),
        ([0, 1, 0, 1, 0], 4, [0, 1, 0, 0, 0]),
        ([3, 1, 2, 0, 4], 0, [1, 1, 1, 1, 1]),
        ([3, 1, 2, 0, 4], 5, [0, 0, 0, 0, 0]),
        ([3, 1, 2, 0, 4], 9, [0, 0, 0, 0, 0]),
        ([-1, -3, 2, -2, 1], 2, [1, 0, 1, 0, 1]),
        ([0.0, -0.0, 0.0, -0.0, 1], 2, [1, 1, 0, 0, 1]),
        ([np.inf, -np.inf, 0, 1, np.inf], 2, [1, 0, 0, 1, 1]),
        ([np.inf, -np.inf, 0, 1, np.inf], 4, [1, 0, 0, 0, 0]),
        ([np.nan, np.inf, -np.nan, 5, -5], 3, [1, 0, 1, 0, 0]),
        ([np.nan, np.nan, np.nan, 5, -5], 9, [0, 0, 0, 0, 0]),
        ([1e-45, 0, -1e-45, 3e-45, -0.0], 2, [1, 1, 0, 1, 0]),
        ([1e-45, 0, 3e-45, 6e-45, -0.0], 3, [0, 0, 1, 1, 0]),
        ([1, 1 + 2**-23, 1 - 2**-24, 1, 2], 2, [1, 1, 0, 0, 1]),
    ],
)
def test_the_lowest_go_and_of_equals_the_last(scored, n, left):
    dropped = prune.drop({"w": jnp.array(scored, jnp.float32)}, {"w": ALL_OF_5}, n)
    assert bits(dropped["w"]) == left


ALL_OF_5 = jnp.ones(5, bool)


def test_pruned_weights_stay_pruned_and_do_not_count():
    scored, kept = {"w": jnp.array([0.0, 1, 2, 3, 4])}, {"w": boolean(0, 1, 0, 1, 1)}
    assert bits(prune.drop(scored, kept, 1)["w"]) == [0, 0, 0, 1, 1]
    assert bits(prune.drop(scored, kept, 2)["w"]) == [0, 0, 0, 0, 1]
    assert bits(prune.drop(scored, kept, 3)["w"]) == [0, 0, 0, 0, 0]


def test_what_is_never_pruned_is_not_looked_at():
    scored = {"w": jnp.arange(5.0), "b": jnp.full(2, -1.0), "step": jnp.array(3)}
    kept = {"w": ALL_OF_5, "b": None, "step": None}
    dropped = prune.drop(scored, kept, 2)
    assert dropped["b"] is None
    assert bits(dropped["w"]) == [0, 0, 1, 1, 1]
    assert prune.drop({"b": jnp.ones(2)}, {"b": None}, 1) == {"b": None}


def test_a_network_of_one_weight_and_layers_of_none():
    assert not prune.drop(jnp.array(1.0), jnp.array(True), 1)
    scored = {"empty": jnp.ones((0, 3)), "w": jnp.array([2.0, 1])}
    kept = jax.tree.map(lambda s: jnp.ones(s.shape, bool), scored)
    dropped = prune.drop(scored, kept, 1)
    assert dropped["empty"].shape == (0, 3)
    assert bits(dropped["w"]) == [1, 0]
    empty = {"w": jnp.ones((0,), bool)}
    assert_same(prune.drop({"w": jnp.ones(0)}, empty, 0), empty)


def test_ties_are_broken_in_path_order_whatever_the_container():
    leaves = {str(i): jnp.ones(1) for i in range(12)}
    kept = jax.tree.map(lambda s: s == 1, leaves)
    dropped = prune.drop(leaves, kept, 2)
    assert [path for path in dropped if not dropped[path]] == ["10", "11"]
    in_list = prune.drop([*leaves.values()], [*kept.values()], 2)
    assert bits(in_list) == [[1]] * 10 + [[0]] * 2
    net = Net(kernel=jnp.ones(1), bias=jnp.ones(1))
    dropped = prune.drop(net, Net(boolean(1), boolean(1)), 1)
    assert (bits(dropped.kernel), bits(dropped.bias)) == ([0], [1])


def test_ties_over_leaves_of_odd_sizes_and_ranks():
    shapes = [(33,), (2, 31), (), (1, 1, 7), (32,)]
    ones = [jnp.ones(shape) for shape in shapes]
    kept = [jnp.ones(shape, bool) for shape in shapes]
    total = sum(m.size for m in kept)
    for n in (1, 32, 33, 39, 40, 41, 71, 102, 103, total):
        flat = np.concatenate([m.ravel() for m in prune.drop(ones, kept, n)])
        assert bits(flat) == [1] * (total - n) + [0] * n


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_scores_are_ranked_exactly(dtype):
    values = [1, 1.0078125, 0.0, -0.0, 6e-8, -6e-8, np.inf, np.nan, 1, -2]
    scored = [jnp.array(values, dtype)]
    kept = [jnp.ones(10, bool)]
    for n in range(11):
        assert_same(prune.drop(scored, kept, n), lowest_dropped(scored, kept, n))


def test_leaves_of_different_precision_are_ranked_together():
    scored = [jnp.array([1, 3], jnp.bfloat16), jnp.array([1.001, 2.999], jnp.float32)]
    dropped = prune.drop(scored, [boolean(1, 1), boolean(1, 1)], 3)
    assert bits(dropped) == [[0, 1], [0, 0]]


def test_double_precision_is_not_rounded():
    with jax.enable_x64(True):
        scored = 1 + jnp.array([3, 1, 2, 0]) * 1e-15
        dropped = prune.drop(scored, jnp.ones(4, bool), 2)
    assert bits(dropped) == [1, 0, 1, 0]


def test_a_number_for_every_layer_ranks_within_it():
    scored = {
        "a": jnp.array([1.0, 2, 3]),
        "b": jnp.array([0.0, 0, 9]),
        "c": jnp.ones(3),
    }
    kept = {"a": boolean(1, 1, 1), "b": boolean(0, 1, 1), "c": None}
    dropped = prune.drop(scored, kept, {"a": 2, "b": 1, "c": None})
    assert (bits(dropped["a"]), bits(dropped["b"])) == ([0, 0, 1], [0, 0, 1])
    dropped = prune.drop(scored, kept, {"a": jnp.uint32(0), "b": 0, "c": None})
    assert_same(dropped, kept)


def test_many_small_leaves_are_pruned_as_few_large_ones_are():
    """Some are joined, whatever their sizes; a larger one is not."""
    rng = np.random.default_rng(0)
    shapes = [(3,), (64, 64), (0, 2), (70_000,), (), (7, 9), (4097,), (2,), (1,)]
    scored = [jnp.asarray(rng.integers(0, 99, s), jnp.float32) for s in shapes]
    kept = [jnp.asarray(rng.random(s) < 0.9) for s in shapes]
    found = prune.drop(scored, kept, 40_000)
    assert_same(found, lowest_dropped(scored, kept, 40_000))
    numbers = [m.size // 3 for m in kept]
    found = prune.drop(scored, kept, numbers)
    alone = zip(found, scored, kept, numbers)
    for got, s, m, n in alone:
        np.testing.assert_array_equal(got, lowest_dropped([s], [m], n)[0])


def test_many_networks_are_pruned_in_one_program():
    scored = jnp.array([[3.0, 1, 2, 1], [1, 1, 1, 1], [0, 1, 2, 3]])
    kept = boolean([1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1])
    dropped = jax.vmap(prune.drop)(scored, kept, jnp.array([2, 1, 4]))
    assert bits(dropped) == [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("scored", "said"),
    [
        ({}, "scores: w is missing"),
        ({"w": jnp.ones(2)}, r"scores: w has shape \(2,\), not \(3,\)"),
        ({"w": jnp.arange(3)}, "scores: w is int32, not floating-point"),
    ],
)
def test_scores_that_cannot_be_ranked_are_an_error(scored, said):
    with pytest.raises(ValueError, match=said):
        prune.drop(scored, {"w": jnp.ones(3, bool)}, 1)


@pytest.mark.slow
def test_pruning_is_the_same_eager_and_jitted():
    scored = [jnp.array([1.0, 0, 1, 2]), jnp.array([[1.0, 1]])]
    kept = [boolean(1, 1, 1, 0), boolean([1, 1])]
    for n in (1, 3):
        with jax.disable_jit():
            eager = prune.drop(scored, kept, n)
        assert_same(eager, jax.jit(prune.drop)(scored, kept, jnp.int32(n)))
        assert_same(eager, lowest_dropped(scored, kept, n))


@pytest.mark.parametrize("axis", [0, 1])
def test_pruning_is_the_same_on_one_device_and_on_two(axis):
    rng = np.random.default_rng(0)
    shapes = {"a": (48, 30), "b": (30, 10)}
    scored = {k: jnp.asarray(rng.integers(0, 9, s) / 8) for k, s in shapes.items()}
    kept = {k: jnp.asarray(rng.random(s) < 0.8) for k, s in shapes.items()}
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    spec = PartitionSpec(*[None] * axis, "batch")
    sharded = jax.device_put((scored, kept), NamedSharding(mesh, spec))
    for n in (1, 500, 1000):
        on_two = prune.drop(*sharded, n)
        assert len(on_two["a"].sharding.device_set) == 2
        assert_same(on_two, prune.drop(scored, kept, n))


# A tree of fixed shapes, so that the examples compile one program.
SHAPES = [(7, 5), (33,), (1, 1), (0, 2)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)
TIED = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 1e-40, np.inf])
FLOATS = st.floats(width=32, allow_nan=False)


def trees(elements, dtype=np.float32):
    arrays = [hnp.arrays(dtype, shape, elements=elements) for shape in SHAPES]
    return st.tuples(*arrays).map(list)


any_scores = trees(TIED) | trees(FLOATS)
any_masks = trees(st.booleans(), bool)


@settings(max_examples=100)
@given(any_scores, any_masks, st.integers(0, SIZE))
def test_exactly_the_n_lowest_go(scored, kept, n):
    assert_same(prune.drop(scored, kept, n), lowest_dropped(scored, kept, n))


@settings(max_examples=50)
@given(any_scores, any_masks, st.integers(0, SIZE), st.integers(0, SIZE))
def test_counts_are_exact_masks_shrink_and_steps_add_up(scored, kept, n, m):
    once = prune.drop(scored, kept, n)
    before = masks_lib.count(kept)[0]
    assert masks_lib.count(once)[0] == max(0, before - n)
    assert all(np.all(small <= large) for small, large in zip(once, kept))
    assert_same(prune.drop(scored, once, m), prune.drop(scored, kept, n + m))


@settings(max_examples=30)
@given(
    trees(TIED), trees(st.booleans(), bool), st.lists(st.integers(0, 40), min_size=4)
)
def test_every_layer_is_pruned_as_if_alone(scored, kept, numbers):
    dropped = prune.drop(scored, kept, numbers[:4])
    for got, s, m, n in zip(dropped, scored, kept, numbers):
        np.testing.assert_array_equal(got, lowest_dropped([s], [m], n)[0])


# by_fraction, to_density, magnitude


TEN = {"w": jnp.ones(10, bool)}


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [(0.1, 9), (0.2, 8), (0.25, 7), (0.5, 5), (0.8, 2), (0.9, 1), (0.01, 9), (0.11, 8)],
)
def test_the_number_pruned_is_the_fraction_rounded_up(fraction, kept):
    left = prune.by_fraction({"w": jnp.arange(10.0)}, TEN, fraction)
    assert bits(left["w"]) == [0] * (10 - kept) + [1] * kept


def test_the_fraction_may_be_numpys():
    left = prune.by_fraction({"w": jnp.ones(10)}, TEN, np.float64(0.2))
    assert bits(left["w"]) == [1] * 8 + [0] * 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, np.inf, np.nan])
def test_a_fraction_outside_0_and_1_is_an_error(fraction):
    with pytest.raises(ValueError):
        prune.by_fraction({"w": jnp.ones(10)}, TEN, fraction)


def test_every_layer_keeps_its_count():
    scored = {"a": jnp.array([1.0, 3, 2, 2]), "b": jnp.arange(3.0), "c": jnp.ones(2)}
    kept = {"a": boolean(1, 0, 1, 1), "b": boolean(1, 1, 1), "c": None}
    left = prune.to_counts(scored, kept, {"a": 1, "b": 3})
    assert (bits(left["a"]), bits(left["b"])) == ([0, 0, 1, 0], [1, 1, 1])
    assert left["c"] is None
    none = {"a": 0, "b": 1}
    assert kept_by_layer(prune.to_counts(scored, kept, none)) == {"a": 0, "b": 1}
    empty = {"a": jnp.ones((0, 2)), "b": jnp.ones(1)}
    assert_same(
        prune.to_counts(empty, masks_lib.full(empty, include=["b"]), {"a": 0, "b": 1}),
        {"a": jnp.ones((0, 2), bool), "b": boolean(1)},
    )


def test_stacked_layers_keep_counts_of_their_own():
    scored = {"scan": jnp.array([[1.0, 2, 3], [3, 2, 1]]), "b": jnp.ones(2)}
    kept = {"scan": jnp.ones((2, 3), bool), "b": None}
    counts = {"scan[0]": 1, "scan[1]": 2}
    left = prune.to_counts(scored, kept, counts, ["scan"])
    assert bits(left["scan"]) == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"a": 2}, "counts: b is missing"),
        ({"a": 2, "b": 1, "c": 1}, "counts: c is extra"),
        ({"a": -1, "b": 1}, "counts: a cannot keep -1 weights"),
        ({"a": 3, "b": 1}, "a keeps less already; a mask never grows"),
        ({"a": 0, "b": 0}, "nothing would be left of the 3 weights"),
    ],
)
def test_counts_that_cannot_be_are_an_error(counts, said):
    scored = {"a": jnp.ones(4), "b": jnp.array([jnp.nan, 1])}
    kept = {"a": boolean(1, 1, 0, 0), "b": boolean(0, 1)}
    with pytest.raises(ValueError, match=said):
        prune.to_counts(scored, kept, counts)
    with pytest.raises(prune.ScoreError, match="b is NaN"):
        prune.to_counts(scored, kept | {"b": boolean(1, 0)}, {"a": 1, "b": 1})


@settings(max_examples=30)
@given(any_scores, any_masks, st.data())
def test_counts_of_layers_are_exact_and_the_highest_are_kept(scored, kept, data):
    now = [int(m.sum()) for m in kept]
    counts = [data.draw(st.integers(0, n)) for n in now]
    if not sum(counts):
        return
    left = prune.to_counts(scored, kept, dict(zip("0123", counts)))
    for got, s, m, n, c in zip(left, scored, kept, now, counts):
        np.testing.assert_array_equal(got, lowest_dropped([s], [m], n - c)[0])


def test_the_number_pruned_is_exact_beyond_the_integers_of_float32(monkeypatch):
    size, dropped = 10**9 + 1, []
    monkeypatch.setattr(masks_lib, "count", lambda masks: (size, size))
    monkeypatch.setattr(_drop, "drop", lambda scores, masks, n: dropped.append(n))
    prune.by_fraction({"w": jnp.ones(10)}, TEN, 0.2)
    prune.to_density({"w": jnp.ones(10)}, TEN, 0.7)
    assert dropped == [200_000_001, 300_000_001]


def test_smallest_magnitudes_go_over_the_whole_network():
    params = {"w": jnp.array([[0.1, 0.9, -0.2, 0.5]]), "w2": jnp.array([[0.7, 0.8]])}
    left = prune.magnitude(params, masks_lib.full(params), 0.5)
    assert (bits(left["w"]), bits(left["w2"])) == ([[0, 1, 0, 0]], [[1, 1]])


def test_smallest_magnitudes_go_in_every_layer():
    params = {"w": jnp.array([[0.1, 0.9, -0.2, 0.5]]), "w2": jnp.array([[0.7, 0.8]])}
    left = prune.magnitude(params, masks_lib.full(params), 0.5, scope="layer")
    assert (bits(left["w"]), bits(left["w2"])) == ([[0, 1, 0, 1]], [[0, 1]])


def test_a_layer_may_become_empty_but_a_network_never():
    scored = {"a": jnp.zeros(2), "b": jnp.array([0.0, 1, 2, 3])}
    dense = {"a": boolean(1, 1), "b": boolean(1, 1, 1, 1)}
    assert masks_lib.by_layer(prune.by_fraction(scored, dense, 0.4)) == {
        "a": (0, 2),
        "b": (3, 4),
    }
    last = {"a": boolean(0, 0), "b": boolean(0, 0, 0, 1)}
    for scope in ("global", "layer"):
        with pytest.raises(ValueError, match="nothing would be left of the 1 weights"):
            prune.by_fraction(scored, last, 0.1, scope)
    with pytest.raises(ValueError, match="nothing would be left of the 6 weights"):
        prune.to_density(scored, dense, 0.1)
    with pytest.raises(ValueError, match="nothing would be left of the 0 weights"):
        prune.by_fraction({"a": jnp.ones(2)}, {"a": None}, 0.1)


def test_the_density_is_of_the_total_and_of_every_layers_total():
    scored = {"a": jnp.arange(4.0), "b": jnp.arange(4.0, 10)}
    kept = {"a": boolean(0, 1, 1, 1), "b": boolean(0, 0, 1, 1, 1, 1)}
    left = prune.to_density(scored, kept, 0.5)
    assert (bits(left["a"]), bits(left["b"])) == ([0, 0, 0, 1], [0, 0, 1, 1, 1, 1])
    left = prune.to_density(scored, kept, 0.5, "layer")
    assert (bits(left["a"]), bits(left["b"])) == ([0, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    assert_same(prune.to_density(scored, kept, 0.7), kept)


def test_density_1_keeps_a_dense_network():
    assert_same(prune.to_density({"w": jnp.ones(10)}, TEN, 1.0), TEN)


def test_a_mask_never_grows():
    scored = {"a": jnp.ones(4), "b": jnp.ones(6)}
    kept = {"a": boolean(0, 0, 0, 1), "b": jnp.ones(6, bool)}
    with pytest.raises(ValueError, match="density: the network keeps less already"):
        prune.to_density(scored, kept, 0.9)
    with pytest.raises(ValueError, match="density: a keeps less already"):
        prune.to_density(scored, kept, 0.5, "layer")


@pytest.mark.parametrize("density", [0.0, -0.5, 1.01])
def test_a_density_outside_0_and_1_is_an_error(density):
    with pytest.raises(ValueError, match="density: .* is not in"):
        prune.to_density({"w": jnp.ones(10)}, TEN, density)


def test_an_unknown_scope_is_an_error(monkeypatch):
    # Otherwise the annotations find it first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    said = pytest.raises(ValueError, match="scope: 'all' is neither 'global' nor 'la")
    with said:
        prune.by_fraction({"w": jnp.ones(10)}, TEN, 0.5, "all")
    with said:
        prune.to_density({"w": jnp.ones(10)}, TEN, 0.5, "all")
    with said:
        prune.shuffle(jax.random.key(0), TEN, "all")


def test_nan_scores_are_an_error_that_names_the_path_unless_pruned():
    scored = {"b": {"w": jnp.array([1.0, jnp.nan, 2])}, "a": jnp.array([3.0, 4, 5])}
    kept = {"b": {"w": boolean(1, 1, 1)}, "a": boolean(1, 1, 1)}
    with pytest.raises(ValueError, match="scores: b/w is NaN where the mask keeps"):
        prune.by_fraction(scored, kept, 0.5)
    kept["b"]["w"] = boolean(1, 0, 1)
    assert bits(prune.by_fraction(scored, kept, 0.5)["b"]["w"]) == [0, 0, 0]


def test_masks_that_do_not_fit_the_scores_are_an_error():
    with pytest.raises(ValueError, match="masks: b is missing"):
        prune.by_fraction(
            {"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": boolean(1, 1)}, 0.5
        )
    with pytest.raises(ValueError, match="masks: a has shape"):
        prune.by_fraction({"a": jnp.ones(2)}, {"a": boolean(1, 1, 1)}, 0.5)


@pytest.mark.parametrize(
    "prunes",
    [
        lambda w, m: prune.magnitude(w, m, 0.5),
        lambda w, m: prune.by_fraction(scores.magnitude(w), m, 0.5),
        lambda w, m: prune.to_density(scores.magnitude(w), m, 0.5),
        lambda w, m: prune.project(w, m, 0.5),
        lambda w, m: prune.random(jax.random.key(0), m, 0.5),
        lambda w, m: prune.to_counts(scores.magnitude(w), m, {"w": 5}),
    ],
)
def test_in_a_jitted_program_the_number_is_to_be_given(prunes):
    with pytest.raises(ValueError, match="w is traced.* counted on the host.*une.drop"):
        jax.jit(prunes)({"w": jnp.ones(10)}, TEN)
    with pytest.raises(ValueError, match="counted on the host"):
        jax.jit(masks_lib.density)(TEN)


# shuffle, random, project


LAYERS = {"a": jnp.arange(60).reshape(6, 10) < 7, "b": None, "c": jnp.arange(40) < 30}


def test_shuffling_keeps_the_number_in_every_layer():
    shuffled = prune.shuffle(jax.random.key(0), LAYERS)
    assert masks_lib.by_layer(shuffled) == masks_lib.by_layer(LAYERS)
    assert shuffled["b"] is None
    assert masks_lib.overlap(shuffled, LAYERS) < 0.9
    other = prune.shuffle(jax.random.key(1), LAYERS)
    assert masks_lib.overlap(shuffled, other) < 0.9
    assert_same(shuffled, jax.jit(prune.shuffle)(jax.random.key(0), LAYERS))


def test_shuffling_the_network_keeps_only_the_number_in_all():
    shuffled = prune.shuffle(jax.random.key(0), LAYERS, "global")
    assert masks_lib.count(shuffled) == masks_lib.count(LAYERS)
    assert masks_lib.by_layer(shuffled) != masks_lib.by_layer(LAYERS)


@pytest.mark.slow
@settings(max_examples=15)
@given(any_masks, st.integers(0, 2**32 - 1), st.sampled_from(["layer", "global"]))
def test_shuffling_keeps_counts_of_any_masks(kept, seed, scope):
    shuffled = prune.shuffle(jax.random.key(seed), kept, scope)
    assert masks_lib.count(shuffled) == masks_lib.count(kept)
    if scope == "layer":
        assert masks_lib.by_layer(shuffled) == masks_lib.by_layer(kept)


def test_random_masks_have_the_density_and_may_keep_what_was_pruned():
    kept = {"w": jnp.arange(100) < 1}
    drawn = prune.random(jax.random.key(0), kept, 0.3)
    assert masks_lib.count(drawn) == (30, 100)
    assert not drawn["w"][:30].all()
    assert_same(drawn, prune.random(jax.random.key(0), kept, 0.3))
    with pytest.raises(ValueError, match="density: 0.0 is not in"):
        prune.random(jax.random.key(0), kept, 0.0)


def test_a_projection_keeps_the_largest_in_every_layer_and_what_is_never_pruned():
    params = {"a": jnp.array([1.0, -3, 2, 0]), "b": jnp.array([5.0]), "c": jnp.ones(2)}
    dense = {"a": jnp.ones(4, bool), "b": None, "c": jnp.ones(2, bool)}
    want = {"a": jnp.array([0.0, -3, 2, 0]), "b": jnp.array([5.0]), "c": [1.0, 0]}
    want["c"] = jnp.array(want["c"])
    assert_same(prune.project(params, dense, 0.5), want)
    together = prune.project(params, dense, 0.5, "global")
    assert_same(together["a"], jnp.array([1.0, -3, 2, 0]))
    assert_same(together["c"], jnp.zeros(2))


@settings(max_examples=30)
@given(hnp.arrays(np.float32, 6, elements=st.floats(-100, 100, width=32)))
def test_a_projection_is_the_nearest_point(weights):
    projected = prune.project({"w": weights}, {"w": np.ones(6, bool)}, 0.5)["w"]
    assert np.count_nonzero(projected) <= 3
    candidates = [
        np.where(np.isin(range(6), chosen), weights, 0)
        for chosen in itertools.combinations(range(6), 3)
    ]
    nearest = min(np.sum((weights - c).astype(float) ** 2) for c in candidates)
    distance = np.sum((weights - np.asarray(projected)).astype(float) ** 2)
    assert distance == pytest.approx(nearest)


# Known-good numbers


def recipe():
    rng = np.random.RandomState(0)  # noqa: NPY002 (the recipe's generator)
    shapes = {"a": (300, 784), "b": (100, 300), "c": (10, 100)}
    return {k: jnp.asarray(rng.randn(*s).astype(np.float32)) for k, s in shapes.items()}


def digest(kept):
    packed = [np.packbits(kept[path]).tobytes() for path in sorted(kept)]
    return hashlib.sha256(b"".join(packed)).hexdigest()[:16]


def kept_by_layer(kept):
    return {path: number for path, (number, _) in masks_lib.by_layer(kept).items()}


@pytest.mark.parametrize("density", KNOWN["global_magnitude"])
def test_global_magnitude_pruning_agrees_with_other_implementations(density):
    params, known = recipe(), KNOWN["global_magnitude"][density]
    dense = masks_lib.full(params)
    left = prune.to_density(scores.magnitude(params), dense, float(density))
    assert (kept_by_layer(left), digest(left)) == (known["kept"], known["sha16"])
    number = masks_lib.count(dense)[0] - sum(known["kept"].values())
    jitted = jax.jit(lambda w, m, n: prune.drop(scores.magnitude(w), m, n))
    assert digest(jitted(params, dense, number)) == known["sha16"]


def test_magnitude_pruning_in_layers_agrees_with_other_implementations():
    params, known = recipe(), KNOWN["layer_magnitude"]["0.8"]
    left = prune.magnitude(params, masks_lib.full(params), 0.2, "layer")
    assert (kept_by_layer(left), digest(left)) == (known["kept"], known["sha16"])


@pytest.mark.parametrize("prunable", KNOWN["levels_at_fraction_0.2"])
def test_ten_levels_keep_the_published_numbers_of_weights(prunable):
    scored = {"w": jnp.arange(int(prunable), dtype=jnp.float32)}
    kept, numbers = {"w": jnp.ones(int(prunable), bool)}, []
    for _ in range(10):
        kept = prune.by_fraction(scored, kept, 0.2)
        numbers.append(masks_lib.count(kept)[0])
    assert numbers == KNOWN["levels_at_fraction_0.2"][prunable]


def train(weights, mask, steps):
    """One linear unit: outputs before every step, and the weights after the last."""

    def loss(params):
        output = jnp.sum(masks_lib.apply(params, {"w": mask})["w"])
        return jnp.square(output - 40), output

    def step(params, state):
        gradient, output = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state, output

    tx = optim.optimizer("sgd", 0.01, None)
    params = masks_lib.apply({"w": weights}, {"w": mask})
    state, outputs = tx.init(params), []
    for _ in range(steps + 1):
        params, state, output = jax.jit(step)(params, state)
        outputs.append(float(output))
    return outputs, params["w"]


EVERY_SECOND = jnp.arange(10) % 2 == 0


@pytest.mark.parametrize(
    ("first", "mask", "outputs"),
    [
        (0, jnp.ones(10, bool), [45, 44]),
        (0, EVERY_SECOND, [20, 22]),
        (10, EVERY_SECOND, [70, 67, 64.3]),
    ],
)
def test_masked_training_of_one_unit(first, mask, outputs):
    weights = jnp.arange(first, first + 10, dtype=jnp.float32)
    found, trained = train(weights, mask, steps=len(outputs) - 1)
    np.testing.assert_allclose(found, outputs, rtol=1e-6)
    assert not trained[~mask].any(), "pruned weights are exactly 0"


def test_masked_training_moves_only_kept_weights():
    _, trained = train(jnp.arange(10.0), EVERY_SECOND, steps=0)
    np.testing.assert_allclose(trained[::2], [0.4, 2.4, 4.4, 6.4, 8.4], rtol=1e-6)
    assert bits(trained[1::2]) == [0] * 5
