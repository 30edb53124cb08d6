"""Scores: one number a weight, the lowest to be pruned first."""

import jax
import jax.numpy as jnp
import numpy as np

from lth_jax import scores

PARAMS = {"a": jnp.ones((4, 50)), "b": {"w": jnp.ones((30,)), "none": None}}


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


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
