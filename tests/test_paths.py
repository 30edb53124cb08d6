"""Paths: whatever a folder is called, and however it is named, it is the same one."""

from pathlib import Path

import pytest
from small import build

from lth_jax import (
    check,
    export,
    load_ticket,
    lottery,
    report,
    save_ticket,
    search,
)
from lth_jax import config as config_lib
from lth_jax.check import __main__ as check_command
from lth_jax.errors import RunError
from lth_jax.export import __main__ as export_command
from lth_jax.paths import local
from lth_jax.pictures import __main__ as pictures_command
from lth_jax.track import __main__ as track_command
from lth_jax.train import experiment
from lth_jax.workdir import Workdir

FAST = ("lr[0.1] é中",)
NAMES = [
    *("lr[0.1] é中", "[!a]", "a[", "a]b", "a*b", "a?b", "a{b}", "**"),
    *("a\\b", "a\\", "a b", " a ", "a'b\"c", "a%20b", "a#b", "~a", "-a", "a."),
    *("a\nb", "a\tb", "$HOME", "a&b;c|d", "gs:", "file:", "😀", "x" * 240),
    *("0.unfinished", "1"),
]


@pytest.fixture(autouse=True)
def _built_once(monkeypatch):
    monkeypatch.setattr(experiment, "build", build)


def config(**changes):
    made = config_lib.default()
    fields = {"replicates": 1, "train.length": "4it", "prune.levels": 1}
    made.update_from_flattened_dict(fields | {"branches": ("ticket",)} | changes)
    return made.lock()


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=[] if x in FAST else pytest.mark.slow) for x in NAMES],
)
def test_a_run_does_not_mind_what_its_folder_is_called(name, tmp_path):
    folder = tmp_path / name / "run"
    assert lottery.run(config(), folder).diverged == []
    assert lottery.run(config(), folder).diverged == []  # from what it has saved
    assert check.problems(folder) == []
    ticket = export.find(folder, 1)
    for suffix in ("safetensors", "npz"):
        export.write(folder / f"ticket.{suffix}", ticket, suffix)
        assert export.load_ticket(folder / f"ticket.{suffix}").about == ticket.about
    assert len(report.load(folder)) > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and an empty one in which one is at work."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


# From what a user calls a folder to where that is.
CALLED = {
    "~/run": "home/run",
    "run": "work/run",
    "./~/run": "work/~/run",
    "../other/run": "work/../other/run",
}


@pytest.mark.parametrize(
    "called",
    ["~/run", *(pytest.param(x, marks=pytest.mark.slow) for x in [*CALLED][1:])],
)
@pytest.mark.slow
def test_a_folder_is_where_a_user_says_from_everywhere(called, home, monkeypatch):
    folder = home.parent / CALLED[called]
    lottery.run(config(), called)
    assert (folder / "config.json").exists()
    assert check.problems(called) == []
    assert export.find(called, 1).about["level"] == 1
    export_command.main([called, "--level=1"])
    assert (
        folder / "tickets" / "level_1_rewind_step_0_replicate_0.safetensors"
    ).exists()
    export_command.main([called, "--level=1", f"--out={called}/one.npz"])
    assert (folder / "one.npz").exists()
    ticket = load_ticket(f"{called}/one.npz")
    save_ticket(f"{called}/two.safetensors", ticket)
    assert (folder / "two.safetensors").exists()
    assert len(report.load(called)) > 0
    assert report.write(called) == folder / "report" / "index.html"
    page = report.write(called, directory=f"{called}/page")
    assert page == folder / "page" / "index.html"
    found = search.earliest_rewind(config(), f"{called}/search", "matching")
    assert found.probes[0].workdir == folder / "search" / "rewind_0"
    there = Workdir(called)
    monkeypatch.chdir(home.parent)
    assert there.levels.numbers() == [0, 1]


def test_a_folder_may_be_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    lottery.run(config(), tmp_path / "near")
    assert check.problems(tmp_path / "far") == check.problems(tmp_path / "near") == []


def test_a_config_is_found_in_the_home_folder(home):
    home.mkdir()
    text = (
        "from lth_jax import config\n\ndef get_config():\n    return config.default()"
    )
    (home / "own.py").write_text(text)
    assert config_lib.load("~/own.py") == config_lib.default()
    assert config_lib.located("~/own.py") == str(home / "own.py")


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("", "it is empty; name a file or a folder"),
        ("gs://bucket/run", "gs://bucket/run is no folder; mount what it names, and"),
        ("~nobody_here/run", "~nobody_here/run: there is no such user; for a name, ./"),
        ("a\udce9", r"'a\udce9' is not in UTF-8; give it another name"),
    ],
)
def test_what_is_no_path_of_this_machine_is_refused(called, said, home):
    with pytest.raises(RunError) as caught:
        lottery.run(config(), called)
    assert str(caught.value).startswith(f"--workdir: {said}")
    (problem,) = check.problems(called)
    assert said in problem
    with pytest.raises(RunError):
        export.find(called, 1)
    assert [*Path().iterdir()] == []


COMMANDS = {
    "check": (check_command, []),
    "export": (export_command, ["--level=1"]),
    "track": (track_command, ["--to=tensorboard"]),
    "pictures": (pictures_command, []),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("called", ["gs://b/run", "~nobody_here/run", "x" * 300, "no"])
def test_a_command_says_in_one_line_what_is_no_run(command, called, home, capsys):
    module, options = COMMANDS[command]
    with pytest.raises(SystemExit) as caught:
        module.main([called, *options])
    assert called[:60] in str(caught.value) + capsys.readouterr().out
    assert [*Path().iterdir()] == []


def test_a_path_that_was_made_absolute_stays_what_it_is(home):
    assert local(local("./~/x")) == home.parent / "work" / "~" / "x"
