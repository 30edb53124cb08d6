"""Ways in which members go on a device: the same numbers, and the fastest is chosen."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small import Convolutional

from lth_jax import config as config_lib
from lth_jax import lottery, masks, models
from lth_jax.devices import memory
from lth_jax.devices.layout import Spread
from lth_jax.errors import ConfigError
from lth_jax.lottery import fleets, loop
from lth_jax.models import lean
from lth_jax.train import experiment as experiment_lib
from lth_jax.train import ways
from lth_jax.train.fit import fit
from lth_jax.workdir import Workdir

RESNET = {"model.name": "cifar_resnet", "model.options": {"depth": 8, "width": 4}}
SMALL = {"model.name": "convolutional", "model.options": {}}


@pytest.fixture(autouse=True)
def _convolutional(monkeypatch):
    monkeypatch.setitem(models.MODELS, "convolutional", Convolutional)


def configure(**changes):
    config = config_lib.default()
    config.model.options = {"widths": (12,)}
    config.update_from_flattened_dict(
        {
            "replicates": 4,
            "branches": ("ticket",),
            "train.length": "4it",
            "prune.levels": 1,
        }
        | changes
    )
    return config.lock()


def members(made, number):
    return [made.initialise(jax.random.key(i)) for i in range(number)]


def assert_same_rows(*directories):
    rows = [Workdir(directory).records.rows() for directory in directories]
    values = [[row.pop("value") for row in each] for each in rows]
    assert rows[0] == rows[1]
    np.testing.assert_allclose(*values, rtol=1e-4)


@pytest.fixture
def unmeasured(monkeypatch):
    """A platform of which it is not known which way is the fastest."""
    monkeypatch.setattr(ways, "MEASURED", {})


@pytest.fixture
def forced(monkeypatch, unmeasured):
    """Ways take as long as is said, and it is noted which were timed."""
    rates, seen = {}, []

    def steps_per_second(program, fleet, stop, seconds):
        way = (
            "products"
            if program.network.fields.get("conv") == lean.Products
            else ("in_turn" if program.layout.members == 1 else "vmapped")
        )
        seen.append((way, len(fleet)))
        return rates[way]

    monkeypatch.setattr(ways, "steps_per_second", steps_per_second)
    return rates, seen


# ------------------------------------------------------------------ the same numbers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "way"),
    [(SMALL, "products"), (RESNET, "products")]
    + [(x, "vmapped") for x in (RESNET, {}, SMALL)],
)
def test_members_come_to_the_same_whatever_way_they_go(network, way):
    found = {}
    for name in ("in_turn", way):
        made = experiment_lib.build(configure(**network, **{"train.way": name}))
        trained = fit(members(made, 3), 3, made.program)
        refreshed = made.refresh(trained)
        metrics = [x["loss"] for x in made.evaluators["test"](refreshed)]
        found[name] = [x.params for x in trained], metrics
    one, other = (jax.tree.leaves(x) for x in found.values())
    for x, y in zip(one, other, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [
        pytest.param((3, 3), 1, "SAME", marks=pytest.mark.slow),
        pytest.param((3, 3), 2, "SAME", marks=pytest.mark.slow),
        pytest.param((1, 1), 2, "SAME", marks=pytest.mark.slow),
        pytest.param((1, 7), (2, 1), "VALID", marks=pytest.mark.slow),
        ((3, 3), 1, ((1, 0), (2, 1))),
    ],
)
def test_a_product_is_the_convolution(window, strides, padding):
    fields = {"features": 5, "kernel_size": window, "strides": strides}
    images = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    one, other = (kind(**fields, padding=padding) for kind in (nn.Conv, lean.Products))
    params = one.init(jax.random.key(1), images)
    assert jax.tree.structure(params) == jax.tree.structure(
        other.init(jax.random.key(1), images)
    )

    def loss(params, module):
        return (module.apply(params, images) ** 2).sum()

    for derive in (lambda f, m: f(params, m), lambda f, m: jax.grad(f)(params, m)):
        pair = (jax.tree.leaves(derive(loss, module)) for module in (one, other))
        for x, y in zip(*pair, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "fields", [{"feature_group_count": 3, "features": 6}, {"kernel_dilation": 2}]
)
def test_what_is_no_plain_convolution_stays_one(fields):
    fields = {"features": 6, "kernel_size": (3, 3)} | fields
    images = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    one, other = (kind(**fields) for kind in (nn.Conv, lean.Products))
    params = one.init(jax.random.key(1), images)
    found = (module.apply(params, images) for module in (one, other))
    np.testing.assert_array_equal(*found)


# --------------------------------------------------------------------- which there are


@pytest.mark.parametrize(
    ("changes", "together", "some"),
    [
        ({}, 8, ("in_turn",)),  # measured on CPUs
        (SMALL, 8, ("in_turn",)),
        ({"train.members": 3}, 8, ("vmapped",)),
        ({"train.way": "vmapped"}, 8, ("vmapped",)),
        (SMALL | {"train.way": "products"}, 8, ("products",)),
        ({"train.layout": "data"}, 8, ("in_turn",)),
    ],
)
def test_a_config_or_what_was_measured_decides(changes, together, some):
    assert experiment_lib.build(configure(**changes), together).ways == some


@pytest.mark.parametrize(
    ("changes", "together", "some"),
    [
        ({}, 8, ("in_turn", "vmapped")),
        (SMALL, 8, ("in_turn", "vmapped", "products")),
        (SMALL, 2, ("in_turn",)),  # each has a device of its own
        (SMALL | {"train.layout": "data"}, 8, ("in_turn",)),
        (SMALL | {"train.members": 3}, 8, ("vmapped",)),
    ],
)
def test_elsewhere_ways_are_tried(changes, together, some, unmeasured):
    made = experiment_lib.build(configure(**changes), together)
    assert made.ways == some
    assert made.program.layout.members == (1 if some[0] == "in_turn" else 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"train.way": "products"},
            "'products' needs a network of images with a field `conv`; name another "
            "way",
        ),
        (
            {"train.way": "vmapped", "train.layout": "data"},
            "'vmapped' is of fleets; in layout 'data' networks go 'in_turn'",
        ),
    ],
)
def test_a_way_that_is_not_there_is_named(changes, said):
    with pytest.raises(ConfigError) as error:
        experiment_lib.build(configure(**changes))
    assert str(error.value) == f"config.train.way: {said}"


# ------------------------------------------------------------------------ the fastest


@pytest.mark.parametrize("fastest", ["in_turn", "vmapped", "products"])
def test_the_fastest_way_is_kept_and_said(fastest, forced, tmp_path, capsys):
    rates, seen = forced
    rates |= dict.fromkeys(ways.WAYS, 10.0) | {fastest: 20.0}
    config = configure(**SMALL)
    with loop.opened(config, tmp_path) as run:
        program = run.experiment.program
        assert run.experiment.ways == (fastest,)
    assert [way for way, _ in seen] == ["in_turn", "vmapped", "products"]
    assert {number for _, number in seen} == {4}
    assert program.layout.members == (1 if fastest == "in_turn" else 0)
    convolves = program.network.fields["conv"] is lean.Products
    assert convolves == (fastest == "products")
    kept = json.loads((tmp_path / "way.json").read_text())
    members = 1 if fastest == "in_turn" else 0
    assert kept == {"way": fastest, "members": members, "steps_per_second": rates}
    assert f"train.way: {fastest} (steps a second: in_turn " in capsys.readouterr().err

    seen.clear()
    with loop.opened(config, tmp_path) as run:  # goes on
        assert run.experiment.ways == (fastest,)
    assert seen == []
    assert "train.way" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_whose_way_was_found_is_a_run_like_others(unmeasured, tmp_path, capsys):
    """Timed for real; the results are those of a way that was named."""
    lottery.run(configure(), tmp_path / "found")
    assert "train.way: " in capsys.readouterr().err
    lottery.run(configure(**{"train.way": "in_turn"}), tmp_path / "named")
    assert_same_rows(tmp_path / "found", tmp_path / "named")


def test_a_way_for_which_there_is_no_room_is_not_taken(unmeasured, monkeypatch):
    def steps_per_second(program, *_):
        if program.layout.members != 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB")
        return 1.0

    made = experiment_lib.build(configure())
    monkeypatch.setattr(ways, "steps_per_second", steps_per_second)
    programs = {way: made.trial(way, 4) for way in made.ways}
    found = ways.timed(programs, members(made, 4), 4)
    assert found == {"in_turn": 1.0, "vmapped": 0.0}


@pytest.mark.parametrize("each", [0.001, 0.2])
def test_steps_a_second_are_those_that_are_taken(each, monkeypatch):
    """Of two members whose step takes so many seconds: few of them, if it is slow.

    What the first two calls compile is not counted.
    """
    made, taken, clock = experiment_lib.build(configure()), [], [0.0]
    fleet = members(made, 2)

    def fit(group, stop, program):
        taken.append(stop - int(group[0].step))
        clock[0] += {1: 30, 2: 9}.get(len(taken), 0) + taken[-1] * each
        return [dataclasses.replace(x, step=jnp.int32(stop)) for x in group]

    monkeypatch.setattr(ways, "fit", fit)
    monkeypatch.setattr(ways.time, "monotonic", lambda: clock[0])
    rate = ways.steps_per_second(made.program, fleet, 10_000, 0.3)
    assert rate == pytest.approx(2 / each)
    assert clock[0] - 39 < 1


USELESS = ["", "{", "[]", "{}", '{"way": "in_turn"}', '{"way": ["in_turn"]}']
USELESS += ['{"way": "products", "members": 0}', '{"way": "vmapped", "members": -1}']


@pytest.mark.parametrize("written", USELESS)
def test_what_was_kept_and_is_of_no_use_is_found_again(
    written, unmeasured, tmp_path, monkeypatch
):
    plan, made = loop.build(configure())
    (tmp_path / "way.json").write_text(written)
    said, rates = [], dict(zip(made.ways, (1.0, 2.0), strict=True))
    monkeypatch.setattr(ways, "timed", lambda *_: rates)
    found = fleets.settled(plan, made, Workdir(tmp_path), said.append)
    assert found.ways == ("vmapped",)
    assert said[0].startswith(f"warning: {tmp_path / 'way.json'} is not of this run")
    assert json.loads((tmp_path / "way.json").read_text())["way"] == "vmapped"


@pytest.mark.slow
def test_what_is_done_and_what_is_alone_on_its_device_tries_nothing(forced, tmp_path):
    _, seen = forced
    lottery.run(configure(**{"train.way": "in_turn"}), tmp_path / "done")
    lottery.run(configure(), tmp_path / "done")
    alone = {"replicates": 1, "studies": ("connectivity",), "study.points": 3}
    with loop.opened(configure(**alone), tmp_path / "alone") as run:
        assert run.experiment.program.layout.members == 1
    assert seen == []


# ------------------------------------------------------------------------- the memory


def limited(monkeypatch, number):
    monkeypatch.setattr(memory, "free", lambda devices: number)


@pytest.fixture
def compiled():
    """What XLA has compiled since."""
    found = []

    def listen(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def test_while_steps_are_timed_nothing_is_compiled(compiled, monkeypatch):
    made, at = experiment_lib.build(configure()), []

    def counted(*arguments):
        at.append(len(compiled))
        return fit(*arguments)

    monkeypatch.setattr(ways, "fit", counted)
    fleet = members(made, 2)
    assert ways.steps_per_second(made.program, fleet, 10_000, 0.1) > 0
    assert at[0] < at[1] and {*at[2:], len(compiled)} == {at[2]}


def test_needs_are_known_without_states_and_compile_what_is_called(compiled):
    made = experiment_lib.build(configure(**{"train.way": "vmapped"}))
    program = made.program
    fleet = members(made, 4)
    states = program.layout.stack(fleet, of=4)
    shared = program.supply(0, 0), 1
    jax.block_until_ready(states)
    compiled.clear()
    shapes = program.layout.like(made.like, of=4)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(
        lambda x: (x.shape, x.dtype), states
    )
    needed = program.advance.needs(shapes, shared)
    assert len(compiled) == 1
    program.advance(states, shared)
    assert len(compiled) == 1
    assert needed > sum(x.nbytes for x in jax.tree.leaves(states)) / 2  # a device


@pytest.mark.parametrize(
    ("share", "number"), [(10.0, 0), (1.2, 0), (0.8, 2), (0.4, 1), (0.01, 1)]
)
def test_as_many_members_go_as_there_is_room_for(share, number, monkeypatch):
    made = experiment_lib.build(configure(**{"train.way": "vmapped"}))
    shapes = made.program.layout.like(made.like, of=6)
    whole = made.program.advance.needs(shapes, (made.program.supply(0, 0), 1))
    limited(monkeypatch, int(whole * share))
    found = ways.fitting(made.program, made.like, 6)
    assert found.layout.members == number
    assert (found is made.program) == (number == 0)
    fewer = ways.fitting(made.program, made.like, 6, others=int(whole * share))
    assert fewer.layout.members == 1


def test_a_compiler_that_finds_no_room_halves_what_goes(monkeypatch):
    def needs(self, states, shared):
        if jax.tree.leaves(states)[0].shape[1] > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: hbm")
        return 1

    made = experiment_lib.build(configure(**{"train.way": "vmapped"}))
    limited(monkeypatch, 10**6)
    monkeypatch.setattr(Spread, "needs", needs)
    assert ways.fitting(made.program, made.like, 6).layout.members == 1


def test_a_cpu_does_not_say_how_much_memory_it_has():
    assert memory.free(jax.devices()) is None


def test_what_is_free_is_that_of_the_fullest_device():
    class Device:
        def __init__(self, used):
            self.used = used

        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": self.used}

    assert memory.free([Device(10), Device(70)]) == 30


def exhausted(monkeypatch, *calls):
    """Let training fail for want of room, at calls of these numbers."""
    sizes = []

    def failing(states, stop, program, *observers):
        each = program.layout.each(len(states))
        sizes.append(each)
        if len(sizes) - 1 in calls:
            observers[0](7)  # steps that come to nothing
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB")
        return fit(states, stop, program, *observers)

    monkeypatch.setattr(lottery.training, "fit", failing)
    return sizes


@pytest.mark.slow
def test_a_fleet_that_fails_for_want_of_room_halves_itself(
    monkeypatch, tmp_path, capsys
):
    sizes = exhausted(monkeypatch, 0)
    config = configure(**{"train.way": "vmapped"})
    lottery.run(config, tmp_path / "failing")
    assert sizes == [2, 1, 1]
    said = capsys.readouterr().err
    assert said.count("warning: half as many members go at a time from here on: ") == 1
    assert json.loads((tmp_path / "failing" / "way.json").read_text())["members"] == 1
    monkeypatch.undo()
    lottery.run(config, tmp_path / "whole")
    assert_same_rows(tmp_path / "failing", tmp_path / "whole")


@pytest.mark.parametrize(
    ("way", "calls"), [("vmapped", (0, 1)), ("vmapped", (0, 2)), ("in_turn", (0,))]
)
def test_it_halves_itself_once_if_it_can(way, calls, monkeypatch, tmp_path):
    """Of four members on a device it does not go to two, and then to one."""
    exhausted(monkeypatch, *calls)
    config = configure(**{"train.way": way, "replicates": 4, "train.devices": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        lottery.run(config, tmp_path)


# ---------------------------------------------------------------------- the precision


def test_precision_is_that_of_the_config_and_written_down(tmp_path):
    config = configure(**{"train.precision": "highest"})
    with loop.opened(config, tmp_path) as run:
        program = run.experiment.program
        states = program.layout.like(run.experiment.like, of=2)
        shared = program.supply(0, 0), 1
        spread: Any = program.advance.program
        text = spread.lower(states, np.arange(2), shared).as_text()
    assert "HIGHEST" in text
    written = json.loads((tmp_path / "environment.json").read_text())
    assert written["jax"]["default_matmul_precision"] == "highest"
    settings: Any = jax.config
    assert settings.jax_default_matmul_precision is None


def test_products_are_as_precise_as_is_asked_for():
    a = jnp.ones((4, 4))

    def precision(asked):
        with loop.precision(configure(**{"train.precision": asked})):
            return jax.jit(lambda a: a @ a).lower(a).as_text()

    assert "HIGHEST" in precision("float32")
    assert "HIGHEST" in precision("highest")
    assert "HIGHEST" not in precision("tensorfloat32")
    assert "HIGH" in precision("tensorfloat32")
    assert "HIGH" not in precision("default")


@pytest.mark.slow
def test_masks_of_lower_precision_keep_as_many_weights_and_mostly_the_same(tmp_path):
    """After 50 steps, computed in float32 and in bfloat16."""
    kept, losses = [], []
    for dtype in ("float32", "bfloat16"):
        changes = {"train.length": "50it", "model.dtype": dtype, "replicates": 1}
        changes |= {"optim.name": "adam", "optim.learning_rate": 1e-2}
        config = configure(**changes)
        lottery.run(config, tmp_path / dtype)
        with loop.opened(config, tmp_path / dtype) as run:
            (ticket,) = run.load(run.workdir.levels, 1).values()
        kept.append(ticket.masks)
        losses.append(Workdir(tmp_path / dtype).records.rows()[0]["value"])
    assert masks.count(kept[0]) == masks.count(kept[1]) == (710, 888)
    assert masks.overlap(*kept) > 0.97
    assert 1e-5 < abs(losses[0] - losses[1]) < 1e-2
