"""The command lth-jax: sub-commands, help, completion, and a config of one's own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lth_jax import config as config_lib
from lth_jax import shell
from lth_jax.config.table import FIELDS
from lth_jax.errors import ConfigError
from lth_jax.report import __main__ as report_main
from lth_jax.shell import completion, new

ROOT = Path(__file__).parents[1]


def test_a_command_gets_its_arguments(monkeypatch):
    seen = []
    monkeypatch.setattr(shell.console, "prepare", lambda: None)
    monkeypatch.setattr(report_main, "main", seen.append)
    shell.command(["report", "runs/a", "--out=b"])
    assert seen == [["runs/a", "--out=b"]]


def test_flags_alone_are_those_of_run(monkeypatch):
    from lth_jax import main

    seen = []
    monkeypatch.setattr(shell.console, "prepare", lambda: None)
    monkeypatch.setattr(main, "command", seen.append)
    shell.command(["--config=a.py", "--workdir=b"])
    shell.command(["run", "--config=a.py"])
    assert seen == [["--config=a.py", "--workdir=b"], ["--config=a.py"]]


def test_help_names_every_command_and_mistakes_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(shell.console, "prepare", lambda: None)
    shell.command([])
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\w", shown, re.M) for name in shell.COMMANDS)
    with pytest.raises(SystemExit, match=r"^error: rpeort: .*did you mean report\?"):
        shell.command(["rpeort"])


def test_the_module_is_the_command_and_its_help_has_every_field():
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    shown = subprocess.run(
        [sys.executable, "-m", "lth_jax", "run", "--help"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name, field in FIELDS.items():
        assert f"  --config.{name}={field.default!r}\n" in shown
        assert field.comment in shown
    assert shown.count("\nconfig") == 11


# -------------------------------------------------------------- a config of one's own


def test_a_new_config_is_the_default_and_so_is_what_it_comments_out(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = new.write("mine.py")
    wanted = config_lib.flatten(config_lib.default())
    assert config_lib.flatten(config_lib.load(str(path))) == wanted
    assert config_lib.load(f"{path}:smoke").train.length == "20it"
    text = re.sub(r"^    # (?=config\.[\w.]+ = )", "    ", path.read_text(), flags=re.M)
    path.write_text(text)
    assert config_lib.flatten(config_lib.load(str(path))) == wanted
    assert all(f"    config.{name} = " in text for name in FIELDS)
    assert max(map(len, text.splitlines())) <= 88


def test_a_new_config_takes_no_others_place(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.py: is there already"):
        new.write(tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "mine"
    with pytest.raises(SystemExit, match=r"^error: .*call it .*mine\.py$"):
        new.main([str(tmp_path / "mine")])
    new.main([str(tmp_path / "other.py")])
    assert "other.py:smoke --workdir=runs/other" in capsys.readouterr().out


# ------------------------------------------------------------------------ completion


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for name in ("bash", "zsh"):
        (folder / name).write_text(completion.script(name))
    return folder


def completed(scripts, line):
    """What bash offers at the end of a line, of whose words = and : are the ends."""
    words = [word for word in re.split(r"\s+|([=:])", line) if word is not None]
    array = " ".join(f"'{word}'" for word in words)
    code = f"""
source {scripts / "bash"}
COMP_LINE='{line}' COMP_POINT={len(line)}
COMP_WORDS=({array}) COMP_CWORD={len(words) - 1}
_lth_jax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    shown = subprocess.run(
        ["bash", "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    return shown.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("lth-jax re", ["report"]),
        ("lth-jax run --work", ["--workdir="]),
        ("lth-jax run --dry", ["--dry_run"]),
        ("lth-jax run --config.optim.learn", ["--config.optim.learning_rate="]),
        ("lth-jax run --config.train.layout=", ["fleet", "data"]),
        ("lth-jax run --config.prune.method=ma", ["magnitude"]),
        ("lth-jax run --config=configs/dig", ["configs/digits.py"]),
        ("lth-jax track runs/a --to=wa", ["wandb"]),
        ("lth-jax track runs/a --fo", ["--follow"]),
        ("lth-jax sweep --launcher=s", ["slurm"]),
        ("lth-jax completion z", ["zsh"]),
        ("lth-jax report ba", ["bash"]),  # a file
        ("lth-jax report --out=ba", ["bash"]),
    ],
)
def test_bash_completes(scripts, line, wanted):
    assert completed(scripts, line) == wanted


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_reads_its_script_and_completes(scripts):
    """With a `compadd` that prints what it would offer."""
    code = f"""
compdef() {{ : }}
compset() {{ : }}
_files() {{ print files }}
source {scripts / "zsh"}
compadd() {{ shift 3; print -l -- ${{(M)@:#$PREFIX*}} }}
words=(lth-jax run x) CURRENT=3 PREFIX=--config.optim.learn; _lth_jax
PREFIX=--config.train.layout=; _lth_jax
"""
    shown = subprocess.run(
        ["zsh", "-fc", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [
        "--config.optim.learning_rate=",
        "--config.train.layout=fleet",
        "--config.train.layout=data",
    ]
