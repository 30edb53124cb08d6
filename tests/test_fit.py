"""Fit: a fleet under its masks, whatever it is trained with and wherever it lies."""

import dataclasses
import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import lax
from small import Convolutional
from trees import assert_same

from lth_jax import masks as masks_lib
from lth_jax import models, prune, rewind
from lth_jax.data import Memory, Split, batch_indices, normalise
from lth_jax.devices import processes
from lth_jax.devices.layout import Layout
from lth_jax.models.network import with_fields
from lth_jax.optim import optimizers as optim
from lth_jax.optim.schedules import Schedule
from lth_jax.tasks.classification import Classification, cross_entropy
from lth_jax.train import state
from lth_jax.train.fit import fit
from lth_jax.train.step import Feed, Program, train_step

EXAMPLES, BATCH, CLASSES = 20, 4, 3
SHAPE = 3, 3, 1
ONE = jnp.zeros((1, *SHAPE))
LENET = models.create("lenet", num_classes=CLASSES, widths=(5,))
OPTIMIZERS = {
    "sgd": partial(optim.optimizer, "sgd", momentum=0.9),
    "adam": partial(optim.optimizer, "adam"),
    "rmsprop": partial(optim.optimizer, "rmsprop", momentum=0.5),
}
MOMENTS = {"sgd": 1, "adam": 2, "rmsprop": 2}


class Queue:
    """A feed that compiles quickly: random images, one after another from the seed."""

    steps_per_epoch = EXAMPLES // BATCH
    divided = False

    def __init__(self, shape, batch_size=BATCH):
        self.batch_size = batch_size
        self.example = jax.ShapeDtypeStruct(shape, np.float32)
        rng = np.random.default_rng(0)
        self.arrays = {
            "inputs": rng.normal(size=(EXAMPLES, *shape)).astype(np.float32),
            "targets": rng.integers(CLASSES, size=EXAMPLES, dtype=np.int32),
        }

    def batch(self, arrays, data_seed, step, part=0, parts=1):
        size = self.batch_size // parts
        first = jnp.int32(data_seed % EXAMPLES) + step * self.batch_size + part * size
        index = (first + jnp.arange(size)) % EXAMPLES
        return jax.tree.map(lambda x: x[index], arrays)


@functools.cache
def feed(shape=SHAPE):
    return Queue(shape)


@functools.cache
def layout(name="fleet", devices=2, members=0):
    return Layout(name, tuple(jax.devices()[:devices]), members)


ALONE = layout("fleet", 1, members=1)


@functools.cache
def program(optimizer="sgd", layout=ALONE, **changes):
    """A program that is compiled once for all tests."""
    source = changes.pop("feed", feed())
    arrays = layout.replicate(source.arrays)
    task = Classification(0.1, changes.pop("aux_weight", 0.4))
    fields = {"network": LENET, "task": task, "steps_per_call": 3} | changes
    return Program(
        optimizer=OPTIMIZERS[optimizer],
        schedule=Schedule("linear", 0.1, length=20),
        feed=source,
        supply=lambda data_seed, step: arrays,
        layout=layout,
        **fields,
    )


@functools.cache
def initial():
    """A dense state at step 0, that all others are made of."""
    return state.create(
        jax.random.key(0), ONE, LENET, optax.identity(), weight_decay=0.01
    )


@functools.cache
def member(number, optimizer="sgd", density=0.4):
    """A state at step 2, with moments, that differs from others in all that may."""
    key = jax.random.key(number)
    params = jax.tree.map(lambda w: w + 0.1 * number, initial().params)
    chained = OPTIMIZERS[optimizer](0.1, 0.01)
    gradients = jax.tree.map(lambda w: w * w - 0.1, params)
    _, opt_state = chained.update(gradients, chained.init(params), params)
    dense = dataclasses.replace(
        initial(),
        step=jnp.int32(2),
        params=params,
        opt_state=opt_state,
        data_seed=state.data_seed(key, copy=0),
        learning_rate=jnp.float32(1 - 0.1 * number),
        weight_decay=jnp.float32(0.01 * number),
        loss=jnp.float32(number),
    )
    return rewind.to(dense, prune.random(key, initial().masks, density))


