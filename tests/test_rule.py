"""Rules: exact counts, where some layers count and are never pruned."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest
from trees import assert_same, boolean

from lth_jax import prune
from lth_jax.rule import Rule

MASKS = {"a": boolean(1, 1, 1, 1, 1, 1), "b": boolean(1, 1), "fc": boolean(1, 1)}
SCORES = {
    "a": jnp.array([5.0, 1, 6, 2, 7, 8]),
    "b": jnp.array([9.0, 3]),
    "fc": jnp.zeros(2),
}


@pytest.mark.parametrize(
    ("rule", "a", "b"),
    [
        # Of 10 weights 4 go, those of the lowest scores, which fc has.
        (Rule(0.4, keep=("fc",)), (0, 0, 1, 0, 1, 1), (1, 0)),
        (Rule(0.1, density=0.6, keep=("fc",)), (0, 0, 1, 0, 1, 1), (1, 0)),
        # Half of each of the other layers.
        (Rule(0.4, scope="layer", keep=("fc",)), (0, 0, 1, 0, 1, 1), (1, 0)),
        (Rule(0.1, 0.8, "layer", keep=("fc",)), (1, 0, 1, 0, 1, 1), (1, 0)),
        # Without: 2 of fc, which scores 0, and others.
        (Rule(0.4), (1, 0, 1, 0, 1, 1), (1, 1)),
    ],
)
def test_what_is_kept_whole_is_not_pruned_and_counts(rule, a, b):
    fc = boolean(1, 1) if rule.keep else boolean(0, 0)
    found = rule.shrink(SCORES, MASKS)
    assert_same(found, {"a": boolean(*a), "b": boolean(*b), "fc": fc})


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_without_such_layers_a_rule_is_the_plain_pruning(scope):
    for rule, plain in (
        (Rule(0.3, scope=scope), prune.by_fraction(SCORES, MASKS, 0.3, scope)),
        (Rule(0.3, 0.55, scope), prune.to_density(SCORES, MASKS, 0.55, scope)),
    ):
        assert_same(rule.shrink(SCORES, MASKS), plain)


LAYERS = {"a/w": (50, 60), "b/w": (30, 30), "fc/w": (10, 10)}


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (Rule(0.2), {"": (72, 100)}),
        (Rule(0.2, scope="layer"), {"a/w": (40, 60), "b/w": (24, 30), "fc/w": (8, 10)}),
        (Rule(0.2, keep=("^fc/",)), {"": (62, 90), "fc/w": (10, 10)}),
        (Rule(0.2, 0.5, keep=("^fc/",)), {"": (40, 90), "fc/w": (10, 10)}),
        (
            Rule(0.2, scope="layer", keep=("^fc/",)),  # 18 / 80 of each go, rounded up
            {"a/w": (38, 60), "b/w": (23, 30), "fc/w": (10, 10)},
        ),
        (
            Rule(0.2, 0.55, "layer", ("^fc/",)),
            {"a/w": (30, 60), "b/w": (15, 30), "fc/w": (10, 10)},
        ),
    ],
)
def test_counts_are_exact(rule, left):
    assert rule.left(LAYERS) == left


def test_shares_are_exact():
    assert Rule(0.1).share(LAYERS) == Fraction(1, 10)
    assert Rule(0.1, keep=("fc",)).share(LAYERS) == Fraction(9, 80)
    assert Rule(0.1, 0.7).share(LAYERS) == Fraction(7, 10)
    assert Rule(0.1, 0.7, keep=("fc",)).share(LAYERS) == Fraction(60, 90)


def test_what_is_pruned_beside_does_not_see_what_is_kept_whole():
    rule = Rule(0.5, keep=("fc",))
    seen = []
    found = rule.beside(MASKS, lambda masks: seen.append(masks) or masks)
    assert_same(seen, [MASKS | {"fc": None}])
    assert_same(found, MASKS)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_what_cannot_be_reached_is_said(scope):
    few = {"a/w": (5, 60), "fc/w": (10, 10)}
    with pytest.raises(ValueError, match="^7 weights would be left in all, but 10 are"):
        Rule(0.5, scope=scope, keep=("fc",)).left(few)
    with pytest.raises(
        ValueError, match="^10 weights would be left in all, but 10 are"
    ):
        Rule(0.5, 0.15, scope, ("fc",)).left(few)
    with pytest.raises(ValueError, match="^nothing would be left of 60 weights"):
        Rule(0.9, scope=scope).left({"a/w": (1, 60)})


BLOCKS = {"w": boolean(1, 1, 1, 1, 1, 1, 1, 1).reshape(8, 1), "fc": boolean(1, 1)}
HIGH = {"w": jnp.array([[5.0], [1], [6], [6], [6], [0], [0], [0]]), "fc": jnp.zeros(2)}


def test_of_every_block_the_highest_remain_of_equals_the_first():
    rule = Rule(0.2, 0.5, "2:4", keep=("fc",))
    found = rule.shrink(HIGH, BLOCKS)
    assert (
        found["w"].ravel().tolist()
        == [False, False, True, True] + [True] * 2 + [False] * 2
    )
    assert_same(found["fc"], BLOCKS["fc"])
    counts = rule.counts(BLOCKS)
    assert rule.left(counts) == {"w": (4, 8), "fc": (2, 2)}
    assert rule.together(rule.counts(found)) == rule.left(counts)


def scored(masks):
    return jax.tree.map(lambda m: m.astype(float), masks)


@pytest.mark.parametrize(
    ("path", "shape", "others"),
    [
        ("query", (8, 2, 4), {}),
        ("weight", (8, 8), {}),
        ("stacked", (3, 8, 2, 4), {"stacked": ("^stacked$",)}),
    ],
)
def test_blocks_of_what_may_not_be_inputs_are_refused(path, shape, others):
    masks = {path: jnp.ones(shape, bool), "conv1": jnp.ones((3, 4, 2), bool)}
    rule = Rule(0.2, 0.5, "2:4", **others)
    with pytest.raises(ValueError, match=f"^{path}, of shape .* config.prune.exclude"):
        rule.shrink(scored(masks), masks)
    others = {"conv1": masks["conv1"]}
    assert rule.shrink(scored(others), others)["conv1"].sum() == 12


def test_blocks_of_stacked_layers_are_of_each_ones_inputs():
    masks = {"stacked": jnp.ones((3, 8, 2), bool)}
    rule = Rule(0.2, 0.5, "2:4", stacked=("^stacked$",))
    assert rule.shrink(scored(masks), masks)["stacked"].sum() == 24


def test_as_many_weights_of_every_block_are_those_anywhere():
    sparse = BLOCKS | {"w": boolean(0, 0, 1, 1, 0, 0, 1, 1).reshape(8, 1)}
    found = Rule(0.2, 0.5, "2:4", keep=("fc",)).as_many(HIGH, sparse)
    assert found["w"].ravel().tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_as_many_weights_as_others_in_all_or_in_each_layer():
    sparse = {"a": boolean(1, 0, 0, 0, 0, 0), "b": boolean(1, 1), "fc": boolean(1, 0)}
    everywhere = Rule(0.2, keep=("fc",)).as_many(SCORES, sparse)
    assert everywhere["a"].tolist() == [0, 0, 0, 0, 1, 1]
    assert everywhere["b"].tolist() == [1, 0]
    assert_same(everywhere["fc"], sparse["fc"])
    each = Rule(0.2, scope="layer").as_many(SCORES, sparse)
    assert each["a"].tolist() == [0, 0, 0, 0, 0, 1]
    assert each["b"].tolist() == [1, 1]
