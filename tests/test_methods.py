"""Methods: masks of every kind, with as many weights as configured."""

import functools
import itertools
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from small import build, configuring
from tqdm.auto import tqdm
from trees import assert_same

from lth_jax import check, lottery, models, prune, scores
from lth_jax import masks as masks_lib
from lth_jax.data import Memory, Split, normalise
from lth_jax.devices.layout import Layout
from lth_jax.errors import Diverged
from lth_jax.lottery import admm, methods
from lth_jax.lottery.methods import METHODS, by_score, settled
from lth_jax.lottery.plan import Plan
from lth_jax.rule import Rule
from lth_jax.tasks import Classification, Regression
from lth_jax.train import experiment, state, step
from lth_jax.train import step as step_lib
from lth_jax.workdir import Member, Workdir
from lth_jax.workdir.pauses import Interrupted

KEPT = [888, 621, 434]  # of 64 * 12 + 12 * 10 weights, less ceil(0.3 of the rest)
QUICK = ("magnitude",)


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    settings = {
        "replicates": 2,
        "optim.name": "adam",
        "optim.learning_rate": 0.01,
        "train.length": "6it",
        "prune.fraction": 0.3,
        "prune.levels": 2,
        "prune.admm.rho": (0.1, 1.0, 10.0),
        "prune.admm.updates": 2,
        "prune.admm.interval": "60it",
        "branches": ("ticket",),
    }
    return configuring(tmp_path_factory, **settings)


def masks(config, directory, level):
    """Return the tickets' masks of a level, by replicate, as run and saved."""
    workdir = Workdir(directory)
    like = jax.eval_shape(build(config).initialise, jax.random.key(0))
    series, number = (workdir.levels, level) if level else (workdir.dense, 6)
    fleet = workdir.load(series, number, like)
    return [network.masks for member, network in fleet.items() if member.is_ticket]


@pytest.fixture(scope="module")
def runs(configure, tmp_path_factory):
    """From a method to a finished run of it: its config and its folder."""

    @functools.cache
    def run(method):
        found = configure(**{"prune.method": method}), tmp_path_factory.mktemp(method)
        lottery.run(*found)
        return found

    return run


@pytest.fixture(autouse=True)
def compile_once(monkeypatch):
    monkeypatch.setattr(experiment, "build", build)


@pytest.mark.parametrize(
    "method",
    [pytest.param(x, marks=[pytest.mark.slow] * (x not in QUICK)) for x in METHODS],
)
def test_every_level_keeps_exactly_as_many_weights_as_it_should(runs, method):
    for level, kept in enumerate(KEPT):
        for mask in masks(*runs(method), level):
            assert masks_lib.count(mask) == (kept, KEPT[0])


@pytest.mark.slow
def test_methods_and_replicates_choose_different_weights(runs):
    chosen = [mask for method in METHODS for mask in masks(*runs(method), 2)]
    for one, other in itertools.combinations(chosen, 2):
        assert masks_lib.overlap(one, other) < 1


@pytest.mark.parametrize(
    "method",
    [
        *("magnitude", "snip"),
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("lamp", "random", "grasp")),
    ],
)
def test_masks_shrink(runs, method):
    for one, two in zip(masks(*runs(method), 1), masks(*runs(method), 2)):
        assert masks_lib.overlap(one, two) == 1


@pytest.mark.parametrize(
    "method",
    ["snip", *(pytest.param(x, marks=pytest.mark.slow) for x in ("grasp", "synflow"))],
)
def test_pruning_before_training_does_not_look_at_trained_weights(
    configure, runs, method, tmp_path
):
    longer = configure(**{"prune.method": method, "train.length": "9it"})
    lottery.run(longer, tmp_path)
    for level in (1, 2):
        jax.tree.map(
            np.testing.assert_array_equal,
            masks(longer, tmp_path, level),
            masks(*runs(method), level),
        )


@pytest.mark.parametrize(
    "method",
    [
        "magnitude",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("synflow", "admm")),
    ],
)
def test_layers_pruned_by_themselves_keep_the_exact_number(configure, tmp_path, method):
    config = configure(
        **{"prune.method": method, "prune.scope": "layer", "prune.levels": 1}
    )
    lottery.run(config, tmp_path)
    for mask in masks(config, tmp_path, 1):
        counts = masks_lib.by_layer(mask)
        assert counts == {"fc1/kernel": (537, 768), "fc/kernel": (84, 120)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["snip", "grasp"])
