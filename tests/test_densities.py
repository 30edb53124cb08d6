"""Where weights are kept from the start: exact numbers of every layer."""

import json
import math
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_jax import densities, masks, prune

KNOWN = json.loads(Path(__file__).with_name("conformance.json").read_text())
R = {"a": (300, 784), "b": (100, 300), "c": (10, 100)}
BOTH = pytest.mark.parametrize("give", [densities.uniform, densities.erk])


def test_erk_agrees_with_other_implementations():
    known, kept = KNOWN["erk_on_R"]["sparsity_0.8"], densities.erk(R, 0.2)
    assert (kept, sum(kept.values())) == (known["kept"], known["total"])
    for path, sparsity in known["layer_sparsities"].items():
        size = math.prod(R[path])
        assert abs(size - kept[path] - size * sparsity) < 1


def test_erk_of_convolutions_counts_the_sides_of_kernels():
    kept = densities.erk({"conv": (3, 3, 10, 20), "fc": (30, 40)}, 0.1)
    total = prune.at_density(1800 + 1200, 0.1)
    assert kept == {"conv": round(total * 36 / 106), "fc": round(total * 70 / 106)}


def test_erk_makes_small_layers_dense_one_after_another():
    # 0.7 * 110 = 77; d: 4/24 of it is above 2, then b: 6/20 of 75 is above 8.
    shapes = {"a": (10, 10), "b": (4, 2), "d": (2, 1)}
    assert densities.erk(shapes, 0.7) == {"a": 67, "b": 8, "d": 2}
    assert densities.erk(shapes, 1.0) == {"a": 100, "b": 8, "d": 2}


@BOTH
def test_of_equal_remainders_the_first_layers_count(give):
    shapes = {"10": (1, 3), "9": (3, 1), "b": (1, 3)}
    assert give(shapes, 0.5) == {"9": 2, "10": 1, "b": 1}
    assert [*give(shapes, 0.5)] == ["9", "10", "b"]


@BOTH
def test_layers_of_none_and_of_one_weight(give):
    assert give({"empty": (0, 3), "one": (1,)}, 1.0) == {"empty": 0, "one": 1}
    assert give({"one": (1, 1)}, 1.0) == {"one": 1}
    with pytest.raises(ValueError, match="nothing would be left"):
        give({"one": (1, 1)}, 0.5)
    with pytest.raises(ValueError, match="nothing would be left"):
        give({"empty": (0,)}, 0.5)
    with pytest.raises(ValueError, match="nothing would be left"):
        give({}, 0.5)


@BOTH
@pytest.mark.parametrize("density", [0.0, -0.1, 1.01])
def test_a_density_outside_0_and_1_is_an_error(give, density):
    said = pytest.raises(ValueError, match=f"density: {density} is not in")
    with said:
        give(R, density)
    with said:
        densities.table(R, [(".", density)])


def test_a_number_without_dimensions_has_no_share_in_erk():
    shapes = {"w": (2, 2), "scale": ()}
    assert densities.erk(shapes, 0.5) == {"w": 2, "scale": 0}
    with pytest.raises(ValueError, match="density: 1.0 cannot be reached"):
        densities.erk(shapes, 1.0)
    assert densities.uniform(shapes, 1.0) == {"w": 4, "scale": 1}


def test_a_table_gives_each_layer_the_density_of_the_first_that_matches():
    kept = densities.table(R, [("^a$", 0.1), ("^[ab]$", Fraction(1, 3)), ("c", 1.0)])
    assert kept == {"a": 23_520, "b": 10_000, "c": 1000}
    assert densities.table({"w": (7,)}, [("w", 0.5)]) == {"w": 3}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("[ab]", 0.5)], "densities: no regular expression is found in c"),
        ([("x", 0.5), (".", 0.5)], "'x' matches no .* parameter; they are a, b, c"),
        ([(".", 1e-9)], "nothing would be left"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error(pairs, said):
    with pytest.raises(ValueError, match=said):
        densities.table(R, pairs)


def test_masks_are_pruned_to_them():
    params = {"a": jnp.arange(6.0).reshape(3, 2), "fc": {"w": jnp.ones((2, 2))}}
    shapes = {path: leaf.shape for path, leaf in masks.leaves(params)}
    counts = densities.erk(shapes, 0.6)
    left = prune.to_counts(params, masks.full(params), counts)
    assert {path: n for path, (n, _) in masks.by_layer(left).items()} == counts


dims = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
layers = st.dictionaries(st.text("abc/01", min_size=1), dims, min_size=1, max_size=6)
shares = st.fractions(0, 1, max_denominator=50).filter(bool)


@settings(max_examples=200)
@given(layers, shares, st.sampled_from([densities.uniform, densities.erk]))
def test_totals_are_exact_and_no_layer_is_above_its_size(shapes, share, give):
    sizes = {path: math.prod(shape) for path, shape in shapes.items()}
    total = prune.at_density(sum(sizes.values()), share)
    if not total:
        return
    kept = give(shapes, share)
    assert sum(kept.values()) == total
    assert all(0 <= kept[path] <= sizes[path] for path in sizes)
    if give is densities.uniform:
        assert all(abs(kept[path] - share * sizes[path]) < 1 for path in sizes)
    else:  # what is not dense has one share a dimension
        open_ = [path for path in sizes if kept[path] < sizes[path] - 1]
        each = [kept[path] / sum(shapes[path]) for path in open_]
        error = [1 / sum(shapes[path]) for path in open_]
        for one, e in zip(each, error):
            assert all(abs(one - x) <= e + f for x, f in zip(each, error))
