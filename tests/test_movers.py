"""Masks that move: exact counts, and which weights go and come."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import assert_same, boolean

from lth_jax import masks, movers

KNOWN = json.loads(Path(__file__).with_name("conformance.json").read_text())
JITTED = jax.jit(movers.drop_and_grow)
BOTH = pytest.mark.parametrize("move", [movers.drop_and_grow, JITTED])


def bits(mask):
    return np.asarray(mask, int).tolist()


# fraction, cubic


def test_the_fraction_is_a_cosine_from_the_initial_to_0():
    for share, want in [(0, 0.3), (1 / 3, 0.225), (0.5, 0.15), (2 / 3, 0.075)]:
        assert movers.fraction(float(share), 0.3) == pytest.approx(want, rel=1e-6)
    assert movers.fraction(0.0, 0.3) == np.float32(0.3)
    assert movers.fraction(1.0, 0.3) == movers.fraction(7.5, 0.3) == 0
    jitted = jax.jit(movers.fraction)
    shares = np.linspace(0, 1.2, 50, dtype=np.float32)
    found = [movers.fraction(jnp.asarray(x), 0.3) for x in shares]
    assert_same(found, [jitted(x, 0.3) for x in shares])
    assert (np.diff(found) <= 0).all()


def test_the_cubic_schedule_agrees_with_the_papers():
    known, total = KNOWN["cubic_schedule"], 160_000
    start, end = known["start"], known["end"]
    goal = round(total * (1 - known["target_sparsity"]))
    for cubic in (movers.cubic, jax.jit(movers.cubic)):
        for step, sparsity in known["at_steps"].items():
            share = (int(step) + 1 - start) / (end - start)
            kept = cubic(total, goal, share)
            assert kept.dtype == jnp.uint32
            assert 1 - int(kept) / total == pytest.approx(sparsity, abs=1e-6)
        assert cubic(total, goal, 0.05) == goal + 68_590


@pytest.mark.parametrize("total", [0, 1, 7, 2**24 + 1, 2**31 + 12_345, 2**32 - 1])
def test_the_cubic_schedule_has_exact_ends_and_never_rises(total):
    shares = np.linspace(-0.1, 1.1, 121, dtype=np.float32)
    for goal in {0, min(total, 1), total // 3, total}:
        kept = np.array([movers.cubic(total, goal, jnp.asarray(x)) for x in shares])
        assert (np.diff(kept.astype(np.int64)) <= 0).all()
        assert (kept[:11] == total).all()
        assert (kept[-11:] == goal).all()
        want = goal + (total - goal) * (1 - np.clip(shares.astype(float), 0, 1)) ** 3
        np.testing.assert_allclose(kept, want, atol=0.51, rtol=1e-6)


# drop_and_grow


@BOTH
def test_a_move_agrees_with_the_known_one(move):
    known = KNOWN["rigl_move"]
    drop, grow = (
        {"w": jnp.array(known[name], jnp.float32), "b": jnp.ones(2)}
        for name in ("drop_scores", "grow_scores")
    )
    kept = {"w": boolean(*known["masks"]), "b": None}
    want = {"w": boolean(*known["drop_fraction_0.25"]), "b": None}
    assert_same(move(drop, grow, kept, 0.25), want)


@BOTH
@pytest.mark.parametrize(
    ("drop", "grow", "kept", "fraction", "left"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], 0.5, [1, 0, 1, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], 0.0, [1, 1, 0, 0]),
        ([0, 0, 0, 0], [9, 9, 1, 0], [1, 1, 0, 0], 1.0, [0, 0, 1, 1]),
        ([0, 0, 0, 0], [9, 9, 1, 0], [1, 1, 0, 0], 0.49, [1, 1, 0, 0]),
        ([1, 2, 3, 4], [1, 2, 3, 0], [1, 1, 1, 0], 1.0, [0, 1, 1, 1]),
        ([1, 2, 3, 4], [2, 2, 2, 0], [1, 1, 1, 0], 1.0, [1, 1, 0, 1]),
        ([1, 2, 3, 4], [0, 1, 0, 0], [1, 1, 1, 1], 0.5, [1, 1, 1, 1]),
        ([1, 2, 3, 4], [0, 1, 0, 0], [0, 0, 0, 0], 0.5, [0, 0, 0, 0]),
        ([1], [1], [1], 1.0, [1]),
        ([1], [1], [0], 1.0, [0]),
        ([np.nan, 2, 0, 0], [0, 0, 1, np.nan], [1, 1, 0, 0], 0.5, [1, 0, 0, 1]),
        ([-np.inf, 2, 0, 0], [0, 0, -np.inf, -1], [1, 1, 0, 0], 0.5, [0, 1, 0, 1]),
    ],
)
def test_the_lowest_go_and_the_highest_elsewhere_come(
    move, drop, grow, kept, fraction, left
):
    drop, grow = jnp.array(drop, jnp.float32), jnp.array(grow, jnp.float32)
    assert bits(move(drop, grow, boolean(*kept), fraction)) == left


def test_layers_move_by_themselves_and_those_of_none_stay():
    drop = {
        "a": jnp.array([1.0, 2, 0]),
        "b": jnp.array([9.0, 8, 0, 0]),
        "e": jnp.ones(0),
    }
    kept = {"a": boolean(1, 1, 0), "b": boolean(1, 1, 0, 0), "e": jnp.ones(0, bool)}
    left = movers.drop_and_grow(drop, drop, kept, 0.5)
    want = {"a": boolean(0, 1, 1), "b": boolean(1, 0, 1, 0), "e": jnp.ones(0, bool)}
    assert_same(left, want)
    assert movers.drop_and_grow({"b": jnp.ones(2)}, {}, {"b": None}, 0.5) == {"b": None}


SHAPES = [(5, 4), (33,), (1, 1), (0, 2)]
TIED = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 1e-40, np.inf])
FLOATS = TIED | st.floats(width=32, allow_nan=False)


def trees(elements, dtype=np.float32):
    arrays = [hnp.arrays(dtype, shape, elements=elements) for shape in SHAPES]
    return st.tuples(*arrays).map(list)


any_masks = trees(st.booleans(), bool) | st.sampled_from(
    [[np.full(shape, fill) for shape in SHAPES] for fill in (True, False)]
)
shares = st.sampled_from([0.0, 0.3, 1.0]) | st.floats(0, 1, width=32)


def by_sorting(drop, grow, kept, fraction):
    """The move of one layer."""
    drop, grow, kept = (np.ravel(x) for x in (drop + 0.0, grow + 0.0, kept))
    now = np.flatnonzero(kept)
    number = math.floor(np.float32(fraction) * np.float32(len(now)))
    order = sorted(now, key=lambda i: (drop[i], -i))
    gone, left = order[:number], order[number:]
    free = sorted(np.flatnonzero(~kept), key=lambda i: (-grow[i], i))
    back = sorted(gone, key=lambda i: (-grow[i], i))
    new = np.zeros_like(kept)
    new[[*left, *(free + back)[:number]]] = True
    return new


@settings(max_examples=80)
@given(trees(FLOATS), trees(FLOATS), any_masks, shares)
def test_a_move_is_that_of_sorted_layers(drop, grow, kept, fraction):
    moved = JITTED(drop, grow, kept, fraction)
    assert masks.by_layer(moved) == masks.by_layer(kept)
    for got, *layer in zip(moved, drop, grow, kept):
        want = by_sorting(*layer, fraction).reshape(got.shape)
        np.testing.assert_array_equal(got, want)


# set, rigl, gmp


def now(weights, kept, goal=None, share=0.0, fraction=0.3, gradient=None, seed=0):
    if goal is None:
        goal = jax.tree.map(lambda m: m.sum(dtype=jnp.uint32), kept)
    gradient = weights if gradient is None else gradient
    key, step = jax.random.key(seed), jnp.int32(100)
    return movers.Now(weights, gradient, kept, key, step, share, goal, fraction)


PARAMS = {"w": jnp.array([[1.0, -4, 0], [2, 0, 0]]), "b": jnp.ones(3)}
HALF = {"w": boolean([1, 1, 0], [1, 0, 0]), "b": None}


def test_rigl_grows_where_gradients_are_large_whatever_their_sign():
    gradient = {"w": jnp.array([[9.0, 9, 1], [9, -3, 2]]), "b": jnp.ones(3)}
    moved = movers.rigl(now(PARAMS, HALF, gradient=gradient, fraction=0.4))
    assert_same(moved, {"w": boolean([0, 1, 0], [1, 1, 0]), "b": None})
    assert_same(movers.rigl(now(PARAMS, HALF, share=1.0)), HALF)


def test_set_grows_anywhere_by_the_key_alone():
    found = [movers.set_(now(PARAMS, HALF, fraction=0.4, seed=i)) for i in range(20)]
    assert all(bits(x["w"])[0][:2] == [0, 1] and bits(x["w"])[1][0] for x in found)
    assert len({str(bits(x["w"])) for x in found}) == 3
    again = movers.set_(now(PARAMS, HALF, fraction=0.4, seed=3, share=0.0))
    assert_same(again, found[3])


def test_gmp_prunes_the_smallest_of_the_network_as_time_goes():
    weights = {"a": jnp.array([1.0, 2, 3, 4]), "b": jnp.array([5.0, 6, 7, 8])}
    full = masks.full(weights, include=["."])
    goal = {"a": jnp.uint32(1), "b": jnp.uint32(1)}
    kept, counts = full, []
    for share in (0.0, 0.1, 0.25, 0.5, 1.0, 1.5):
        kept = movers.gmp(now(weights, kept, goal, share))
        counts.append(masks.count(kept)[0])
    assert counts == [8, 6, 5, 3, 2, 2]
    assert_same(kept, {"a": boolean(0, 0, 0, 0), "b": boolean(0, 0, 1, 1)})
    assert_same(movers.gmp(now(weights, kept, goal, 0.0)), kept)


@pytest.mark.parametrize("name", movers.MOVERS)
def test_a_mover_in_a_loop_of_a_program(name):
    """Every argument is traced; the same as step by step."""
    weights = {"w": jax.random.normal(jax.random.key(1), (8, 6)), "b": None}
    start = {"w": jnp.arange(48).reshape(8, 6) % 2 == 0, "b": None}
    goal = {"w": jnp.uint32(10), "b": None}

    def step(i, kept):
        part = jnp.asarray(i, jnp.float32) / 5
        return movers.MOVERS[name](now(weights, kept, goal, part))

    eager = start
    for i in range(6):
        eager = step(i, eager)
    looped = jax.jit(lambda kept: jax.lax.fori_loop(0, 6, step, kept))(start)
    assert_same(looped, eager)
    assert masks.count(eager)[0] == (10 if name == "gmp" else 24)


PROGRAMS = {name: jax.jit(mover) for name, mover in movers.MOVERS.items()}


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=40)
@given(trees(FLOATS), any_masks, shares, shares, st.data())
def test_counts_of_movers_are_exact(name, weights, kept, share, fraction, data):
    goal = [data.draw(st.integers(0, int(m.sum()))) for m in kept]
    goal = [jnp.uint32(n) for n in goal]
    at = now(weights, kept, goal, share, fraction)
    moved = PROGRAMS[name](at)
    if name != "gmp":
        assert masks.by_layer(moved) == masks.by_layer(kept)
    else:
        total = sum(m.size for m in kept)
        wanted = int(movers.cubic(total, int(sum(goal)), share))
        assert masks.count(moved)[0] == min(wanted, masks.count(kept)[0])
        assert all((new <= m).all() for new, m in zip(moved, kept))
