"""The lottery: fit, prune, rewind; and all of it again, wherever it was cut off."""

import contextlib
import dataclasses
import functools
import io
import itertools
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small import build
from tqdm.auto import tqdm
from trees import assert_same

from lth_jax import branches, check, export, measures, movers, prune, report, studies
from lth_jax import config as config_lib
from lth_jax import masks as masks_lib
from lth_jax.config.table import FIELDS
from lth_jax.errors import Diverged
from lth_jax.lottery import loop, methods, progress, training
from lth_jax.lottery.plan import Plan
from lth_jax.train import experiment as experiment_lib
from lth_jax.train import state
from lth_jax.train.fit import fit
from lth_jax.workdir import Member, Workdir, environment, growth, records
from lth_jax.workdir import checkpoints as checkpoint
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.pauses import Interrupted, Interruption
from lth_jax.workdir.records import Records

KEPT = [888, 621, 434, 303]  # of 64 * 12 + 12 * 10 weights, less ceil(0.3 of the rest)
BRANCHES = ("ticket", "random_reinit", "shuffled_mask")
SMALL = {
    "branches": ("ticket",),
    "copies": 1,
    "studies": (),
    "prune.levels": 2,
    "rewind.steps": ("2it",),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.getbasetemp() / "tfds")


@pytest.fixture(scope="module")
def configure(data_dir):
    """A small config on digits, with some fields changed."""

    def configure(**changes):
        config = config_lib.default()
        config.model.options = {"widths": (12,)}
        config.update_from_flattened_dict(
            {
                "replicates": 2,
                "data.dir": data_dir,
                "data.batch_size": 20,
                "optim.name": "adam",
                "optim.learning_rate": 0.01,
                "train.length": "6it",
                "prune.fraction": 0.3,
                "prune.levels": 3,
                "rewind.steps": ("0it", "2it"),
                "branches": BRANCHES,
                "copies": 2,
                "studies": ("stability",),
            }
            | changes
        )
        return config.lock()

    return configure


@pytest.fixture(scope="module")
def small(configure):
    """The config of a run whose only network is the ticket."""
    return configure(**SMALL)


@pytest.fixture(autouse=True)
def compile_once(monkeypatch):
    monkeypatch.setattr(experiment_lib, "build", build)


def observe(patch, name, note, module=loop):
    """Note the arguments and the result of every call of a function of the lottery."""
    original = getattr(module, name)

    def observed(*args, **options):
        result = original(*args, **options)
        note(args, result)
        return result

    patch.setattr(module, name, observed)


@pytest.fixture(scope="module")
def finished(configure, tmp_path_factory):
    """A whole run, and what was seen of it on the way."""
    config, directory = configure(), tmp_path_factory.mktemp("finished") / "run"
    seen = SimpleNamespace(
        config=config, workdir=Workdir(directory), fits=[], starts={}, masks={}
    )
    seen.tickets, seen.compiled, compiled = {}, {}, []

    def listen(event, _, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    def dense_done(*_):
        seen.dense_files = contents(directory / "checkpoints" / "dense")

    def level_done(args, _):
        (seen.run,) = args
        seen.tickets[seen.run.level] = seen.run.tickets
        seen.compiled[seen.run.level] = len(compiled) - sum(seen.compiled.values())

    def pruned(args, _):
        seen.masks[args[0].level] = dict(args[0].kept)

    def fleet_starts(args, starts):
        seen.starts.setdefault(args[0].level, {}).update(starts)

    def fitted(args, _):
        seen.fits.append((len(args[0]), int(args[0][0].step), args[1]))

    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_lib, "build", build)
        observe(patch, "fit_dense", dense_done)
        observe(patch, "study", level_done)
        observe(patch, "prune", pruned)
        observe(patch, "rewind", fleet_starts)
        observe(patch, "fit", fitted, training)
        loop.run(config, directory)
    jax.monitoring.unregister_event_duration_listener(listen)
    return seen


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def at(ticket, level):
    """The name of a ticket at another level."""
    return ticket._replace(level=level).ticket


def all_dense(finished, step):
    return finished.run.load(finished.workdir.dense, step)


def kernels(network):
    return [network.params[layer]["kernel"] for layer in ("fc1", "fc")]


# ----------------------------------------------------------------------- levels


def test_every_level_keeps_exactly_as_many_weights_as_it_should(finished):
    for level in (1, 2, 3):
        for masks in finished.masks[level].values():
            assert masks_lib.count(masks) == (KEPT[level], KEPT[0])


def test_masks_only_shrink(finished):
    for ticket, after in [*finished.masks[2].items(), *finished.masks[3].items()]:
        level = ticket.level - 1
        assert masks_lib.overlap(finished.masks[level][at(ticket, level)], after) == 1


def test_the_smallest_of_the_trained_weights_are_pruned(finished):
    for level in (1, 2, 3):
        for ticket, masks in finished.masks[level].items():
            trained = finished.tickets[level - 1][at(ticket, level - 1)]
            wanted = prune.magnitude(trained.params, trained.masks, 0.3)
            assert_same(masks, wanted)


def test_chains_have_masks_of_their_own(finished):
    """From level 2 on: before, those of a replicate share the dense network."""
    masks = list(finished.masks[2].values())
    assert len(masks) == 4
    for i, first in enumerate(masks):
        for second in masks[i + 1 :]:
            assert masks_lib.overlap(first, second) < 1


def test_all_rewind_steps_share_one_dense_training(finished):
    dense = [call for call in finished.fits if call[0] == 2]
    assert dense == [(2, 0, 2), (2, 2, 6)]
    assert finished.workdir.dense.numbers() == [0, 2, 6]
    names = [Member(replicate, 0, 0, "dense", 0) for replicate in range(2)]
    assert [*finished.tickets[0]] == names
    assert finished.workdir.members(finished.workdir.levels, 0) == []


def test_a_level_trains_all_its_branches_together(finished):
    """Of all replicates and copies; one fit for each step that branches start from."""
    levels = [call for call in finished.fits if call[0] != 2]
    assert levels == [(12, 0, 6), (12, 2, 6)] * 3


def test_nothing_is_compiled_after_the_first_level(finished):
    assert finished.compiled[1] > 0
    assert (finished.compiled[2], finished.compiled[3]) == (0, 0)


# ----------------------------------------------------------------- rewind states


def test_no_level_touches_the_dense_states_on_disk(finished):
    folder = finished.workdir.directory / "checkpoints" / "dense"
    assert contents(folder) == finished.dense_files


def test_the_dense_states_on_disk_are_unmasked(finished):
    for step in (0, 2, 6):
        for network in all_dense(finished, step).values():
            assert int(network.step) == step
            assert network.loss == 0
            assert masks_lib.density(network.masks) == 1
            assert all((kernel != 0).all() for kernel in kernels(network))
    network, _ = all_dense(finished, 2).values()
    assert (network.opt_state[0].mu["fc"]["kernel"] != 0).any()


