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
from lth_jax.movers import MOVERS
from lth_jax.workdir import Member


def configure(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return made


def plan(rewind_steps=(0,), length=100, every=10, **changes):
    config = configure(**changes)
    return Plan(config, length, rewind_steps, 7, METHODS[config.prune.method], every)


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
        (
            Branch("0", "0", mover="rig"),
            "config.branches: mover of 'mine': 'rig' is not known; choose from , gmp, ",
        ),
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


# ------------------------------------------- branches that are the same for every k


def test_what_is_the_same_for_every_rewind_step_is_trained_at_the_first():
    made = plan((2, 5), replicates=2, branches=("ticket", "rigl", "erk_mask"), copies=2)
    found = [(m.rewind_step, m.branch) for m in members(made, 1) if m.replicate == 1]
    assert (
        found
        == [(2, "ticket")] * 2
        + [(2, "rigl")] * 2
        + [(2, "erk_mask")] * 2
        + [(5, "ticket")] * 2
    )


def test_a_dense_branch_that_is_the_same_for_every_k_is_trained(monkeypatch):
    """Though the dense network's own rewind step is none of them."""
    monkeypatch.setitem(BRANCHES, "mine", Branch("end", "0", masks="none"))
    made = plan((2, 5), replicates=1, dense_branches=("mine",))
    assert members(made, 0) == [*made.dense, Member(0, 0, 0, "mine", 0)]


# ------------------------------------------------------------------------ lengths


@pytest.mark.parametrize(
    ("lengths", "fields", "stops"),
    [
        (1, {}, (100, 100, 100)),
        (3, {}, (300, 300, 300)),
        (0.25, {}, (25, 25, 25)),
        (None, {}, (80, 64, 51)),  # 51.2
        (None, {"prune.densities": (0.5, 0.206, 0.001)}, (50, 21, 1)),
    ],
)
def test_a_branch_stops_after_so_many_trainings(monkeypatch, lengths, fields, stops):
    monkeypatch.setitem(BRANCHES, "mine", Branch("0", "0", lengths=lengths))
    made = plan(replicates=1, branches=("ticket", "mine"), **fields)
    for level, stop in enumerate(stops, 1):
        _, training = made.trainings(level)
        assert training[1:4] == (0, stop, 0)


def test_a_training_has_at_least_one_step(monkeypatch):
    monkeypatch.setitem(BRANCHES, "mine", Branch("0", "0", lengths=None))
    made = plan(branches=("ticket", "mine"), **{"prune.densities": (1e-6,)})
    assert {t.stop for t in made.trainings(1)} == {100, 1}


# -------------------------------------------------- weights and clocks that go on


def tickets_of(**changes):
    """The trainings of the tickets of one replicate, by level."""
    made = plan((7,), replicates=1, branches=("ticket",), **changes)
    return [training for level in (1, 2, 3) for training in made.trainings(level)]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"rewind.weights": "trained"}, [(7, 100, 100), (7, 100, 193), (7, 100, 286)]),
        (
            {"rewind.weights": "trained", "prune.schedule": "one_shot"},
            [(7, 100, 100)] * 3,
        ),
        ({"rewind.clock": "end"}, [(100, 193, 7)] * 3),
        (
            {"rewind.weights": "trained", "rewind.clock": "end"},
            [(100, 193, 100), (100, 193, 193), (100, 193, 286)],
        ),
        (
            {"rewind.weights": "trained", "rewind.fresh": ("step",)},
            [(0, 100, 100), (0, 100, 200), (0, 100, 300)],
        ),
        (
            {"rewind.weights": "trained", "rewind.fresh": ("params",)},
            [(7, 100, 0)] * 3,
        ),
        (  # the end is no rewinding, that a fresh step could replace
            {
                "rewind.weights": "trained",
                "rewind.clock": "end",
                "rewind.fresh": ("step",),
            },
            [(100, 193, 100), (100, 193, 193), (100, 193, 286)],
        ),
    ],
)
def test_tickets_go_on_from_where_the_config_says(fields, wanted):
    found = tickets_of(**fields)
    assert [(t.begin, t.stop, t.had) for t in found] == wanted


@pytest.mark.parametrize("weights", ["k", "trained"])
@pytest.mark.parametrize("clock", ["k", "end"])
@pytest.mark.parametrize("fresh", [(), ("step",), ("opt_state",), ("params", "step")])
@pytest.mark.parametrize("schedule", ["iterative", "one_shot"])
def test_weights_had_what_the_networks_had_of_which_they_are(
    weights, clock, fresh, schedule
):
    found = tickets_of(
        **{
            "rewind.weights": weights,
            "rewind.clock": clock,
            "rewind.fresh": fresh,
            "prune.schedule": schedule,
        }
    )
    went = 100  # the dense network
    for training in found:
        if "params" in fresh:
            assert training.had == 0
        else:
            assert training.had == (7 if weights == "k" else went)
        if schedule == "iterative":
            went = training.had + training.steps


@pytest.mark.parametrize(
    ("branch", "wanted"),
    [
        ("random_reinit", (100, 193, 0)),
        ("shuffled_mask", (100, 193, 193)),
        ("rewind_0", (0, 100, 0)),
        ("fine_tune", (0, 100, 100)),
        ("fine_tune_small", (100, 200, 100)),
        ("long", (0, 100, 193 + 93)),
        ("rigl", (0, 100, 0)),
        ("gmp", (0, 100, 0)),
        ("rigl_3", (0, 300, 0)),
        ("dense_equal_bill", (0, 64, 0)),
        ("signs", (100, 193, 193)),
    ],
)
def test_only_what_was_rewound_goes_on(branch, wanted):
    fields = {"rewind.weights": "trained", "rewind.clock": "end"}
    made = plan((7,), replicates=1, branches=("ticket", branch), **fields)
    _, training = made.trainings(2)
    assert training[1:4] == wanted


