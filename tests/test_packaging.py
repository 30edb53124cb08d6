"""The wheel: it has the configs, the data and the command."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_has_all_that_a_run_needs(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps"]
    command += ["--no-build-isolation", f"--wheel-dir={tmp_path}", str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "lth-jax = lth_jax.main:command" in file.read(entry).decode()
    configs = {
        f"lth_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")
    }
    assert configs | {"lth_jax/data/digits.npz", "lth_jax/report/page.py"} <= names