@pytest.mark.parametrize("level", [1, 3])
def test_every_branch_starts_where_it_should_to_the_last_bit(finished, level):
    dense = {step: all_dense(finished, step) for step in (0, 2)}
    for member, start in finished.starts[level].items():
        masks = finished.masks[level][member._replace(branch="ticket", copy=0)]
        step = member.rewind_step
        assert (int(start.step), float(start.loss)) == (step, 0)
        if member.branch == "shuffled_mask":
            assert masks_lib.by_layer(start.masks) == masks_lib.by_layer(masks)
            assert masks_lib.overlap(start.masks, masks) < 0.9
        else:
            assert_same(start.masks, masks)
        if member.branch != "random_reinit":
            (moments, *_), (dense_moments, *_) = (
                network.opt_state for network in (start, dense[step][member.dense])
            )
            params = dense[step][member.dense].params
            for tree, unmasked in (
                (start.params, params),
                (moments.mu, dense_moments.mu),
                (moments.nu, dense_moments.nu),
            ):
                assert_same(tree, masks_lib.apply(unmasked, start.masks))


def test_copies_differ_in_their_data_order_only(finished):
    starts = finished.starts[1]
    for member, start in starts.items():
        seed = state.data_seed(finished.run.key(member), member.copy)
        assert start.data_seed == seed
        original = starts[member._replace(copy=0)]
        assert_same(dataclasses.replace(start, data_seed=original.data_seed), original)


def test_replicates_start_from_weights_of_their_own(finished):
    first, second = all_dense(finished, 0).values()
    assert all((a != b).all() for a, b in zip(kernels(first), kernels(second)))
    assert first.data_seed != second.data_seed


def test_each_level_reinitialises_and_shuffles_anew(finished):
    names = [m for m in finished.starts[1] if m.copy == 0]
    for name in names:
        first, second = (finished.starts[n][name._replace(level=n)] for n in (1, 2))
        if name.branch == "random_reinit":
            both = first.masks["fc1"]["kernel"] & second.masks["fc1"]["kernel"]
            a, b = (s.params["fc1"]["kernel"][both] for s in (first, second))
            assert (a != b).all()
        if name.branch == "shuffled_mask":
            assert masks_lib.overlap(first.masks, second.masks) < 0.9


def at_level(finished, level, config):
    """The finished run, as of another config, at the beginning of a level."""
    run = dataclasses.replace(finished.run, config=config, plan=plan(config))
    run.networks = finished.tickets[level - 1]
    run.at(level)
    return run


def plan(config):
    return Plan(config, 6, (0, 2), 1)


def test_other_branches_change_no_draws(finished, configure):
    """What a branch draws depends on neither its company nor its place."""
    alone = at_level(finished, 1, configure(branches=("ticket", "shuffled_mask")))
    alone.kept = dict(reversed(finished.masks[1].items()))
    (fleet,) = alone.plan.waves(1)
    shuffled = [one for one in fleet if one.member.branch == "shuffled_mask"]
    starts = loop.rewind(alone, shuffled)
    assert len(starts) == 8
    for member, start in starts.items():
        assert_same(start, finished.starts[1][member])


# ---------------------------------------------------------------------- records


def test_there_is_one_row_for_every_number(finished):
    rows = [
        row
        for row in finished.workdir.records.rows()
        if row["measure"] not in (*COSTS, "density", *STEPS, *BILLS)
    ]
    dense, levels = (
        [row for row in rows if (row["level"] == 0) == is_dense]
        for is_dense in (True, False)
    )
    measures = ["train_loss", "test_accuracy", "test_loss"]
    of_one = [(measure, None, None) for measure in measures]
    assert [(r["step"], r["replicate"], r["measure"]) for r in dense] == [
        (step, replicate, measure)
        for step in (2, 6)
        for replicate in range(2)
        for measure in measures
    ]
    assert all((r["branch"], r["density"]) == ("dense", 1.0) for r in dense)
    wanted = {
        (replicate, k, level, KEPT[level] / KEPT[0], branch, copy, 6, *measure)
        for replicate in range(2)
        for k in (0, 2)
        for level in (1, 2, 3)
        for branch in BRANCHES
        for copy in range(2)
        for measure in (*of_one, *stability(branch, copy))
    }
    columns = ("measure", "pair", "other")
    found = [
        (*[*row.values()][:7], *(row.get(name) for name in columns)) for row in levels
    ]
    assert set(found) == wanted
    assert len(found) == len(wanted)


COSTS = ("parameters", "multiply_adds", "bytes")
STEPS = ("steps_trained", "steps_to_find")
BILLS = tuple(
    f"{kind}multiply_adds_to_{what}"
    for what in ("train", "find")
    for kind in ("", "dense_")
)


def test_what_a_ticket_costs_is_recorded_once(finished):
    """64 x 12 and 12 x 10 weights, and 22 biases, which are never pruned."""
    rows = [
        row
        for row in finished.workdir.records.rows()
        if row["measure"] in (*COSTS, "density")
    ]
    networks = {}
    for row in rows:
        key = (row["replicate"], row["rewind_step"], row["level"], row["branch"])
        name = row.get("layer", row["measure"])
        assert networks.setdefault(key, {}).setdefault(name, row) is row
    assert networks.keys() == {
        (replicate, k, level, "ticket" if level else "dense")
        for replicate in range(2)
        for level in range(4)
        for k in ((0, 2) if level else (0,))
    }
    for (_, _, level, _), numbers in networks.items():
        parameters, multiply_adds, size, first, last = (
            numbers[name]["value"] for name in (*COSTS, "fc1/kernel", "fc/kernel")
        )
        assert parameters == KEPT[level] + 22
        assert multiply_adds == pytest.approx(KEPT[level])
        assert size == 4 * parameters + (768 + 120) / 8
        assert 768 * first + 120 * last == pytest.approx(KEPT[level])


def test_the_steps_until_masks_are_known_are_recorded(finished):
    """The dense network's, and those of the tickets of the levels before."""
    rows = [r for r in finished.workdir.records.rows() if r["measure"] == STEPS[1]]
    found = {(r["rewind_step"], r["level"]): r["value"] for r in rows}
    wanted = {(k, n): 6 + (n - 1) * (6 - k) for k in (0, 2) for n in (1, 2, 3)}
    assert found == {(0, 0): 0} | wanted


def test_the_steps_that_weights_went_through_are_recorded(finished):
    every = finished.workdir.records.rows()
    rows = [row for row in every if row["measure"] == STEPS[0]]
    taken = {}
    for row in rows:
        taken.setdefault((row["branch"], row["rewind_step"]), set()).add(row["value"])
    assert taken["ticket", 0] == taken["ticket", 2] == taken["dense", 0] == {6}
    assert taken["random_reinit", 0] == taken["shuffled_mask", 2] == {6}
    assert taken["random_reinit", 2] == {4}
    names = {Member(*(row[f] for f in Member._fields[:5])) for row in rows}
    assert len(names) == len(rows)


def test_what_every_network_took_is_recorded_once(finished):
    """In multiply-adds: three times those of an example, of 20 a step."""
    rows = [row for row in finished.workdir.records.rows() if row["measure"] in BILLS]
    found = {(records.member(row), row["measure"]): row["value"] for row in rows}
    everyone = {t.member for n in range(4) for t in finished.run.plan.trainings(n)}
    assert found.keys() == {*itertools.product(everyone, BILLS)}
    assert len(found) == len(rows)
    for member in everyone:
        steps, earlier = 6 - member.rewind_step, range(1, member.level)
        sparse = [6 * KEPT[0], *(steps * KEPT[level] for level in earlier)]
        dense = [6 * KEPT[0], *(steps * KEPT[0] for _ in earlier)]
        to_find = (sum(sparse), sum(dense)) if member.level else (0, 0)
        wanted = (steps * KEPT[member.level], steps * KEPT[0], *to_find)
        numbers = [found[member, measure] for measure in BILLS]
        assert numbers == pytest.approx([3 * 20 * n for n in wanted])


