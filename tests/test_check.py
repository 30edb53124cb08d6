"""The check of a run: silent about what is well, and clear about what is not."""

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from lth_jax import check, lottery
from lth_jax import config as config_lib
from lth_jax.check.__main__ import main
from lth_jax.train import experiment as experiment_lib
from lth_jax.workdir import Workdir
from lth_jax.workdir.records import Member, member, row

TICKET = Member(1, 2, 2, "ticket", 0)
CALLED = "replicate 1, rewind_step 2, level 2, branch ticket, copy 0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two replicates and two levels, and the shape of a network."""
    config = config_lib.default()
    config.model.options = {"widths": (12,)}
    config.update_from_flattened_dict(
        {
            "replicates": 2,
            "copies": 2,
            "data.dir": str(tmp_path_factory.getbasetemp() / "tfds"),
            "train.length": "1ep",
            "prune.levels": 2,
            "rewind.steps": ("0it", "2it"),
            "dense_branches": ("dense",),
            "branches": ("ticket", "rewind_0"),
            "studies": ("stability",),
        }
    )
    directory = tmp_path_factory.mktemp("check") / "run"
    lottery.run(config.lock(), directory)
    initialise = experiment_lib.build(config).initialise
    return directory, jax.eval_shape(initialise, jax.random.key(0))


