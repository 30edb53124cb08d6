"""Branches: where the controlled variations of a ticket start."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import assert_same

from lth_jax import branches, models, prune, rewind, scores
from lth_jax import masks as masks_lib
from lth_jax.branches import BRANCHES
from lth_jax.optim import optimizers as optim
from lth_jax.rule import Rule
from lth_jax.train import state
from lth_jax.workdir import Member

REWIND_STEP, LENGTH = 3, 9
NETWORK = models.create("lenet", num_classes=3, widths=(6,))


@functools.cache
def initialise(seed):
    adam = optim.optimizer("adam", 0.1, None)
    return state.create(jax.random.key(seed), jnp.zeros((1, 2, 2, 1)), NETWORK, adam)


@functools.cache
def dense(step):
    """A state in which every part tells how many steps it has taken."""
    params, opt_state = jax.tree.map(
        lambda w: w + step, (initialise(0).params, initialise(0).opt_state)
    )
    return dataclasses.replace(
        initialise(0),
        step=jnp.int32(step),
        params=params,
        batch_stats={"mean": jnp.float32(step)},
        opt_state=opt_state,
    )


@functools.cache
def masks(setting=0):
    return prune.random(jax.random.key(1 + setting), initialise(0).masks, 0.4)


@functools.cache
def trained():
    """What the ticket came to: unlike anything that was dense."""
    final = dense(LENGTH)
    doubled = jax.tree.map(lambda w: 2 * w, final.params)
    return rewind.to(dataclasses.replace(final, params=doubled), masks())


@functools.cache
def before():
    """What the ticket of the level before came to: of all weights."""
    tripled = jax.tree.map(lambda w: 3 * w, dense(LENGTH).params)
    return dataclasses.replace(dense(LENGTH), params=tripled)


TICKET = Member(0, REWIND_STEP, 1, "ticket", 0, learning_rate=0.1)


def run(fresh=(), key=7, weights="k", clock="k"):
    """What a branch asks of a run, answered from the states above."""
    sweep = SimpleNamespace(learning_rate=(0.1, 0.2))
    rewinding = SimpleNamespace(fresh=fresh, weights=weights, clock=clock)
    pruning = SimpleNamespace(scope="global")
    config = SimpleNamespace(rewind=rewinding, sweep=sweep, prune=pruning)
    seeds = [TICKET.dense, TICKET.dense._replace(replicate=1)]
    return SimpleNamespace(
        config=config,
        rule=Rule(0.2),
        plan=SimpleNamespace(
            length=LENGTH,
            lengths=lambda branch, level: branch.lengths or 0.4,
            dense=seeds,
            table=[("^fc1", 0.5), (".", 1.0)],
        ),
        dense=lambda member, step: dense(step),
        initial=lambda member, key: initialise(int(jax.random.bits(key))),
        masks=lambda ticket: masks(
            int(ticket.learning_rate != 0.1) + 2 * ticket.replicate
        ),
        trained=lambda ticket: trained(),
        previous=lambda ticket: before(),
        score=lambda ticket: scores.magnitude(before().params),
        key=lambda member, *purposes: jax.random.key(key),
    )


def assert_masked(started, unmasked, masks):
    """All that is shaped like the weights is exactly 0 under the mask, or untouched."""
    for tree in (lambda s: s.params, lambda s: s.opt_state[0].mu):
        for layer in ("fc", "fc1"):
            kept = masks[layer]["kernel"]
            now, before = tree(started)[layer], tree(unmasked)[layer]
            assert_same(now["kernel"], jnp.where(kept, before["kernel"], 0))
            assert_same(now["bias"], before["bias"])
    assert_same(started.masks, masks)


def start(branch, **fields):
    return branches.start(run(**fields), TICKET._replace(branch=branch))


@pytest.mark.parametrize(
    ("branch", "step"),
    [
        ("ticket", REWIND_STEP),
        ("shuffled_mask", REWIND_STEP),
        ("random_mask", REWIND_STEP),
        ("cross_lr", REWIND_STEP),
        ("dense", REWIND_STEP),
        ("rewind_0", 0),
        ("fine_tune_small", LENGTH),
    ],
)
def test_weights_and_moments_are_the_dense_networks_to_the_last_bit(branch, step):
    started = start(branch)
    assert_masked(started, dense(step), started.masks)
    assert int(started.step) == step
    assert_same(started.batch_stats, dense(step).batch_stats)


@pytest.mark.parametrize(
    "branch",
    ["ticket", "random_reinit", "rewind_0", "fine_tune", "fine_tune_small", "long"],
)
def test_these_branches_have_the_tickets_masks(branch):
    assert_same(start(branch).masks, masks())


def test_shuffled_masks_keep_as_many_weights_in_every_layer_elsewhere():
    shuffled = start("shuffled_mask").masks
    assert masks_lib.by_layer(shuffled) == masks_lib.by_layer(masks())
    assert masks_lib.overlap(shuffled, masks()) < 0.9


def test_random_masks_keep_as_many_weights_in_all():
    drawn = start("random_mask").masks
    assert masks_lib.count(drawn) == masks_lib.count(masks())
    assert masks_lib.by_layer(drawn) != masks_lib.by_layer(masks())


def test_masks_can_be_those_of_another_setting():
    assert_same(start("cross_lr").masks, masks(1))


def test_a_dense_branch_has_no_masks():
    assert masks_lib.density(start("dense").masks) == 1


def test_reinitialised_networks_start_new_on_the_tickets_part_of_the_schedule():
    started = start("random_reinit")
    fresh = initialise(int(jax.random.bits(jax.random.key(7))))
    assert_masked(started, fresh, masks())
    assert int(started.step) == REWIND_STEP
    assert_same(started.batch_stats, fresh.batch_stats)


@pytest.mark.parametrize(
    ("branch", "weights"),
    [("fine_tune", lambda: dense(LENGTH)), ("long", trained)],
)
def test_trained_weights_take_the_whole_schedule_again(branch, weights):
    unmasked = dataclasses.replace(
        weights(), step=dense(0).step, opt_state=dense(0).opt_state
    )
    started = start(branch)
    assert int(started.step) == 0
    assert_same(started.params, rewind.to(unmasked, masks()).params)
    assert_same(started.batch_stats, unmasked.batch_stats)
    assert not any(mu.any() for mu in jax.tree.leaves(started.opt_state))


@pytest.mark.parametrize("branch", ["random_reinit", "shuffled_mask", "random_mask"])
def test_what_is_drawn_depends_on_the_key_only(branch):
    first, again, other = (start(branch, key=key) for key in (7, 7, 8))
    assert_same(first, again)
    kernels = first.params["fc1"]["kernel"], other.params["fc1"]["kernel"]
    assert (kernels[0] != kernels[1]).any()


@pytest.mark.parametrize("branch", ["ticket", "rewind_0", "fine_tune", "long"])
def test_the_other_branches_draw_nothing(branch):
    assert_same(start(branch, key=7), start(branch, key=8))


def test_branches_that_train_weights_again_have_a_data_order_of_their_own():
    again = {name for name, branch in BRANCHES.items() if branch.again}
    assert again == {"fine_tune", "fine_tune_small", "long"}


def test_every_branch_stops_where_its_schedule_says():
    """A second schedule counts on from the first only where the step does."""
    stops = {name: branch.lengths for name, branch in BRANCHES.items()}
    assert stops.pop("fine_tune_small") == 2
    assert stops.pop("rigl_3") == 3
    assert stops.pop("dense_equal_bill") is None
    assert set(stops.values()) == {1}
    assert [name for name, branch in BRANCHES.items() if branch.after] == ["long"]


@pytest.mark.parametrize("part", ["params", "batch_stats", "opt_state", "step"])
def test_a_fresh_part_is_as_at_step_0_and_the_others_are_rewound(part):
    unmasked = dataclasses.replace(
        dense(REWIND_STEP), **{part: getattr(dense(0), part)}
    )
    started = start("ticket", fresh=(part,))
    assert_masked(started, unmasked, masks())
    assert_same(started.batch_stats, unmasked.batch_stats)
    assert_same(started.step, unmasked.step)
    assert_same(started.opt_state[0].count, unmasked.opt_state[0].count)


def test_everything_fresh_is_rewinding_to_step_0():
    parts = ("params", "batch_stats", "opt_state", "step")
    assert_same(start("ticket", fresh=parts), start("rewind_0"))


def test_the_dense_states_stay_unmasked():
    before = jax.tree.map(np.array, [dense(0), dense(REWIND_STEP)])
    for branch in BRANCHES:
        start(branch)
    assert_same([dense(0), dense(REWIND_STEP)], before)
    assert masks_lib.density(dense(REWIND_STEP).masks) == 1


def test_a_change_sees_masks_and_dense_weights_and_moves_no_clock(monkeypatch):
    """Of one layer alone, too; what is pruned stays 0."""

    def change(state, key):
        assert_same(state.masks, masks())
        assert (state.params["fc"]["kernel"] != 0).all()
        noise = jax.random.normal(key, state.params["fc"]["kernel"].shape)
        params = state.params | {"fc": state.params["fc"] | {"kernel": noise}}
        return dataclasses.replace(state, params=params, step=jnp.int32(1))

    branch = branches.Branch("k", "k", change=change)
    monkeypatch.setitem(BRANCHES, "noise", branch)
    started, ticket = start("noise"), start("ticket")
    assert int(started.step) == REWIND_STEP
    assert_same(started.params["fc1"], ticket.params["fc1"])
    kernel = started.params["fc"]["kernel"]
    assert not kernel[~masks()["fc"]["kernel"]].any()
    assert (kernel != ticket.params["fc"]["kernel"]).any()
    assert not branch.from_dense


@pytest.mark.parametrize("branch", ["ticket", "shuffled_mask", "cross_lr"])
def test_without_its_masks_no_branch_starts(branch):
    lost = run()
    lost.masks = lambda ticket: None
    assert branches.start(lost, TICKET._replace(branch=branch)) is None


def test_masks_of_a_rate_that_diverged_are_none():
    lost = run()
    lost.masks = lambda ticket: masks() if ticket.learning_rate == 0.1 else None
    assert branches.start(lost, TICKET._replace(branch="cross_lr")) is None