def stability(branch, copy):
    """Dense networks had only the first data order, and no weights but W_k."""
    whom = [("copies", 0)] if copy else []
    if branch != "random_reinit" and not copy:
        whom += [("dense", None)]
    return [(what, *one) for what in ("distance", "angle") for one in whom]


def test_the_numbers_are_those_of_the_networks(finished):
    evaluate = finished.run.experiment.evaluators["test"]
    for level in (0, 1, 2, 3):
        found = values(finished, level, 6)
        tickets = finished.tickets[level]
        for ticket, evaluation in zip(tickets, evaluate([*tickets.values()])):
            name = ticket if level else ticket.dense
            assert found[name, "test_accuracy"] == evaluation["accuracy"]
            assert found[name, "test_loss"] == pytest.approx(evaluation["loss"])


def test_stability_is_the_distance_of_surviving_weights_to_the_dense_network(finished):
    final = all_dense(finished, 6)
    for level in (1, 3):
        found = values(finished, level, 6)
        for ticket, network in finished.tickets[level].items():
            apart = 0
            for a, b in zip(kernels(network), kernels(final[ticket.dense])):
                apart += float(((a - b) ** 2).sum(where=a != 0))
            assert found[ticket, "distance"] == pytest.approx(apart**0.5)


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [(), ("step",)])
def test_only_networks_of_the_same_weights_and_order_are_compared_to_dense(
    tmp_path, configure, fresh
):
    branches = ("ticket", "random_reinit", "rewind_0", "fine_tune")
    config = configure(
        **{
            "replicates": 1,
            "prune.levels": 1,
            "rewind.fresh": fresh,
            "branches": branches,
            "dense_branches": ("dense",),
        }
    )
    loop.run(config, tmp_path / "run")
    found = {
        (row["branch"], row["rewind_step"], row["copy"]): row["value"]
        for row in Workdir(tmp_path / "run").records.rows()
        if (row["measure"], row.get("pair")) == ("distance", "dense")
    }
    rewound = {("rewind_0", k, copy) for k in (0, 2) for copy in (0, 1)}
    tickets = {("ticket", k, copy) for k in (0, 2) for copy in (0, 1)}
    if fresh:  # the schedule begins again, in another order than that of dense
        tickets -= {("ticket", 2, copy) for copy in (0, 1)}
    assert found.keys() == rewound | tickets
    for copy in (0, 1):  # level 1 has the masks of the dense network, whatever k
        same = {found["rewind_0", 0, copy], found["rewind_0", 2, copy]}
        assert same == {found["ticket", 0, copy]}


def test_a_branch_of_changed_weights_has_no_dense_one_beside_it(
    tmp_path, configure, monkeypatch
):
    """Of one layer, or of all; and what it cost is as planned."""

    def halve(state, key):
        fc = jax.tree.map(lambda w: w / 2, state.params["fc"])
        return dataclasses.replace(state, params=state.params | {"fc": fc})

    branch = branches.Branch("k", "k", change=halve)
    monkeypatch.setitem(branches.BRANCHES, "halved", branch)
    config = configure(
        **{"replicates": 1, "prune.levels": 1, "branches": ("ticket", "halved")}
    )
    loop.run(config, tmp_path / "run")
    rows = Workdir(tmp_path / "run").records.rows()
    compared = {row["branch"] for row in rows if row.get("pair") == "dense"}
    assert compared == {"ticket"}
    taken = {r["value"] for r in rows if r["measure"] == "steps_trained"}
    assert taken == {6}


def test_what_goes_on_after_the_end_has_no_dense_one_beside_it(finished, configure):
    """A ticket begins where the dense network is, which goes no further."""
    goes_on = {"rewind.weights": "trained", "rewind.clock": "end"}
    run = at_level(finished, 1, configure(**goes_on, branches=("ticket", "rewind_0")))
    for ticket in run.plan.tickets(1):
        assert run.twin(ticket) is None
        assert run.twin(ticket._replace(branch="rewind_0")) is not None


def test_a_run_is_known_by_the_code_of_its_movers(configure):
    """Which may be the user's own."""
    config = configure(branches=("ticket", "rigl"))
    assert movers.rigl in loop._own(config, build(config))
    assert movers.set_ not in loop._own(config, build(config))


def values(finished, level, step):
    """The numbers of a level by network and measure."""
    return {
        (Member(*(row[f] for f in Member._fields[:5])), row["measure"]): row["value"]
        for row in finished.workdir.records.rows()
        if (row["level"], row["step"]) == (level, step)
    }


def test_the_training_loss_is_a_mean_since_the_last_measurement(finished):
    found, steps = values(finished, 0, 6), finished.run.experiment.program
    start = all_dense(finished, 2)
    for member, network in zip(start, fit([*start.values()], 6, steps)):
        assert found[member, "train_loss"] == float(network.loss) / 4


def test_trained_tickets_are_zero_where_their_masks_are(finished):
    for level in (1, 2, 3):
        for ticket in finished.tickets[level].values():
            assert_same(ticket.params, masks_lib.apply(ticket.params, ticket.masks))
            assert_same(
                ticket.opt_state[0].mu,
                masks_lib.apply(ticket.opt_state[0].mu, ticket.masks),
            )


# ---------------------------------------------------------------------- methods


@pytest.fixture
def differing(finished, configure):
    """The finished run with some fields changed: what it would prune next."""

    def differing(**changes):
        config = configure(**changes)

        def pruned(level, networks):
            run = at_level(finished, 1, config)
            run.level, given = level, next(iter(networks)).level
            tickets = plan(config).tickets(level)
            run.before = {t.previous: networks[at(t, given)] for t in tickets}
            loop.prune(run)
            return run.kept

        return pruned

    return differing


def test_one_shot_prunes_by_the_dense_weights_at_every_level(finished, differing):
    tickets = finished.tickets[1]
    one_shot = differing(**{"prune.schedule": "one_shot"})(2, tickets)
    for ticket, masks in one_shot.items():
        dense = all_dense(finished, 6)[ticket.dense]
        wanted = prune.magnitude(dense.params, tickets[at(ticket, 1)].masks, 0.3)
        assert_same(masks, wanted)
        assert masks_lib.overlap(masks, finished.masks[2][ticket]) < 1


def test_one_shot_and_iterative_agree_on_the_first_level(finished, differing):
    one_shot = differing(**{"prune.schedule": "one_shot"})(1, finished.tickets[0])
    assert_same(one_shot, finished.masks[1])


def test_densities_take_the_place_of_fraction_and_levels(finished, differing):
    grid = differing(**{"prune.densities": (0.5, 0.5, 0.1)})
    tickets = finished.tickets[0]
    for level, kept in ((1, 444), (2, 444), (3, 88)):
        masks = grid(level, tickets)
        assert {masks_lib.count(m)[0] for m in masks.values()} == {kept}
        tickets = {
            ticket: dataclasses.replace(tickets[at(ticket, level - 1)], masks=mask)
            for ticket, mask in masks.items()
        }


