"""Stacked layers: those of one leaf are counted and pruned as if each had its own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from trees import assert_same, boolean

from lth_jax import masks, prune, scores, stacked
from lth_jax.rule import Rule

# Three layers of five weights, of which one has equals.
SCAN = jnp.array(
    [[5.0, 1.0, 4.0, 2.0, 3.0], [9.0, 8.0, 7.0, 6.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0]]
)
PARAMS = {"scan": {"kernel": SCAN, "bias": jnp.ones((3, 1))}, "fc": jnp.ones((1, 4))}
FULL = masks.full(PARAMS)
BY = ["^scan/"]


def alone(prunes):
    """What a function leaves of every layer, if each is a leaf."""
    trees = {f"l{i}": layer for i, layer in enumerate(SCAN)} | {"fc": PARAMS["fc"]}
    left = prunes(trees, jax.tree.map(lambda w: jnp.ones_like(w, bool), trees))
    return {
        "scan": {"kernel": jnp.stack([left[f"l{i}"] for i in range(3)]), "bias": None},
        "fc": left["fc"],
    }


@pytest.mark.slow
def test_a_fraction_of_every_layer_is_rounded_up_by_itself():
    """A fifth of 3 * 5 is 3, as of each 5 it is 1; a fourth is 4, and 2 of each."""
    left = prune.magnitude(PARAMS, FULL, 0.25, "layer", BY)
    assert left["scan"]["kernel"].tolist() == [
        [True, False, True, False, True],
        [True, True, True, False, False],
        [True, True, True, False, False],
    ]
    assert masks.by_layer(left) == {"fc": (3, 4), "scan/kernel": (9, 15)}
    whole = prune.magnitude(PARAMS, FULL, 0.25, "layer")
    assert masks.by_layer(whole) == {"fc": (3, 4), "scan/kernel": (11, 15)}


@pytest.mark.parametrize(
    "prunes",
    [
        partial(prune.by_fraction, fraction=0.3, scope="layer"),
        partial(prune.magnitude, fraction=0.3, scope="layer"),
        partial(prune.to_density, density=0.4, scope="layer"),
    ],
)
def test_stacked_layers_are_pruned_as_leaves_of_their_own(prunes):
    """Also a second time."""
    found = prunes(PARAMS, FULL, stacked=BY)
    assert_same(found, alone(prunes))
    again = prunes(PARAMS, found, stacked=BY)
    assert_same(again, alone(lambda w, m: prunes(w, prunes(w, m))))


def test_scope_global_sees_no_layers():
    plain = prune.magnitude(PARAMS, FULL, 0.3, "global")
    assert_same(prune.magnitude(PARAMS, FULL, 0.3, "global", BY), plain)


def test_shuffling_keeps_the_number_in_every_layer():
    kept = {"scan": jnp.array([[True, False, False], [True, True, False]]), "b": None}
    found = prune.shuffle(jax.random.key(0), kept, "layer", ["scan"])
    assert stacked.by_layer(found, ["scan"]) == {"scan[0]": (1, 3), "scan[1]": (2, 3)}
    assert found["b"] is None


def test_a_projection_is_that_of_every_layer():
    found = prune.project({"scan": SCAN}, {"scan": SCAN > 0}, 0.4, stacked=["scan"])
    assert found["scan"].tolist() == [[5, 0, 4, 0, 0], [9, 8, 0, 0, 0], [1, 1, 0, 0, 0]]


def test_equals_are_those_of_every_layer():
    """Of the third, two of five equals go; of the others, none are equal."""
    params = {"scan": SCAN}
    full = masks.full(params)
    left = prune.magnitude(params, full, 0.4, "layer", ["scan"])
    scored = scores.magnitude(params)
    assert prune.undecided(scored, full, left, "layer", ["scan"]) == (2, 15)


def test_layers_have_names_and_come_together_again():
    parts = stacked.apart(FULL, BY)
    assert [*parts] == ["fc", "scan/kernel[0]", "scan/kernel[1]", "scan/kernel[2]"]
    assert parts["scan/kernel[1]"].shape == (5,)
    assert_same(stacked.together(parts, FULL), FULL)
    none = {"scan": jnp.ones((0, 2), bool)}
    assert_same(stacked.together(stacked.apart(none, ["scan"]), none), none)


def test_masks_are_laid_out_as_they_were():
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    halves = NamedSharding(mesh, PartitionSpec(None, "batch"))
    params = jax.device_put({"scan": jnp.arange(12.0).reshape(3, 4)}, halves)
    left = prune.magnitude(params, masks.full(params), 0.5, "layer", ["scan"])
    assert left["scan"].tolist() == [[False, False, True, True]] * 3
    assert left["scan"].sharding.is_equivalent_to(halves, 2)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("scam", "'scam' matches no prunable parameter; they are fc, scan/kernel"),
        ("bias", "'bias' matches no prunable parameter"),
        ("(", "unterminated"),
    ],
)
def test_a_pattern_that_finds_no_layers_is_an_error(pattern, said):
    with pytest.raises(Exception, match=said):
        prune.magnitude(PARAMS, FULL, 0.5, "layer", [pattern])


def test_a_number_has_no_layers():
    params = {"scan": jnp.float32(1), "w": jnp.ones((2, 2))}
    full = masks.full(params, include=["scan"])
    with pytest.raises(ValueError, match="^stacked: scan has no axis of layers"):
        prune.magnitude(params, full, 0.5, "layer", ["scan"])


def test_the_layers_of_a_scan_of_linen_are_stacked():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.Dense(3)(x), None

    scanned = nn.scan(
        Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=4
    )()
    params = scanned.init(jax.random.key(0), jnp.ones((1, 3)), None)["params"]
    left = prune.magnitude(params, masks.full(params), 0.5, "layer", ["Dense_0"])
    counts = stacked.by_layer(left, ["Dense_0"])
    assert counts == {f"Dense_0/kernel[{i}]": (4, 9) for i in range(4)}


# ---------------------------------------------------------------------------- rules


@pytest.mark.parametrize("density", [None, 0.5])
def test_a_rule_passes_stacked_layers_on_and_counts_them(density):
    rule = Rule(0.3, density, "layer", stacked=("^scan/",))
    before = {f"scan/kernel[{i}]": (5, 5) for i in range(3)} | {"fc": (4, 4)}
    assert rule.counts(FULL) == before
    left = rule.shrink(scores.magnitude(PARAMS), FULL)
    assert rule.counts(left) == rule.left(before)
    kept = 3 if density is None else 2
    assert rule.counts(left)["scan/kernel[2]"] == (kept, 5)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("keep", ["^scan/kernel$", "^fc$"])
def test_stacked_layers_may_be_kept_whole_or_beside_such(scope, keep):
    rule = Rule(0.1, scope=scope, keep=(keep,), stacked=("^scan/",))
    left = rule.shrink(scores.magnitude(PARAMS), FULL)
    whole = left["fc"] if keep == "^fc$" else left["scan"]["kernel"]
    assert whole.all()
    if scope == "global":
        assert masks.count(left) == (17, 19)
    assert rule.together(rule.counts(left)) == rule.left(rule.counts(FULL))


def test_without_stacked_layers_a_rule_is_what_it_was():
    rule = Rule(0.3, scope="layer")
    assert rule.counts({"a": boolean(1, 0)}) == {"a": (1, 2)}
    plain = prune.magnitude(PARAMS, FULL, 0.3, "layer")
    assert_same(rule.shrink(scores.magnitude(PARAMS), FULL), plain)
