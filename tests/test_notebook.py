"""The notebook runs from top to bottom, from the file itself."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "colab" / "lottery_ticket.ipynb"


def test_outputs_are_not_kept():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter client
def test_the_notebook_runs_and_its_tickets_win(tmp_path, monkeypatch):
    """Its printed accuracies, as a reader sees them."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, resources=resources).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    printed = "".join(out["text"] for out in outputs if out.get("name") == "stdout")
    bars = "".join(out["text"] for out in outputs if out.get("name") == "stderr")
    assert "100%" in bars and "step" in bars
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 3

    dense = re.search(r"^dense: (\d+\.\d+)", printed, re.MULTILINE)
    assert dense and float(dense[1]) > 95
    tables = re.findall(
        r"^ +2\.56% +([\d.]+) ± \S+ +([\d.]+) ± \S+ +([\d.]+)", printed, re.M
    )
    assert len(tables) == 2  # rewind steps
    for ticket, reinitialised, shuffled in tables:
        assert float(ticket) > 90
        assert float(ticket) > max(float(reinitialised), float(shuffled)) + 1

    own = re.findall(r"of the weights: accuracy (\d+\.\d+)%", printed)
    assert len(own) == 4
    assert all(float(accuracy) > 95 for accuracy in own[:2])
    assert (
        len(re.findall(r"^learning rate .*, dense: 9\d\.", printed, re.MULTILINE)) == 2
    )
    assert (tmp_path / "runs" / "notebook" / "report" / "index.html").exists()