def assert_close(a, b):
    """Equal but for the rounding of floats: what is not one is exactly equal."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        tolerance = 1e-4 if jnp.issubdtype(x.dtype, jnp.floating) else 0
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def shaped_like(params, tree):
    """The parts of a tree that are shaped like the parameters."""
    structure = jax.tree.structure(params)
    parts = jax.tree.leaves(tree, is_leaf=lambda t: jax.tree.structure(t) == structure)
    return [part for part in parts if jax.tree.structure(part) == structure]


def test_feeds_are_what_a_program_asks_for():
    unit = np.full(1, 1 / 255, np.float32)
    split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int32))
    assert isinstance(feed(), Feed)
    prepare = partial(normalise, mean=0 * unit, std=unit)
    assert isinstance(Memory(split, 2, prepare=prepare), Feed)


# ------------------------------------------------------------------------ steps


def test_fit_takes_the_steps_of_plain_sgd_on_the_seeds_batches():
    """Against a loop without masks, devices or optax."""

    @jax.jit
    def loss_and_gradient(params, batch):
        def loss(params):
            x = batch["inputs"].reshape(BATCH, -1)
            x = jax.nn.relu(x @ params["fc1"]["kernel"] + params["fc1"]["bias"][None])
            logits = x @ params["fc"]["kernel"] + params["fc"]["bias"][None]
            targets = 0.9 * jnp.eye(CLASSES)[batch["targets"]] + 0.1 / CLASSES
            return -(targets * jax.nn.log_softmax(logits)).sum() / BATCH

        return jax.value_and_grad(loss)(params)

    start = member(3)
    params = start.params
    (velocity,) = shaped_like(params, start.opt_state)
    losses = []
    for step in range(2, 9):
        first = int(start.data_seed) % EXAMPLES + step * BATCH
        index = np.arange(first, first + BATCH) % EXAMPLES
        batch = {name: array[index] for name, array in feed().arrays.items()}
        loss, gradient = loss_and_gradient(params, batch)
        losses.append(loss)
        gradient = masks_lib.apply(gradient, start.masks)
        gradient = jax.tree.map(lambda g, w: g + 0.03 * w, gradient, params)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
        rate = 0.7 * 0.1 * (1 - step / 20)  # the member's, of a linear schedule
        params = jax.tree.map(lambda w, v, r=rate: w - r * v, params, velocity)

    (trained,) = fit([start], 9, program())
    assert int(trained.step) == 9
    assert_close(trained.params, params)
    np.testing.assert_allclose(trained.loss - start.loss, np.sum(losses), rtol=1e-5)


def test_only_the_networks_own_state_changes():
    start = member(1)
    (trained,) = fit([start], 4, program())
    for part in ("masks", "data_seed", "learning_rate", "weight_decay"):
        assert_same(getattr(trained, part), getattr(start, part))


@pytest.mark.parametrize("name", ["fleet", "data"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_pruned_is_exactly_zero_at_every_step_on_every_device(optimizer, name):
    """Weights and moments; and so gradients, which the moments would remember."""
    group = [member(n, optimizer) for n in range(3 if name == "fleet" else 1)]
    steps = program(optimizer, layout(name))
    states = layout(name).stack(group, of=len(group))
    for _ in range(4):
        before = jax.device_get(states.params)
        states, _ = steps.advance(states, (steps.supply(0, 0), 1))
        for device in range(2):
            here = jax.tree.map(
                lambda x, device=device: np.asarray(x.addressable_shards[device].data),
                states,
            )
            trees = [here.params, *shaped_like(here.params, here.opt_state)]
            assert len(trees) == 1 + MOMENTS[optimizer]
            for tree in trees:
                for layer in ("fc1", "fc"):
                    kept = here.masks[layer]["kernel"]
                    assert not tree[layer]["kernel"][~kept].any()
                    assert tree[layer]["kernel"][kept].any()
        moved = states.params["fc1"]["kernel"] != before["fc1"]["kernel"]
        assert moved.sum() > 0.5 * states.masks["fc1"]["kernel"].sum()


def test_devices_that_share_a_batch_hold_the_same_state():
    steps = program("sgd", layout("data"))
    states = layout("data").stack([member(0)], of=1)
    states, _ = steps.advance(states, (steps.supply(0, 0), 3))
    for leaf in jax.tree.leaves(states):
        first, second = (shard.data for shard in leaf.addressable_shards)
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["fleet", "data"])
def test_a_stop_in_the_middle_changes_no_bit(name):
    """Six calls of one compiled program, however the steps are shared among them."""
    group, steps = [member(n) for n in range(3)], program("sgd", layout(name))
    through = fit(group, 12, steps)
    assert_same(fit(fit(group, 7, steps), 12, steps), through)


def test_a_program_without_a_loop_takes_the_same_steps():
    single = program(steps_per_call=1)
    assert_close(fit([member(1)], 9, single), fit([member(1)], 9, program()))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_moving_average_is_that_of_the_weights_step_by_step(optimizer):
    averaging = program(optimizer, average=0.75)
    start = state.with_average(member(1, optimizer))
    wanted = start.params
    for stop in range(3, 8):
        (alone,) = fit([member(1, optimizer)], stop, program(optimizer))
        wanted = jax.tree.map(lambda a, w: 0.75 * a + 0.25 * w, wanted, alone.params)
    (found,) = fit([start], 7, averaging)
    assert_close(found.params, alone.params)
    assert_close(found.average["params"], wanted)
    for mask, average in zip(
        jax.tree.leaves(found.masks),
        [w for w in jax.tree.leaves(found.average["params"]) if w.ndim > 1],
    ):
        assert not average[~mask].any()
    (between,) = fit([start], 4, averaging)
    assert_same(fit([between], 7, averaging), [found])  # to the last bit


def test_progress_counts_the_steps_of_all_members_as_they_are_taken():
    taken = []
    fit([member(n) for n in range(3)], 9, program("sgd", layout("fleet")), taken.append)
    assert taken == [9, 9, 3]


@pytest.mark.parametrize(
    ("seconds", "steps"), [(1e9, [16, 32, 40, 12]), (-1.0, [16] * 6 + [4])]
)
def test_calls_grow_while_they_are_short(monkeypatch, seconds, steps):
    monkeypatch.setattr("lth_jax.train.fit._SECONDS", seconds)
    taken, start = [], member(1)
    long = program(steps_per_call=40)
    stop = int(start.step) + 100
    grown = fit([start], stop, long, taken.append)
    assert taken == steps
    assert_same(grown, fit([start], stop, program()))


def questions(monkeypatch, stop, seconds, where=ALONE):
    """How often it is asked whether to pause, and whether processes agree."""
    agreed = []
    monkeypatch.setattr("lth_jax.train.fit._SECONDS", seconds)
    monkeypatch.setattr(processes, "agree", lambda said: agreed.append(said) or said)
    asked, taken = [], []

    def pause():
        asked.append(sum(taken))
        return False

    single = program(steps_per_call=1, layout=where)
    start = dataclasses.replace(member(1), step=jnp.int32(0))
    (trained,) = fit([start], stop, single, taken.append, pause)
    assert (int(trained.step), taken) == (stop, [1] * stop)
    return asked, len(agreed)


def test_questions_become_rare_where_a_call_is_a_step(monkeypatch):
    """In several processes each is a meeting: they wait for the slowest, and drain."""
    doubled = [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]
    asked, agreed = questions(monkeypatch, 600, seconds=1e9)
    assert asked == [*doubled, 600]
    assert agreed <= 2 * len(asked)
    assert questions(monkeypatch, 1200, seconds=1e9)[0] == [*doubled, 1011, 1200]


def test_questions_stay_frequent_where_steps_take_long(monkeypatch):
    asked, agreed = questions(monkeypatch, 9, seconds=-1.0)
    assert asked == [*range(10)]
    assert agreed <= 2 * len(asked)


def test_devices_that_share_a_batch_need_not_ask_whether_it_goes_on(monkeypatch):
    """All have the same loss; only whether calls are short is asked."""
    _, shared = questions(monkeypatch, 40, seconds=1e9, where=layout("data"))
    asked, apart = questions(monkeypatch, 40, seconds=1e9)
    assert apart - shared == len(asked) - 1


def test_a_training_that_has_nowhere_to_go_asks_nobody():
    assert fit([member(0)], 2, program(), pause=pytest.fail) == [member(0)]


@pytest.mark.parametrize("calls", [1, 3])
def test_a_training_that_diverged_ends_at_the_next_question(calls):
    """Its steps do not count any more, however many are taken."""
    lost = dataclasses.replace(member(1), learning_rate=jnp.float32(1e35))
    taken = []
    (network,) = fit([lost], 10_000, program(steps_per_call=calls), taken.append)
    assert not np.isfinite(network.loss)
    assert int(network.step) < 40
    assert sum(taken) < 4 * int(network.step) + 10


def test_no_call_waits_for_what_the_one_before_it_says(monkeypatch):
    """A device always has a call to go on with: answers are read one call late."""
    events, calls = [], itertools.count()

    class Answer:
        def __init__(self, call):
            self.call = call

        def __array__(self, dtype=None, copy=None):
            events.append(("read", self.call))
            return np.array(True)

    def advance(states, shared):
        events.append(("called", call := next(calls)))
        return states, Answer(call)

    made = dataclasses.replace(program(), steps_per_call=2)
    monkeypatch.setitem(made.__dict__, "advance", advance)
    fit([member(0)], 8, made)
    called, read = (
        {
            call: events.index((what, call))
            for call in range(3)
            if (what, call) in events
        }
        for what in ("called", "read")
    )
    assert [*called] == [0, 1, 2] and [*read] == [0, 1]
    assert all(read[call] > called[call + 1] for call in read)


@pytest.mark.parametrize(
    "where",
    [ALONE, layout("fleet"), layout("data", 1), layout("data")],
    ids=lambda where: f"{where.name}-{len(where.devices)}",
)
def test_the_callers_members_are_neither_changed_nor_deleted(where):
    """Not even where several members share arrays, as copies of a branch do."""
    start = member(1)
    before = jax.tree.map(np.array, start)  # copies
    copied = dataclasses.replace(start, data_seed=jnp.uint32(5))
    fit([start, copied, start], 4, program("sgd", where))
    assert_same(start, before)


def test_a_pause_returns_members_where_they_are_and_changes_no_bit():
    """With two groups: one that is done, on its way or not begun."""
    group, steps = [member(n) for n in range(3)], program("sgd", layout(members=1))
    through = fit(group, 12, steps)
    reached, networks = [], group
    while int(networks[2].step) < 12:
        asked = itertools.count(1)
        networks = fit(networks, 12, steps, pause=lambda a=asked: next(a) > 2)
        reached.append([int(network.step) for network in networks])
    assert reached[:3] == [[8, 8, 2], [12, 12, 2], [12, 12, 8]]
    assert_same(networks, through)


@pytest.mark.parametrize("where", [layout(), layout("fleet", 1)], ids=[2, 1])
def test_members_of_a_group_that_others_left_at_different_steps_all_arrive(where):
    """As devices of another number leave them: done, on their way, or not begun."""
    start, steps = [member(n) for n in range(3)], program("sgd", where)
    left = [fit([start[0]], 9, program())[0], fit([start[1]], 5, program())[0]]
    taken = []
    found = fit([*left, start[2]], 9, steps, taken.append)
    assert [int(network.step) for network in found] == [9, 9, 9]
    assert sum(taken) == 4 + 7
    assert_close(found, fit(start, 9, steps))
    paused = fit([*left, start[2]], 9, steps, pause=lambda: True)
    assert [int(network.step) for network in paused] == [9, 5, 2]


@pytest.mark.parametrize("where", [ALONE, layout("fleet", 1)], ids=["alone", "beside"])
def test_a_member_stays_at_the_step_at_which_its_loss_is_not_finite(where):
    """And the others, in its group or in another, go on as if it were well."""
    fast = dataclasses.replace(member(1), learning_rate=jnp.float32(1e35))
    losses = (fit([fast], stop, program())[0].loss for stop in range(3, 10))
    finite = [*itertools.takewhile(np.isfinite, losses)]
    lost, going = fit([fast, member(2)], 10, program(layout=where))
    assert (lost.step, going.step) == (2 + len(finite), 10)
    assert not np.isfinite(lost.loss)
    _, wanted = fit([member(1), member(2)], 10, program(layout=where))
    assert_same(going, wanted)
    assert fit([lost, going], 12, program(layout=where))[1].step == 12


def test_a_proximal_term_draws_what_may_be_pruned():
    """By rho * (W - Z + U), at the learning rate; what has no mask is left alone."""
    start = member(1, density=1.0)
    target = jax.tree.map(lambda w: 2 * w + 1, start.params)
    dual = jax.tree.map(lambda w: 0.5 * w - 2, start.params)
    term = state.Proximal(target, dual, jnp.float32(0.3), jnp.int32(0))
    (free,) = fit([start], 3, program())
    (drawn,) = fit([dataclasses.replace(start, proximal=term)], 3, program())
    rate = 0.1 * (1 - 2 / 20) * float(start.learning_rate)

    def moved(before, mask, w, z, u):
        return before if mask is None else before - rate * 0.3 * (w - z + u)

    trees = free.params, start.masks, start.params, target, dual
    assert_close(drawn.params, jax.tree.map(moved, *trees))


def test_there_is_no_way_back():
    with pytest.raises(ValueError, match=r"members at steps \[2\] .* to 1"):
        fit([member(0)], 1, program())


# ---------------------------------------------------------------------- batches

STEPS = 8


class Recorder(nn.Module):
    """Remembers in its statistics, step by step, which images it was trained on."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train):
        seen = self.variable("batch_stats", "seen", jnp.full, (STEPS, BATCH), -1.0)
        if train:
            number = x[:, 0, 0, 0]
            if self.axis_name:
                number = lax.all_gather(number, self.axis_name, tiled=True)
            seen.value = jnp.concatenate([seen.value[1:], number[None]])
        return nn.Dense(CLASSES)(x.reshape(len(x), -1))


