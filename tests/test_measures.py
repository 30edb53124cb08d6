"""Measures: against numbers worked out by hand, by numpy, and by simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import boolean

from lth_jax import masks as masks_lib
from lth_jax import measures, prune, scores

A = {"conv": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "bias": jnp.array([7.0])}
B = {"conv": jnp.array([[0.0, 2.0], [1.0, 4.0]]), "bias": jnp.array([-7.0])}
KEPT = {"conv": jnp.array([[True, True], [False, True]]), "bias": None}


def random(seed, shapes=((40, 25), (300,))):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        f"layer{i}": jax.random.normal(key, shape)
        for i, (key, shape) in enumerate(zip(keys, shapes))
    }


def every(params):
    return jax.tree.map(lambda w: jnp.ones(w.shape, bool), params)


# --------------------------------------------------------- distance, angle, correlation


def test_only_surviving_weights_are_apart():
    np.testing.assert_allclose(measures.distance(A, B, KEPT), np.sqrt(9 + 4))
    np.testing.assert_allclose(measures.distance(A, B), np.sqrt(9 + 4 + 1 + 14**2))


def test_an_angle_is_by_hand_what_it_is_by_the_measure():
    wanted = np.degrees(np.arccos((4 * 4) / (5 * np.sqrt(4 + 16))))
    np.testing.assert_allclose(measures.angle(A, B, KEPT), wanted, rtol=1e-6)
    cosine = measures.cosine(A, B, KEPT)
    np.testing.assert_allclose(cosine, np.cos(np.radians(wanted)), rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [
        ({"w": [1.0, 0.0], "v": [[2.0]]}, {"w": [0.0, 5.0], "v": [[0.0]]}, 90),
        ({"w": [1.0, 0.0], "v": [[2.0]]}, {"w": [3.0, 0.0], "v": [[6.0]]}, 0),
        ({"w": [1.0, 0.0], "v": [[2.0]]}, {"w": [-1.0, 0.0], "v": [[-2.0]]}, 180),
        ({"w": [1.0], "v": [0.0]}, {"w": [1.0], "v": [1.0]}, 45),
    ],
)
def test_angles_of_trees(a, b, degrees):
    a, b = ({name: jnp.array(w) for name, w in tree.items()} for tree in (a, b))
    np.testing.assert_allclose(measures.angle(a, b), degrees, rtol=1e-6, atol=1e-5)


def test_a_network_is_not_apart_from_itself():
    a = random(0)
    assert measures.distance(a, a) == 0
    assert measures.angle(a, a) == 0
    assert measures.cosine(a, a) == 1


def test_nothing_is_at_no_angle():
    zero = jax.tree.map(jnp.zeros_like, A)
    assert np.isnan(measures.angle(A, zero))
    assert np.isnan(measures.pearson(A, zero))


def test_pearson_is_numpys():
    a, b = random(1), random(2)
    b = jax.tree.map(lambda x, y: 0.3 * x + y + 1, a, b)
    kept = {"layer0": jax.random.bernoulli(jax.random.key(3), 0.5, (40, 25))}
    kept["layer1"] = jnp.zeros(300, bool).at[:7].set(True)
    flat = [
        np.concatenate([np.asarray(tree[n])[np.asarray(kept[n])] for n in sorted(tree)])
        for tree in (a, b)
    ]
    wanted = np.corrcoef(*flat)[0, 1]
    np.testing.assert_allclose(measures.pearson(a, b, kept), wanted, rtol=1e-5)


PAIRS = (measures.distance, measures.angle, measures.cosine, measures.pearson)


@pytest.mark.parametrize("measure", PAIRS)
def test_the_order_of_two_networks_does_not_matter(measure):
    for seed in range(3):
        a, b = random(seed), random(seed + 10)
        np.testing.assert_allclose(measure(a, b), measure(b, a), rtol=1e-6)
    assert measures.top_overlap(a, b, 0.3) == measures.top_overlap(b, a, 0.3)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=20)
def test_distances_scale_and_angles_do_not(seed, factor):
    a, b = random(seed, ((5, 4),)), random(seed + 1, ((5, 4),))
    large = [jax.tree.map(lambda w: factor * w, tree) for tree in (a, b)]
    np.testing.assert_allclose(
        measures.distance(*large), factor * measures.distance(a, b), rtol=1e-5
    )
    np.testing.assert_allclose(measures.angle(*large), measures.angle(a, b), rtol=1e-4)


# ------------------------------------------------------------------------- top overlap


def test_ranks_are_of_a_layer_and_counts_of_the_network():
    """Of 4 + 8 weights half are marked; 1 of 2 and 4 of 4 are shared."""
    a = {"a": jnp.array([9.0, 8, 1, 2]), "b": jnp.arange(1.0, 9)}
    b = {"a": jnp.array([9.0, 0, 1, -8]), "b": -jnp.arange(1.0, 9)}
    np.testing.assert_allclose(measures.top_overlap(a, b, 0.5), 5 / 6)


def test_ties_go_to_the_lower_index():
    a, b = {"w": jnp.ones(4)}, {"w": jnp.array([5.0, 5, 0, 0])}
    assert measures.top_overlap(a, b, 0.5) == 1
    assert measures.top_overlap(a, {"w": b["w"][::-1]}, 0.5) == 0
    zeros = {"w": jnp.zeros(4)}
    assert measures.top_overlap(a, zeros, 0.25) == 1


@pytest.mark.slow
def test_overlap_is_the_same_eager_and_jitted():
    a, b, kept = random(1), random(2), every(random(1))
    jitted = jax.jit(measures.top_overlap, static_argnames="p")
    with jax.disable_jit():
        eager = measures.top_overlap(a, b, 0.3, kept)
    assert jitted(a, b, p=0.3, masks=kept) == eager


@pytest.mark.parametrize(("p", "number"), [(0.25, 1), (0.49, 1), (0.5, 2), (0.9999, 3)])
def test_the_number_of_marks_is_rounded_down(p, number):
    a = {"w": jnp.array([4.0, 3, 2, 1])}
    for others in range(1, 5):
        b = {"w": jnp.zeros(4).at[-others:].set(jnp.arange(1.0, others + 1))}
        x, y = (
            {*np.argsort(-np.asarray(t["w"]), kind="stable")[:number]} for t in (a, b)
        )
        assert measures.top_overlap(a, b, p) == np.float32(len(x & y) / number)


def test_of_sparse_networks_the_remaining_weights_count():
    """Two of four are left in the layer: p = 0.5 marks one of them."""
    kept = {"w": boolean(0, 1, 1, 0), "never": None}
    a = {"w": jnp.array([9.0, 2, 1, 9]), "never": jnp.ones(3)}
    b = {"w": jnp.array([0.0, 4, 5, 0]), "never": jnp.ones(3)}
    assert measures.top_overlap(a, b, 0.5, kept) == 0
    assert measures.top_overlap(a, a, 0.5, kept) == 1


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 0.12345])
def test_a_share_that_is_none_is_refused(p):
    with pytest.raises(ValueError, match="p: "):
        measures.top_overlap(A, B, p)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_independent_networks_overlap_by_chance(p):
    found = [measures.top_overlap(random(i), random(1000 + i), p) for i in range(60)]
    spread = np.std(found, ddof=1) / np.sqrt(len(found))
    whole = every(random(0))
    chance = measures.chance_overlap(random(0), p, whole, whole)
    np.testing.assert_allclose(chance, p, rtol=1e-6)
    assert abs(np.mean(found) - p) < 4 * spread


@pytest.mark.parametrize(("p", "density"), [(0.2, 0.5), (0.1, 0.3)])
def test_a_mask_made_from_a_network_shares_more_with_it_by_chance(p, density):
    """p / (1 - s): magnitudes that are shuffled under the mask still share that."""
    trained = random(7)
    whole = every(trained)
    kept = prune.to_density(scores.magnitude(trained), whole, density, "layer")
    chance = measures.chance_overlap(trained, p, kept, whole)
    np.testing.assert_allclose(chance, p / density, rtol=1e-3)
    found = [
        measures.top_overlap(masks_lib.apply(random(100 + i), kept), trained, p, whole)
        for i in range(60)
    ]
    spread = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - chance) < 4 * spread


def test_chance_knows_a_mask_that_ignores_the_network():
    """One of the two largest survives, of two that do: half of p = 0.5 by chance."""
    b, whole = {"w": jnp.array([4.0, 3, 2, 1])}, {"w": jnp.ones(4, bool)}
    kept = {"w": boolean(1, 0, 1, 0)}
    np.testing.assert_allclose(measures.chance_overlap(b, 0.5, kept, whole), 0.5)
    assert measures.chance_overlap(b, 0.5, {"w": boolean(0, 0, 1, 1)}, whole) == 0


def test_each_layer_has_its_own_number():
    a, b = random(3), random(4)
    found = measures.by_layer(measures.distance, a, b, every(a))
    squares = sum(float(d) ** 2 for d in found.values())
    assert [*found] == ["layer0", "layer1"]
    np.testing.assert_allclose(measures.distance(a, b) ** 2, squares, rtol=1e-5)


# ------------------------------------------------------------------------- instability


def test_a_path_has_the_networks_at_its_ends():
    line = measures.interpolate(A, B, jnp.array([0.0, 0.25, 1.0]))
    for i, end in ((0, A), (2, B)):
        jax.tree.map(
            lambda x, w, i=i: np.testing.assert_array_equal(x[i], w), line, end
        )
    np.testing.assert_allclose(line["conv"][1], 0.75 * A["conv"] + 0.25 * B["conv"])


@pytest.mark.parametrize(
    ("errors", "barrier"),
    [
        ([0.1, 0.1, 0.1], 0.0),
        ([0.1, 0.9, 0.2], 0.75),
        ([0.2, 0.1, 0.1], 0.05),  # the higher end is the highest point
        ([0.3, 0.3], 0.0),
    ],
)
def test_a_barrier_is_above_the_mean_of_the_ends(errors, barrier):
    for way in (errors, errors[::-1]):
        found = measures.instability(jnp.array(way))
        np.testing.assert_allclose(found, barrier, atol=1e-7)


@pytest.mark.slow
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30))
def test_a_barrier_is_never_negative(errors):
    assert measures.instability(jnp.array(errors)) >= -1e-7


# --------------------------------------------------------------- any scale, any number


def plainly(name, a, b):
    """As float32 has it, without a thought for overflow."""
    xs, ys = (jax.tree.leaves(side) for side in (a, b))

    def norm(leaves):
        return jnp.sqrt(sum((jnp.sum(x * x) for x in leaves), start=jnp.float32(0)))

    if name == "distance":
        return norm([x - y for x, y in zip(xs, ys)])
    if name == "pearson":
        number = sum(x.size for x in xs)
        xs, ys = ([w - sum(w.sum() for w in s) / number for w in s] for s in (xs, ys))
        product = jnp.stack([jnp.sum(x * y) for x, y in zip(xs, ys)]).sum()
        return product / (norm(xs) * norm(ys))
    x, y = norm(xs), norm(ys)
    apart = norm([v / x - w / y for v, w in zip(xs, ys)])
    together = norm([v / x + w / y for v, w in zip(xs, ys)])
    angle = 2 * jnp.degrees(jnp.arctan2(apart, together))
    return jnp.cos(jnp.radians(angle)) if name == "cosine" else angle


@pytest.mark.parametrize("name", ["distance", "angle", "cosine", "pearson"])
def test_ordinary_weights_are_measured_as_float32_has_it(name):
    """To the last bit: the same program, but for what is never run."""
    a, b = random(5), random(6)
    wanted = jax.jit(plainly, static_argnums=0)(name, a, b)
    found = getattr(measures, name)
    assert found(a, b) == jax.jit(found)(a, b) == wanted


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e-20, 1.0, 1e20, 1e30, 1e37])
def test_weights_of_any_scale_are_measured(scale):
    a = {"w": jnp.array([3.0, 0.0]), "v": jnp.array([[1.0]])}
    b = {"w": jnp.array([0.0, 4.0]), "v": jnp.array([[1.0]])}
    x, y = (jax.tree.map(lambda w: w * jnp.float32(scale), side) for side in (a, b))
    np.testing.assert_allclose(measures.distance(x, y), 5 * scale, rtol=1e-6)
    for measure in (measures.angle, measures.cosine, measures.pearson):
        np.testing.assert_allclose(measure(x, y), measure(a, b), rtol=1e-5)
        np.testing.assert_allclose(measure(x, b), measure(a, b), rtol=1e-5)
    assert measures.angle(x, x) == measures.distance(x, x) == 0
    np.testing.assert_allclose(measures.pearson(x, x), 1, rtol=1e-6)


def test_a_complex_weight_is_a_vector_of_two():
    a, b = {"w": jnp.array([3 + 4j, 0])}, {"w": jnp.array([0, 5j])}
    assert measures.distance(a, {"w": jnp.zeros(2)}) == 5
    np.testing.assert_allclose(measures.distance(a, b), np.sqrt(50), rtol=1e-6)
    np.testing.assert_allclose(measures.angle(a, b), 90, rtol=1e-6)
    turned = {"w": a["w"] * 1j}
    np.testing.assert_allclose(measures.angle(a, turned), 90, rtol=1e-6)
    np.testing.assert_allclose(measures.pearson(a, a), 1, rtol=1e-6)
    assert measures.top_overlap(a, turned, 0.5) == 1


@pytest.mark.parametrize(
    "measure", [measures.distance, measures.angle, measures.cosine, measures.pearson]
)
def test_double_precision_is_kept(measure):
    with jax.enable_x64(True):
        a = {"w": jnp.array([1.0, 2, 3]), "v": jnp.ones(2, jnp.float32)}
        b = {"w": a["w"] + jnp.array([1e-12, 0, -1e-12]), "v": a["v"]}
        assert measure(a, b).dtype == jnp.float64
        np.testing.assert_allclose(measures.distance(a, b), 2**0.5 * 1e-12, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "float8_e4m3fn"])
def test_other_numbers_are_measured_in_single_precision(dtype):
    a, b = {"w": jnp.array([3, 0], dtype)}, {"w": jnp.array([0, 4], dtype)}
    assert measures.distance(a, b) == 5
    assert measures.distance(a, b).dtype == jnp.float32
    np.testing.assert_allclose(measures.angle(a, b), 90, rtol=1e-6)


def test_weights_that_differ_in_shape_are_named():
    kept = {"l": {"w": jnp.ones(3, bool)}}
    for other in ({"l": {"w": jnp.ones(2)}}, {"l": {}}):
        with pytest.raises(ValueError, match="measures: l/w has shapes"):
            measures.distance({"l": {"w": jnp.ones(3)}}, other, kept)
