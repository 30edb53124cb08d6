"""The notebook runs from top to bottom, on one device and on many."""

import os

import notebooks
import pytest

JUPYTER = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its client


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Give kernels this checkout, one device, and data of their own."""
    paths = [str(notebooks.ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")


def test_outputs_are_not_kept():
    for cell in notebooks.read().cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@JUPYTER
@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_the_notebook_runs_and_its_tickets_win(devices, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(devices))
    notebook = notebooks.read()
    notebooks.run(notebook, tmp_path)
    notebooks.assert_tickets_win(notebook)
    assert (tmp_path / "runs" / "notebook" / "report" / "index.html").exists()
    shown = "".join(out.get("text", "") for out in notebook.cells[2].outputs)
    assert shown.startswith(f"{devices} x ")