@pytest.mark.parametrize(
    "where", [layout("fleet"), layout("data")], ids=lambda w: w.name
)
def test_a_seed_has_its_batches_whatever_the_fleet_the_devices_and_the_restart(where):
    numbered = Split(
        np.arange(EXAMPLES, dtype=np.uint8).reshape(-1, 1, 1, 1),
        np.zeros(EXAMPLES, np.int32),
    )
    unit = np.full(1, 1 / 255, np.float32)
    recorder = models.linen(Recorder(where.axis))
    steps = program(
        "sgd",
        where,
        network=recorder,
        feed=Memory(
            numbered, BATCH, prepare=partial(normalise, mean=0 * unit, std=unit)
        ),
    )
    seeds = [np.uint32(seed) for seed in (7, 2**31 + 5, 9, 7, 11)]
    start = state.create(
        jax.random.key(0),
        jnp.zeros((1, 1, 1, 1)),
        recorder,
        OPTIMIZERS["sgd"](0.1, None),
    )
    fleet = [dataclasses.replace(start, data_seed=jnp.asarray(seed)) for seed in seeds]
    trained = fit(fit(fleet, 4, steps), STEPS, steps)
    for network, seed in zip(trained, seeds, strict=True):
        wanted = [
            batch_indices(seed, s, n=EXAMPLES, batch_size=BATCH, last="drop")
            for s in range(STEPS)
        ]
        seen = np.rint(network.batch_stats["seen"])
        np.testing.assert_array_equal(seen, np.stack(wanted))


