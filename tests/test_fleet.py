"""The fleet: which members go together, and what a device does for each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lth_jax.devices.layout import Layout


def layout(name="fleet", devices=2, members=0):
    return Layout(name, tuple(jax.devices()[:devices]), members)


def members(number):
    return [{"x": jnp.float32(i), "w": jnp.full((2, 3), i)} for i in range(number)]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_groups_hold_all_members_in_order_and_keep_to_the_limit(devices, limit):
    lying = layout(devices=devices, members=limit)
    for number in range(1, 14):
        groups = list(lying.groups(range(number)))
        assert [member for group in groups for member in group] == [*range(number)]
        sizes = [len(group) for group in groups]
        assert all(size == sizes[0] for size in sizes[:-1])
        assert sizes[-1] <= sizes[0]
        if limit:
            assert sizes[0] <= devices * limit
            assert len(groups) == -(-number // (devices * limit))
        else:
            assert len(groups) == 1


def test_groups_are_as_even_as_the_devices_allow():
    """Nine members, at most eight at a time: 8 + 1 would leave a device idle."""
    assert [len(g) for g in layout(members=1).groups(range(5))] == [2, 2, 1]
    assert [len(g) for g in layout(members=4).groups(range(9))] == [6, 3]


def test_the_data_layout_takes_members_one_by_one():
    groups = layout("data", members=3).groups(range(3))
    assert [list(group) for group in groups] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("name", "parts", "axis"), [("fleet", 1, None), ("data", 2, "batch")]
)
def test_only_the_data_layout_shares_batches(name, parts, axis):
    assert (layout(name).parts, layout(name).axis) == (parts, axis)


def test_a_stack_lies_over_the_devices_filled_up_with_its_last_member():
    stacked = layout(members=2).stack(members(3), of=3)
    assert stacked["w"].shape == (2, 2, 2, 3)
    assert stacked["x"].tolist() == [[0, 1], [2, 2]]
    on_devices = {
        shard.device: shard.data.tolist() for shard in stacked["x"].addressable_shards
    }
    assert on_devices == dict(zip(jax.devices(), ([[0, 1]], [[2, 2]])))


def test_all_groups_of_a_fleet_have_the_same_shape():
    lying = layout(members=1)
    fleet = members(5)
    shapes = {
        lying.stack(group, of=len(fleet))["w"].shape for group in lying.groups(fleet)
    }
    assert shapes == {(2, 1, 2, 3)}


@pytest.mark.parametrize("name", ["fleet", "data"])
def test_unstack_undoes_stack(name):
    lying = layout(name)
    group = members(3 if name == "fleet" else 1)
    back = lying.unstack(lying.stack(group, of=len(group)), len(group))
    assert len(back) == len(group)
    for was, now in zip(group, back):
        jax.tree.map(np.testing.assert_array_equal, was, now)
        assert now["x"].devices() == {jax.devices()[0]}


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_fleet_is_worked_on_member_by_member(number):
    lying = layout()
    program = lying.spread(lambda state, part, shared: state["x"] * shared + part)
    results = program(lying.stack(members(number), of=number), 10)
    assert lying.unstack(results, number) == [10 * i for i in range(number)]


def test_the_data_layout_numbers_its_devices_and_lets_them_talk():
    lying = layout("data")
    program = lying.spread(
        lambda state, part, shared: state["x"] + lax.psum(10**part, "batch") + shared
    )
    results = program(lying.stack(members(1), of=1), 100)
    assert lying.unstack(results, 1) == [111]


def test_shared_arrays_may_be_split_over_the_devices():
    lying = layout("data")
    program = lying.spread(
        lambda state, part, shared: (
            lax.psum(shared[0].sum() * (part + 1), "batch") + shared[1]
        ),
        axes=(0, None),
    )
    results = program(lying.stack(members(1), of=1), (np.array([[1, 2], [10, 20]]), 5))
    assert lying.unstack(results, 1) == [3 + 2 * 30 + 5]


@pytest.mark.parametrize("name", ["fleet", "data"])
@pytest.mark.parametrize("devices", [1, 2])
def test_donated_states_are_copies_of_the_callers(name, devices):
    lying = layout(name, devices)
    program = lying.spread(
        lambda state, part, shared: jax.tree.map(lambda x: x + shared, state),
        donate=True,
    )
    group = members(1)
    states = lying.stack(group, of=1)
    program(states, 1)
    assert all(x.is_deleted() for x in jax.tree.leaves(states))
    assert not any(x.is_deleted() for x in jax.tree.leaves(group))


@pytest.mark.parametrize("devices", [1, 2])
def test_replicated_arrays_are_whole_on_every_device_and_new(devices):
    lying = layout(devices=devices)
    original = jnp.arange(3)
    copied = lying.replicate(original)
    assert [shard.data.tolist() for shard in copied.addressable_shards] == [
        [0, 1, 2]
    ] * devices
    copied.delete()
    assert original.tolist() == [0, 1, 2]