# ------------------------------------------------------------------ waves and moves


def test_each_mover_has_fleets_of_its_own():
    made = plan(
        (7,),
        replicates=2,
        branches=(
            "rigl_3",
            "gmp",
            "ticket",
            "rigl",
            "set",
            "dense_equal_bill",
            "erk_mask",
            "long",
        ),
    )
    fleets = [[t.member.branch for t in fleet] for fleet in made.waves(2)]
    # Those that stop earlier come first, and static ones before those that move.
    assert fleets == [
        ["dense_equal_bill"] * 2,
        ["ticket", "erk_mask"] * 2,
        ["gmp"] * 2,
        ["rigl"] * 2,
        ["set"] * 2,
        ["rigl_3"] * 2,
        ["long"] * 2,
    ]
    assert [fleet[0].stop for fleet in made.waves(2)] == [64, *[100] * 4, 300, 100]
    found = [made.moves(fleet) for fleet in made.waves(2)]
    assert [f and f.mover for f in found] == [
        None,
        None,
        MOVERS["gmp"],
        MOVERS["rigl"],
        MOVERS["set"],
        MOVERS["rigl"],
        None,
    ]
    assert [f.last for f in found if f] == [70, 70, 70, 220]


@pytest.mark.parametrize(
    ("every", "until", "last"),
    [
        (10, 0.75, 70),
        (25, 0.75, 75),
        (1, 0.75, 75),
        (10, 1.0, 90),  # before the training's last step
        (99, 1.0, 99),
        (50, 0.5, 50),
        (1, 0.29, 29),  # as a decimal; times 100, the float is below 29
        (1, 0.57, 57),
    ],
)
def test_masks_move_until_a_share_of_a_training(every, until, last):
    made = plan(every=every, branches=("ticket", "rigl"), **{"move.until": until})
    moves = made.moves(made.waves(1)[-1])
    assert (moves.every, moves.last, moves.fraction) == (every, last, 0.3)


@pytest.mark.parametrize(
    ("every", "until", "branch", "said"),
    [
        (76, 0.75, "rigl", "76 steps, but 'rigl' moves between steps 0 and 0.75 of 1"),
        (100, 1.0, "set", "100 steps, but 'set' moves between steps 0 and 1 of 100"),
        (10, 0.09, "gmp", "10 steps, but 'gmp' moves between steps 0 and 0.09 of 100"),
        (300, 1.0, "rigl_3", "300 steps, but 'rigl' moves between steps 0 and 1 of 30"),
        (40, 0.75, "late", "40 steps, but 'set' moves between steps 50 and 0.75 of 10"),
    ],
)
def test_masks_that_would_never_move_are_an_error(
    monkeypatch, every, until, branch, said
):
    monkeypatch.setitem(BRANCHES, "late", Branch("k", "k", mover="set"))
    changes = {"branches": ("ticket", branch), "move.until": until}
    made = plan((50,), every=every, **changes)
    with pytest.raises(ConfigError) as caught:
        made.check({"w": 100}, lambda step: 1.0)
    assert str(caught.value).startswith(f"config.move.every: '100it' is {said}")


def test_masks_move_from_the_first_multiple_of_their_interval(monkeypatch):
    monkeypatch.setitem(BRANCHES, "late", Branch("k", "k", mover="set"))
    made = plan((50,), every=30, branches=("ticket", "late"))
    moves = made.moves(made.waves(1)[-1])
    assert [step for step in range(100) if moves.due(step)] == [30, 60]
    made.check({"w": 100}, lambda step: 1.0)


# ------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("table", "keep", "said"),
    [
        (("^a=0.5", "b=1.0"), (), None),
        ((".=0.5",), (), None),
        ((".=0.5",), ("b",), None),
        (("a=0.5",), ("b",), None),  # what is kept whole needs no density
        (("a=0.5", "b=0.5"), ("b",), "'b' matches no prunable parameter; they are a"),
        (("a",), (), "could not convert string to float: 'a'; write 'pattern=0.1'"),
        (("a=",), (), "could not convert string to float: ''; write 'pattern=0.1'"),
        (("a=0.5",), (), "densities: no regular expression is found in b"),
        (("a=0.5", "b=0.5", "c=1"), (), "'c' matches no prunable parameter; they ar"),
        (("a=0.0", "b=0.5"), (), "density: 0.0 is not in (0, 1]"),
        (("a=1.5", "b=0.5"), (), "density: 1.5 is not in (0, 1]"),
        (("a=nan", "b=0.5"), (), ""),
        (("a=inf", "b=0.5"), (), ""),
        (("(=0.5",), (), ""),
        ((".=0.001",), (), "nothing would be left of any of 2 layers"),
    ],
)
def test_a_table_gives_every_layer_a_density(table, keep, said):
    branches = ("ticket", "table_mask")
    changes = {"prune.table": table, "prune.keep": keep, "branches": branches}
    made = plan(**{"prune.levels": 1} | changes)
    layers = {"a": 100, "b": 4}
    if said is None:
        made.check(layers, lambda step: 1.0)
        return
    with pytest.raises(ConfigError) as caught:
        made.check(layers, lambda step: 1.0)
    assert str(caught.value).startswith(f"config.prune.table: {said}")
    assert "\n" not in str(caught.value)


def test_a_table_takes_stacked_layers_as_the_leaf_that_they_are():
    """As masks are drawn: here no expression finds one of them alone."""
    table = {"prune.table": ("kernel$=0.5",), "branches": ("ticket", "table_mask")}
    layers = {"scan/kernel[0]": 10, "scan/kernel[1]": 10}
    plan(**table | {"prune.levels": 1}).check(layers, lambda step: 1.0)