# ----------------------------------------------------------------------- fleets


@functools.cache
def alone(number):
    """A member that is trained by itself on one device."""
    (trained,) = fit([member(number)], 9, program())
    return trained


@pytest.mark.parametrize(("number", "limit"), [(1, 0), (5, 0), (5, 1), (5, 2)])
def test_members_train_as_they_do_alone(number, limit):
    """Fewer members than devices, groups of them, and a last group that is not full."""
    group = [member(n) for n in range(number)]
    trained = fit(group, 9, program("sgd", layout("fleet", 2, limit)))
    assert_close(trained, [alone(n) for n in range(number)])


@pytest.mark.parametrize("devices", [1, 2])
def test_devices_that_share_batches_train_as_one_does(devices):
    trained = fit([member(0), member(1)], 9, program("sgd", layout("data", devices)))
    assert_close(trained, [alone(0), alone(1)])


@functools.cache
def ticket(model, shape):
    dense = state.create(
        jax.random.key(0),
        jnp.zeros((1, *shape)),
        model,
        OPTIMIZERS["sgd"](0.1, None),
    )
    return rewind.to(dense, prune.random(jax.random.key(1), dense.masks, 0.5))


def train_convolutional(model, shape, where):
    """Train a ticket for three steps as the layout says."""
    steps = program(
        "sgd",
        where,
        network=with_fields(model, axis_name=where.axis),
        feed=feed(shape),
        steps_per_call=1,
    )
    (trained,) = fit([ticket(model, shape)], 3, steps)
    return trained


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.linen(Convolutional(num_classes=CLASSES)), (4, 4, 2)),
        pytest.param(
            models.create("cifar_resnet", num_classes=CLASSES, depth=8, width=4),
            (8, 8, 3),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one-layer", "resnet8"],
)
def test_batch_normalisation_spans_the_devices_that_share_a_batch(model, shape):
    alone = train_convolutional(model, shape, ALONE)
    together = train_convolutional(model, shape, layout("data", 2))
    assert_close(together, alone)
    assert (together.batch_stats["norm1"]["var"] != 1).all()


