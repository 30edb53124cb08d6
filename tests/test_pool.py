"""Replicates that are divided over folders are those of one run, bit for bit."""

import itertools
import json
import shutil

import pandas as pd
import pytest
import small

from lth_jax import check, lottery, pool, report
from lth_jax.check.__main__ import main as check_command
from lth_jax.errors import PoolError
from lth_jax.numbers.rows import measures
from lth_jax.numbers.tables import tables
from lth_jax.report.__main__ import main as report_command
from lth_jax.train import experiment

FIELDS = {"train.length": "3it", "prune.levels": 2, "measures": ("test_loss",)}
FIELDS |= {"branches": ("ticket", "sibling_mask")}


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    return small.configuring(tmp_path_factory, **FIELDS)


@pytest.fixture(scope="module")
def divided(configure, tmp_path_factory):
    """Ten replicates in one folder, and in two."""
    folders = [tmp_path_factory.mktemp("runs") / name for name in "abc"]
    shares = [
        {"replicates": 10},
        *({"replicates": 5, "first_replicate": i} for i in (0, 5)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "build", small.build)
        for folder, share in zip(folders, shares):
            lottery.run(configure(**share), folder)
    return folders


@pytest.fixture
def copies(divided, tmp_path):
    """The two folders, to be changed."""
    return [shutil.copytree(x, tmp_path / x.name) for x in divided[1:]]


def edit(folder, name, change):
    path = folder / f"{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def lines(folder):
    return (folder / "results.jsonl").read_text().splitlines()


def is_strange(line):
    """Whether a replicate's sibling is another one in a folder of five than of ten."""
    row = json.loads(line)
    return row["branch"] == "sibling_mask" and row["replicate"] in (4, 9)


def texts(rows):
    """All tables of all measures, as text of full precision."""
    return [
        (measure, heading, cells.to_csv())
        for measure in measures(rows)
        for heading, cells in tables(rows, measure)
    ]


def test_two_folders_of_five_are_one_of_ten(divided, tmp_path):
    whole, *parts = divided
    joined = pool.write(pool.read(*parts), tmp_path / "pooled")
    wanted = [line for line in lines(whole) if not is_strange(line)]
    assert sorted(lines(joined)) == sorted(wanted)
    assert sorted(map(is_strange, itertools.chain(*map(lines, parts))))[-1]
    for name in ("config", "plan"):
        found, one = (
            json.loads((x / f"{name}.json").read_text()) for x in (joined, whole)
        )
        for content in (found, one):
            for key in ("trainings", "others"):
                content.get(key, []).sort(key=str)
        found.pop("others", None), one.pop("others", None)
        assert found == one


def test_tables_and_frames_are_those_of_one_folder(divided, tmp_path):
    whole, *parts = divided
    (tmp_path / "plan.json").write_text((whole / "plan.json").read_text())
    usual = (line for line in lines(whole) if not is_strange(line))
    (tmp_path / "results.jsonl").write_text("".join(f"{line}\n" for line in usual))
    one, pooled = report.load(tmp_path), report.load(*reversed(parts), pool=True)
    assert texts(pooled) == texts(one) != []
    assert report.table(pooled) == report.table(one)
    assert "n = 10" in report.table(pooled)
    frames = (
        report.frame(rows, "test_loss").drop(columns="run") for rows in (one, pooled)
    )
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_what_is_left_out_or_missing_is_said(divided, copies):
    (said,) = report.load(*divided[1:], pool=True).attrs["notes"]
    assert said == (
        "left out: 4 networks of sibling_mask, whose masks are of another replicate "
        "than in one folder"
    )
    path = copies[1] / "results.jsonl"
    whole = lines(copies[1])
    ended = [x for x in whole if json.loads(x)["measure"] == "steps_trained"]
    kept = (x for x in lines(copies[1]) if json.loads(x)["level"] < 2)
    path.write_text("".join(f"{x}\n" for x in kept))
    said = pool.read(*copies).notes
    assert (
        f"missing: 10 of 25 networks of {copies[1]}, replicates 5 to 9, levels 2"
        in said
    )
    # What diverged has come to its end.
    ends = [json.loads(x) | {"measure": "diverged"} for x in ended]
    path.write_text("".join(f"{json.dumps(x)}\n" for x in ends))
    assert not [note for note in pool.read(*copies).notes if "missing" in note]
    path.write_text("".join(f"{x}\n" for x in whole))
    # As if 5 to 7 were still to be trained elsewhere.
    edit(copies[1], "config", lambda x: x.update(first_replicate=8))
    assert "missing: replicates 5 to 7, of 0 to 12" in pool.read(*copies).notes


def test_studies_of_the_next_replicate_are_left_out_where_it_is_another(copies):
    for copy in copies:
        edit(copy, "config", lambda x: x.update(studies=["mask_overlap"]))
        rows = [json.loads(line) for line in lines(copy)]
        more = [
            row | {"measure": "mask_overlap", "pair": "replicates", "value": 0.5}
            for row in rows
            if row["measure"] == "density" and row["branch"] == "ticket"
        ]
        text = "".join(f"{json.dumps(row)}\n" for row in [*rows, *more])
        (copy / "results.jsonl").write_text(text)
    found = pool.read(*copies)
    overlaps = [row for row in found.rows if row["measure"] == "mask_overlap"]
    assert {row["replicate"] for row in overlaps} == {*range(10)} - {4, 9}
    assert (
        "left out: mask_overlap of replicates 4, 9, whose next is another one than in "
        "one folder"
    ) in found.notes


DIFFERENT = {
    "config.optim.learning_rate: 0.1 there, 0.5 here": (
        "config",
        lambda x: x["optim"].update(learning_rate=0.5),
    ),
    "config.seed: 0 there, 1 here": ("config", lambda x: x.update(seed=1)),
    "data.train: ": ("environment", lambda x: x["data"].update(train="other")),
    "other code: lth_jax/masks.py": (
        "environment",
        lambda x: x["code"].update({"lth_jax/masks.py": "other"}),
    ),
    "jax_default_prng_impl: ": (
        "environment",
        lambda x: x["jax"].update(default_prng_impl="rbg"),
    ),
    "config.first_replicate: replicate 4 is there twice": (
        "config",
        lambda x: x.update(first_replicate=4),
    ),
}


@pytest.mark.parametrize("said", DIFFERENT)
def test_folders_that_are_not_one_experiment_are_refused(copies, said):
    name, change = DIFFERENT[said]
    edit(copies[1], name, change)
    with pytest.raises(PoolError) as caught:
        report.load(*copies, pool=True)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1
    assert all(str(copy) in str(caught.value) for copy in copies)


def test_what_changes_no_number_may_differ(copies):
    edit(copies[1], "config", lambda x: x["data"].update(dir="/elsewhere"))
    edit(copies[1], "environment", lambda x: x.update(command=["other"]))
    assert pool.problems(*copies) == []
    edit(copies[1], "environment", lambda x: x.update(python="3.99"))
    assert pool.problems(*copies) == []
    assert any("last digits may differ" in note for note in pool.read(*copies).notes)


@pytest.mark.slow
def test_the_commands_pool(divided, copies, capsys):
    report_command([*map(str, copies), "--pool"])
    shown = capsys.readouterr()
    page = copies[0] / "pooled" / "index.html"
    assert "n = 10" in shown.out and shown.out.endswith(f"report: {page}\n")
    assert shown.err.startswith("warning: left out: ")
    assert check.problems(copies[0]) == []
    check_command([*map(str, divided[1:]), "--pool"])
    assert "pooled: one experiment of 10 replicates" in capsys.readouterr().out
    edit(copies[1], "config", lambda x: x.update(seed=1))
    with pytest.raises(SystemExit, match=r"^--pool: 1 problem"):
        check_command([*map(str, copies), "--pool"])
    assert "config.seed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="^error: config.seed"):
        report_command([*map(str, copies), "--pool"])


def test_what_is_no_run_is_one_line(divided, tmp_path):
    with pytest.raises(PoolError, match="no such file; is .* the folder of a run"):
        pool.read(divided[1], tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(PoolError, match="--out: .* is the folder of a run"):
        pool.write(pool.read(divided[1]), tmp_path)
    (tmp_path / "checkpoints").rmdir()
    for _ in range(2):
        pool.write(pool.read(divided[1]), tmp_path)
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(PoolError, match="--out: .* is the folder of a run"):
        pool.write(pool.read(divided[1]), tmp_path)
