"""Of every m weights in a row, n are kept."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import assert_same, boolean

from lth_jax import prune

KNOWN = json.loads(Path(__file__).with_name("conformance.json").read_text())


def highest(scored, kept, n, m):
    """What is kept along the last axis, one block at a time."""
    left = np.zeros_like(kept)
    for block in np.ndindex(*scored.shape[:-1], scored.shape[-1] // m):
        at = (*block[:-1], slice(block[-1] * m, block[-1] * m + m))
        order = sorted(np.flatnonzero(kept[at]), key=lambda i: (-scored[at][i], i))
        left[at][order[:n]] = True
    return left


def test_of_equals_the_lower_flat_index_survives():
    known = KNOWN["two_of_four"]
    scored = {"w": jnp.array(known["scores"], jnp.float32)}
    dense = {"w": jnp.ones(8, bool)}
    for function in (prune.n_of_m, jax.jit(prune.n_of_m, static_argnums=(2, 3, 4))):
        left = function(scored, dense, 2, 4, 0)
        assert_same(left, {"w": boolean(*known["masks"])})


def test_a_block_that_keeps_fewer_keeps_these():
    scored = jnp.array([4.0, 3, 2, 1, 1, 2, 3, 4])
    kept = boolean(0, 0, 0, 1, 0, 1, 1, 1)
    left = prune.n_of_m(scored, kept, 2, 4, 0)
    assert_same(left, boolean(0, 0, 0, 1, 0, 0, 1, 1))
    assert_same(prune.n_of_m(scored, kept, 4, 4, 0), kept)


def test_blocks_lie_along_the_inputs_of_kernels():
    dense = {"w": jnp.arange(8.0).reshape(4, 2), "b": jnp.ones(3)}
    left = prune.n_of_m(dense, {"w": jnp.ones((4, 2), bool), "b": None}, 1, 2)
    assert_same(left, {"w": boolean([0, 0], [1, 1], [0, 0], [1, 1]), "b": None})
    conv = jnp.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    left = prune.n_of_m(conv, jnp.ones(conv.shape, bool), 1, 4)
    assert left[:, :, 3].all()
    assert left.sum() == 2 * 3 * 5


def test_layers_of_none_and_of_one_weight_and_a_tree_of_none():
    scored = {"empty": jnp.ones((0, 3)), "one": jnp.ones((1, 1))}
    kept = jax.tree.map(lambda s: jnp.ones(s.shape, bool), scored)
    assert_same(prune.n_of_m(scored, kept, 1, 1), kept)
    assert prune.n_of_m({"b": jnp.ones(2)}, {"b": None}, 1, 2) == {"b": None}


def test_zeros_are_equal_and_tiny_numbers_are_not():
    scored = jnp.array([-0.0, 0.0, 1e-45, 3e-45])
    left = prune.n_of_m(scored, jnp.ones(4, bool), 1, 2, 0)
    assert_same(left, boolean(1, 0, 0, 1))


@pytest.mark.parametrize(
    ("n", "m", "axis", "said"),
    [
        (0, 4, 0, "masks: w cannot keep 0 of every 4 weights"),
        (3, 2, 0, "masks: w cannot keep 3 of every 2 weights"),
        (1, 4, 1, "masks: w has 6 weights along axis 1, no multiple of 4"),
        (1, 2, 2, r"masks: w has shape \(4, 6\): no axis 2"),
        (1, 2, -3, r"masks: w has shape \(4, 6\): no axis -3"),
    ],
)
def test_blocks_that_do_not_fit_are_an_error_that_names_the_path(n, m, axis, said):
    with pytest.raises(ValueError, match=said):
        prune.n_of_m({"w": jnp.ones((4, 6))}, {"w": jnp.ones((4, 6), bool)}, n, m, axis)


def test_nan_is_an_error_where_a_weight_is_kept_and_ranks_highest_in_a_program():
    scored, dense = {"w": jnp.array([1.0, jnp.nan])}, {"w": boolean(1, 1)}
    with pytest.raises(prune.ScoreError, match="scores: w is NaN"):
        prune.n_of_m(scored, dense, 1, 2, 0)
    left = jax.jit(lambda s, m: prune.n_of_m(s, m, 1, 2, 0))(scored, dense)
    assert_same(left, {"w": boolean(0, 1)})
    left = prune.n_of_m(scored, {"w": boolean(1, 0)}, 1, 2, 0)
    assert_same(left, {"w": boolean(1, 0)})


SHAPE = (2, 12, 3)
values = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, np.inf])
values |= st.floats(width=32, allow_nan=False)


@settings(max_examples=60)
@given(
    hnp.arrays(np.float32, SHAPE, elements=values),
    hnp.arrays(bool, SHAPE),
    st.sampled_from([(1, 1), (1, 2), (2, 4), (3, 4), (5, 12), (12, 12)]),
)
def test_every_block_keeps_its_highest(scored, kept, blocks):
    left = np.asarray(prune.n_of_m(scored, kept, *blocks))
    there = np.moveaxis(scored, 1, -1) + 0.0, np.moveaxis(kept, 1, -1)
    np.testing.assert_array_equal(np.moveaxis(left, 1, -1), highest(*there, *blocks))
