"""The lean layers do what Flax's do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lth_jax import models
from lth_jax.models import lean


def close(a, b, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=tolerance), a, b)


def norms(**fields):
    options = {"momentum": 0.9, "epsilon": 1e-5, "scale_init": nn.initializers.ones}
    return [norm(**options, **fields) for norm in (nn.BatchNorm, lean.BatchNorm)]


@pytest.fixture
def maps():
    return 3 + 2 * jax.random.normal(jax.random.key(0), (8, 4, 4, 3))


def loss_and_statistics(norm, params, stats, x, target):
    y, updates = norm.apply(
        {"params": params, "batch_stats": stats}, x, mutable=["batch_stats"]
    )
    return jnp.mean((y - target) ** 2), updates["batch_stats"]


def test_normalisation_of_two_numbers_is_that_by_hand():
    norm = lean.BatchNorm(use_running_average=False, epsilon=0.0, momentum=0.9)
    x = jnp.array([[1.0], [5.0]])
    y, variables = norm.init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(y, [[-1.0], [1.0]], rtol=1e-6)
    assert variables["batch_stats"]["mean"] == 0  # initialising does not train
    _, updates = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(updates["batch_stats"]["mean"], [0.3], rtol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["var"], [1.3], rtol=1e-6)


def test_groups_are_normalised_apart_and_their_statistics_averaged():
    """Of (1, 5) and (2, 10): means 3 and 6, variances 4 and 16."""
    options = {"use_running_average": False, "epsilon": 0.0, "momentum": 0.9}
    norm = lean.BatchNorm(**options, group=2)
    x = jnp.array([[1.0], [5.0], [2.0], [10.0]])
    variables = norm.init(jax.random.key(0), x)
    y, updates = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, [[-1.0], [1.0], [-1.0], [1.0]], rtol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["mean"], [0.45], rtol=1e-6)
    np.testing.assert_allclose(updates["batch_stats"]["var"], [1.9], rtol=1e-6)
    with pytest.raises(ValueError, match="norm_group: 2 does not divide a batch of 3"):
        norm.apply(variables, x[:3], mutable=["batch_stats"])


@pytest.mark.slow
def test_gradients_of_groups_are_those_of_flax_on_each(maps):
    target = jax.random.normal(jax.random.key(1), maps.shape)
    params = {"scale": jnp.array([1.0, -2.0, 0.5]), "bias": jnp.array([0.0, 1.0, 2.0])}
    stats = {"mean": jnp.array([0.1, 0.2, 0.3]), "var": jnp.array([1.0, 2.0, 3.0])}
    flax, _ = norms(use_running_average=False)
    _, ours = norms(use_running_average=False)

    def by_flax(params, stats, x, target):
        halves = (jnp.split(whole, 2) for whole in (x, target))
        found = [
            loss_and_statistics(flax, params, stats, *half) for half in zip(*halves)
        ]
        return jax.tree.map(lambda a, b: (a + b) / 2, *found)

    grouped = partial(loss_and_statistics, ours.clone(group=4))
    derived = [
        jax.value_and_grad(loss, (0, 2), has_aux=True)(params, stats, maps, target)
        for loss in (grouped, by_flax)
    ]
    close(*derived)


def test_training_has_the_values_statistics_and_gradients_of_flax(maps):
    target = jax.random.normal(jax.random.key(1), maps.shape)
    params = {"scale": jnp.array([1.0, -2.0, 0.5]), "bias": jnp.array([0.0, 1.0, 2.0])}
    stats = {"mean": jnp.array([0.1, 0.2, 0.3]), "var": jnp.array([1.0, 2.0, 3.0])}
    found = [
        jax.value_and_grad(partial(loss_and_statistics, norm), (0, 2), has_aux=True)(
            params, stats, maps, target
        )
        for norm in norms(use_running_average=False)
    ]
    close(*found)


def test_running_averages_normalise_as_those_of_flax(maps):
    flax, ours = norms(use_running_average=True)
    variables = flax.init(jax.random.key(0), maps)
    assert jax.tree.structure(variables) == jax.tree.structure(
        ours.init(jax.random.key(0), maps)
    )
    variables["batch_stats"]["mean"] += 2.5
    close(flax.apply(variables, maps), ours.apply(variables, maps))


def test_devices_share_statistics_and_gradients(maps):
    """Of two devices with half a batch each: those of the whole batch."""
    target = jax.random.normal(jax.random.key(1), maps.shape)
    alone, together = (
        lean.BatchNorm(use_running_average=False, axis_name=axis)
        for axis in (None, "batch")
    )
    variables = alone.init(jax.random.key(0), maps)
    params, stats = variables["params"], variables["batch_stats"]
    derived = jax.value_and_grad(loss_and_statistics, 1, has_aux=True)

    def part(x, target):
        (loss, stats), grads = jax.value_and_grad(
            partial(loss_and_statistics, together), has_aux=True
        )(params, variables["batch_stats"], x, target)
        return jax.lax.pmean((loss, stats, grads), "batch")

    halves = (x.reshape(2, 4, *x.shape[1:]) for x in (maps, target))
    loss, both, grads = jax.pmap(part, "batch", out_axes=None)(*halves)
    close(((loss, both), grads), derived(alone, params, stats, maps, target))


def test_a_constant_channel_is_not_divided_by_nothing():
    norm = lean.BatchNorm(use_running_average=False)
    y, _ = norm.init_with_output(jax.random.key(0), jnp.full((5, 2), 1e4))
    np.testing.assert_array_equal(y, 0)


def convolves_as_flax_does(x, **options):
    """Compare the values of a layer and its gradients."""
    layers = [conv(6, (3, 3), **options) for conv in (nn.Conv, lean.Conv)]
    variables = layers[0].init(jax.random.key(0), x)

    def loss(layer, variables, x):
        return jnp.sum(layer.apply(variables, x) ** 2)

    close(
        *(
            jax.value_and_grad(partial(loss, layer), (0, 1))(variables, x)
            for layer in layers
        ),
        tolerance=1e-4,
    )


def test_a_convolution_is_that_of_flax(maps):
    """Of any stride, padding and grouping, and so are its gradients."""
    convolves_as_flax_does(maps, strides=2, padding=1, feature_group_count=3)


@pytest.mark.parametrize(
    "side", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2},
        {"padding": ((1, 2), (2, 0))},
        {"feature_group_count": 2},
        {"kernel_dilation": 2},
    ],
)
def test_a_convolution_of_images_below_its_kernel_is_that_of_flax(side, options):
    x = jax.random.normal(jax.random.key(1), (5, side, side, 4))
    convolves_as_flax_does(x, **options)


def test_xla_is_given_no_kernel_above_its_image():
    """It takes 200 times as long by it, where images of VGG are 2x2."""

    def primitives(side):
        layer = lean.Conv(6, (3, 3))
        x = jnp.ones((5, side, side, 4))
        variables = layer.init(jax.random.key(0), x)
        return str(jax.make_jaxpr(layer.apply)(variables, x))

    assert "conv_general_dilated" not in primitives(2)
    assert "conv_general_dilated" in primitives(3)


@pytest.mark.slow
def test_a_network_has_the_same_parameters_and_logits(maps):
    plain = models.create("resnet20", num_classes=10, width=4).module
    layers = {"conv": lean.Conv, "norm": lean.BatchNorm}
    ours = models.create("resnet20", num_classes=10, width=4, **layers).module
    found = []
    for network in (plain, ours):
        variables = network.init(jax.random.key(0), maps, train=False)
        found.append(
            network.apply(variables, maps, train=True, mutable=["batch_stats"])
        )
        found[-1] += (variables["params"],)
    close(*found, tolerance=1e-4)


def test_bfloat16_maps_have_float32_statistics(maps):
    norm = lean.BatchNorm(use_running_average=False, dtype=jnp.bfloat16)
    y, variables = norm.init_with_output(jax.random.key(0), maps.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert variables["batch_stats"]["mean"].dtype == jnp.float32