@pytest.fixture
def workdir(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    return Workdir(tmp_path / "run")


@pytest.fixture
def forge(workdir, run):
    """Change one network of a checkpoint, checksums and all."""

    def forge(series, number, member, change):
        fleet = workdir.load(series, number, run[1])
        series.remove(number)
        workdir.save(series, number, fleet | {member: change(fleet[member])})

    return forge


def problems(workdir):
    found = check.problems(workdir.directory)
    assert all(len(problem.splitlines()) == 1 for problem in found)
    return found


def edit(workdir, change):
    lines = workdir.records.path.read_text().splitlines(keepends=True)
    workdir.records.path.write_text("".join(change(lines)))


def test_a_finished_run_is_well(workdir):
    assert problems(workdir) == []


def test_so_is_a_run_that_is_not_finished(workdir):
    workdir.levels.remove(2)
    edit(workdir, lambda lines: [line for line in lines if '"level": 2' not in line])
    assert problems(workdir) == []
    assert said(workdir) == "2 of 3 levels; still to come: level 2"
    with workdir.records.path.open("a") as file:
        file.write('{"replicate": 0, "rewind')
    assert problems(workdir) == []


def said(workdir):
    """What the command says of a run that is well."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["check", str(workdir.directory)])
        main()
    return shown.getvalue().partition(" all is well with ")[2].strip()


def test_what_is_still_to_come_is_said(workdir):
    assert said(workdir) == "3 levels"
    workdir.records.truncate(0)
    for level in (2, 1, 0):
        workdir.levels.remove(level)
    workdir.dense.remove(workdir.dense.numbers()[-1])
    assert said(workdir) == (
        "0 of 3 levels; still to come: dense networks at step 19 and levels 0 to 2"
    )


def test_damage_is_found(workdir):
    path = workdir.levels.directory / "1" / "about" / "metadata"
    path.write_text(path.read_text() + " ")
    assert any("levels/1 cannot be read" in problem for problem in problems(workdir))


def test_missing_rows_are_named(workdir):
    lost = [line for line in workdir.records.rows() if line["level"] == 2][-1]
    edit(workdir, lambda lines: lines[:-1])
    (said,) = problems(workdir)
    assert said.startswith("results.jsonl: no row of replicate 1, rewind_step 2, level")
    assert said.endswith(f"step 19, measure {lost['measure']}, pair copies, other 0")


def test_rows_of_measures_on_the_way_and_of_studies_are_missed_too(workdir):
    first = [row for row in workdir.records.rows() if row["step"] == 2][0]
    edit(workdir, lambda lines: lines[1:])
    (said,) = problems(workdir)
    assert said.endswith(f"copy 0, step 2, measure {first['measure']}")


def test_rows_without_another_ticket_are_missed_by_nobody(workdir):
    """Of a branch whose masks depend on a ticket that diverged."""
    lost, left = (Member(i, 0, 2, "rewind_0", 0) for i in (0, 1))
    marked = Member(1, 0, 1, "ticket", 0)
    numbers = {"density": 0.8, "step": 19, "measure": "diverged", "value": 19.0}
    rows = [one for one in workdir.records.rows() if member(one) != lost]
    rows += [row(marked, **numbers)]
    edit(workdir, lambda _: [json.dumps(one) + "\n" for one in rows])
    assert any("branch rewind_0" in problem for problem in problems(workdir))
    path = workdir.directory / "plan.json"
    plan = json.loads(path.read_text())
    others = [[list(lost), list(left.ticket)]]
    path.write_text(json.dumps(plan | {"others": others}))
    assert problems(workdir) == []


def test_rows_that_are_there_twice_are_named(workdir):
    edit(workdir, lambda lines: [*lines, lines[0]])
    (said,) = problems(workdir)
    assert said.startswith("results.jsonl: 2 rows of replicate 0, rewind_step 0, level")


def test_a_line_that_is_no_row_is_named(workdir):
    edit(workdir, lambda lines: ["x\n", *lines])
    (said,) = problems(workdir)
    assert "results.jsonl, line 1, is not a row" in said


def test_numbers_that_are_none_are_named(workdir):
    row = workdir.records.rows()[0] | {"value": float("nan")}
    edit(workdir, lambda lines: [json.dumps(row) + "\n", *lines[1:]])
    (said,) = problems(workdir)
    assert said.startswith("results.jsonl: nan in the row of replicate 0")


def test_a_weight_that_is_alive_where_it_is_pruned_is_named(workdir, forge):
    def revive(network):
        params = jax.tree.map(lambda w: w.at[(0,) * w.ndim].add(1), network.params)
        masks = jax.tree.map(lambda m: m.at[0, 0].set(False), network.masks)
        return dataclasses.replace(network, params=params, masks=masks)

    forge(workdir.levels, 2, TICKET, revive)
    said = problems(workdir)
    assert f"levels 2: {CALLED}: params/fc/kernel is not 0 where pruned" in said


def test_masks_that_grow_are_named(workdir, forge):
    def grow(network):
        full = jax.tree.map(jnp.ones_like, network.masks)
        return dataclasses.replace(network, masks=full)

    forge(workdir.levels, 2, TICKET, grow)
    said = problems(workdir)
    assert len(said) == 4
    assert said[0].startswith(f"level 2: {CALLED}: fc/kernel: ")
    assert said[0].endswith("weights that were pruned are back")
    assert f"level 2: {CALLED}: in all: 888 of 888 weights are kept, not 568" in said


def test_other_weights_than_the_smallest_are_named(workdir, forge):
    def flip(network):
        """Keep the first weight that is pruned for the first one that is kept."""
        kernel = network.masks["fc1"]["kernel"].ravel()
        first, other = jnp.argmax(kernel), jnp.argmin(kernel)
        kernel = kernel.at[first].set(False).at[other].set(True).reshape(64, 12)
        masks = network.masks | {"fc1": {"kernel": kernel, "bias": None}}
        params = jax.tree.map(
            lambda w, m: w if m is None else w * m, network.params, masks
        )
        return dataclasses.replace(network, masks=masks, params=params)

    forge(workdir.levels, 1, TICKET._replace(level=1), flip)
    said = problems(workdir)
    called = CALLED.replace("level 2", "level 1")
    assert f"level 1: {called}: other weights than the smallest are pruned" in said


def test_networks_that_are_missing_or_too_many_are_named(workdir, run):
    series = workdir.dense
    fleet = workdir.load(series, 0, run[1])
    series.remove(0)
    first, second = fleet
    workdir.save(series, 0, {first: fleet[first], TICKET: fleet[second]})
    said = problems(workdir)
    where = "dense 0: replicate 1, rewind_step"
    assert f"{where} 0, level 0, branch dense, copy 0 is missing" in said
    assert f"dense 0: {CALLED} is too many" in said


def test_a_ticket_that_does_not_start_at_the_rewind_state_is_named(workdir, run):
    dense = workdir.load(workdir.dense, 2, run[1])
    workdir.pause({TICKET: dense[TICKET.dense]})
    workdir.paused.wait()
    assert problems(workdir) == []
    moved = jax.tree.map(lambda w: w + 1, dense[TICKET.dense].params)
    workdir.pause({TICKET: dataclasses.replace(dense[TICKET.dense], params=moved)})
    workdir.paused.wait()
    said = problems(workdir)
    assert len(said) == 4
    assert f"{CALLED}: fc1/kernel is not the mask times the rewind state" in said[-1]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"seed": 0}'])
def test_a_folder_that_is_no_run_is_named(workdir, content):
    (workdir.directory / "config.json").write_text(content)
    (said,) = problems(workdir)
    assert str(workdir.directory) in said


@pytest.mark.slow
def test_the_command_says_it_and_has_a_status(workdir):
    command = [sys.executable, "-m", "lth_jax.check", str(workdir.directory)]
    well = subprocess.run(command, capture_output=True, text=True)
    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout == f"{workdir.directory}: all is well with 3 levels\n"
    edit(workdir, lambda lines: lines[1:])
    ill = subprocess.run(command, capture_output=True, text=True)
    assert (ill.returncode, len(ill.stdout.splitlines())) == (1, 1)
    assert ill.stderr == f"{workdir.directory}: 1 problem\n"


OWN = """
from functools import partial
from flax import linen as nn
from lth_jax import config as config_lib
from lth_jax.branches import BRANCHES, Branch
from lth_jax.lottery.methods import METHODS, by_score
from lth_jax.studies import STUDIES
from lth_jax.models import MODELS
from lth_jax.models.classifier import Classifier

class Flat(Classifier):
    @nn.compact
    def __call__(self, x, train):
        return self.classify(x.reshape(len(x), -1))

def study(run):
    for member in run.networks:
        yield member, "half_of_two", 1.0, {"probe": "left"}

MODELS["flat"] = partial(Flat)
BRANCHES["mine"] = Branch("end", "k")
METHODS["by_value"] = by_score(lambda run, ticket: run.previous(ticket).params)
STUDIES["mine"] = study

def get_config():
    config = config_lib.default()
    config.model.name = "flat"
    config.prune.method = "by_value"
    config.branches = ("ticket", "mine")
    config.studies = ("mine",)
    config.replicates = 2
    config.prune.levels = 1
    config.train.length = "3it"
    return config.lock()
"""


@pytest.mark.slow
def test_a_run_with_parts_of_a_users_own_is_checked_without_them(tmp_path):
    """Where they are registered, and where nobody has heard of them."""
    (tmp_path / "own.py").write_text(OWN)
    code = f"""
from pathlib import Path
from lth_jax import config, lottery
lottery.run(config.load({str(tmp_path / "own.py")!r}), Path({str(tmp_path / "run")!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert check.problems(tmp_path / "run") == []
    records = Workdir(tmp_path / "run").records
    lines = records.path.read_text().splitlines(keepends=True)
    lost = [x for x in lines if '"probe"' in x][-1]
    records.path.write_text("".join(x for x in lines if x != lost))
    (said,) = check.problems(tmp_path / "run")
    assert said.endswith("branch mine, copy 0, step 3, measure half_of_two, probe left")
