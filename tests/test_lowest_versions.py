"""The lowest versions that pyproject.toml allows of what draws and writes."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What is held at its lower bound; all others are what pip resolves.
NAMES = ("matplotlib", "numpy", "pandas", "safetensors", "tqdm")
TESTS = ("report_page", "report_figures", "report_frames", "records", "tensorboard")
# Matplotlib 3.9 warns of what a newer pyparsing calls otherwise, as it is imported.
WARNINGS = "filterwarnings=error\nignore:'\\w+' .*deprecated.* use:DeprecationWarning"


def lowest():
    """The lower bounds of NAMES as requirements, `pandas==2.2.*` for pandas>=2.2."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = (re.match(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"])
    bounds = dict(match.groups() for match in found if match)
    return [f"{name}=={bounds[name]}.*" for name in NAMES]


def test_the_lower_bounds_are_those_of_the_project():
    assert "pandas==2.2.*" in lowest()
    assert all(re.fullmatch(r"\w+==\d+\.\d+\.\*", line) for line in lowest())


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the lowest versions."""
    folder = tmp_path_factory.mktemp("lowest")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    tools = ["beartype", "hypothesis", "pytest", "pytest-xdist", "tensorboardX"]
    install = [str(folder / "bin" / "pip"), "install", "-q", str(ROOT), *tools]
    subprocess.run([*install, *lowest()], check=True)
    return str(folder / "bin" / "python")


def ended(python, *arguments):
    """Run Python with the sources of this checkout; return what it printed."""
    done = subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_reports_tests_pass_with_the_lowest_versions(python):
    files = [f"tests/test_{name}.py" for name in TESTS]
    options = ["-q", "-p", "no:cacheprovider", "-o", WARNINGS]
    assert "passed" in ended(python, "-m", "pytest", *options, *files)


@pytest.mark.slow
def test_a_run_has_its_page_with_the_lowest_versions(python, tmp_path):
    flags = ["--config=configs/digits.py:smoke", f"--workdir={tmp_path / 'run'}"]
    said = ended(python, "-m", "lth_jax.main", *flags)
    page = tmp_path / "run" / "report" / "index.html"
    assert said.endswith(f"\nreport: {page}\n")
    assert (page.parent / "test_accuracy.svg").exists()
