"""Other versions: the lowest that pyproject.toml allows, and the newest Pythons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pythons import environment, installed

ROOT = Path(__file__).parents[1]
# What reads, draws, restores and differentiates: where versions have differed before.
TESTS = ("report_page", "report_figures", "report_frames", "records", "tensorboard")
TESTS += ("checkpoint", "rewind", "prune", "summary", "stream")
# What compiles and trains: where those of JAX have.
NEWEST = ("masks", "scores", "fit", "fleet", "evaluate", "frameworks")
TOOLS = (
    "beartype>=0.23",
    "dm-haiku>=0.0.16",
    "equinox>=0.13.8",
    "hypothesis>=6.150",
    "pytest>=9",
    "pytest-xdist>=3.8",
)
# Old versions warn of what newer ones, of Python and of others, call otherwise.
WARNINGS = "filterwarnings=error\nignore::DeprecationWarning\nignore::FutureWarning"


def install(folder, *options, python=sys.executable):
    """Make an environment with the project's dependencies; return its interpreter."""
    return environment(folder, python, *options, f"{ROOT}[tensorboard]", *TOOLS)


@pytest.fixture(scope="module")
def lowest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowest")
    return install(folder, "--resolution", "lowest-direct")


@pytest.fixture(scope="module", params=["3.12", "3.13"])
def newest(request, tmp_path_factory):
    """The interpreter of an environment with the newest versions on some Python."""
    found = installed(request.param)
    if found is None:
        pytest.skip(f"there is no Python {request.param}")
    return install(tmp_path_factory.mktemp("newest"), python=found)


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


def assert_tests_pass(python, names, *options):
    files = [f"tests/test_{name}.py" for name in names]
    options = ["-q", "-p", "no:cacheprovider", *options]
    assert "passed" in ended(python, "-m", "pytest", *options, *files)


def assert_digits_have_a_page(python, workdir):
    flags = ["--config=configs/digits.py:smoke", f"--workdir={workdir}"]
    said = ended(python, "-m", "lth_jax.main", *flags)
    page = workdir / "report" / "index.html"
    assert said.endswith(f"\nreport: {page}\n")
    assert (page.parent / "test_accuracy.svg").exists()


@pytest.mark.slow
def test_the_lowest_versions_are_those_of_the_project(lowest):
    said = ended(lowest, "-c", "import jax, pandas; print(jax.__version__)")
    assert said == "0.10.0\n"


@pytest.mark.slow
def test_tests_pass_with_the_lowest_versions(lowest):
    assert_tests_pass(lowest, TESTS, "-o", WARNINGS)


@pytest.mark.slow
def test_a_run_has_its_page_with_the_lowest_versions(lowest, tmp_path):
    assert_digits_have_a_page(lowest, tmp_path / "run")


@pytest.mark.slow
def test_tests_pass_with_the_newest_versions(newest):
    assert_tests_pass(newest, NEWEST)


@pytest.mark.slow
def test_a_run_has_its_page_with_the_newest_versions(newest, tmp_path):
    assert_digits_have_a_page(newest, tmp_path / "run")
