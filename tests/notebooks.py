"""The notebook, run from the file itself, and what it must have shown."""

import os
import re
import signal
import time
from pathlib import Path

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "colab" / "lottery_ticket.ipynb"


def read() -> NotebookNode:
    """Return the notebook as it stands in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def client(notebook: NotebookNode, folder: Path, **options) -> NotebookClient:
    """Return what runs a notebook, or some of its cells, in a folder."""
    options |= {"resources": {"metadata": {"path": str(folder)}}}
    return NotebookClient(notebook, timeout=1800, startup_timeout=300, **options)


def run(notebook: NotebookNode, folder: Path, **options) -> None:
    """Run a notebook in a folder; its outputs are in its cells afterwards."""
    run_sync(client(notebook, folder, **options).async_execute)()


def profile(folder: Path, code: str) -> dict[str, str]:
    """Return the variables with which a kernel runs some code when it starts."""
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text(code)
    return {"IPYTHONDIR": str(folder)}


def kill(run: Path, saved: Path) -> None:
    """Kill the kernel that is at work in a run's folder once something is saved."""
    end = time.monotonic() + 1800
    while not saved.exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(int((run / "lock").read_text().split()[-1]), signal.SIGKILL)


def assert_tickets_win(notebook: NotebookNode) -> None:
    """See that the printed accuracies are what they should be, as a reader does."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    printed = "".join(out["text"] for out in outputs if out.get("name") == "stdout")
    bars = "".join(out["text"] for out in outputs if out.get("name") == "stderr")
    assert "100%" in bars and "step" in bars
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 3

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
    page = re.findall(r"\S+/report/index\.html", printed)[-1]
    assert Path(page).exists()
