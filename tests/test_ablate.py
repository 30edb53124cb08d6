"""Ablations: what of the kept weights changes, and that nothing else does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import assert_same, boolean

from lth_jax import ablate
from lth_jax.ablate import magnitudes, noise, permuted, signs

CHANGES = {"signs": signs, "magnitudes": magnitudes, "permuted": permuted}
CHANGES |= {"noise": noise}
ALL = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
RANDOM = {name: CHANGES[name] for name in ("magnitudes", "permuted", "noise")}
DRAWN = pytest.mark.parametrize("change", RANDOM.values(), ids=RANDOM)
KEY = jax.random.key(0)


def net(size=64):
    """Two layers of the same weights and masks, and a bias that is never pruned."""
    w = jnp.linspace(-1.0, 2.0, size)
    kept = jnp.arange(size) % 4 > 0
    params = {"a": {"kernel": w, "bias": jnp.arange(3.0)}, "b": {"kernel": w}}
    masks = {"a": {"kernel": kept, "bias": None}, "b": {"kernel": kept}}
    return params, masks


def test_signs_have_the_mean_magnitude_of_what_their_layer_keeps():
    """A pruned weight stays and counts nothing; so does a zero, which has no sign."""
    params = {
        "a": jnp.array([1.0, -3.0, 100.0, 0.0]),
        "b": jnp.array([-5.0, 7.0, -9.0]),
    }
    masks = {"a": boolean(1, 1, 0, 1), "b": boolean(1, 0, 1)}
    size = np.float32(4.0) / np.float32(3.0)
    wanted = {
        "a": jnp.array([size, -size, 100.0, 0.0]),
        "b": jnp.array([-7.0, 7.0, -7.0]),
    }
    found = signs(KEY, params, masks)
    np.testing.assert_allclose(found["a"], wanted["a"], rtol=1e-7)
    assert_same(found["b"], wanted["b"])


def test_magnitudes_stay_where_they_are_and_half_of_the_signs_change():
    params, masks = net(4096)
    found = magnitudes(KEY, params, masks)["a"]["kernel"]
    old, kept = params["a"]["kernel"], masks["a"]["kernel"]
    assert_same(jnp.abs(found), jnp.abs(old))
    assert_same(found[~kept], old[~kept])
    assert (found[kept] > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (found[kept] == old[kept]).mean() == pytest.approx(0.5, abs=0.03)


def test_permuted_weights_are_the_same_ones_elsewhere_among_those_kept():
    params, masks = net()
    found = permuted(KEY, params, masks)
    old, kept = params["a"]["kernel"], masks["a"]["kernel"]
    for layer in ("a", "b"):
        now = found[layer]["kernel"]
        np.testing.assert_array_equal(np.sort(now[kept]), np.sort(old[kept]))
        assert_same(now[~kept], old[~kept])
        assert (now[kept] != old[kept]).mean() > 0.8


def test_every_order_of_three_weights_is_drawn_as_often():
    params = {"w": jnp.array([0.0, 1.0, 9.0, 2.0])}
    masks = {"w": boolean(1, 1, 0, 1)}
    keys = jax.random.split(KEY, 3000)
    found = jax.vmap(lambda key: permuted(key, params, masks)["w"])(keys)
    assert (found[:, 2] == 9).all()
    orders, times = np.unique(np.array(found[:, [0, 1, 3]]), axis=0, return_counts=True)
    assert len(orders) == 6
    np.testing.assert_allclose(times, 500, atol=90)  # four standard deviations


@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
def test_noise_has_a_share_of_the_deviation_of_what_is_kept(share):
    """Of 1 and 5 it is 2, around their mean; what is pruned counts nothing."""
    w = jnp.tile(jnp.array([1.0, 5.0, 1000.0, -1000.0]), 5000)
    kept = jnp.abs(w) < 10
    found = noise(KEY, {"w": w}, {"w": kept}, share)["w"]
    assert_same(found[~kept], w[~kept])
    added = np.asarray(found - w)[np.asarray(kept)]
    assert added.std() == pytest.approx(2 * share, rel=0.03)
    assert added.mean() == pytest.approx(0, abs=0.1 * share)


def test_noise_is_linear_in_its_share_and_none_at_0():
    params, masks = net()
    assert_same(noise(KEY, params, masks, 0.0), params)
    one, two = (noise(KEY, params, masks, share) for share in (1.0, 2.0))
    assert_same(noise(KEY, params, masks), one)
    added = [jax.tree.map(jnp.subtract, n, params)["a"]["kernel"] for n in (one, two)]
    np.testing.assert_allclose(2 * added[0], added[1], atol=1e-6)


@ALL
def test_what_keeps_nothing_or_is_never_pruned_stays(change):
    params = {
        "none": jnp.array([1.0, -2.0]),
        "bias": jnp.array([3.0, -4.0]),
        "empty": jnp.zeros((0, 3)),
        "nan": jnp.array([jnp.nan, jnp.inf]),
    }
    masks = {
        "none": boolean(0, 0),
        "bias": None,
        "empty": jnp.ones((0, 3), bool),
        "nan": boolean(0, 0),
    }
    assert_same(change(KEY, params, masks), params)
    assert_same(jax.jit(change)(KEY, params, masks), params)


@ALL
def test_one_weight_keeps_at_least_its_magnitude(change):
    params, masks = {"w": jnp.array([[7.0, -3.0]])}, {"w": jnp.array([[False, True]])}
    found = change(KEY, params, masks)
    assert_same(jnp.abs(found["w"]), jnp.abs(params["w"]))
    assert found["w"][0, 0] == 7
    if change is not magnitudes:
        assert_same(found, params)


@ALL
def test_jitted_it_is_the_same(change):
    params, masks = net()
    eager, jitted = (f(KEY, params, masks) for f in (change, jax.jit(change)))
    assert jax.tree.structure(eager) == jax.tree.structure(params)
    for one, other in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted)):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@DRAWN
def test_a_key_draws_other_numbers_for_every_layer_and_another_key_others(change):
    params, masks = net()
    found, again = (change(KEY, params, masks) for _ in range(2))
    assert_same(found, again)
    assert (found["a"]["kernel"] != found["b"]["kernel"]).any()
    other = change(jax.random.key(1), params, masks)
    assert (found["a"]["kernel"] != other["a"]["kernel"]).any()


def test_signs_draw_nothing():
    params, masks = net()
    assert_same(signs(KEY, params, masks), signs(jax.random.key(1), params, masks))


@DRAWN
def test_what_a_layer_draws_is_its_own_whatever_is_never_pruned(change):
    """A bias more moves no layer's key."""
    params, masks = net()
    without = {"a": {"kernel": params["a"]["kernel"]}, "b": params["b"]}
    found = change(
        KEY, without, {"a": {"kernel": masks["a"]["kernel"]}} | {"b": masks["b"]}
    )
    whole = change(KEY, params, masks)
    assert_same(found["a"]["kernel"], whole["a"]["kernel"])
    assert_same(found["b"], whole["b"])


