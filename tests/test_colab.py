"""The notebook in an environment like Colab's, whose kernel has begun to import."""

import re
import shutil
import subprocess
import time

import notebooks
import pytest
import pythons
from jupyter_core.utils import ensure_async, run_sync
from nbclient.exceptions import CellExecutionError

# What is there in Python 3.13, and what an installation of this package meets.
THERE = ("jax==0.7.2", "jaxlib==0.7.2", "flax==0.11.2", "numpy==2.1.3")
THERE += ("pandas==2.2.*", "matplotlib", "optax", "ipykernel")
SOURCES = ("lth_jax", "configs", "colab", "pyproject.toml", "README.md", "LICENSE")
INSTALL = 1  # the cell that installs


@pytest.fixture
def python(tmp_path, monkeypatch):
    """The interpreter of such an environment, the kernel of which is called colab."""
    if not (found := pythons.installed("3.13")):
        pytest.skip("there is no Python 3.13")
    home = tmp_path / "venv"
    python = pythons.environment(home, found, "--compile-bytecode", *THERE)
    register = ["-m", "ipykernel", "install", "--prefix", str(home), "--name", "colab"]
    subprocess.run([python, *register], check=True, capture_output=True)
    monkeypatch.setenv("JUPYTER_PATH", str(home / "share" / "jupyter"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return python


@pytest.fixture
def folder(tmp_path):
    """The folder of the notebook in a checkout of its own."""
    for name in SOURCES:
        source = notebooks.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / "checkout" / name)
    return tmp_path / "checkout" / "colab"


def version(python, name):
    """Return which version of a package is installed."""
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def installed(folder):
    """Run the cell that installs; return what it said when the kernel restarted."""
    client = notebooks.client(notebooks.read(), folder, kernel_name="colab")
    with client.setup_kernel():
        with pytest.raises(CellExecutionError) as error:
            client.execute_cell(client.nb.cells[INSTALL], INSTALL)
        end = time.monotonic() + 60
        while client.km and run_sync(ensure_async)(client.km.is_alive()):
            assert time.monotonic() < end, "the kernel did not restart"
            time.sleep(0.1)
    return error.value.evalue


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter client
@pytest.mark.parametrize("imported", ["numpy, pandas", "numpy, pandas, jax, flax"])
def test_the_notebook_runs_in_what_is_there(
    imported, python, folder, tmp_path, monkeypatch
):
    """In one go, if nothing but NumPy and pandas is imported; else after a restart."""
    profile = notebooks.profile(tmp_path / "profile", f"import {imported}\n")
    for name, value in profile.items():
        monkeypatch.setenv(name, value)
    if "jax" in imported:
        said = "(jax|flax) was replaced: the kernel restarts; run this again"
        assert re.fullmatch(said, installed(folder))
    notebook = notebooks.read()
    notebooks.run(notebook, folder, kernel_name="colab")
    notebooks.assert_tickets_win(notebook)
    assert (folder / "runs" / "notebook" / "report" / "index.html").exists()
    assert version(python, "numpy") == "2.1.3"
    assert version(python, "pandas").startswith("2.2.")
    assert version(python, "jax") != "0.7.2"
