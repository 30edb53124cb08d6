"""The lowest versions that pyproject.toml allows, all at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What reads, draws, restores and differentiates: where versions have differed before.
TESTS = ("report_page", "report_figures", "report_frames", "records", "tensorboard")
TESTS += ("checkpoint", "rewind", "prune", "summary", "stream")
TOOLS = (
    "beartype>=0.23",
    "equinox>=0.13.8",
    "hypothesis>=6.150",
    "pytest>=9",
    "pytest-xdist>=3.8",
)
# Old versions warn of what newer ones, of Python and of others, call otherwise.
WARNINGS = "filterwarnings=error\nignore::DeprecationWarning\nignore::FutureWarning"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the lowest versions."""
    folder = tmp_path_factory.mktemp("lowest")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python]
    install += ["--resolution", "lowest-direct", f"{ROOT}[tensorboard]", *TOOLS]
    subprocess.run(install, check=True)
    return python


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
def test_the_lowest_versions_are_those_of_the_project(python):
    said = ended(python, "-c", "import jax, pandas; print(jax.__version__)")
    assert said == "0.10.0\n"


@pytest.mark.slow
def test_tests_pass_with_the_lowest_versions(python):
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
