"""Files of strangers: reading a run executes nothing and touches nothing outside it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lth_jax
from lth_jax import config as config_lib
from lth_jax import models
from lth_jax.optim import optimizers as optim
from lth_jax.train import state
from lth_jax.workdir import Member, Workdir, identity, records

PLAN = {"length": 1, "rewind_steps": [0], "trainings": []}
PLAN |= {"nested": True, "others": [], "measures": []}
PACKAGE = Path(lth_jax.__path__[0])
EXECUTING = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_no_module_can_execute_what_it_reads(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not EXECUTING & {name.name.split(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in EXECUTING
        if isinstance(node, ast.Name):
            assert node.id not in {"eval", "exec", "compile", "__import__"}
        if isinstance(node, ast.keyword):
            assert node.arg not in {"allow_pickle", "shell"}


WATCHED = """
import os
import sys
from pathlib import Path

import jax
from lth_jax import check, report
from lth_jax.workdir import Member
from lth_jax.workdir import Workdir

known, strange = Path(sys.argv[1]), Path(sys.argv[2])


def read(directory):
    print("problems:", len(check.problems(directory)))
    print("rows:", len(Workdir(directory).records.rows()))
    report.write(directory)
    Workdir(directory).recover([0], 1)


read(known)  # what is imported only when it is used, is now
watching = True


def watch(event, arguments):
    if not watching:
        return
    if event in ("os.system", "os.exec", "os.fork", "subprocess.Popen", "compile"):
        print(event, arguments)
    if event.startswith(("pickle.", "marshal.load", "socket.connect", "ctypes.dlopen")):
        print(event, arguments)
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        path, mode = str(arguments[0]), arguments[1]
        if event in ("os.remove", "os.rmdir") and mode >= 0:  # in an open folder
            path = str(Path(os.readlink(f"/proc/self/fd/{mode}")) / path)
        writes = event != "open" or (isinstance(mode, str) and set(mode) & set("wax+"))
        if writes and strange.resolve() not in Path(path).resolve().parents:
            print(event, path, mode)


sys.addaudithook(watch)
read(strange)
watching = False
"""


class Executed:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_a_strange_ticket_runs_nothing(tmp_path):
    touched = tmp_path / "touched"
    array = np.array([Executed(touched)], object)
    np.savez(tmp_path / "ticket.npz", **{"params/w": array, "about": np.array("{}")})
    with pytest.raises(ValueError, match="no ticket"):
        lth_jax.load_ticket(tmp_path / "ticket.npz")
    assert not touched.exists()


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def run(tmp_path):
    """The beginning of a run in a folder."""

    def run(name):
        workdir = Workdir(tmp_path / Path(name).name / "run")
        workdir.directory.mkdir(parents=True)
        identity.begin(workdir.directory, config_lib.default(), {}, PLAN)
        lenet = models.create("lenet", num_classes=2, widths=(3,))
        sgd = optim.optimizer("sgd", 0.1, None)
        network = state.create(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), lenet, sgd)
        workdir.save(workdir.dense, 0, {Member(0, 0, 0, "dense", 0): network})
        workdir.pause({Member(0, 0, 0, "../../../outside", 0): network})
        workdir.paused.wait()
        workdir.paused.save(2, {"../../../outside": jnp.ones(3)}, records=0)
        workdir.paused.save(3, {"/outside": jnp.ones(3)}, records=0, members=["../.."])
        member = Member(0, 0, 0, name, 0)
        found = records.row(
            member, density=1.0, step=1, measure=f"{name}_accuracy", value=0.5
        )
        workdir.records.add([found])
        return workdir

    return run


@pytest.mark.slow
def test_reading_a_strange_run_runs_nothing_and_writes_nowhere_else(run, tmp_path):
    known, strange = run("known"), run("../../../../strange")
    assert {p.name for p in tmp_path.iterdir()} == {"known", "strange"}
    (tmp_path / "outside").write_text("precious")
    checksums = strange.paused.directory / "3" / "checksums.json"
    content = json.loads(checksums.read_text())
    checksums.write_text(json.dumps(content | {"../../../../../outside": "0"}))
    command = [sys.executable, "-c", WATCHED, known.directory, strange.directory]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if "warning: " in line]
    assert "paused/3 cannot be read (../../../../../outside is missing)" in warning
    assert done.stdout.splitlines() == 2 * ["problems: 4", "rows: 1"]
    assert (tmp_path / "outside").read_text() == "precious"