def test_the_scope_may_be_the_layer(finished, differing):
    masks = differing(**{"prune.scope": "layer"})(1, finished.tickets[0])
    for layers in map(masks_lib.by_layer, masks.values()):
        assert layers == {"fc/kernel": (84, 120), "fc1/kernel": (537, 768)}


def test_random_pruning_draws_anew_for_every_level_and_replicate(finished, differing):
    draw = differing(**{"prune.method": "random"})
    first, second = (draw(level, finished.tickets[0]) for level in (1, 2))
    assert {masks_lib.count(m)[0] for m in first.values()} == {KEPT[1]}
    one, other = (Member(replicate, 0, 1, "ticket", 0) for replicate in range(2))
    overlaps = [
        masks_lib.overlap(first[one], masks)
        for masks in (second[at(one, 2)], first[other], finished.masks[1][one])
    ]
    assert all(overlap == pytest.approx(0.7, abs=0.07) for overlap in overlaps)


# ---------------------------------------------------------------- interruptions


class Killed(BaseException):
    """As SIGKILL: nothing is cleaned up."""


@pytest.fixture
def deaths(monkeypatch):
    """Kill a run once at each of its moments, when it first comes there."""
    died, calls, unit = [], {}, [""]

    def die_once(*moment):
        if moment not in died:
            died.append(moment)
            raise Killed(moment)

    def mortal(owner, name, tear=lambda *_: None, after=True):
        """Die in the middle of what a function does, or after it."""
        original = getattr(owner, name)

        def lethal(*args, **kwargs):
            calls[name] = calls.get(name, 0) + 1
            moment = unit[0], name, calls[name]
            if (*moment, "torn") not in died and tear(*args):
                die_once(*moment, "torn")
            result = original(*args, **kwargs)
            if after:
                die_once(*moment)
            return result

        monkeypatch.setattr(owner, name, lethal)

    def tear_rows(records, rows):
        lines = "\n".join(map(json.dumps, rows))
        with records.path.open("a") as file:
            return file.write(lines[: len(lines) // 2])

    def tear_folder(folder, **_):
        found = [*Path(folder).rglob("metadata")]
        return [path.unlink() for path in found]

    def units(name, label):
        """Count calls anew from every call of a function on."""
        original = getattr(loop, name)

        def begin(*args, **options):
            unit[0] = label(*args)
            calls.clear()
            return original(*args, **options)

        monkeypatch.setattr(loop, name, begin)

    units("fit_dense", lambda _: "dense")
    units("study", lambda run: f"level {run.level}")
    units("train", lambda _, fleet, stop, *__: f"{next(iter(fleet)).level} to {stop}")
    remover = SimpleNamespace(rmtree=shutil.rmtree)
    monkeypatch.setattr(checkpoint, "shutil", remover)
    mortal(Records, "add", tear_rows)
    mortal(Series, "save")
    mortal(remover, "rmtree", tear_folder, after=False)
    return died


@pytest.fixture(scope="module")
def uninterrupted(small, tmp_path_factory):
    """What a run comes to that is left in peace."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_lib, "build", build)
        loop.run(small, directory / "run")
        return outcome(small, directory / "run")


def outcome(config, directory):
    """Everything that a run leaves, to the last bit."""
    workdir, like = Workdir(directory), initial_shapes(config)
    networks = {
        (series.directory.name, number): workdir.load(series, number, like)
        for series in (workdir.dense, workdir.levels)
        for number in series.numbers()
    }
    return workdir.records.path.read_text(), networks


def initial_shapes(config):
    return jax.eval_shape(build(config).initialise, jax.random.key(0))


def assert_same_outcome(one, other):
    assert one[0] == other[0]
    assert list(one[1]) == [
        *(("dense", step) for step in (0, 2, 6)),
        *(("levels", level) for level in (0, 1, 2)),
    ]
    assert_same(one[1], other[1])


class Restless(Interruption):
    """Pauses whenever it has been asked twice."""

    asked = 0

    def due(self):
        self.asked += 1
        return self.asked > 2

    def handle(self, settle):
        self.asked = 0


def test_a_run_that_is_killed_anywhere_ends_the_same(
    small, tmp_path, uninterrupted, deaths, monkeypatch
):
    monkeypatch.setattr(loop, "Interruption", Restless)
    finished = False
    while not finished and len(deaths) < 99:
        with contextlib.suppress(Killed):
            loop.run(small, tmp_path / "killed")
            finished = True
    units = {moment[0] for moment in deaths}
    levels = {"level 0", "1 to 6", "level 1", "2 to 6", "level 2"}
    assert units == {"0 to 0", "0 to 2", "0 to 6"} | levels
    functions = {moment[1] for moment in deaths}
    assert functions == {"add", "save", "rmtree"}
    assert_same_outcome(outcome(small, tmp_path / "killed"), uninterrupted)


def run_with_interruptions(config, directory, monkeypatch):
    """Run with a signal after every call of the program; also say how many times."""
    monkeypatch.setattr(tqdm, "update", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    for times in range(1, 100):
        with contextlib.suppress(Interrupted):
            return loop.run(config, directory).diverged, times
    raise AssertionError("it never ends")


def test_a_run_that_is_asked_to_end_saves_and_goes_on_the_same(
    small, tmp_path, uninterrupted, monkeypatch
):
    """Every call of the program is followed by a signal, in the middle of a level."""
    monkeypatch.setattr(tqdm, "update", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    saved = []
    while len(saved) < 99:
        try:
            loop.run(small, tmp_path / "paused")
            break
        except Interrupted:
            saved.append(len(Workdir(tmp_path / "paused").paused.numbers()))
    assert len(saved) == 1 + 2 + 2 * 2  # calls of two steps, each network its own
    assert_same_outcome(outcome(small, tmp_path / "paused"), uninterrupted)


@pytest.mark.slow
def test_a_study_that_is_interrupted_leaves_no_row_twice(
    configure, tmp_path, monkeypatch
):
    config = configure(
        **{
            "replicates": 1,
            "prune.levels": 1,
            "branches": ("ticket",),
            "studies": ("instability",),
            "study.points": 2,
            "study.examples": 20,
        }
    )
    loop.run(config, tmp_path / "whole")
    calls, study = SimpleNamespace(n=0), studies.STUDIES["instability"]

    def asked_to_end(run):
        calls.n += 1
        if calls.n == 2:  # level 1; level 0 has no copies
            os.kill(os.getpid(), signal.SIGTERM)
        return study(run)

    monkeypatch.setitem(studies.STUDIES, "instability", asked_to_end)
    with pytest.raises(Interrupted):
        loop.run(config, tmp_path / "cut")
    loop.run(config, tmp_path / "cut")
    assert calls.n == 3
    cut, whole = (Workdir(tmp_path / name).records.rows() for name in ("cut", "whole"))
    assert cut == whole


def test_a_finished_run_trains_nothing_when_it_is_started_again(finished, monkeypatch):
    def fail(*_):
        raise AssertionError("trained")

    monkeypatch.setattr(training, "fit", fail)
    monkeypatch.setattr(training, "_measure", fail)
    monkeypatch.setattr(loop, "prune", fail)
    before = contents(finished.workdir.directory)
    loop.run(finished.config, finished.workdir.directory)
    assert contents(finished.workdir.directory) == before


GROWN = {  # from a run's fields to what else it may come to
    "levels": ({"prune.levels": 1}, {"prune.levels": 3}),
    "densities": (
        {"prune.densities": (0.7,)},
        {"prune.densities": (0.7, 0.5, 0.3)},
    ),
    "studied levels": (
        {"prune.levels": 2, "branch_levels": (1,)},
        {"prune.levels": 3, "branch_levels": (1, 3)},
    ),
    "one shot": (
        {"prune.levels": 1, "prune.schedule": "one_shot"},
        {"prune.levels": 2, "prune.schedule": "one_shot"},
    ),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(x, marks=[] if x == "levels" else pytest.mark.slow) for x in GROWN],
)
def test_a_finished_run_can_be_pruned_further(kind, configure, tmp_path):
    few, more = (configure(replicates=1, **fields) for fields in GROWN[kind])
    whole, grown = (Workdir(tmp_path / name) for name in ("whole", "grown"))
    loop.run(more, whole.directory)
    loop.run(few, grown.directory)
    before = contents(grown.directory)
    loop.run(more, grown.directory)
    now = contents(grown.directory)
    for path, content in before.items():
        if path.parent != grown.directory:
            assert now[path] == content, path
    rows = now[grown.records.path]
    assert rows.startswith(before[grown.records.path])
    assert rows == whole.records.path.read_bytes()
    for name in ("config.json", "plan.json"):
        assert (whole.directory / name).read_bytes() == now[grown.directory / name]
    assert grown.levels.numbers() == whole.levels.numbers()
    assert check.problems(grown.directory) == []
    # Killed as soon as the new config was written.
    (grown.directory / "plan.json").write_bytes(before[grown.directory / "plan.json"])
    loop.run(more, grown.directory)
    assert contents(grown.directory) == now
    with pytest.raises(config_lib.ConfigError, match="was made by another config"):
        loop.run(few, grown.directory)


def sorted_rows(workdir):
    return sorted(workdir.records.path.read_text().splitlines())


@pytest.fixture(scope="module")
def before_growth(configure, tmp_path_factory):
    """A finished run, that which it may grow to, and that from the start."""
    fields = {"prune.levels": 2, "copied_branches": ("ticket",)}
    few, more = (configure(replicates=n, **fields) for n in (2, 3))
    whole, grown = (Workdir(tmp_path_factory.mktemp("run")) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_lib, "build", build)
        loop.run(more, whole.directory)
        loop.run(few, grown.directory)
    return SimpleNamespace(more=more, whole=whole, grown=grown)


def copied(workdir, path):
    return Workdir(shutil.copytree(workdir.directory, path))


def assert_grown(grown, whole):
    assert sorted_rows(grown) == sorted_rows(whole)
    for series, wanted in zip(grown.lasting, whole.lasting):
        assert series.numbers() == wanted.numbers()
        for number in series.numbers():
            found, masks = (
                dict(zip(map(tuple, about["members"]), about["masks"]))
                for about in (series.about(number), wanted.about(number))
            )
            assert found == masks
    assert not [*grown.directory.glob("**/*.old"), *grown.directory.glob("more*")]
    assert check.problems(grown.directory) == []
    config = (grown.directory / "config.json").read_bytes()
    assert config == (whole.directory / "config.json").read_bytes()


@pytest.mark.slow
def test_a_finished_run_takes_in_more_replicates(before_growth, tmp_path):
    more, whole = before_growth.more, before_growth.whole
    grown = copied(before_growth.grown, tmp_path / "run")
    before = grown.records.path.read_bytes()
    assert loop.run(more, grown.directory).diverged == []
    assert grown.records.path.read_bytes().startswith(before)
    assert_grown(grown, whole)
    now = contents(grown.directory)
    loop.run(more, grown.directory)
    assert contents(grown.directory) == now


def test_a_run_whose_masks_are_of_other_replicates_takes_in_none(configure, tmp_path):
    few, more = (
        configure(branches=("ticket", "sibling_mask"), replicates=n) for n in (2, 3)
    )
    (tmp_path / "config.json").write_text(few.to_json())
    with pytest.raises(config_lib.ConfigError, match=r"^config\.replicates: masks of"):
        loop.run(more, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.slow
def test_growth_may_be_cut_off_anywhere(before_growth, tmp_path, monkeypatch):
    """Before and after every file or folder that is renamed, removed or appended to."""
    more, ready = before_growth.more, copied(before_growth.grown, tmp_path / "ready")
    with monkeypatch.context() as patch:
        patch.setattr(growth, "take_in", lambda *_: None)
        with pytest.raises(config_lib.ConfigError):  # the folder's has fewer, still
            loop.run(more, ready.directory)
    places = [(Path, "replace"), (shutil, "rmtree"), (Records, "_append")]
    for number in itertools.count():
        grown, calls = copied(ready, tmp_path / f"{number}"), itertools.count()

        def cut(act, *args, calls=calls, number=number, **how):
            if next(calls) == number:
                raise KeyboardInterrupt
            found = act(*args, **how)
            if next(calls) == number:
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            for owner, name in places:
                act = getattr(owner, name)
                patch.setattr(owner, name, lambda *a, f=act, **how: cut(f, *a, **how))
            try:
                growth.take_in(grown, Workdir(grown.directory / "more"), more)
            except KeyboardInterrupt:
                pass
            else:
                break
        loop.run(more, grown.directory)
        assert_grown(grown, before_growth.whole)
    assert number > 30


@pytest.mark.parametrize(
    "fields",
    [
        {"prune.levels": 2},
        {"prune.densities": (0.7, 0.5, 0.3, 0.2)},
        {"prune.levels": 4, "branch_levels": (4,)},
        {"prune.levels": 4, "prune.fraction": 0.2},
        {"replicates": 1},
    ],
)
def test_what_changes_levels_that_were_there_is_another_config(
    fields, finished, configure
):
    before = contents(finished.workdir.directory)
    with pytest.raises(config_lib.ConfigError, match=r"was made by another config"):
        loop.run(configure(**fields), finished.workdir.directory)
    assert contents(finished.workdir.directory) == before


@pytest.mark.parametrize(
    "field",
    [
        {"train.members": 1},
        pytest.param({"train.devices": 1}, marks=pytest.mark.slow),
        pytest.param({"data.stream.corrupt": "skip"}, marks=pytest.mark.slow),
    ],
)
def test_a_run_may_go_on_with_what_changes_no_number(
    field, small, configure, tmp_path, monkeypatch, capsys
):
    """Devices and members change last digits at most; here, on CPUs, none."""
    loop.run(small, tmp_path / "whole")

    def cut(run):
        study(run)
        if run.level == 1:
            raise Interrupted

    study = loop.study
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(loop, "study", cut)
        loop.run(small, tmp_path / "cut")
    capsys.readouterr()
    loop.run(configure(**SMALL | field), tmp_path / "cut")
    (name,) = field
    warned = f"warning: config.{name} " in capsys.readouterr().err
    assert warned == (FIELDS[name].changes == "digits")
    whole, other = (Workdir(tmp_path / name) for name in ("whole", "cut"))
    assert whole.records.rows() == other.records.rows()


@pytest.mark.slow
def test_a_fleet_that_is_asked_to_end_goes_on_with_more_devices(
    configure, tmp_path, monkeypatch
):
    """Its members are at different steps, and are one group now."""
    fields = SMALL | {"replicates": 3, "prune.levels": 0, "train.members": 1}
    config = configure(**fields | {"train.devices": 1})
    build(config)  # which prepares the data, with bars of its own
    run_with = functools.partial(loop.run, directory=tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(tqdm, "update", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        run_with(config)
    run_with(configure(**fields | {"train.members": 0}))
    loop.run(config, tmp_path / "whole")
    found, whole = (Workdir(tmp_path / n).records.rows() for n in ("run", "whole"))
    values = [[row.pop("value") for row in rows] for rows in (found, whole)]
    assert found == whole
    np.testing.assert_allclose(*values, rtol=1e-5)


@pytest.mark.parametrize(
    "setting", [x for x in environment.REFUSED if hasattr(jax.config, f"jax_{x}")]
)
def test_settings_of_jax_with_which_nothing_can_be_trained_are_refused(
    setting, small, tmp_path
):
    name, value = f"jax_{setting}", environment.REFUSED[setting]
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        with pytest.raises(config_lib.ConfigError, match=f"^{name}: nothing can be"):
            loop.run(small, tmp_path / "run")
    finally:
        jax.config.update(name, before)
    assert [*tmp_path.iterdir()] == []


def test_a_config_that_cannot_be_run_leaves_no_folder(small, tmp_path, monkeypatch):
    monkeypatch.undo()
    bad = small.copy_and_resolve_references()
    with bad.unlocked():
        bad.rewind.steps = ("6it",)
    with pytest.raises(config_lib.ConfigError):
        loop.run(bad, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def sweep(configure):
    """Two learning rates; of the second, nothing comes but infinity."""
    return functools.partial(
        configure,
        **{
            "optim.name": "sgd",
            "sweep.learning_rate": (0.1, 1e35),
            "branches": ("ticket", "random_reinit", "long", "cross_lr"),
            "dense_branches": ("dense", "long"),
            "studies": ("stability", "correlation"),
            "prune.levels": 2,
            "train.evaluate_every": "3it",
            "train.members": 8,  # more calls would make interrupting each one slow
        },
    )


@pytest.fixture(scope="module")
def survived(sweep, tmp_path_factory):
    """A whole run in which half of the networks diverged, and what it said of them."""
    directory = tmp_path_factory.mktemp("survived") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_lib, "build", build)
        return Workdir(directory), loop.run(sweep(), directory).diverged


def without_values(workdir):
    """Return the rows of networks that did not diverge, and what was measured."""
    rows = [row for row in workdir.records.rows() if row["learning_rate"] == 0.1]
    return rows, [row.pop("value") for row in rows]


@pytest.mark.slow
def test_a_network_that_diverges_stops_and_others_go_on(survived, sweep, tmp_path):
    """What is recorded of the others is as without it (but for who trained beside)."""
    workdir, said = survived
    where = "rewind_step 0, level 0, branch dense, copy 0, learning_rate 1e+35, step 1"
    what = "a loss or a weight is not finite any more"
    assert said == [f"{what}: replicate {i}, {where}" for i in range(2)]
    rows = workdir.records.rows()
    lost = [row for row in rows if row["learning_rate"] == 1e35]
    measures = [(row["step"], row["measure"]) for row in lost if row["replicate"] == 0]
    assert measures == [(1, "diverged")]
    branches = ("ticket", "random_reinit", "long")
    alone = {"sweep.learning_rate": (0.1,), "branches": branches}
    without = Workdir(tmp_path / "alone")
    loop.run(sweep(**alone), without.directory)
    (left, values), (wanted, others) = map(without_values, (workdir, without))
    assert left == wanted
    np.testing.assert_allclose(values, others, rtol=1e-4)


@pytest.mark.slow
def test_what_a_network_that_diverged_leaves_out_is_no_problem(survived, tmp_path):
    workdir, _ = survived
    assert check.problems(workdir.directory) == []
    page = report.write(workdir.directory, directory=tmp_path / "report").read_text()
    assert "diverged, and left out: 2, see results.jsonl" in page
    assert "diverged.png" not in {file.name for file in (tmp_path / "report").iterdir()}
    shutil.copytree(workdir.directory, tmp_path / "run")
    records = Records(tmp_path / "run" / "results.jsonl")
    lines = records.path.read_text().splitlines(keepends=True)
    records.path.write_text("".join(x for x in lines if '"diverged"' not in x))
    problems = check.problems(tmp_path / "run")
    assert (
        "dense 6: replicate 0, rewind_step 0, level 0, branch dense, copy 0, "
        "learning_rate 1e+35 is missing" in problems
    )


@pytest.mark.slow
def test_a_run_goes_on_without_what_diverged(survived, sweep, tmp_path, monkeypatch):
    """Wherever it was cut off: rows, and their order, are the same to the last bit."""
    workdir, said = survived
    found, times = run_with_interruptions(sweep(), tmp_path / "run", monkeypatch)
    assert found == said
    assert times > 10
    again = Workdir(tmp_path / "run")
    assert again.records.path.read_text() == workdir.records.path.read_text()
    for level in range(3):
        saved = [w.levels.about(level)["masks"] for w in (again, workdir)]
        assert saved[0] == saved[1]


def test_a_ticket_whose_weights_are_not_finite_is_not_pruned(
    small, tmp_path, monkeypatch
):
    """Though its loss was: the next level is without it."""

    def diverge(members, *args):
        first, *others = fit(members, *args)
        if others and masks_lib.density(others[0].masks) < 1:
            lost = jax.tree.map(lambda w: w * np.inf, others[0].params)
            others[0] = dataclasses.replace(others[0], params=lost)
        return [first, *others]

    monkeypatch.setattr(training, "fit", diverge)
    (said,) = loop.run(small, tmp_path / "run").diverged
    where = "replicate 1, rewind_step 2, level 1, branch ticket, copy 0, step 6"
    assert said.endswith(where)
    workdir = Workdir(tmp_path / "run")
    for level, replicates in ((0, []), (1, [0]), (2, [0])):
        members = workdir.members(workdir.levels, level)
        assert [member.replicate for member in members] == replicates
    assert check.problems(tmp_path / "run") == []


@pytest.fixture
def poison(monkeypatch):
    """Let chosen members start with parameters so large that no loss is finite."""
    rewind = loop.rewind

    def poison(chosen):
        def poisoned(*args):
            return {
                member: dataclasses.replace(
                    start, params=jax.tree.map(lambda w: 1e30 * w, start.params)
                )
                if chosen(member)
                else start
                for member, start in rewind(*args).items()
            }

        monkeypatch.setattr(loop, "rewind", poisoned)

    return poison


@pytest.mark.slow
def test_others_are_studied_beside_a_ticket_that_diverged(configure, tmp_path, poison):
    """They start under its masks; only what comes after it is left out."""
    branches = ("ticket", "random_reinit", "fine_tune", "long")
    fields = {
        "branches": branches,
        "copies": 1,
        "studies": ("stability", "correlation"),
    }
    config = configure(**fields, **{"prune.levels": 1, "rewind.steps": ("2it",)})
    poison(lambda member: member.is_ticket and member.replicate == 1)
    (said,) = loop.run(config, tmp_path / "run").diverged
    where = "replicate 1, rewind_step 2, level 1, branch ticket, copy 0, step 2"
    assert said.endswith(where)
    rows = Workdir(tmp_path / "run").records.rows()
    studied = {r["branch"] for r in rows if r["level"] == r["replicate"] == 1}
    assert studied == {"ticket", "random_reinit", "fine_tune"}
    measured = {
        (r["replicate"], r["branch"])
        for r in rows
        if (r["measure"], r.get("pair"), r.get("p")) == ("overlap", "start_to_end", 0.2)
        and r["level"] == 1
    }
    both = {(i, branch) for i in range(2) for branch in branches}
    assert measured == both - {(1, "ticket"), (1, "long")}
    assert check.problems(tmp_path / "run") == []


def test_a_level_of_which_no_ticket_is_left_is_the_last(
    configure, tmp_path, poison, monkeypatch
):
    config = configure(**{"copies": 1, "studies": (), "rewind.steps": ("2it",)})
    poison(lambda member: member.is_ticket)
    assert len(loop.run(config, tmp_path / "run").diverged) == 2
    before = contents(tmp_path / "run")
    rows = Workdir(tmp_path / "run").records.rows()
    found = {
        r["branch"] for r in rows if r["measure"] == "test_accuracy" and r["level"]
    }
    assert found == {"random_reinit", "shuffled_mask"}
    assert max(row["level"] for row in rows) == 1
    assert check.problems(tmp_path / "run") == []
    monkeypatch.setattr(training, "fit", None)
    assert len(loop.run(config, tmp_path / "run").diverged) == 2
    assert contents(tmp_path / "run") == before


@pytest.mark.slow
def test_a_network_that_is_lost_at_once_stays_so_through_a_pause(
    configure, tmp_path, poison, monkeypatch
):
    config = configure(**{"copies": 1, "studies": (), "prune.levels": 1})
    poison(lambda member: member.is_ticket and member.replicate == 1)
    said = loop.run(config, tmp_path / "whole").diverged
    found, _ = run_with_interruptions(config, tmp_path / "cut", monkeypatch)
    assert found == said
    whole, cut = (Records(tmp_path / n / "results.jsonl") for n in ("whole", "cut"))
    assert cut.path.read_text() == whole.path.read_text()


def test_when_all_networks_have_diverged_the_run_ends(configure, tmp_path, monkeypatch):
    fast = configure(**{"optim.learning_rate": 1e35, "train.length": "60it"})
    monkeypatch.setattr(loop, "prune", None)
    for fits in (fit, None):  # starting it again finds the same, and trains nothing
        monkeypatch.setattr(training, "fit", fits)
        with pytest.raises(Diverged, match="level 0, branch dense, copy 0, step 1$"):
            loop.run(fast, tmp_path / "run")
    assert check.problems(tmp_path / "run") == []


def test_a_level_of_which_every_network_diverged_is_not_trained_again(
    configure, tmp_path, poison, monkeypatch
):
    config = configure(**{"copies": 1, "studies": (), "rewind.steps": ("2it",)})
    poison(lambda member: True)
    said = loop.run(config, tmp_path / "run").diverged
    assert len(said) == 2 * 3
    before = contents(tmp_path / "run")
    assert check.problems(tmp_path / "run") == []
    monkeypatch.setattr(training, "fit", None)
    assert loop.run(config, tmp_path / "run").diverged == said
    assert contents(tmp_path / "run") == before


def test_a_score_that_is_not_a_number_prunes_nothing(finished, differing, monkeypatch):
    nan = jax.tree.map(
        lambda w: w * np.nan,
        finished.tickets[0][next(iter(finished.tickets[0]))].params,
    )
    score = methods.by_score(lambda run, ticket: nan)
    monkeypatch.setitem(methods.METHODS, "magnitude", score)
    said = "^level 1 cannot be pruned: scores: fc/kernel is NaN"
    with pytest.raises(Diverged, match=said):
        differing()(1, finished.tickets[0])


def test_a_replicate_is_the_same_whatever_their_number(finished, configure, tmp_path):
    """And whatever the branches, copies and levels beside it."""
    alone = configure(
        **{
            "replicates": 1,
            "branches": ("ticket",),
            "copies": 1,
            "studies": (),
            "prune.levels": 1,
        }
    )
    loop.run(alone, tmp_path / "alone")
    workdir = Workdir(tmp_path / "alone")
    tickets = workdir.load(workdir.levels, 1, initial_shapes(alone))
    assert len(tickets) == 2
    for ticket, network in tickets.items():
        wanted = finished.tickets[1][ticket]
        assert_same(network.masks, wanted.masks)
        assert network.data_seed == wanted.data_seed
        for a, b in zip(kernels(network), kernels(wanted)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_masks_cross_over_to_the_other_learning_rate_alone(
    configure, tmp_path, monkeypatch
):
    """And not to another weight decay."""
    config = configure(
        **{
            "replicates": 1,
            "copies": 1,
            "branches": ("ticket", "cross_lr"),
            "prune.levels": 1,
            "rewind.steps": ("2it",),
            "sweep.learning_rate": (0.01, 0.05),
            "sweep.weight_decay": (0.0, 0.2),
            "studies": (),
        }
    )
    masks, starts = {}, {}
    observe(monkeypatch, "prune", lambda args, _: masks.update(args[0].kept))
    observe(monkeypatch, "rewind", lambda _, found: starts.update(found))
    loop.run(config, tmp_path / "run")
    crossed = {m: s for m, s in starts.items() if m.branch == "cross_lr"}
    assert len(crossed) == 4
    for member, start in crossed.items():
        own = member._replace(branch="ticket")
        rate = 0.05 if member.learning_rate == 0.01 else 0.01
        other = own._replace(learning_rate=rate)
        assert_same(start.masks, masks[other])
        assert masks_lib.overlap(start.masks, masks[own]) < 1
        assert start.learning_rate == starts[own].learning_rate


@pytest.mark.slow
def test_correlations_are_those_of_the_networks_on_disk(configure, tmp_path):
    config = configure(
        **{
            "replicates": 1,
            "copies": 2,
            "copied_branches": ("dense",),
            "branches": ("ticket", "random_reinit", "fine_tune", "long"),
            "dense_branches": ("dense", "long"),
            "prune.levels": 1,
            "rewind.steps": ("2it",),
            "rewind.fresh": ("step",),
            "studies": ("correlation",),
        }
    )
    loop.run(config, tmp_path / "run")
    workdir, like = Workdir(tmp_path / "run"), initial_shapes(config)
    rows = {
        (r["branch"], r["level"], r["measure"], r.get("pair"), r.get("p")): r["value"]
        for r in workdir.records.rows()
        if r["copy"] == 0 and "layer" not in r
    }
    rewound, trained = (
        next(iter(workdir.load(workdir.dense, step, like).values())) for step in (2, 6)
    )
    ((_, ticket),) = workdir.load(workdir.levels, 1, like).items()
    for network, name, pair in (
        (trained, ("dense", 0), "rewound_to_end"),
        (ticket, ("ticket", 1), "start_to_end"),
    ):
        wanted = measures.pearson(rewound.params, network.params, network.masks)
        assert rows[*name, "pearson", pair, None] == pytest.approx(wanted)
        wanted = measures.top_overlap(
            rewound.params, network.params, 0.2, network.masks
        )
        assert rows[*name, "overlap", pair, 0.2] == wanted
    # What is fine-tuned starts as the dense network ended; all share their masks.
    close = rows["fine_tune", 1, "pearson", "start_to_end", None]
    assert close > rows["random_reinit", 1, "pearson", "start_to_fine_tuned", None]
    chance = "chance_overlap"
    assert rows["ticket", 1, chance, "start_to_fine_tuned", 0.2] < 0.21
    assert rows["fine_tune", 1, chance, "end_to_dense", 0.2] > 0.25
    # Of 6 steps each, where two have trained what the others start from.
    taken = {key[:2]: n for key, n in rows.items() if key[2] == "steps_trained"}
    assert taken == {
        **{("dense", 0): 6, ("long", 0): 6 + 6},
        **{("ticket", 1): 2 + 6, ("random_reinit", 1): 6},
        **{("fine_tune", 1): 6 + 6, ("long", 1): 2 + 6 + 6},
    }
    copies = [r for r in workdir.records.rows() if r["copy"]]
    assert {r["branch"] for r in copies} == {"dense"}
    (taken,) = (r["value"] for r in copies if r["measure"] == "steps_trained")
    assert taken == 2 + 6


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self):
        return True


@pytest.mark.parametrize("cut", [None, 2, 7, 12])
def test_the_bar_goes_from_nothing_to_the_whole_experiment(
    configure, cut, tmp_path, monkeypatch
):
    """Also where a run goes on: what was done before is counted, and took no time."""
    config = configure(**{"copies": 1, "prune.levels": 1, "studies": ()})
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = []
    monkeypatch.setattr(
        loop, "tqdm", lambda **how: bars.append(tqdm(**how)) or bars[-1]
    )
    if cut is not None:
        stop = iter(range(cut))
        with monkeypatch.context() as patch:
            due = Interruption.due
            patch.setattr(
                Interruption,
                "due",
                lambda self: (
                    setattr(self, "_preempted", next(stop, None) is None) or due(self)
                ),
            )
            with pytest.raises(Interrupted):
                loop.run(config, tmp_path / "run")
        assert 0 < bars[-1].n < bars[-1].total
    loop.run(config, tmp_path / "run")
    # 2 replicates, 6 steps: dense; and at both rewind steps three branches.
    assert bars[-1].total == 2 * 6 + 2 * 3 * (6 + 4)
    assert bars[-1].n == bars[-1].total
    assert (bars[-1].initial > 0) == (cut is not None)


@pytest.mark.slow
def test_moving_averages_begin_where_a_branch_does(configure, tmp_path):
    config = configure(**{"train.average": 0.5, "prune.levels": 1, "copies": 1})
    with loop.opened(config, tmp_path / "run") as run:
        loop.fit_dense(run)
        trained = run.networks[run.plan.dense[0]]
        assert measures.distance(trained.params, trained.average["params"]) > 0
        run.at(1)
        loop.prune(run)
        for training in itertools.chain(*run.plan.waves(1)):
            start = run.start(training.member)
            assert_same(start.average, {n: getattr(start, n) for n in start.average})
    loop.run(config, tmp_path / "run")
    assert check.problems(tmp_path / "run") == []
    ticket = export.find(tmp_path / "run", 1)
    network = loop_network(config, tmp_path / "run", 1)
    assert_same(ticket.params, network.average["params"])
    assert measures.distance(ticket.params, network.params) > 0
    rewound = export.find(tmp_path / "run", 1, rewound=True)
    start = jax.tree.leaves(rewound.params)[0]
    assert not np.array_equal(start, jax.tree.leaves(network.params)[0])


@pytest.mark.slow
def test_every_level_may_have_data_orders_of_its_own(configure, tmp_path):
    fields = {"prune.levels": 2, "copies": 1, "studies": ("stability",)}
    config = configure(**{"rewind.reorder": True} | fields)
    loop.run(config, tmp_path / "run")
    assert check.problems(tmp_path / "run") == []
    seeds = {int(loop_network(config, tmp_path / "run", n).data_seed) for n in (1, 2)}
    with loop.opened(config, tmp_path / "run") as run:
        seeds.add(int(run.dense(run.plan.dense[0], 6).data_seed))
    assert len(seeds) == 3
    rows = Workdir(tmp_path / "run").records.rows()
    assert not [row for row in rows if row.get("pair") == "dense"]  # in no same order


def loop_network(config, directory, level):
    like = jax.eval_shape(build(config).initialise, jax.random.key(0))
    workdir = Workdir(directory)
    return next(iter(workdir.load(workdir.levels, level, like).values()))


def test_a_log_gets_a_line_a_level(configure, tmp_path, monkeypatch):
    config = configure(**{"copies": 1, "prune.levels": 2, "studies": ()})
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    loop.run(config, tmp_path / "run")
    lines = sys.stderr.getvalue().splitlines()
    counted = [
        re.match(r"level (\d) of 2: (\d+)\.\d* of 132 steps, ", x) for x in lines
    ]
    assert [match and match.groups() for match in counted] == [
        ("0", "12"),
        ("1", "12"),
        ("2", "72"),
    ]


def test_a_log_gets_a_line_a_minute(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    config = configure(**{"copies": 1, "prune.levels": 1, "studies": ()})
    loop.run(config, tmp_path / "run")
    assert len(sys.stderr.getvalue().splitlines()) > 4


@pytest.mark.parametrize("level", [1, 2])
def test_without_standard_error_a_run_says_nothing(
    configure, level, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", None)
    config = configure(**{"copies": 1, "prune.levels": level, "studies": ()})
    assert loop.run(config, tmp_path / "run").diverged == []


def test_a_lottery_can_be_used_piece_by_piece(small, tmp_path):
    with loop.opened(small, tmp_path / "run") as run:
        loop.fit_dense(run)
        run.at(1)
        loop.prune(run)
        (fleet,) = run.plan.waves(1)
        trained = loop.train(run, loop.rewind(run, fleet), fleet[0].stop)
        tickets = {m: network for m, network in trained.items() if m.is_ticket}
    assert list(tickets) == [Member(r, 2, 1, "ticket", 0) for r in range(2)]
    assert {masks_lib.count(t.masks)[0] for t in tickets.values()} == {KEPT[1]}


@pytest.mark.slow
def test_of_every_four_weights_two_remain_in_a_run(configure, tmp_path):
    """By magnitude and at random; what is left of a run is as it should be."""
    for method in ("magnitude", "random"):
        config = configure(
            **{"prune.scope": "2:4", "prune.densities": (0.5,)},
            **{"prune.method": method, "branches": ("ticket", "inverted_mask")},
        )
        loop.run(config, tmp_path / method)
        workdir = Workdir(tmp_path / method)
        like = initial_shapes(config)
        for network in workdir.load(workdir.levels, 1, like).values():
            for path, mask in masks_lib.leaves(network.masks):
                blocks = mask.reshape(-1, 4, mask.shape[-1])
                assert (blocks.sum(1) == 2).all(), path
        assert check.problems(tmp_path / method) == []
