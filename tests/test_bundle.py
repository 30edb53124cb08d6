"""Bundles: a ticket with all that it came from, which proves itself."""

import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest
import small
from trees import assert_same

import lth_jax
from lth_jax import check, export, lottery, masks
from lth_jax.export import bundle
from lth_jax.export.__main__ import main
from lth_jax.train import experiment
from lth_jax.workdir import Workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    fields = {"replicates": 2, "train.length": "4it", "prune.levels": 1}
    fields |= {"rewind.steps": ("0it", "2it"), "branches": ("ticket",)}
    folder = tmp_path_factory.mktemp("bundle") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", small.build)
        lottery.run(small.configuring(tmp_path_factory, **fields)(), folder)
    return folder


@pytest.fixture(scope="module")
def made(run):
    """The ticket of replicate 1 at step 2, as a folder and as a zip."""
    paths = run.parent / "shared", run.parent / "shared.zip"
    which = [str(run), "--level=1", "--replicate=1", "--rewind_step=2", "--bundle"]
    for path in paths:
        main([*which, f"--out={path}"])
    return paths


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "copy")


def sign(folder):
    """Make checksums anew, as who forges a bundle does."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != bundle.SUMS
    ]
    (folder / bundle.SUMS).write_text("".join(lines))


def test_folder_and_zip_are_the_runs_ticket(run, made):
    wanted = export.find(run, 1, replicate=1, rewind_step=2)
    for path in made:
        found = lth_jax.load_ticket(path)
        assert_same((found.params, found.masks), (wanted.params, wanted.masks))
        assert found.about == json.loads(json.dumps(wanted.about))
        assert check.problems(path) == []
    with zipfile.ZipFile(made[1]) as file:
        names = {name.partition("/")[2] for name in file.namelist()}
    assert names == {path.name for path in made[0].iterdir()}


def test_states_are_those_that_the_run_has(run, made):
    series = Workdir(run).dense
    place = [member.replicate for member in Workdir(run).members(series, 0)].index(1)
    for name, step in (("initial", 0), ("rewound", 2)):
        found = lth_jax.load_ticket(made[0] / f"{name}.safetensors")
        assert_same(found.params, series.raw(step)[place]["params"])
        assert masks.density(found.masks) == 1
        assert found.about["step"] == step


def test_the_card_has_the_numbers_of_the_rows(run, made):
    rows = Workdir(run).records.rows()
    where = {"replicate": 1, "rewind_step": 2, "level": 1, "measure": "test_accuracy"}
    (row,) = (row for row in rows if where.items() <= row.items())
    card = (made[0] / "README.md").read_text()
    assert f"| test accuracy | {row['value']:.4f} |" in card
    ticket = lth_jax.load_ticket(made[0])
    kept = sum(int(np.sum(mask)) for _, mask in masks.leaves(ticket.masks))
    assert f"{kept:,} of 888" in card
    assert "rewound to step 2, and trained to step 4" in card


def forged(change):
    """A ticket's file after some change of the ticket, checksums and all."""

    def forge(folder, name="ticket.safetensors"):
        lth_jax.save_ticket(folder / name, change(lth_jax.load_ticket(folder / name)))

    return forge


def other_about(**about):
    return forged(lambda ticket: ticket._replace(about=ticket.about | about))


def one_less(ticket):
    kept = np.array(ticket.masks["fc1"]["kernel"])
    kept[tuple(np.argwhere(kept)[0])] = False
    fc1 = ticket.masks["fc1"] | {"kernel": kept}
    return ticket._replace(masks=ticket.masks | {"fc1": fc1})


FORGED = {
    "ticket.safetensors: masks keep": forged(one_less),
    "results.jsonl: has no row of the ticket": other_about(level=7),
    "rewound.safetensors: is not at the rewind step": lambda folder: shutil.copy(
        folder / "initial.safetensors", folder / "rewound.safetensors"
    ),
    "initial.safetensors: is of replicate 0": lambda folder: other_about(replicate=0)(
        folder, "initial.safetensors"
    ),
    "README.md: is not what these numbers make": lambda folder: (
        folder / "README.md"
    ).write_text("the best network"),
    "config.json: is missing": lambda folder: (folder / "config.json").unlink(),
}


@pytest.mark.parametrize("said", FORGED)
def test_what_does_not_go_together_is_named(copy, said):
    FORGED[said](copy)
    found = check.problems(copy)
    assert any("has another checksum" in x or "is missing" in x for x in found)
    sign(copy)
    found = check.problems(copy)
    assert any(f"{copy}: {said}" in line for line in found)
    assert all(len(line.splitlines()) == 1 for line in found)


def test_a_file_too_many_is_named(copy):
    (copy / "more.txt").write_text("?")
    assert check.problems(copy) == [f"{copy}: more.txt: has no checksum"]


def test_a_damaged_zip_is_one_line(made, tmp_path):
    (tmp_path / "cut.zip").write_bytes(made[1].read_bytes()[:500])
    (said,) = check.problems(tmp_path / "cut.zip")
    assert "cut.zip" in said
    with pytest.raises(ValueError, match=r"cut\.zip: no ticket, or it is damaged"):
        lth_jax.load_ticket(tmp_path / "cut.zip")


def test_mistakes_are_one_line(run, made):
    which = [str(run), "--level=1", "--bundle"]
    for flag, said in (
        (f"--out={made[0]}", "is there already; name another"),
        ("--rewound", "--rewound: a bundle has all; leave it out"),
        ("--format=torch", "--format: a bundle has all; leave it out"),
    ):
        with pytest.raises(SystemExit, match=f"^error: .*{said}$"):
            main([*which, flag])
