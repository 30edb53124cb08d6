"""The wheel: it has the configs, the data and the command."""

import os
import subprocess
import sys
import zipfile
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
        assert "lth-jax = lth_jax.main:command" in file.read(entry).decode()
    configs = {
        f"lth_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")
    }
    assert configs | {"lth_jax/data/digits.npz", "lth_jax/report/page.py"} <= names


@pytest.mark.slow
def test_an_installed_wheel_finds_its_configs_from_any_folder(wheel, tmp_path):
    """Beside the packages that are there, which it needs."""
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index"]
    command += [f"--target={site}", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    code = "import lth_jax; print(lth_jax.__file__)"
    shown = [
        subprocess.run(
            command,
            cwd=here,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for command in (
            [sys.executable, "-c", code],
            [site / "bin/lth-jax", "--config=configs/digits.py:smoke", "--dry_run"],
        )
    ]
    assert shown[0].startswith(str(site))
    assert "config.data.name=digits\n" in shown[1]
    assert [*here.iterdir()] == []
