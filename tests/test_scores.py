"""Scores: one number a weight, the lowest to be pruned first."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import assert_same

from lth_jax import masks, prune, scores

PARAMS = {"a": jnp.ones((4, 50)), "b": {"w": jnp.ones((30,)), "none": None}}


def test_magnitude_is_the_absolute_value_in_the_parameters_dtype():
    params = {
        "w": jnp.array([[1.5, -2], [-0.0, 0]]),
        "h": jnp.array([-3], jnp.bfloat16),
    }
    want = {"w": jnp.array([[1.5, 2], [0, 0]]), "h": jnp.array([3], jnp.bfloat16)}
    assert_same(scores.magnitude(params), want)
    assert_same(jax.jit(scores.magnitude)(params), want)
    assert scores.magnitude(params)["h"].dtype == jnp.bfloat16
    assert not np.signbit(scores.magnitude(params)["w"]).any()


def test_random_scores_are_a_function_of_the_key_the_same_in_a_program():
    key = jax.random.key(0)
    drawn = scores.random(key, PARAMS)
    assert_same(drawn, scores.random(key, PARAMS))
    assert_same(drawn, jax.jit(scores.random)(key, PARAMS))
    other = scores.random(jax.random.key(1), PARAMS)
    assert not np.array_equal(drawn["a"], other["a"])


def test_random_scores_are_uniform_and_shaped_as_the_parameters():
    drawn = scores.random(jax.random.key(0), PARAMS)
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, PARAMS)
    values = np.concatenate([x.ravel() for x in jax.tree.leaves(drawn)])
    assert 0 <= values.min() < 0.05
    assert 0.95 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.06
    assert len(np.unique(values)) == values.size, "leaves draw independently"


def test_random_scores_do_not_depend_on_the_values_or_the_container():
    key = jax.random.key(0)
    in_dict = scores.random(key, {"0": jnp.ones((2, 3)), "1": jnp.ones((2, 3))})
    in_list = scores.random(key, [jnp.zeros((2, 3), bool), jnp.zeros((2, 3), bool)])
    assert_same([*in_dict.values()], in_list)
    assert not np.array_equal(*in_list)


# Two layers, y = b . (a x), for which everything can be written down.
LAYERS = {"a": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([2.0, -1.0])}
X = jnp.array([1.0, 2.0])


def output(params, x=X):
    return params["b"] @ (params["a"] @ x)


def test_snip_is_the_weight_times_its_gradient():
    """dy/da_ij = b_i x_j, dy/db = a x; the loss is 3 y, the sign does not count."""
    want = {"a": jnp.array([[6.0, 24.0], [1.5, 18.0]]), "b": jnp.array([18.0, 19.5])}
    for snip in (scores.snip, jax.jit(scores.snip, static_argnums=0)):
        assert_same(snip(lambda params: 3 * output(params), LAYERS), want)


def test_grasp_of_a_quadratic_loss_is_weight_times_hessian_times_gradient():
    hessian = jnp.array([[2.0, 1.0], [1.0, 4.0]])
    w = jnp.array([1.0, -1.0])  # gradient [1, -3], hessian @ gradient [-1, -11]

    def loss(params):
        return params["w"] @ hessian @ params["w"] / 2 + 5

    kept = {"w": jnp.ones(2, bool)}
    assert_same(scores.grasp(loss, {"w": w}, kept), {"w": jnp.array([-1.0, 11.0])})
    kept = {"w": jnp.array([True, False])}  # gradient [1, 0]
    assert_same(scores.grasp(loss, {"w": w}, kept), {"w": jnp.array([2.0, -1.0])})


def test_grasp_prunes_first_what_lowers_the_gradients_norm_if_kept():
    """To first order the norm falls by twice the score when a weight is removed."""
    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (6,))}
    data = jax.random.normal(jax.random.key(1), (40, 6))

    def loss(params):
        return jnp.mean(jnp.log1p(jnp.exp(data @ params["w"])))

    def norm(w):
        return jnp.sum(jax.grad(loss)({"w": w})["w"] ** 2)

    found = scores.grasp(loss, params, {"w": jnp.ones(6, bool)})["w"]
    little = 1e-2
    for i, w in enumerate(params["w"]):
        change = norm(params["w"].at[i].set(w * (1 - little))) - norm(params["w"])
        np.testing.assert_allclose(change / little, -2 * found[i], atol=2e-3)


def test_grasp_does_not_look_at_what_is_never_pruned():
    found = scores.grasp(output, LAYERS, {"a": jnp.ones((2, 2), bool), "b": None})
    # gradient of a: b x^T; its change along it: d(a x) = b |x|^2, on which b's depends
    np.testing.assert_array_equal(found["a"], jnp.zeros((2, 2)))
    np.testing.assert_array_equal(found["b"], [2 * 2 * 5, -1 * -1 * 5])


def test_synflow_is_the_flow_through_each_weight_of_absolute_paths():
    """|b_i| |a_ij| for an input of ones; each layer has the whole flow."""
    found = scores.synflow(lambda params: output(params, jnp.ones(2))[None], LAYERS)
    want = {"a": jnp.array([[2.0, 4.0], [0.5, 3.0]]), "b": jnp.array([6.0, 3.5])}
    assert_same(found, want)
    assert found["a"].sum() == found["b"].sum() == 9.5


def test_scores_of_complex_weights_are_the_changes_of_the_loss():
    """|a w - 1|^2 with w = u + iv is a loss of two real weights."""
    w, a = jnp.array([1 + 2j, -1j]), jnp.array([2 - 1j, 3j])

    def loss(params):
        return jnp.sum(jnp.abs(params["w"] * a - 1) ** 2)

    def real(params):
        return loss({"w": params["u"] + 1j * params["v"]})

    kept, both = jnp.ones(2, bool), {"u": w.real, "v": w.imag}
    halves = jax.tree.map(jnp.multiply, both, jax.grad(real)(both))
    found = scores.snip(loss, {"w": w})["w"]
    np.testing.assert_allclose(found, abs(halves["u"] + halves["v"]), rtol=1e-5)
    halves = scores.grasp(real, both, {"u": kept, "v": kept})
    found = scores.grasp(loss, {"w": w}, {"w": kept})["w"]
    np.testing.assert_allclose(found, halves["u"] + halves["v"], rtol=1e-5)
    assert scores.magnitude({"w": jnp.array([3 + 4j])})["w"].tolist() == [5]


def lamp(w, m):
    """Equation 3, in double precision."""
    squares = np.where(m, np.asarray(w, np.float64) ** 2, -1).ravel()
    order = np.argsort(-squares, stable=True)
    order, found = order[: np.sum(m)], np.zeros(squares.size)
    sums = np.cumsum(squares[order])
    found[order] = np.divide(
        squares[order], sums, where=sums > 0, out=np.eye(1, sums.size).ravel()
    )
    return found.reshape(np.shape(w))


def test_lamp_is_the_share_of_what_is_no_smaller_counted_from_the_largest():
    params = {"a": jnp.array([[3.0, -4], [5, 0]]), "b": jnp.ones(3), "n": 3}
    kept = {"a": jnp.array([[True, True], [False, True]]), "b": None, "n": None}
    want = {"a": jnp.array([[0.36, 1], [0, 0]]), "b": None, "n": None}
    assert_same(scores.lamp(params, kept), want)
    assert_same(jax.jit(scores.lamp)(params, kept), want)


def test_lamp_of_equals_is_lower_at_a_higher_index():
    found = scores.lamp([jnp.array([1.0, -1, 1, 1])], [jnp.ones(4, bool)])
    np.testing.assert_allclose(found[0], [1, 1 / 2, 1 / 3, 1 / 4], rtol=1e-6)


def test_lamp_of_layers_of_one_weight_of_none_and_of_zeros():
    params = [jnp.array(-3.0), jnp.ones((0, 2)), jnp.zeros(3), jnp.zeros(2)]
    kept = [
        jnp.array(True),
        jnp.ones((0, 2), bool),
        jnp.arange(3) > 0,
        jnp.zeros(2) > 0,
    ]
    one, none, zeros, pruned = scores.lamp(params, kept)
    assert (one, none.shape, zeros.tolist()) == (1, (0, 2), [0, 1, 0])
    assert not pruned.any()


def test_lamp_of_tiny_huge_and_half_precision_weights_is_that_of_others():
    w, kept = jnp.array([1.0, 2, 3, 4]), jnp.ones(4, bool)
    want = scores.lamp(w, kept)
    for size in (2.0**-120, 2.0**120):
        assert_same(scores.lamp(size * w, kept), want)
    assert_same(scores.lamp(w.astype(jnp.bfloat16), kept), want)
    assert_same(scores.lamp(1j * w, kept), want)


def test_lamp_of_nan_is_nan_where_it_is_kept():
    w = jnp.array([1.0, jnp.nan, 2])
    np.testing.assert_array_equal(
        scores.lamp(w, jnp.ones(3, bool)), np.float32([0.2, np.nan, 1])
    )
    assert scores.lamp(w, jnp.array([True, False, True])).tolist()[1] == 0


def test_lamp_is_accurate_and_in_the_order_of_many_weights():
    w = jax.random.normal(jax.random.key(0), (300, 400))
    found = np.asarray(scores.lamp(w, jnp.ones(w.shape, bool)))
    np.testing.assert_allclose(found, lamp(w, np.ones(w.shape, bool)), rtol=1e-5)
    order = np.argsort(-np.abs(w).ravel(), stable=True)
    assert (np.diff(found.ravel()[order]) <= 0).all()


SHAPES = [(4, 3), (7,), (1,)]


@settings(max_examples=60)
@given(
    st.tuples(
        *(
            hnp.arrays(
                np.float32,
                shape,
                elements=st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-9, 9, width=32),
            )
            for shape in SHAPES
        )
    ),
    st.tuples(*(hnp.arrays(bool, shape) for shape in SHAPES)),
    st.integers(0, 20),
)
def test_lamp_keeps_a_weight_of_every_layer_as_long_as_it_can(params, kept, n):
    found = scores.lamp(params, kept)
    for got, w, m in zip(found, params, kept):
        np.testing.assert_allclose(got, lamp(w, m), rtol=1e-5, atol=1e-30)
    left = prune.drop(found, kept, n)
    alive = sum(bool(m.any()) for m in kept)
    if masks.count(left)[0] >= alive:
        assert sum(bool(m.any()) for m in left) == alive
