"""The state of one network at step 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import assert_same

from lth_jax import masks as masks_lib
from lth_jax import models
from lth_jax.optim import optimizers as optim
from lth_jax.train import state

LENET = models.create("lenet", num_classes=3, widths=(4,))
ADAM = optim.optimizer("adam", 0.1, None)


def create(seed=0, **fields):
    return state.create(
        jax.random.key(seed), jnp.zeros((1, 2, 2, 1)), LENET, ADAM, **fields
    )


def test_a_network_starts_dense_at_step_0_with_empty_moments():
    created = create()
    assert (created.step.dtype, int(created.step)) == (jnp.int32, 0)
    assert masks_lib.by_layer(created.masks) == {
        "fc/kernel": (12, 12),
        "fc1/kernel": (16, 16),
    }
    assert created.masks["fc"]["bias"] is None
    assert created.batch_stats == {}
    assert not any(leaf.any() for leaf in jax.tree.leaves(created.opt_state))
    assert created.learning_rate == 1
    assert created.weight_decay is None


def test_equal_keys_give_equal_networks_and_others_differ_in_all_they_draw():
    assert_same(create(), create())
    other = create(seed=1)
    for layer in ("fc", "fc1"):
        kernels = create().params[layer]["kernel"], other.params[layer]["kernel"]
        assert not np.isin(*map(np.asarray, kernels)).any()
    assert create().data_seed != other.data_seed


def test_what_is_asked_of_training_changes_no_draw():
    plain, changed = create(), create(exclude=("^fc/",), weight_decay=0.5)
    assert create(include=("^fc/bias",)).masks["fc"]["bias"].all()
    assert_same(plain.params, changed.params)
    assert plain.data_seed == changed.data_seed
    assert changed.weight_decay == 0.5
    assert masks_lib.by_layer(changed.masks) == {"fc1/kernel": (16, 16)}


def test_a_pattern_that_excludes_nothing_is_refused():
    with pytest.raises(ValueError, match="'conv' matches no prunable parameter"):
        create(exclude=("conv",))


def test_batch_statistics_belong_to_the_state():
    resnet = models.create("cifar_resnet", num_classes=3, depth=8, width=2)
    images = jnp.zeros((1, 8, 8, 3))
    created = jax.eval_shape(
        lambda key: state.create(key, images, resnet, ADAM), jax.random.key(0)
    )
    assert created.batch_stats["norm1"]["mean"].shape == (2,)
    assert created.masks["norm1"]["scale"] is None


def test_copies_have_data_seeds_of_their_own_and_the_first_is_the_networks():
    key = jax.random.key(3)
    seeds = [int(state.data_seed(key, copy)) for copy in range(20)]
    assert len(set(seeds)) == 20
    assert create(seed=3).data_seed == seeds[0]
    assert state.data_seed(key, 0).dtype == jnp.uint32


def test_a_state_is_a_pytree_that_may_hold_anything():
    """Shapes, shardings and stacks are states, too."""
    shapes = jax.eval_shape(lambda: create())
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), create())
    assert isinstance(shapes, state.TrainState)
    assert stacked.step.tolist() == [0, 0]
    assert jax.tree.structure(shapes) == jax.tree.structure(stacked)


def test_no_decay_is_not_a_decay_of_zero():
    """It leaves the optimizer's state, and so the program, without it."""
    assert create(weight_decay=0.0).weight_decay == 0
    assert (
        len(jax.tree.leaves(create()))
        == len(jax.tree.leaves(create(weight_decay=0.0))) - 1
    )
