"""ADMM: drawn to sparse weights, by exact projections."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import assert_same

from lth_jax import masks as masks_lib
from lth_jax.lottery import admm

W = {"a": jnp.array([[3.0, -1.0], [0.5, 2.0]]), "b": jnp.array([9.0])}
SPARSE = {"a": jnp.array([[True, False], [False, False]]), "b": None}


def test_a_projection_keeps_the_largest_and_what_is_never_pruned():
    """It looks at how many weights the masks keep, not at which."""
    other = {"a": jnp.array([[False, False], [False, True]]), "b": None}
    want = {"a": jnp.array([[3.0, 0.0], [0.0, 0.0]]), "b": W["b"]}
    for sparse in (SPARSE, other):
        assert_same(admm.project(W, sparse, "layer"), want)


@settings(max_examples=30)
@given(st.lists(st.floats(-9, 9, width=32), min_size=6, max_size=6), st.integers(1, 5))
def test_no_weights_of_that_number_are_nearer_than_the_projection(w, kept):
    w = np.array(w, np.float32)
    found = admm.project({"w": jnp.asarray(w)}, {"w": jnp.arange(6) < kept}, "layer")
    assert np.count_nonzero(found["w"]) <= kept
    nearest = np.sum(np.sort(np.abs(w))[: 6 - kept].astype(np.float64) ** 2)
    distance = np.sum((w - np.asarray(found["w"], np.float64)) ** 2)
    np.testing.assert_allclose(distance, nearest, rtol=1e-6)


def test_the_first_update_by_hand():
    term = admm.start(W, SPARSE, "layer")
    assert_same(term.target["a"], jnp.array([[3.0, 0.0], [0.0, 0.0]]))
    assert_same(term.dual, jax.tree.map(jnp.zeros_like, W))
    assert (term.strength, term.updates) == (0, 0)
    moved = {"a": jnp.array([[1.0, -1.0], [0.5, 2.0]]), "b": jnp.array([0.0])}
    term, residuals = admm.update(moved, term, SPARSE, "layer")
    assert_same(term.target["a"], jnp.array([[0.0, 0.0], [0.0, 2.0]]))
    assert_same(term.dual["a"], jnp.array([[1.0, -1.0], [0.5, 0.0]]))
    assert_same(term.dual["b"], jnp.array([0.0]))
    assert term.updates == 1
    size = np.sqrt(1 + 1 + 0.25 + 4)
    np.testing.assert_allclose(residuals["primal"], 1.5 / size, rtol=1e-6)
    # Z moves from 3 to 0 and from 0 to 2; b, which is never pruned, does not count
    np.testing.assert_allclose(residuals["dual"], np.sqrt(9 + 4) / size, rtol=1e-6)


def test_a_sparse_solution_is_recovered():
    """Two columns are nearly the same and share a weight: magnitude keeps both."""
    keys = jax.random.split(jax.random.key(0), 3)
    solution = jnp.zeros(20).at[jnp.array([2, 7, 11])].set(jnp.array([3.0, -2.0, 1.0]))
    x = jax.random.normal(keys[0], (60, 20))
    x = x.at[:, 3].set(x[:, 2] + 0.1 * jax.random.normal(keys[2], (60,)))
    y = x @ solution + 0.05 * jax.random.normal(keys[1], (60,))
    params = {"w": jnp.zeros(20)}
    sparse = {"w": jnp.arange(20) < 3}

    def objective(params, term):
        drawn = params["w"] - term.target["w"] + term.dual["w"]
        loss = jnp.mean((x @ params["w"] - y) ** 2)
        return loss + term.strength / 2 * jnp.sum(drawn**2)

    @jax.jit
    def descend(params, term):
        gradient = jax.grad(objective)
        return jax.lax.fori_loop(
            0,
            200,
            lambda _, p: jax.tree.map(lambda w, g: w - 0.1 * g, p, gradient(p, term)),
            params,
        )

    params = descend(params, admm.start(params, sparse, "layer"))
    largest = admm.project(params, sparse, "layer")["w"]
    assert_same(jnp.flatnonzero(largest), jnp.array([2, 3, 7]))
    term = replace(admm.start(params, sparse, "layer"), strength=jnp.float32(1))
    steps = []
    for _ in range(60):
        params = descend(params, term)
        term, residuals = admm.update(params, term, sparse, "layer")
        steps.append(residuals)
    for side in ("primal", "dual"):
        assert steps[-1][side] < 0.01 * steps[0][side]
    found = admm.project(params, sparse, "layer")["w"]
    assert_same(found != 0, solution != 0)
    np.testing.assert_allclose(found, solution, atol=0.05)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_an_update_is_the_same_eager_and_jitted(scope):
    term = admm.start(W, SPARSE, scope)
    update = partial(admm.update, sparse=SPARSE, scope=scope)
    assert_same(update(W, term)[0], jax.jit(update)(W, term)[0])
    kept, _ = masks_lib.count({"a": admm.project(W, SPARSE, scope)["a"] != 0})
    assert kept == 1
