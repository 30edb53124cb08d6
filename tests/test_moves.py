"""Moves: masks that change on the way, with exactly as many weights as they should."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_fit import ALONE, MOMENTS, layout, member, program, shaped_like
from trees import assert_same

from lth_jax import masks as masks_lib
from lth_jax import movers
from lth_jax.movers import MOVERS
from lth_jax.train import moves as moves_lib
from lth_jax.train import state as state_lib
from lth_jax.train.fit import fit
from lth_jax.train.moves import Moves, looks_at_gradient
from lth_jax.train.step import train_step

LAST, STOP = 6, 9


def moving(number=0, optimizer="sgd", density=0.4, goal=None):
    """A state at step 2, whose masks are to move."""
    start = member(number, optimizer, density)
    kept = masks_lib.kept(start.masks) if goal is None else goal
    return state_lib.on_course(start, kept, 1)


def moves(name="rigl", every=2, last=LAST, fraction=0.5):
    return Moves(MOVERS[name], every, last, fraction)


def train(states, stop=STOP, mover="rigl", where=ALONE, optimizer="sgd", **options):
    of = program(optimizer, where)
    return fit([*states], stop, of, moves=moves(mover), **options)


@functools.cache
def step(optimizer):
    """One step on the batch of a number, compiled once for all tests."""
    of = program(optimizer)
    arrays = of.supply(0, 0)

    @jax.jit
    def step(now, number):
        batch = of.feed.batch(arrays, now.data_seed, number)
        return train_step(now, batch, program=of)

    return step


@functools.cache
def move(mover, optimizer):
    """One move, compiled once for all tests, at a share of the moving time."""
    of, when = program(optimizer), moves(mover)
    arrays = of.supply(0, 0)

    @jax.jit
    def move(now, share):
        shared = arrays, (share, jnp.float32(when.fraction))
        return moves_lib.move(now, 0, shared, program=of, mover=when.mover)

    return move


def steps_of(one, mover, optimizer="sgd", stop=STOP):
    """Yield a member before every step and after the last, moved by hand."""
    when = moves(mover)
    for at in range(int(one.step), stop):
        before = one
        if when.due(at):
            one = move(mover, optimizer)(one, jnp.float32(at / when.last))
        yield at, before, one
        one = step(optimizer)(one, one.step)
    yield stop, one, one


def assert_close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        floats = jnp.issubdtype(x.dtype, jnp.floating)
        np.testing.assert_allclose(x, y, rtol=1e-5 if floats else 0, atol=1e-6)


@pytest.mark.parametrize("mover", MOVERS)
def test_fit_moves_masks_before_every_so_many_steps_and_not_after_the_last(mover):
    """As by hand; GMP starts from all weights."""
    density = 1.0 if mover == "gmp" else 0.4
    goal = masks_lib.kept(member(1).masks)
    one = moving(0, density=density, goal=goal)
    (trained,) = train([one], mover=mover)
    by_hand = [*steps_of(one, mover)]
    *_, (_, _, last) = by_hand
    assert_same(trained.masks, last.masks)
    assert_close(trained, last)
    changed = [
        at
        for at, before, now in by_hand
        if masks_lib.checksum(before.masks) != masks_lib.checksum(now.masks)
    ]
    # At the last move the others' drop fraction is 0.
    assert changed == ([2, 4, 6] if mover == "gmp" else [2, 4])


@pytest.mark.parametrize("optimizer", MOMENTS)
@pytest.mark.parametrize("mover", MOVERS)
def test_at_every_step_pruned_weights_and_moments_are_0_and_counts_exact(
    mover, optimizer
):
    goal = masks_lib.kept(member(1).masks)
    first = 1.0 if mover == "gmp" else 0.4
    one = moving(0, optimizer, first, goal)
    layers = masks_lib.by_layer(one.masks)
    # Of numpy: there, nothing is compiled to look at some of the weights.
    for at, before, now in map(jax.device_get, steps_of(one, mover, optimizer)):
        parts = [now.params, *shaped_like(now.params, now.opt_state)]
        assert len(parts) == 1 + MOMENTS[optimizer]
        for path, mask in masks_lib.leaves(now.masks):
            was = dict(masks_lib.leaves(before.masks))[path]
            for part in parts:
                values = dict(masks_lib.leaves(part))[path]
                assert not values[~mask].any()
                assert not values[mask & ~was].any()  # what comes back is 0
                old = dict(masks_lib.leaves(before.params))[path]
                if part is now.params:
                    np.testing.assert_array_equal(values[mask & was], old[mask & was])
        if mover != "gmp":
            assert masks_lib.by_layer(now.masks) == layers
        elif at >= LAST:
            assert masks_lib.count(now.masks) == masks_lib.count(member(1).masks)


@pytest.mark.parametrize("mover", MOVERS)
def test_where_a_training_is_cut_makes_no_difference(mover):
    """Before each step: a move is made once, and by the training that follows."""
    goal = masks_lib.kept(member(1).masks)
    states = [
        moving(i, density=1.0 if mover == "gmp" else 0.4, goal=goal) for i in (0, 1)
    ]
    whole = train(states, mover=mover)
    for cut in range(3, STOP):
        assert_same(train(train(states, cut, mover), mover=mover), whole)


def test_a_pause_is_a_cut():
    """The first member pauses after a compiled call, on its way, the other does not."""
    asked = iter([False, True, *[False] * 99])
    states = [moving(0), moving(1)]
    paused = train(states, pause=lambda: next(asked))
    assert [int(one.step) for one in paused] == [5, STOP]
    assert_same(train(paused), train(states))


@pytest.mark.parametrize("mover", ["set", "rigl"])
def test_a_fleet_moves_as_its_members_do_alone(mover):
    states = [moving(i) for i in range(3)]
    together = train(states, mover=mover, where=layout())
    for one, alone in zip(together, states):
        (trained,) = train([alone], mover=mover)
        assert_same(one.masks, trained.masks)
        assert_close(one, trained)


@pytest.mark.slow
@pytest.mark.parametrize("mover", ["set", "rigl"])
def test_two_devices_that_share_batches_move_as_one(mover):
    one = moving(0)
    (shared,) = train([one], mover=mover, where=layout("data"))
    (alone,) = train([one], mover=mover)
    assert_same(shared.masks, alone.masks)
    assert_close(shared, alone)


def test_no_move_compiles_again():
    states, compiled = [moving(0)], []
    train(states)

    def listen(name, *_, **__):
        if "compile" in name:
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        train([moving(0)], stop=8)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []


def test_layers_without_a_goal_do_not_move():
    start = moving(0)
    goal = start.course.goal | {"fc": start.course.goal["fc"] | {"kernel": None}}
    held = dataclasses.replace(
        start, course=dataclasses.replace(start.course, goal=goal)
    )
    (trained,) = train([held])
    assert_same(trained.masks["fc"], start.masks["fc"])
    assert (trained.masks["fc1"]["kernel"] != start.masks["fc1"]["kernel"]).any()


def test_a_stretched_schedule_takes_as_many_times_the_steps():
    """Twice as long, step 2 has the rate of step 1; the batch is that of step 2."""
    start = member(0)
    kept = masks_lib.kept(start.masks)
    slow, alike = (state_lib.on_course(start, kept, times) for times in (2, 1))
    at_half = dataclasses.replace(alike, step=jnp.int32(1))
    now, then, other = (step("sgd")(one, start.step) for one in (slow, at_half, alike))
    assert_same(now.params, then.params)
    assert (now.params["fc"]["kernel"] != other.params["fc"]["kernel"]).any()


def test_what_was_kept_is_summed_over_the_steps():
    goal = masks_lib.kept(member(1).masks)
    one = moving(0, density=1.0, goal=goal)
    sums = {path: 0.0 for path, _ in masks_lib.leaves(one.masks)}
    for at, _, now in steps_of(one, "gmp"):
        for path, (kept, total) in masks_lib.by_layer(now.masks).items():
            sums[path] += kept / total if at < STOP else 0
    (trained,) = train([one], mover="gmp")
    spent = moves_lib.spent(trained.course, trained.masks, STOP).spent
    found = {path: float(n) for path, n in masks_lib.leaves(spent)}
    assert found == pytest.approx(sums, rel=1e-6)


def test_it_is_known_which_movers_look_at_the_gradient():
    looks = {
        name for name, mover in MOVERS.items() if looks_at_gradient(mover, moving())
    }
    assert looks == {"rigl"}


def test_a_mover_may_leave_layers_as_they_are(monkeypatch):
    """None stays; a layer that is missing is an error that names it."""

    def some(now):
        return movers.rigl(now) | {"fc": {"kernel": None, "bias": None}}

    monkeypatch.setitem(MOVERS, "some", some)
    start = moving()
    assert looks_at_gradient(some, start)
    (trained,) = train([start], mover="some")
    assert_same(trained.masks["fc"], start.masks["fc"])
    assert (trained.masks["fc1"]["kernel"] != start.masks["fc1"]["kernel"]).any()
    with pytest.raises(ValueError, match="it returns nothing for fc/kernel"):
        looks_at_gradient(lambda now: {"fc1": now.masks["fc1"]}, start)


def test_a_diverged_member_moves_nobody_else():
    good, bad, last = map(moving, range(3))
    bad = dataclasses.replace(
        bad, params=jax.tree.map(lambda w: w * jnp.nan, bad.params)
    )
    first, lost, third = train([good, bad, last], where=layout())
    for one, alone in zip((first, third), train([good, last])):
        assert_same(one.masks, alone.masks)
    assert not np.isfinite(lost.loss)
