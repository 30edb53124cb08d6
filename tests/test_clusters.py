"""Clusters: what starts the processes says who is who, and they find what one finds.

What is started is what the page on running experiments shows, in a Slurm of two nodes
on this machine and by Open MPI.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import slurm
from test_processes import DIGITS, ROOT, assert_same_run, port, run

from lth_jax import check
from lth_jax.workdir import Workdir

PAGE = ROOT / "docs" / "running.md"
with_slurm = pytest.mark.skipif(bool(slurm.missing()), reason="there is no Slurm")
with_mpi = pytest.mark.skipif(
    shutil.which("ompi_info") is None, reason="there is no Open MPI"
)


def shown(launcher):
    """The block of the page that has a launcher start two processes."""
    found = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M)
    (block,) = (x for x in found if re.search(rf"^{launcher} .*--distributed", x, re.M))
    return block


def settings():
    """What the processes of a cluster get here, each with two CPU devices."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    python = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"JAX_NUM_CPU_DEVICES": "2", "PATH": python, "PYTHONPATH": path}


ALONE = """
import sys
from lth_jax.errors import ProcessError
from lth_jax.devices import processes

free, taken = sys.argv[1:]
for told in (
    (None, None, None),
    (None, 2, 0),
    (free, None, None),
    (free, 2, None),
    ("127.0.0.1", 2, 0),
    (taken, 2, 0),
    (free, 2, 2),
):
    try:
        processes.join(*told)
    except ProcessError as error:
        print(error)
"""


def test_what_a_cluster_would_say_must_be_said_without_one():
    told = ("SLURM_", "OMPI_", "KUBERNETES_", "JAX_")
    environment = {n: x for n, x in os.environ.items() if not n.startswith(told)}
    free = f"127.0.0.1:{port()}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", ALONE, free, taken],
            env=environment | settings(),
            capture_output=True,
            text=True,
        )
    lines = done.stdout.splitlines()
    assert len(lines) == 7, (lines, done.stderr)
    for line in lines[:4]:
        assert line.startswith("--distributed: nothing says which process this is: ")
        assert all(name in line for name in ("srun", "mpirun", "--coordinator"))
    assert lines[4] == "--coordinator: 127.0.0.1 is not HOST:PORT"
    assert lines[5].startswith(f"--coordinator: port {taken.split(':')[1]} cannot be")
    assert "Got process_id=2, num_processes=2" in lines[6]


def joined(command, folder, environment):
    """Run a command of the page in a folder; return the run of its two processes."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    said = done.stdout + "".join(x.read_text() for x in folder.glob("slurm-*.out"))
    assert done.returncode == 0, (said, done.stderr)
    assert said.count("dense: ") == 1, said
    workdir = Workdir(folder / "runs" / "digits")
    about = json.loads((workdir.directory / "environment.json").read_text())
    assert (about["processes"], len(about["devices"])) == (2, 4)
    assert check.problems(workdir.directory) == []
    return workdir


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(tmp_path_factory.mktemp("one") / "run", DIGITS, 1, 4)


@pytest.mark.slow
@with_slurm
def test_two_nodes_of_slurm_find_what_one_process_finds(one, tmp_path):
    (tmp_path / "job.sh").write_text(shown("srun"))
    with slurm.started() as environment:
        command = ["sbatch", "--wait", "job.sh"]
        two = joined(command, tmp_path, environment | settings())
    assert_same_run(one, two)


@pytest.mark.slow
@with_mpi
def test_two_processes_of_open_mpi_find_what_one_finds(one, tmp_path):
    allowed = {f"OMPI_ALLOW_RUN_AS_ROOT{x}": "1" for x in ("", "_CONFIRM")}
    allowed["OMPI_MCA_rmaps_base_oversubscribe"] = "1"  # where there is one core
    command = ["bash", "-ec", shown("mpirun")]
    two = joined(command, tmp_path, os.environ | settings() | allowed)
    assert_same_run(one, two)
