"""Plans: which networks a config trains."""

import jax.numpy as jnp
import pytest
from trees import assert_same

from lth_jax import config as config_lib
from lth_jax import masks, prune, scores
from lth_jax.lottery.plan import Plan
from lth_jax.workdir.records import Member


def plan(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return Plan(made)


@pytest.mark.parametrize(
    ("sweep", "settings"),
    [
        ({}, ((None, None),)),
        ({"sweep.learning_rate": (0.1, 0.2)}, ((0.1, None), (0.2, None))),
        (
            {"sweep.learning_rate": (0.1,), "sweep.weight_decay": (0.0, 0.01)},
            ((0.1, 0.0), (0.1, 0.01)),
        ),
    ],
)
def test_a_sweep_has_every_combination(sweep, settings):
    assert plan(**sweep).settings == settings


def test_a_level_has_every_branch_of_every_ticket():
    small = plan(replicates=2, branches=("ticket", "rewind_0"), copies=2)
    assert list(small.members(3, [0, 5])) == [
        Member(replicate, step, 3, branch, copy)
        for replicate in range(2)
        for step in (0, 5)
        for branch in ("ticket", "rewind_0")
        for copy in range(2)
    ]


def test_dense_networks_are_trained_before_their_copies():
    small = plan(replicates=1, dense_branches=("dense",), copies=3)
    assert small.origins == [Member(0, 0, 0, "dense", 0)]
    assert [member.copy for member in small.members(0, [0])] == [1, 2]


def test_levels_that_are_not_studied_have_tickets_only():
    small = plan(replicates=1, copies=3, branch_levels=(2,))
    assert list(small.members(1, [0])) == [Member(0, 0, 1, "ticket", 0)]
    assert len(list(small.members(2, [0]))) == 9


def test_only_copied_branches_have_copies():
    small = plan(
        replicates=1,
        branches=("ticket", "rewind_0"),
        dense_branches=("dense",),
        copies=2,
        copied_branches=("ticket",),
    )
    assert not list(small.members(0, [0]))
    found = [(member.branch, member.copy) for member in small.members(1, [0])]
    assert found == [("ticket", 0), ("ticket", 1), ("rewind_0", 0)]


def test_a_level_is_pruned_to_its_density_however_that_is_written():
    params = {"a": jnp.arange(12.0).reshape(3, 4)}
    scored, full = scores.magnitude(params), masks.full(params)
    planned = plan(**{"prune.densities": (1, 0.5)})
    for level, density in ((1, 1.0), (2, 0.5)):
        kept = planned.shrink(level, scored, full)
        assert_same(kept, prune.to_density(scored, full, density))
