"""The wheel: it has the configs, the data and the command."""

import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps"]
    command += ["--no-build-isolation", f"--wheel-dir={directory}", str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = directory.iterdir()
    return wheel


@pytest.mark.slow
def test_the_wheel_has_all_that_a_run_needs(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "lth-jax = lth_jax.shell:command" in file.read(entry).decode()
    configs = {
        f"lth_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")
    }
    assert configs | {"lth_jax/data/digits.npz", "lth_jax/report/page.py"} <= names


@pytest.mark.slow
def test_a_wheel_in_an_environment_of_its_own_trains(wheel, tmp_path):
    """With what it says it needs, and nothing else; its configs are found anywhere."""
    home, here = tmp_path / "venv", tmp_path / "here"
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    call = partial(subprocess.run, env=environment, cwd=here, check=True)
    call([sys.executable, "-m", "venv", home])
    call([home / "bin/pip", "install", "--quiet", wheel])
    command = [home / "bin/lth-jax", "--config=configs/digits.py:smoke"]
    shown = call([*command, "--workdir=run"], capture_output=True, text=True).stdout
    page = here / "run" / "report" / "index.html"
    assert shown.endswith(f"\nreport: {page}\n")
    assert [path.name for path in here.iterdir()] == ["run"]
