"""The pure functions: with whatever in a tree, and however JAX is set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from trees import assert_same, boolean

from lth_jax import masks, measures, movers, prune, rewind, scores

STRANGE = {"f": len, "name": "gelu", "key": jax.random.key(0), "n": 3, "none": None}
TREES = {
    "strange": STRANGE | {"w": jnp.array([[1.0, -2, 3]]), "v": jnp.ones((2, 2))},
    "NumPy": {"w": np.array([[1.0, -2], [3, 4]]), "l": {"b": np.ones(2)}},
    "complex": {"w": jnp.array([[3 + 4j, 1], [2j, 1]])},
    "mixed": {"w": jnp.array([[1, 2.0]], jnp.bfloat16), "v": jnp.ones((1, 2))},
}
SETTINGS = {
    "strict": lambda: jax.numpy_dtype_promotion("strict"),
    "x64": lambda: jax.enable_x64(True),
}  # that no ranks are promoted, all tests require
KEY = jax.random.key(1)


def loss(params):
    leaves = [w for w in jax.tree.leaves(params) if getattr(w, "ndim", 0) == 2]
    return sum(jnp.sum(jnp.abs(w) ** 2).astype(jnp.float32) for w in leaves)


def now(params, kept):
    goal = jax.tree.map(lambda m: jnp.uint32(m.size // 2), kept)
    return movers.Now(params, params, kept, KEY, jnp.int32(0), 0.5, goal, 0.5)


FUNCTIONS = {
    "apply": masks.apply,
    "count": lambda w, m: (masks.density(m), masks.overlap(m, m), masks.checksum(m)),
    "check": masks.check,
    "pack": lambda w, m: masks.unpack(masks.pack(m), w),
    "magnitude": lambda w, m: prune.magnitude(w, m, 0.5),
    "project": lambda w, m: prune.project(w, m, 0.5, "layer"),
    "shuffle": lambda w, m: prune.shuffle(KEY, m),
    "as_many": lambda w, m: prune.as_many(scores.random(KEY, w), m, "global"),
    "drop": lambda w, m: prune.drop(scores.magnitude(w), m, 1),
    "random": lambda w, m: prune.random(KEY, m, 0.5),
    "snip": lambda w, m: prune.drop(scores.snip(loss, w), m, 1),
    "grasp": lambda w, m: prune.drop(scores.grasp(loss, w, m), m, 1),
    "synflow": lambda w, m: prune.drop(scores.synflow(loss, w), m, 1),
    "lamp": lambda w, m: prune.drop(scores.lamp(w, m), m, 1),
    "to_counts": lambda w, m: prune.to_counts(
        scores.magnitude(w), m, dict.fromkeys(masks.by_layer(m), 1)
    ),
    "n_of_m": lambda w, m: prune.n_of_m(scores.magnitude(w), m, 1, 1),
    "set": lambda w, m: movers.set_(now(w, m)),
    "rigl": lambda w, m: movers.rigl(now(w, m)),
    "gmp": lambda w, m: movers.gmp(now(w, m)),
    "to": rewind.to,
    "distance": lambda w, m: (measures.distance(w, w), measures.distance(w, w, m)),
    "angle": lambda w, m: (measures.angle(w, w), measures.angle(w, w, m)),
    "cosine": lambda w, m: measures.cosine(w, w, m),
    "pearson": lambda w, m: (measures.pearson(w, w), measures.pearson(w, w, m)),
    "top_overlap": lambda w, m: measures.top_overlap(w, w, 0.5, m),
    "chance_overlap": lambda w, m: measures.chance_overlap(w, 0.5, m, m),
    "by_layer": lambda w, m: measures.by_layer(measures.distance, w, w, m),
    "interpolate": lambda w, m: measures.interpolate(w, w, jnp.array([0.0, 1])),
}


FAST = [("strange", "strict")]
ALL = [(tree, setting) for tree in TREES for setting in SETTINGS]


@pytest.mark.parametrize(
    ("tree", "setting"),
    [pytest.param(*x, marks=[] if x in FAST else pytest.mark.slow) for x in ALL],
)
def test_every_function_takes_every_tree_in_every_setting(tree, setting):
    with SETTINGS[setting]():
        params = TREES[tree]
        full = masks.full(params, include=["w"])  # which may be complex
        for name, function in FUNCTIONS.items():
            try:
                function(params, full)
            except Exception as error:
                raise AssertionError(name) from error


def test_what_has_no_mask_is_left_as_it_is():
    params = TREES["strange"]
    full = masks.full(params)
    assert [path for path, _ in masks.leaves(full)] == ["v", "w"]
    for under in (masks.apply(params, full), rewind.to(params, full)):
        assert {n: under[n] for n in ("f", "name", "none", "n")} == {
            n: params[n] for n in ("f", "name", "none", "n")
        }
        assert under["key"] == params["key"]
    assert measures.distance(params, params) == 0


def test_a_model_of_nnx_with_dropout_is_pruned():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.fc = nnx.Linear(4, 4, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    _, state = nnx.split(Net(nnx.Rngs(0)))
    kept = prune.magnitude(state, masks.full(state), 0.5)
    assert masks.by_layer(kept) == {"fc/kernel/value": (8, 16)}
    assert masks.count(prune.random(KEY, kept, 0.25)) == (4, 16)


def test_masks_are_laid_out_as_the_weights_are():
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    halves = NamedSharding(mesh, PartitionSpec("batch"))
    params = jax.device_put({"w": jnp.arange(8.0).reshape(4, 2)}, halves)
    full = masks.full(params)
    kept = prune.magnitude(params, full, 0.5)
    for found in (full, masks.full(rewind.to(params, full)), kept):
        assert found["w"].sharding.is_equivalent_to(halves, 2)
    many = jax.device_put([jnp.ones((4, 2))] * 12, halves)
    for found in prune.magnitude(many, masks.full(many), 0.5):
        assert found.sharding.is_equivalent_to(halves, 2)
    second = jax.device_put(jnp.ones((2, 2)), jax.devices()[1])
    assert masks.full({"w": second})["w"].devices() == second.devices()


@pytest.mark.parametrize(
    "function",
    [
        lambda w, m: masks.count(m),
        lambda w, m: prune.magnitude(w, m, 0.5),
        lambda w, m: prune.drop(w, m, 1),
        lambda w, m: measures.distance(w, w, m),
    ],
)
def test_leaves_on_two_devices_are_named(function):
    one, two = jax.devices()
    ones = jnp.ones((2, 2))
    params = {"l": {"a": jax.device_put(ones, one), "b": jax.device_put(ones, two)}}
    full = masks.full(params)
    assert_same(masks.apply(params, full), params)
    with pytest.raises(ValueError, match=r"incompatible devices.*\['l/[ab]'\]"):
        function(params, full)
    swapped = {"l": {"a": full["l"]["b"], "b": full["l"]["a"]}}
    with pytest.raises(ValueError, match="masks: l/a: .* incompatible devices"):
        masks.apply(params, swapped)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"l": {"b": None}}, "masks: l/w is missing"),
        ({"l": {"w": boolean(1, 0)}}, "masks: l/b is missing"),
        ({"l": {"w": boolean(1, 0), "b": None, "c": None}}, "masks: l/c is extra"),
        ({"l": {"w": boolean(1), "b": None}}, r"masks: l/w has shape \(1,\), its par"),
    ],
)
def test_masks_that_do_not_fit_are_named_where_they_are_applied(wrong, said):
    params = {"l": {"w": jnp.ones(2), "b": jnp.ones(1)}}
    for apply in (masks.apply, jax.jit(masks.apply)):
        with pytest.raises(ValueError, match=said):
            apply(params, wrong)


def test_a_mask_where_there_is_no_parameter_is_extra():
    with pytest.raises(ValueError, match="masks: w is extra"):
        masks.check({"w": None}, {"w": boolean(1, 0)})
    with pytest.raises(ValueError, match="masks: w is str, not bool"):
        masks.check({"w": jnp.ones(2)}, {"w": "yes"})