def test_groups_are_to_a_batch_what_devices_are_that_do_not_synchronise():
    shape = (4, 4, 2)
    apart = models.linen(Convolutional(num_classes=CLASSES))
    grouped = with_fields(apart, norm_group=BATCH // 2)
    one = train_convolutional(grouped, shape, ALONE)
    for model in (apart, grouped):
        start = ticket(model, shape)
        steps = program(
            "sgd", layout("data", 2), network=model, feed=feed(shape), steps_per_call=1
        )
        (two,) = fit([start], 3, steps)
        assert_close(two, one)


def test_statistics_that_are_not_synchronised_are_averaged():
    """Each device normalises with its own batch; what is kept is their mean."""
    model, shape = models.linen(Convolutional(num_classes=CLASSES)), (4, 4, 2)
    start = ticket(model, shape)
    steps = program(
        "sgd", layout("data"), network=model, feed=feed(shape), steps_per_call=1
    )
    (trained,) = fit([start], 1, steps)
    variances = []
    for part in range(2):
        batch = feed(shape).batch(feed(shape).arrays, start.data_seed, 0, part, 2)
        x = jax.lax.conv_general_dilated(
            batch["inputs"],
            start.params["conv"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        variances.append(x.var((0, 1, 2)))
    now = 0.9 * 1.0 + 0.1 * np.mean(variances, axis=0)
    np.testing.assert_allclose(trained.batch_stats["norm1"]["var"], now, rtol=1e-4)


def test_nothing_is_compiled_for_other_masks_seeds_steps_and_lengths():
    compiled = []

    def listen(event, _, **__):
        compiled.append(event.startswith("/jax/core/compile"))

    fit([member(n) for n in range(3)], 9, program("sgd", layout("fleet")))
    other = [member(n, density=0.2) for n in range(2, 5)]
    other = [dataclasses.replace(m, step=jnp.int32(5)) for m in other]
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit(other, 6, program("sgd", layout("fleet")))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not any(compiled)


# ------------------------------------------------------------------------- loss


@pytest.mark.parametrize(
    ("logits", "labels", "smoothing", "loss"),
    [
        ([[0.0, 0.0]], [1], 0.0, 0.693147),
        ([[2.0, 0.0]], [0], 0.0, 0.126928),
        ([[2.0, 0.0], [0.0, 0.0]], [0, 1], 0.0, (0.126928 + 0.693147) / 2),
        ([[2.0, 0.0]], [0], 0.1, 0.95 * 0.126928 + 0.05 * 2.126928),
        ([[2.0, 0.0], [2.0, 0.0]], [0, 1], 1.0, (0.126928 + 2.126928) / 2),
        ([[1000.0, 0.0]], [1], 0.0, 1000.0),
    ],
)
def test_cross_entropy(logits, labels, smoothing, loss):
    arguments = jnp.array(logits), jnp.array(labels), smoothing
    np.testing.assert_allclose(cross_entropy(*arguments).mean(), loss, rtol=1e-5)
    jitted = jax.jit(cross_entropy, static_argnums=2)
    np.testing.assert_allclose(jitted(*arguments).mean(), loss, rtol=1e-5)


# ---------------------------------------------------- large batches, other networks


@pytest.mark.parametrize("where", [ALONE, layout("data", 2)], ids=lambda w: w.name)
@pytest.mark.parametrize("unroll", [False, True])
def test_microbatches_take_the_step_of_the_whole_batch(where, unroll):
    accumulating = program("sgd", where, accumulate=2, unroll=unroll)
    assert_close(fit([member(0)], 6, accumulating), fit([member(0)], 6, program()))


@pytest.mark.parametrize(
    ("accumulate", "unroll", "loops"), [(1, False, 0), (2, True, 0), (2, False, 1)]
)
def test_no_loop_is_compiled_where_there_need_be_none(accumulate, unroll, loops):
    """XLA's CPU backend runs a convolution's gradient many times slower in a loop."""
    a, batch = member(0), {"inputs": jnp.ones((8, *SHAPE)), "targets": jnp.ones(8, int)}
    stepping = program("sgd", ALONE, accumulate=accumulate, unroll=unroll)
    step = jax.jit(partial(train_step, program=stepping))
    assert step.lower(a, batch).as_text().count("stablehlo.while") == loops


def test_batch_statistics_go_through_the_microbatches():
    """Each microbatch is normalised by itself and moves the running averages."""
    model, shape = models.linen(Convolutional(num_classes=CLASSES)), (4, 4, 2)
    start = ticket(model, shape)
    steps = program(
        "sgd", ALONE, network=model, feed=feed(shape), steps_per_call=1, accumulate=2
    )
    (trained,) = fit([start], 1, steps)
    batch = feed(shape).batch(feed(shape).arrays, start.data_seed, 0)["inputs"]
    mean = np.zeros(2)
    for half in np.split(np.asarray(batch), 2):
        x = jax.lax.conv_general_dilated(
            half,
            start.params["conv"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        mean = 0.9 * mean + 0.1 * np.asarray(x).mean((0, 1, 2))
    np.testing.assert_allclose(
        trained.batch_stats["norm1"]["mean"], mean, rtol=1e-4, atol=1e-6
    )


class TwoHeaded(nn.Module):
    """A network whose second head is auxiliary."""

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(len(x), -1)
        logits, auxiliary = nn.Dense(CLASSES)(x), nn.Dense(CLASSES)(x)
        return (logits, auxiliary) if train else logits


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_auxiliary_heads_count_with_their_weight(weight):
    model = models.linen(TwoHeaded())
    start = state.create(jax.random.key(0), ONE, model, OPTIMIZERS["sgd"](0.1, None))
    (trained,) = fit([start], 1, program(network=model, aux_weight=weight))
    batch = feed().batch(feed().arrays, start.data_seed, 0)
    heads, _ = model.apply(
        start.params, {}, batch["inputs"], train=True, key=jax.random.key(0)
    )
    labels = jnp.asarray(batch["targets"])
    first, second = (cross_entropy(head, labels, 0.1).mean() for head in heads)
    np.testing.assert_allclose(trained.loss, first + weight * second, rtol=1e-5)
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), start.params, trained.params
    )
    assert moved["Dense_0"]["kernel"]
    assert moved["Dense_1"]["kernel"] == (weight > 0)


class Dropping(nn.Module):
    """Keeps in its statistics which inputs it dropped, example by example."""

    @nn.compact
    def __call__(self, x, train):
        kept = nn.Dropout(0.5, deterministic=not train)(jnp.ones((len(x), 64)))
        seen = self.variable("batch_stats", "kept", jnp.zeros, (2, 64))
        if train:
            rows = lax.all_gather(kept[:1], "batch", tiled=True)
            seen.value = rows if len(rows) == 2 else seen.value
        return nn.Dense(CLASSES)(x.reshape(len(x), -1)) * kept.mean()


def test_devices_that_share_a_batch_drop_differently():
    network = models.linen(Dropping())
    start = state.create(
        jax.random.key(0),
        ONE,
        models.linen(Dropping()),
        OPTIMIZERS["sgd"](0.1, None),
    )
    (trained,) = fit([start], 1, program("sgd", layout("data"), network=network))
    first, second = trained.batch_stats["kept"]
    assert not np.array_equal(first, second)


def test_computing_in_bfloat16_leaves_everything_else_in_float32():
    full, shape = models.linen(Convolutional(num_classes=CLASSES)), (4, 4, 2)
    half = with_fields(full, dtype=jnp.bfloat16)
    start = ticket(full, shape)
    trained = {
        model.fields["dtype"]: fit(
            [start],
            3,
            program("sgd", network=model, feed=feed(shape), steps_per_call=1),
        )[0]
        for model in (half, full)
    }
    types = jax.tree.map(lambda x: x.dtype, trained[jnp.bfloat16])
    assert types == jax.tree.map(lambda x: x.dtype, start)
    difference = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max()),
        trained[jnp.bfloat16].params,
        trained[jnp.float32].params,
    )
    assert 0 < max(jax.tree.leaves(difference)) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_one_device_and_two_come_to_the_same_masks(name):
    """20 steps of 16 examples, statistics over the whole batch, then half is pruned.

    Rounding grows from step to step; how far, is seen from weights that are one unit in
    the last place apart: up, down, and towards 0.
    """
    model, shape = models.create(name, num_classes=CLASSES), (32, 32, 3)
    source = Queue(shape, batch_size=16)
    start = state.create(
        jax.random.key(0),
        jnp.zeros((1, *shape)),
        model,
        OPTIMIZERS["sgd"](0.1, None),
    )
    trained, cases = [], [(start, ALONE), (start, layout("data", 2))]
    for towards in (jnp.inf, -jnp.inf, 0.0):
        moved = jax.tree.map(
            lambda w, to=towards: jnp.nextafter(w, jnp.float32(to)), start.params
        )
        cases.append((dataclasses.replace(start, params=moved), ALONE))
    for first, where in cases:
        steps = program(
            "sgd",
            where,
            network=with_fields(model, axis_name=where.axis),
            feed=source,
            steps_per_call=1,
        )
        steps = dataclasses.replace(
            steps, schedule=Schedule("constant", 1e-3, length=20)
        )
        trained += fit([first], 20, steps)
    loss, *others = (float(network.loss) / 20 for network in trained)
    shared, *rounded = (abs(other - loss) for other in others)
    assert shared < 3 * max(rounded) < 1e-3 * loss
    kept = [prune.magnitude(n.params, n.masks, 0.5) for n in trained]
    shared, *rounded = (1 - masks_lib.overlap(kept[0], other) for other in kept[1:])
    assert shared < 3 * max(rounded) < 1e-3
