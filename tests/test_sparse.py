"""The sparse optimizer trains as a loss does that has the masks in it."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lth_jax
from lth_jax import masks, rewind

PARAMS = {"w": jnp.array([[1.0, -2.0], [3.0, 4.0]]), "b": jnp.array([0.5, -0.5])}
KEPT = {"w": jnp.array([[True, False], [True, True]]), "b": None}


def loss(params):
    return jnp.sum((jnp.ones(2) @ params["w"] + params["b"] - 1) ** 2)


def train(tx, params, opt_state, loss, steps=3):
    for _ in range(steps):
        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
        params = optax.apply_updates(params, updates)
    return params, opt_state


@pytest.mark.parametrize(
    "tx",
    [
        optax.sgd(0.01),
        optax.sgd(0.01, momentum=0.9, nesterov=True),
        optax.adam(0.1),
        optax.adamw(0.1, weight_decay=0.1),
        optax.chain(optax.clip_by_global_norm(0.5), optax.rmsprop(0.1)),
    ],
    ids=["sgd", "momentum", "adam", "adamw", "clipped"],
)
def test_training_is_that_of_a_loss_with_the_masks_in_it(tx):
    start = rewind.to(PARAMS, KEPT)
    wanted = train(tx, start, tx.init(start), lambda p: loss(masks.apply(p, KEPT)))
    sparse = lth_jax.sparse_optimizer(tx, KEPT)
    found = train(sparse, start, sparse.init(start), loss)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_pruned_weights_and_moments_become_0_whatever_they_were():
    tx = optax.adam(0.1)
    _, dense_state = train(tx, PARAMS, tx.init(PARAMS), loss)
    sparse = lth_jax.sparse_optimizer(tx, KEPT)
    params, opt_state = train(sparse, PARAMS, dense_state, loss, steps=1)
    for tree in (params, opt_state[0].mu, opt_state[0].nu):
        assert tree["w"][0, 1] == 0
        assert (tree["w"] != 0).sum() == 3
        assert (tree["b"] != 0).all()


def test_other_masks_recompile_nothing():
    traces = []

    @jax.jit
    def step(params, kept):
        traces.append(1)
        tx = lth_jax.sparse_optimizer(optax.adam(0.1), kept)
        return tx.update(params, tx.init(params), params)[0]

    other = {"w": ~KEPT["w"], "b": None}
    assert step(PARAMS, KEPT)["w"][0, 1] == 2  # to 0
    assert step(PARAMS, other)["w"][0, 0] == -1
    assert len(traces) == 1


def test_the_parameters_are_needed():
    tx = lth_jax.sparse_optimizer(optax.sgd(0.1), KEPT)
    with pytest.raises(ValueError, match="update needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS))


def test_the_package_loads_what_is_used_and_no_more():
    """In a process of its own: optax comes with the optimizer."""
    code = (
        "import sys, lth_jax; from lth_jax import masks; assert 'optax' not in "
        "sys.modules; lth_jax.sparse_optimizer; assert 'optax' in sys.modules; "
        "assert 'flax' not in sys.modules; assert 'load_ticket' in dir(lth_jax)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    with pytest.raises(AttributeError, match="no attribute 'sparse_optimiser'"):
        lth_jax.sparse_optimiser  # noqa: B018
