"""Plans: which networks a config trains, from where to where."""

import jax.numpy as jnp
import pytest
from trees import assert_same

from lth_jax import config as config_lib
from lth_jax import masks, prune, scores
from lth_jax.branches import BRANCHES, Branch
from lth_jax.errors import ConfigError
from lth_jax.lottery import checks
from lth_jax.lottery.methods import METHODS
from lth_jax.lottery.plan import Plan
from lth_jax.workdir import Member


def configure(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return made


def plan(rewind_steps=(0,), length=100, **changes):
    config = configure(**changes)
    return Plan(config, length, rewind_steps, 7, METHODS[config.prune.method])


def members(made, level):
    return [training.member for training in made.trainings(level)]


@pytest.mark.parametrize(
    ("sweep", "settings"),
    [
        ({}, [(None, None)]),
        ({"sweep.learning_rate": (0.1, 0.2)}, [(0.1, None), (0.2, None)]),
        (
            {"sweep.learning_rate": (0.1,), "sweep.weight_decay": (0.0, 0.01)},
            [(0.1, 0.0), (0.1, 0.01)],
        ),
    ],
)
def test_a_sweep_has_every_combination(sweep, settings):
    found = [member.setting for member in plan(replicates=1, **sweep).dense]
    assert found == settings


def test_a_level_has_every_branch_of_every_ticket():
    small = plan((0, 5), replicates=2, branches=("ticket", "rewind_0"), copies=2)
    assert members(small, 3) == [
        Member(replicate, step, 3, branch, copy)
        for replicate in range(2)
        for step in (0, 5)
        for branch in ("ticket", "rewind_0")
        for copy in range(2)
    ]


def test_a_dense_network_has_one_name_whatever_the_rewind_steps():
    """Its copies part from it at each of them; trained on, it is one network."""
    small = plan((0, 5), replicates=1, dense_branches=("dense", "long"), copies=3)
    dense = Member(0, 0, 0, "dense", 0)
    assert small.dense == [dense]
    assert members(small, 0) == [
        dense,
        *(Member(0, k, 0, "dense", copy) for k in (0, 5) for copy in (1, 2)),
        *(Member(0, 0, 0, "long", copy) for copy in range(3)),
    ]


def test_without_levels_there_are_dense_networks_alone():
    small = plan(
        (0, 5),
        replicates=1,
        dense_branches=("dense",),
        copies=2,
        **{"prune.levels": 0},
    )
    assert (small.levels, list(small.densities({"w": 10}))) == (0, [1.0])
    assert [(m.rewind_step, m.copy) for m in members(small, 0)] == [
        (0, 0),
        (0, 1),
        (5, 1),
    ]


def test_levels_that_are_not_studied_have_tickets_only():
    small = plan(replicates=1, copies=3, branch_levels=(2,))
    assert members(small, 1) == [Member(0, 0, 1, "ticket", 0)]
    assert len(members(small, 2)) == 9


def test_only_copied_branches_have_copies():
    small = plan(
        replicates=1,
        branches=("ticket", "rewind_0"),
        dense_branches=("dense",),
        copies=2,
        copied_branches=("ticket",),
    )
    assert members(small, 0) == small.dense
    found = [(member.branch, member.copy) for member in members(small, 1)]
    assert found == [("ticket", 0), ("ticket", 1), ("rewind_0", 0)]


@pytest.mark.parametrize(
    ("branch", "fresh", "taken"),
    [
        ("dense", (), (93, 7)),
        ("ticket", (), (93, 7)),
        ("ticket", ("step",), (100, 7)),
        ("ticket", ("params",), (93, 0)),
        ("random_reinit", (), (93, 0)),
        ("shuffled_mask", (), (93, 7)),
        ("random_mask", (), (93, 7)),
        ("rewind_0", (), (100, 0)),
        ("fine_tune", (), (100, 100)),
        ("fine_tune_small", (), (100, 100)),
        ("long", (), (100, 100)),
        ("long", ("step",), (100, 107)),
        ("long", ("params",), (100, 93)),
        ("long", ("params", "step"), (100, 100)),
        ("cross_lr", (), (93, 7)),
    ],
)
def test_a_branch_takes_these_steps_with_weights_that_had_these_before(
    branch, fresh, taken
):
    level = 0 if branch == "dense" else 1
    branches = ("long", "ticket") if branch == "long" else ("ticket", branch)
    made = plan(
        (7,),
        **{
            "replicates": 1,
            "rewind.fresh": fresh,
            "branches": tuple(dict.fromkeys(branches)) if level else ("ticket",),
            "dense_branches": () if level else ("dense",),
            "copies": 1 if level else 2,
        },
    )
    *_, training = (t for t in made.trainings(level) if t.member.branch == branch)
    assert (training.steps, training.had) == taken


def test_a_branch_of_ones_own_is_planned_without_being_run(monkeypatch):
    """Whatever it does to weights, and however often its name is given away."""

    def fail(state, key):
        raise AssertionError("not before it starts")

    config = {"replicates": 1, "branches": ("ticket", "mine")}
    for branch, taken in (
        (Branch("k", "k", change=fail), (93, 7)),
        (Branch("end", "0", change=fail, lengths=2), (200, 100)),
    ):
        monkeypatch.setitem(BRANCHES, "mine", branch)
        _, training = plan((7,), **config).trainings(1)
        assert (training.steps, training.had) == taken


def test_a_dense_network_that_is_trained_on_had_no_rewind_step():
    made = plan(
        (7,),
        **{"replicates": 1, "rewind.fresh": ("step",), "dense_branches": ("long",)},
    )
    dense, long = made.trainings(0)
    assert (long.steps, long.had, long.after) == (100, 100, dense)


def test_fleets_come_in_the_order_in_which_they_can_be_trained():
    """What comes after a ticket comes after it, whatever the order of the config."""
    made = plan(
        (7,),
        replicates=1,
        branches=("long", "fine_tune_small", "ticket", "random_reinit"),
    )
    fleets = [[t.member.branch for t in fleet] for fleet in made.waves(1)]
    assert fleets == [["ticket", "random_reinit"], ["fine_tune_small"], ["long"]]
    assert [fleet[0].stop for fleet in made.waves(1)] == [100, 200, 100]
    assert made.waves(0) == []


def test_a_method_that_trains_is_planned_too():
    made = plan((0, 7), **{"replicates": 1, "prune.method": "admm"})
    drawn = made.trainings(2)[0]
    assert drawn.member == Member(0, 0, 2, "admm", 0)
    assert (drawn.begin, drawn.stop) == (100, 100 + 4 * 5 * 7)
    ticket = Member(0, 7, 2, "ticket", 0)
    assert made.steps_to_find(ticket) == 100 + 140 + 93 + 140
    once = {"prune.method": "admm", "prune.schedule": "one_shot", "replicates": 1}
    assert plan((0, 7), **once).steps_to_find(ticket) == 100 + 140


def test_a_plan_names_the_other_tickets_on_which_masks_depend():
    rates = {"sweep.learning_rate": (0.1, 0.2), "first_replicate": 5}
    branches = ("ticket", "cross_lr", "sibling_mask", "union_mask", "shuffled_mask")
    made = plan(replicates=2, branches=branches, **rates, **{"prune.levels": 1})
    others = {Member(*one): Member(*other) for one, other in made.to_json()["others"]}
    ticket = Member(5, 0, 1, "ticket", 0, 0.1)
    assert len(others) == 3 * 2 * 2
    of = ticket._replace
    assert others[of(branch="cross_lr")] == of(learning_rate=0.2)
    assert others[of(branch="sibling_mask")] == of(replicate=6)
    assert others[of(branch="union_mask", replicate=6)] == ticket


def test_a_plan_is_json_that_names_what_comes_after_what():
    made = plan(replicates=1, branches=("ticket", "long"), **{"prune.levels": 1})
    assert made.to_json() == {
        "length": 100,
        "rewind_steps": [0],
        "nested": True,
        "others": [],
        "trainings": [
            [[0, 0, 0, "dense", 0, None, None], 0, 100, 0, None],
            [[0, 0, 1, "ticket", 0, None, None], 0, 100, 0, None],
            [
                [0, 0, 1, "long", 0, None, None],
                0,
                100,
                100,
                [0, 0, 1, "ticket", 0, None, None],
            ],
        ],
    }


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        (Branch("k", "k", masks="mine"), "config.branches: masks of 'mine': 'mine' is"),
        (
            Branch("k", "k", masks="other_rate"),
            "config.branches: 'mine' needs two swee",
        ),
        (Branch("w", "k"), "config.branches: weights of 'mine': 'w' is not known"),
        (Branch("k", "init"), "config.branches: clock of 'mine': 'init' is not known"),
    ],
)
def test_a_branch_that_cannot_be_is_named(monkeypatch, branch, said):
    monkeypatch.setitem(BRANCHES, "mine", branch)
    with pytest.raises(ConfigError) as caught:
        checks.check(configure(branches=("ticket", "mine")), METHODS["magnitude"])
    assert str(caught.value).startswith(said)


def test_a_level_is_pruned_to_its_density_however_that_is_written():
    params = {"a": jnp.arange(12.0).reshape(3, 4)}
    scored, full = scores.magnitude(params), masks.full(params)
    planned = plan(**{"prune.densities": (1, 0.5)})
    for level, density in ((1, 1.0), (2, 0.5)):
        kept = planned.rule(level).shrink(scored, full)
        assert_same(kept, prune.to_density(scored, full, density))