@ALL
def test_halves_stay_halves(change):
    params = {"w": jnp.array([1.0, -3.0, 2.0], jnp.bfloat16)}
    found = change(KEY, params, {"w": boolean(1, 1, 0)})
    assert found["w"].dtype == jnp.bfloat16


JITTED = {name: jax.jit(change) for name, change in CHANGES.items()}
# Of one shape, so that all are compiled once.
WEIGHTS = hnp.arrays(
    np.float32, (3, 4), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
)


@settings(max_examples=60)
@given(WEIGHTS, hnp.arrays(np.bool_, (3, 4)), st.integers(0, 9))
def test_changes_see_kept_weights_alone_and_keep_what_they_say(w, kept, seed):
    def changed(weights):
        of = jax.random.key(seed), {"w": weights}, {"w": kept}
        return {name: np.asarray(f(*of)["w"]) for name, f in JITTED.items()}

    found, other = changed(w), changed(np.where(kept, w, np.float32(77)))
    for name, now in found.items():
        assert_same(now[~kept], w[~kept])
        assert np.isfinite(now).all()
        np.testing.assert_array_equal(other[name][kept], now[kept])
    assert_same(np.sort(found["permuted"][kept]), np.sort(w[kept]))
    assert_same(np.abs(found["magnitudes"]), np.abs(w))
    sized = kept & (w != 0)
    assert_same(np.sign(found["signs"])[sized], np.sign(w)[sized])
    assert len({*np.abs(found["signs"])[sized].tolist()}) <= 1
    if (sized == kept).all():
        sums = [np.abs(x[kept], dtype="f8").sum() for x in (found["signs"], w)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-5)


def test_layers_go_by_their_path_not_by_their_container():
    """So that a network of another framework draws the same."""
    params, masks = net()
    flat = {f"{a}/{b}": x for a, layer in params.items() for b, x in layer.items()}
    of = {f"{a}/{b}": x for a, layer in masks.items() for b, x in layer.items()}
    found = ablate.permuted(KEY, flat, of)["b/kernel"]
    assert_same(found, permuted(KEY, params, masks)["b"]["kernel"])
