"""In a notebook: curves that grow, and errors of one line."""

import base64
import json
import os
import sys

import nbformat
import notebooks
import pytest
from IPython import display
from IPython.core.interactiveshell import InteractiveShell

from lth_jax.errors import ConfigError
from lth_jax.live import Curves
from lth_jax.workdir.pauses import Interrupted

ROW = {"replicate": 0, "rewind_step": 0, "branch": "ticket", "copy": 0, "step": 9}
ROW |= {"measure": "test_accuracy", "density": 0.5, "value": 0.75}


def write(folder, levels):
    rows = [ROW | {"level": 0, "branch": "dense", "density": 1.0}]
    rows += [ROW | {"level": n, "density": 0.5**n} for n in range(1, levels + 1)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "results.jsonl").write_text(lines)


@pytest.fixture
def shown(monkeypatch):
    """What a notebook has been given to show, and in place of what."""
    pictures = []

    class Handle:
        def update(self, picture):
            pictures.append(("again", picture.data))

    def show(picture, display_id):
        pictures.append(("first", picture.data))
        return Handle()

    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(display, "display", show)
    return pictures


def test_curves_grow_in_one_place(tmp_path, shown):
    curves = Curves(tmp_path)
    for levels in range(4):
        write(tmp_path, levels)
        curves.draw()
    assert [how for how, _ in shown] == ["first", "again", "again"]
    assert len({picture for _, picture in shown}) == 3
    assert all(picture.startswith(b"\x89PNG") for _, picture in shown)


def test_what_goes_wrong_is_said_once_and_stops_nothing(tmp_path, shown, capsys):
    curves = Curves(tmp_path)  # there are no rows to be read
    curves.draw()
    curves.draw()
    assert capsys.readouterr().err.count("warning: no live curves: ") == 1
    assert shown == []


def test_elsewhere_there_are_none(tmp_path, shown, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel")
    write(tmp_path, 3)
    Curves(tmp_path).draw()
    assert shown == []


def test_errors_of_users_are_one_line_in_a_notebook(capsys):
    terminal = InteractiveShell()
    for error, said in (
        (ConfigError("config.seed: is wrong"), "error: config.seed: is wrong"),
        (Interrupted("SIGINT: saved"), "SIGINT: saved: run the cell again"),
    ):
        terminal.showtraceback((type(error), error, None))
        assert capsys.readouterr().out.strip() == said
    terminal.showtraceback((KeyError, KeyError("ours"), None))
    assert "Traceback" in capsys.readouterr().out


CELL = """
from lth_jax import config, lottery
changed = config.load("configs/digits.py:smoke")
changed.replicates = 1
{}
run = lottery.run(changed, "run")
run
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cell_shows_a_bar_curves_and_the_table(tmp_path, monkeypatch):
    paths = [str(notebooks.ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    cells = [CELL.format(x) for x in ("", "changed.prune.fraction = 2.0")]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    notebooks.run(notebook, tmp_path, allow_errors=True)
    first, second = (cell.outputs for cell in notebook.cells)
    pictures = [x for x in first if "image/png" in x.get("data", {})]
    assert len(pictures) == 1
    (tmp_path / "curves.png").write_bytes(
        base64.b64decode(pictures[0]["data"]["image/png"])
    )
    assert "rewound to step 0" in first[-1]["data"]["text/plain"]
    assert any("step" in x.get("text", "") for x in first)
    (error,) = (x for x in second if x["output_type"] == "error")
    assert error["traceback"] == [
        "error: config.prune.fraction: 2.0 is not between 0 and 1"
    ]