def test_devices_that_share_batches_score_one_whole_batch(
    configure, tmp_path, monkeypatch, method
):
    """With batch normalisation over the devices, which only trains there."""
    monkeypatch.undo()
    config = configure(
        **{
            "model.name": "cifar_resnet",
            "optim.name": "sgd",
            "prune.method": method,
            "prune.levels": 1,
            "train.layout": "data",
            "train.length": "1it",
            "replicates": 1,
            "measures": (),
        }
    )
    with config.unlocked():
        config.model.options = {"depth": 8, "width": 2}
    lottery.run(config, tmp_path)
    assert check.problems(tmp_path) == []


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        *((method, "global") for method in QUICK),
        *(
            pytest.param(method, scope, marks=pytest.mark.slow)
            for method, scope in [
                *((method, "global") for method in METHODS if method not in QUICK),
                *((method, "layer") for method in ("magnitude", "synflow", "admm")),
            ]
        ),
    ],
)
@pytest.mark.slow
def test_what_is_kept_whole_counts_in_the_density(configure, tmp_path, method, scope):
    """Of 768 + 120 weights, 267 and then 187 go: all of the first layer's."""
    kept_whole = {
        "replicates": 1,
        "prune.method": method,
        "prune.scope": scope,
        "prune.keep": ("^fc/",),
        "branches": ("ticket", "shuffled_mask", "random_mask"),
    }
    config = configure(**kept_whole)
    lottery.run(config, tmp_path)
    for level, kept in enumerate(KEPT):
        (mask,) = masks(config, tmp_path, level)
        counts = {"fc1/kernel": (kept - 120, 768), "fc/kernel": (120, 120)}
        assert masks_lib.by_layer(mask) == counts
    rows = Workdir(tmp_path).records.rows()
    for branch in ("ticket", "shuffled_mask", "random_mask"):
        found = {row["density"] for row in rows if row["branch"] == branch}
        assert found == {kept / KEPT[0] for kept in KEPT[1:]}
    assert check.problems(tmp_path) == []


def test_synflow_keeps_a_path_through_every_layer(runs):
    for mask in masks(*runs("synflow"), 2):
        assert all(kept for kept, _ in masks_lib.by_layer(mask).values())


def residuals(directory, level, side):
    rows = Workdir(directory).records.rows()
    return [
        [
            row["value"]
            for row in rows
            if (row["branch"], row["level"], row["replicate"], row["measure"])
            == ("admm", level, replicate, f"{side}_residual")
        ]
        for replicate in range(2)
    ]


@pytest.mark.slow
def test_admm_draws_the_weights_closer_with_every_stage(runs):
    for found in residuals(runs("admm")[1], 1, "primal"):
        assert len(found) == 6  # three stages of two updates
        assert found[1] > found[3] > found[5]
        assert found[-1] < 0.5 * found[0]


@pytest.mark.slow
def test_every_stage_of_admm_begins_anew(runs):
    """U is in units of a stage's strength: after a stage, it is 0 and Z is near W."""
    config, directory = runs("admm")
    like = jax.eval_shape(build(config).initialise, jax.random.key(0))
    like = replace(
        like, proximal=state.Proximal(like.params, like.params, like.loss, like.step)
    )
    workdir = Workdir(directory)
    for member, network in workdir.load(workdir.drawn, 1, like).items():
        term = network.proximal
        assert term.updates == 6
        assert_same(term.dual, jax.tree.map(jnp.zeros_like, term.dual))
        ticket = workdir.load(workdir.levels, 1, replace(like, proximal=None))
        sparse = ticket[member._replace(branch="ticket")].masks
        assert_same(term.target, admm.project(network.params, sparse, "global"))


@pytest.mark.slow
def test_tickets_of_all_rewind_steps_share_what_admm_draws(configure, tmp_path):
    config = configure(
        **{
            "rewind.steps": ("0it", "2it"),
            "prune.method": "admm",
            "prune.levels": 1,
            "prune.admm.interval": "6it",
        }
    )
    lottery.run(config, tmp_path)
    assert [len(found) for found in residuals(tmp_path, 1, "dual")] == [6, 6]
    one, same, other, again = masks(config, tmp_path, 1)  # of two k, and replicates
    assert_same(one, same)
    assert_same(other, again)
    assert masks_lib.overlap(one, other) < 1
    assert check.problems(tmp_path) == []
    plan = Plan(config, 6, (0, 2), 6, METHODS["admm"])
    assert plan.steps(1) == 2 * (6 + 4) + 2 * 6 * 6


