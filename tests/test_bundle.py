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
    fields |= {"sweep.learning_rate": (0.01, 0.1), "rewind.fresh": ("step",)}
    folder = tmp_path_factory.mktemp("bundle") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", small.build)
        lottery.run(small.configuring(tmp_path_factory, **fields)(), folder)
    return folder


@pytest.fixture(scope="module")
def made(run):
    """The ticket of replicate 1 at step 2 and the second rate, as a folder and a zip.

    Its training began with step 0, while W_k is that of the dense network.
    """
    paths = run.parent / "shared", run.parent / "shared.zip"
    which = [str(run), "--level=1", "--replicate=1", "--rewind_step=2", "--bundle"]
    which += ["--learning_rate=0.1"]
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
    wanted = export.find(run, 1, replicate=1, rewind_step=2, learning_rate=0.1)
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
    members = [(m.replicate, m.learning_rate) for m in Workdir(run).members(series, 0)]
    place = members.index((1, 0.1))
    for name, step in (("initial", 0), ("rewound", 2)):
        found = lth_jax.load_ticket(made[0] / f"{name}.safetensors")
        assert_same(found.params, series.raw(step)[place]["params"])
        assert masks.density(found.masks) == 1
        assert found.about["step"] == step


def test_the_card_has_the_numbers_of_the_rows(run, made):
    rows = Workdir(run).records.rows()
    where = {"replicate": 1, "rewind_step": 2, "level": 1, "measure": "test_accuracy"}
    where |= {"learning_rate": 0.1}
    (row,) = (row for row in rows if where.items() <= row.items())
    card = (made[0] / "README.md").read_text()
    for fact in (
        f"| test accuracy | {row['value']:.4f} |",
        "| learning rate | 0.1 |",
        "| rewind.fresh | ['step'] |",
    ):
        assert fact in card
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


@pytest.mark.parametrize("packed", [False, True])
def test_a_bundle_without_checksums_is_one_line(copy, packed, tmp_path):
    (copy / bundle.SUMS).unlink()
    path = shutil.make_archive(tmp_path / "b", "zip", copy) if packed else copy
    assert check.problems(path) == [f"{path}: SHA256SUMS: is missing"]


def test_states_are_of_the_rate_of_a_ticket_that_was_chosen_without_one(run, tmp_path):
    out = tmp_path / "first"
    main([str(run), "--level=1", "--bundle", f"--out={out}"])
    assert check.problems(out) == []
    assert lth_jax.load_ticket(out / "rewound.safetensors").about["step"] == 0
    assert "| learning rate | 0.01 |" in (out / "README.md").read_text()


def test_a_zip_with_another_byte_is_one_line(made, tmp_path):
    content = bytearray(made[1].read_bytes())
    with zipfile.ZipFile(made[1]) as file:
        place = file.infolist()[0].header_offset + 100
    content[place : place + 9] = 9 * b"\xff"
    (tmp_path / "other.zip").write_bytes(content)
    (said,) = check.problems(tmp_path / "other.zip")
    assert "other.zip" in said


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


def test_a_state_of_another_rate_is_named(copy):
    other_about(learning_rate=0.01)(copy, "rewound.safetensors")
    sign(copy)
    (said,) = check.problems(copy)
    assert said.endswith("rewound.safetensors: is of learning_rate 0.01")


@pytest.mark.parametrize(
    ("level", "said"), [(1, "was given trained weights"), (0, "was not pruned")]
)
def test_a_card_says_what_was_not_rewound(copy, level, said):
    config = json.loads((copy / "config.json").read_text())
    config["rewind"]["weights"] = "trained"
    (copy / "config.json").write_text(json.dumps(config))
    ticket = lth_jax.load_ticket(copy)
    ticket = ticket._replace(about=ticket.about | {"level": level})
    assert f"{said}, and trained to step 4" in bundle.card(copy, ticket)
