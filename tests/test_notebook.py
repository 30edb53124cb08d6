"""The notebook runs from top to bottom, and goes on where it was cut off."""

import os
import threading
from pathlib import Path
from typing import Any

import notebooks
import pytest
from nbclient.exceptions import DeadKernelError

ADDRESS = "lth-jax/lth_jax/blob/main/colab/lottery_ticket.ipynb"
JUPYTER = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its client
RUNS = 2  # the cell that says where runs are kept
TICKETS = 6  # that, up to which a run is trained and shown


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Give kernels this checkout, one device, and data of their own."""
    paths = [str(notebooks.ROOT), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Begin kernels as Colab does, with a Drive that can be mounted in a folder."""
    package = tmp_path / "google" / "colab"
    package.mkdir(parents=True)
    (package / "output.py").touch()  # JAX imports it
    (package / "drive.py").write_text(
        "from pathlib import Path\n"
        "def mount(path):\n"
        "    (Path(path) / 'MyDrive').mkdir(parents=True, exist_ok=True)\n"
    )
    for name, value in notebooks.profile(tmp_path, "import google.colab\n").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "drive" / "MyDrive" / "lth_jax"


def with_drive(folder):
    """Return the notebook up to its first run, which is kept on a Drive."""
    notebook = notebooks.read()
    cell = notebook.cells[RUNS]
    cell.source = cell.source.replace("on_drive = False", "on_drive = True")
    cell.source = cell.source.replace("/content/drive", str(folder.parents[1]))
    notebook.cells = notebook.cells[: TICKETS + 1]
    return notebook


def test_outputs_are_not_kept():
    for cell in notebooks.read().cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


def test_the_badges_open_the_notebook():
    readme = (notebooks.ROOT / "README.md").read_text()
    assert f"(https://colab.research.google.com/github/{ADDRESS})" in readme
    assert f"(https://kaggle.com/kernels/welcome?src=https://github.com/{ADDRESS})" in (
        readme
    )


@pytest.mark.parametrize("on_kaggle", [False, True])
def test_runs_are_kept_where_the_machine_keeps_files(on_kaggle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kaggle = tmp_path / "kaggle"
    if on_kaggle:
        (kaggle / "working").mkdir(parents=True)
    names: dict[str, Any] = {"Path": Path}
    exec(notebooks.read().cells[RUNS].source.replace("/kaggle", str(kaggle)), names)
    expected = kaggle / "working" if on_kaggle else tmp_path
    assert names["runs"].absolute() == expected / "runs"


@JUPYTER
@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_the_notebook_runs_and_its_tickets_win(devices, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(devices))
    notebook = notebooks.read()
    notebooks.run(notebook, tmp_path)
    notebooks.assert_tickets_win(notebook)
    assert (tmp_path / "runs" / "notebook" / "report" / "index.html").exists()
    shown = "".join(out.get("text", "") for out in notebook.cells[3].outputs)
    assert shown.startswith(f"{devices} x ")


@JUPYTER
@pytest.mark.slow
def test_a_run_on_drive_goes_on_in_another_session(drive, tmp_path):
    """The kernel is killed in the middle of it, and its rows are those of a whole."""
    run, rows = drive / "notebook", Path("notebook") / "results.jsonl"
    first = run / "checkpoints" / "levels" / "0"
    killer = threading.Thread(target=notebooks.kill, args=(run, first), daemon=True)
    killer.start()
    with pytest.raises(DeadKernelError):
        notebooks.run(with_drive(drive), tmp_path)
    killer.join()
    saved, cut_off = first.stat().st_mtime_ns, (drive / rows).read_bytes()

    notebooks.run(with_drive(drive), tmp_path)
    assert first.stat().st_mtime_ns == saved, "the level was trained again"

    whole = notebooks.read()
    whole.cells = whole.cells[: TICKETS + 1]
    notebooks.run(whole, tmp_path)
    assert (drive / rows).read_bytes() == (tmp_path / "runs" / rows).read_bytes()
    assert len(cut_off) < (drive / rows).stat().st_size