def test_the_steps_that_admm_takes_are_recorded(runs):
    rows = Workdir(runs("admm")[1]).records.rows()
    steps = {row["step"] for row in rows if row["measure"] == "dual_residual"}
    assert steps == {6 + 60 * update for update in range(1, 7)}
    found = {
        (row["level"], row["value"])
        for row in rows
        if row["measure"] == "steps_to_find"
    }
    assert found == {(0, 0), (1, 6 + 360), (2, 6 + 360 + 6 + 360)}


@pytest.mark.slow
def test_admm_goes_on_where_it_was_cut_off(configure, tmp_path, monkeypatch):
    """Between its updates and the evaluations, of which some are at the same step.

    In groups of a device each, of which some are in a later stage than others.
    """
    config = configure(
        **{
            "replicates": 3,
            "train.members": 1,
            "train.evaluate_every": "3it",
            "prune.method": "admm",
            "prune.levels": 1,
            "prune.admm.rho": (1.0,),
            "prune.admm.updates": 3,
            "prune.admm.interval": "4it",
        }
    )
    lottery.run(config, tmp_path / "whole")
    monkeypatch.setattr(tqdm, "update", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    pauses = 0
    while pauses < 99:
        try:
            lottery.run(config, tmp_path / "cut")
            break
        except Interrupted:
            pauses += 1
    assert pauses > 30
    rows = [
        Workdir(tmp_path / name).records.path.read_text() for name in ("whole", "cut")
    ]
    assert rows[0] == rows[1]


def test_replicates_draw_their_own_random_masks(runs):
    one, other = masks(*runs("random"), 1)
    assert masks_lib.overlap(one, other) == pytest.approx(0.7, abs=0.07)


@pytest.mark.slow
def test_a_score_may_ask_for_the_loss_of_a_trained_network(configure, tmp_path):
    """On two devices, where what was trained in this process is on the first."""

    def taylor(run, ticket):
        trained = run.previous(ticket)
        return scores.snip(run.loss(trained), trained.params)

    assert len(jax.devices()) == 2
    config = configure(**{"prune.method": "taylor"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "taylor", by_score(taylor))
        lottery.run(config, tmp_path)
    found = [masks_lib.count(mask)[0] for mask in masks(config, tmp_path, 2)]
    assert found == 2 * KEPT[2:]


def test_scales_that_start_at_0_are_1_where_scores_are_taken():
    norm = {"scale": jnp.zeros(2), "bias": jnp.zeros(2)}
    params = {"norm": norm, "other": {"scale": jnp.array([0.0, 2.0])}}
    wanted = params | {"norm": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
    assert_same(methods.opened(params), wanted)


def leaves(*rows):
    return {str(i): jnp.array(row) for i, row in enumerate(rows)}


EQUAL = [  # scores, masks after, scope, whether more than a hundredth is open
    (leaves([0.0, 0, 1, 2]), leaves([1, 0, 1, 1]), "global", True),
    (leaves([0.0, 0, 1, 2]), leaves([0, 0, 1, 1]), "global", False),
    (leaves([0.0, 1, 1, 2], [3.0]), leaves([0, 1, 1, 1], [1]), "layer", False),
    (leaves([0.0, 1.0], [1.0, 2.0]), leaves([0, 0], [1, 1]), "global", True),
    (leaves([0.0, 1.0], [1.0, 2.0]), leaves([0, 1], [0, 1]), "layer", False),
    (leaves([0.0, 1.0], [1.0, 1.0]), leaves([0, 1], [1, 0]), "layer", True),
    (leaves([jnp.inf, jnp.inf]), leaves([1, 0]), "global", True),
    (leaves(range(200)), leaves([0] * 100 + [1] * 100), "global", False),
    (leaves([0.0] * 4 + [1.0] * 396), leaves([1, 0] + [0, 0] + [1] * 396), "global", 0),
    (leaves([0.0] * 10 + [1.0] * 390), leaves([1, 0] * 5 + [1] * 390), "layer", True),
]


@pytest.mark.parametrize(("scores", "after", "scope", "is_open"), EQUAL)
def test_scores_that_leave_open_what_goes_are_refused(scores, after, scope, is_open):
    scores = jax.tree.map(jnp.float32, scores)
    after = jax.tree.map(lambda m: m.astype(bool), after)
    before = jax.tree.map(jnp.ones_like, after)
    with pytest.raises(prune.ScoreError, match="equal") if is_open else nullcontext():
        settled(scores, before, after, scope)


def test_a_method_whose_scores_are_all_equal_ends_the_run(configure, tmp_path):
    config = configure(**{"prune.method": "constant"})

    def ones(run, ticket):
        return jax.tree.map(jnp.ones_like, run.dense(ticket, 0).params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "constant", by_score(ones))
        with pytest.raises(Diverged, match="level 1 cannot be pruned: scores: 267 of"):
            lottery.run(config, tmp_path)


@pytest.mark.parametrize(
    "norm_scale", [pytest.param("ones", marks=pytest.mark.slow), "uniform"]
)
def test_synflow_is_that_of_the_linear_network_at_any_depth(configure, norm_scale):
    """By hand: a flow of 1e60, and 6 at most through each activation."""
    model = models.linen(Deep(num_classes=2, scale_init=models.NORM_SCALES[norm_scale]))
    image = jnp.ones((1, 2, 2, 3))
    params, _ = model.init(jax.random.key(0), image)
    params = jax.tree.map(lambda w: w if w.ndim < 2 else 0 * w - 1e6, params)
    masks = masks_lib.full(params)
    split = Split(np.zeros((4, 2, 2, 3), np.uint8), np.zeros(4, np.int32))
    prepare = partial(normalise, mean=np.zeros(3, "f4"), std=np.ones(3, "f4"))
    feed = Memory(split, batch_size=2, prepare=prepare)
    program = replace(build(configure()).program, network=model, feed=feed)
    flow = scores.synflow_shares(partial(step.flow, program=program), params)
    found = jax.device_get(flow(masks))
    assert {w.dtype for w in jax.tree.leaves(found)} == {np.dtype("float32")}
    for i in range(10):  # every layer passes on all: equal shares of equal weights
        kernel = found[f"conv{i}"]["kernel"]
        np.testing.assert_allclose(kernel, kernel.flat[0], rtol=1e-6)
        assert 0 < kernel.flat[0] <= 1
    sums = [found[f"conv{i}"]["kernel"].sum() for i in range(10)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)  # conserved


def test_synflow_is_of_the_inputs_alone():
    """Of (x a + b) c + d: as much flows through a as through c, whatever is added."""

    def apply(params, state, inputs, *, train, key):
        hidden = jax.nn.relu(inputs @ params["a"] + params["b"])
        return hidden @ params["c"] + params["d"], state

    params = {"a": jnp.array([[1.0, -2.0]]), "b": jnp.array([[5.0, -7.0]])}
    params |= {"c": jnp.array([[1.0], [1.0]]), "d": jnp.array([[-3.0]])}
    network = models.Functions(lambda key, inputs: (params, {}), apply)
    feed = Memory(Split(np.ones((2, 1), np.float32), np.zeros(2, np.int32)), 1)
    layout = Layout("fleet", (jax.devices()[0],))
    of = optax.sgd, optax.constant_schedule(0.1), feed, lambda seed, at: (), layout
    program = step.Program(network, Classification(), *of)
    flow = scores.synflow_shares(partial(step.flow, program=program), params)
    found = flow(masks_lib.full(params))
    assert_same(found["a"], jnp.array([[0.5, 1.0]]))
    assert_same(found["c"], jnp.array([[0.5], [1.0]]))
    assert not found["b"].any()


def test_synflow_is_refused_where_it_is_no_flow():
    """Where a mean is subtracted; and of scales, which are no part of it."""
    fine = {"a": jnp.array([[1.0, 0.5]]), "dead": jnp.zeros((2, 2))}
    fine |= {"b": jnp.zeros(2)}

    def check(flows, **masks):
        masks = {path: jnp.ones(2, bool) for path in flows} | {"b": None} | masks
        methods._check_flow(flows, masks)

    check(fine)
    with pytest.raises(prune.ScoreError, match="SynFlow's are negative, in q"):
        check(fine | {"q": jnp.array([[1.0, -0.5]])})
    with pytest.raises(prune.ScoreError, match="SynFlow's are 0, .*, in scale"):
        check(fine | {"scale": jnp.zeros(2)})


@pytest.mark.parametrize(
    ("task", "temperature"), [(Classification(), 200), (Regression(), 1)]
)
def test_grasp_divides_logits_alone(task, temperature, monkeypatch):
    asked = []
    monkeypatch.setattr(scores, "grasp", lambda *_: None)
    run = SimpleNamespace(
        scored=lambda ticket: SimpleNamespace(params={"w": jnp.ones(2)}, masks=None),
        loss=lambda state, temperature: asked.append(temperature),
        experiment=SimpleNamespace(program=SimpleNamespace(task=task)),
    )
    methods._grasp(run, Member(0, 0, 1, "ticket", 0))
    assert asked == [temperature]


def test_synflow_scores_what_masks_keep_and_leaves_weights_on_the_device(monkeypatch):
    """Of a product of two weights: each has all of the flow that goes through it."""
    fetched, get = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: fetched.append(x) or get(x))
    params = {"w": jnp.array([2.0, -3.0]), "v": jnp.array([-5.0, 1.0])}
    flow = scores.synflow_shares(lambda p: (p["w"] * p["v"]).sum(), params)
    everything = jax.tree.map(lambda w: jnp.ones(2, bool), params)
    shares = jnp.array([1.0, 0.3])
    assert_same(flow(everything), {"w": shares, "v": shares})
    second = everything | {"v": jnp.array([False, True])}
    alone = jnp.array([0.0, 1.0])
    assert_same(flow(second), {"w": alone, "v": alone})
    assert fetched == []


@pytest.mark.slow
def test_synflow_fetches_numbers_but_no_weights(configure, monkeypatch):
    made = build(configure())
    initial = made.initialise(jax.random.key(0))
    plan = Plan(configure(), 6, (0,))
    ticket = plan.tickets(1)[0]
    run = SimpleNamespace(
        config=plan.config,
        flow=made.program.flow,
        dense=lambda ticket, step: initial,
        scored=lambda ticket: initial,
        previous=lambda ticket: initial,
        shrink=lambda ticket, scores: plan.rule(1).shrink(scores, initial.masks),
        rule=plan.rule(1),
    )
    sizes, get = [], jax.device_get

    def counted(tree):
        sizes.extend(np.size(x) for x in jax.tree.leaves(tree))
        return get(tree)

    monkeypatch.setattr(jax, "device_get", counted)
    found = METHODS["synflow"].masks(run, [ticket])
    assert masks_lib.count(found[ticket]) == (KEPT[1], KEPT[0])
    assert {*sizes} == {1}


# ------------------------------------------------------- when, and how often, it scores


@pytest.fixture(scope="module")
def scored(configure, tmp_path_factory):
    """A function that runs a method, and gives its config, its folder and its masks."""

    def scored(**changes):
        config = configure(**{"rewind.steps": ("2it",), "replicates": 1} | changes)
        directory = tmp_path_factory.mktemp("scored")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(experiment, "build", build)
            lottery.run(config, directory)
        found = [masks(config, directory, level)[0] for level in (1, 2)]
        return config, directory, found

    return scored


def dense_at(config, directory, step):
    workdir = Workdir(directory)
    like = jax.eval_shape(build(config).initialise, jax.random.key(0))
    (network,) = workdir.load(workdir.dense, step, like).values()
    return network


def ticket_at(config, directory, level):
    workdir = Workdir(directory)
    like = jax.eval_shape(build(config).initialise, jax.random.key(0))
    return next(iter(workdir.load(workdir.levels, level, like).values()))


@pytest.mark.parametrize(
    "schedule", ["one_shot", pytest.param("iterative", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("at", "step"), [("0", 0), ("k", 2), ("end", 6), ("", 6)])
def test_magnitudes_may_be_those_of_any_step(scored, at, step, schedule):
    config, directory, found = scored(**{"prune.at": at, "prune.schedule": schedule})
    first = masks_lib.full(dense_at(config, directory, step).params)
    network = dense_at(config, directory, step)
    one = prune.magnitude(network.params, first, 0.3)
    assert_same(found[0], one)
    if step == 6 and schedule == "iterative":
        network = ticket_at(config, directory, 1)
    assert_same(found[1], prune.magnitude(network.params, one, 0.3))
    assert check.problems(directory) == []


@pytest.mark.parametrize(("at", "step"), [("", 0), ("k", 2), ("end", 6)])
def test_snip_may_score_at_any_step(scored, at, step):
    config, directory, found = scored(**{"prune.method": "snip", "prune.at": at})
    network, program = dense_at(config, directory, step), build(config).program
    loss = step_lib.next_loss(network, 1.0, program=program)
    score = scores.snip(loss, network.params)
    assert_same(found[0], prune.by_fraction(score, network.masks, 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(
    "method", ["magnitude", pytest.param("snip", marks=pytest.mark.slow)]
)
def test_rounds_of_scoring_keep_exact_numbers_and_nothing_comes_back(
    scored, method, scope, monkeypatch
):
    """Of magnitudes they change nothing; SNIP looks at what is left."""
    options = {"prune.method": method, "prune.scope": scope, "prune.at": "0"}
    seen, towards = [], methods._towards

    def noted(*args):
        seen.append(towards(*args))
        return seen[-1]

    monkeypatch.setattr(methods, "_towards", noted)
    _, _, one = scored(**options | {"prune.rounds": 1})
    assert seen == []
    _, directory, three = scored(**options | {"prune.rounds": 3})
    _, _, plain = scored(**options)
    assert len(seen) == 4  # two before the last, of two levels
    for level, (once, mine, same) in enumerate(zip(one, three, plain), 1):
        assert_same(once, same)
        if scope == "layer":
            assert masks_lib.by_layer(mine) == masks_lib.by_layer(once)
        assert masks_lib.count(mine)[0] == masks_lib.count(once)[0]
        on_the_way = seen[2 * level - 2 : 2 * level]
        for more, fewer in zip((*on_the_way, mine), (*on_the_way[1:], mine)):
            assert masks_lib.overlap(more, fewer) == 1
        if scope == "global":
            # 888 to 621 and 434: a third, and half of the rest, of the logarithm.
            wanted = [(788, 699), (551, 489)][level - 1]
            assert tuple(masks_lib.count(m)[0] for m in on_the_way) == wanted
        is_same = masks_lib.checksum(mine) == masks_lib.checksum(once)
        assert is_same == (method == "magnitude")
    assert masks_lib.overlap(three[0], three[1]) == 1
    assert check.problems(directory) == []


def test_rounds_leave_every_stacked_layer_its_number():
    """And what is gone does not come back, whatever its scores are then."""
    first = {"scan": jnp.array([[4.0, 3, 2, 1], [8, 7, 6, 5]])}
    rule = Rule(0.5, scope="layer", stacked=("scan",))
    before = masks_lib.full(first, include=("scan",))
    run = SimpleNamespace(
        config=SimpleNamespace(prune=SimpleNamespace(rounds=2)),
        rule=rule,
        left={},
        previous=lambda ticket: SimpleNamespace(masks=before),
    )
    asked, ticket = [], Member(0, 0, 1, "ticket", 0)

    def score(run, ticket):
        asked.append(run.left.get(ticket))
        # The second time, the best are those that are gone.
        return jax.tree.map(lambda x: x if len(asked) == 1 else -x, first)

    found = methods._shrunk(run, ticket, score)
    assert asked[0] is None
    # 4 * 0.5 ** 0.5 is 2.8; both layers keep two, of which none came back.
    assert_same(asked[1]["scan"], jnp.array([[1, 1, 0, 0]] * 2, bool))
    assert_same(found["scan"], jnp.array([[1, 1, 0, 0]] * 2, bool))
    assert run.left == {}


def test_lamp_prunes_by_the_share_of_what_is_as_large(scored):
    config, directory, found = scored(**{"prune.method": "lamp"})
    before = dense_at(config, directory, 6)
    for level, mask in enumerate(found, 1):
        squares = {p: np.float64(w) ** 2 for p, w in kernels(before).items()}
        kept = dict(masks_lib.leaves(before.masks))
        shares = {}
        for path, square in squares.items():
            here = np.asarray(kept[path])
            as_large = [square[here & (square >= x)].sum() for x in square[here]]
            shares[path] = np.full(square.shape, -1.0)
            shares[path][here] = square[here] / as_large
        flat = np.concatenate([shares[path].ravel() for path in sorted(shares)])
        lowest = np.sort(flat)[-KEPT[level]]
        for path, now in masks_lib.leaves(mask):
            np.testing.assert_array_equal(now, shares[path] >= lowest)
        before = ticket_at(config, directory, level)


def kernels(network):
    paths = dict(masks_lib.leaves(network.masks))
    return {p: w for p, w in masks_lib.leaves(network.params) if p in paths}


class Deep(models.Classifier):
    @nn.compact
    def __call__(self, x, train):
        conv, norm = self.bound_conv(), self.bound_norm(train)
        for i in range(10):
            x = nn.relu6(norm(name=f"norm{i}")(conv(4, (1, 1), name=f"conv{i}")(x)))
        return self.classify(x)
