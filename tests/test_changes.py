"""What a change touches: done in a copy of the package, and run there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lth_jax

ROOT = Path(lth_jax.__file__).parent
SHORT = ("prune.levels=1", "replicates=1", "train.length=4it")

# By change: how many files it may touch; (file, line, line and what is new); fields of
# a run; and a row that is in its results.
CHANGES = {
    "a plain branch": (
        1,
        [
            (
                "branches.py",
                '    "rewind_0": Branch("0", "0"),\n',
                '    "rewind_0": Branch("0", "0"),\n    "late": Branch("end", "k"),\n',
            )
        ],
        ["branches=('ticket','late')"],
        {"branch": "late", "measure": "steps_trained", "value": 8},
    ),
    "a study with a column of its own": (
        1,
        [
            (
                "studies.py",
                "STUDIES: dict",
                "def sizes(run):\n"
                "    for member, network in run.networks.items():\n"
                "        for path, kept in masks_lib.by_layer(network.masks).items():\n"
                '            yield member, "kept", kept[0], {"of": path}\n\n\n'
                "STUDIES: dict",
            ),
            (
                "studies.py",
                '    "stability": stability,\n',
                '    "stability": stability,\n    "sizes": sizes,\n',
            ),
        ],
        ["studies=('sizes',)", "prune.fraction=0.5"],
        {"measure": "kept", "of": "fc/kernel", "level": 0, "value": 1000},
    ),
    "a field of training": (
        2,
        [
            (
                "config/table.py",
                '    "train.layout": ',
                '    "train.smoother": Field(0.0, "more of it", least=0),\n'
                '    "train.layout": ',
            ),
            (
                "train/experiment.py",
                "**{n: config.optim[n] for n in own}",
                "label_smoothing=config.train.smoother",
            ),
        ],
        ["train.smoother=0.9"],
        {"measure": "train_loss", "level": 1, "branch": "ticket"},
    ),
    "a hyperparameter in which members differ": (
        4,
        [
            (
                "config/table.py",
                '    "sweep.weight_decay": ',
                '    "optim.noise": Field(0.0, "of gradients", least=0),\n'
                '    "sweep.weight_decay": ',
            ),
            (
                "config/table.py",
                '    "branches": ',
                '    "sweep.noise": Field((), "likewise", of=float, least=0),\n'
                '    "branches": ',
            ),
            (
                "workdir/member.py",
                "    weight_decay: float | None = None  # likewise\n",
                "    weight_decay: float | None = None  # likewise\n"
                "    noise: float | None = None\n",
            ),
            (
                "train/state.py",
                "    proximal: Proximal | None = None",
                "    noise: Any = None\n    proximal: Proximal | None = None",
            ),
            (
                "train/step.py",
                "    learning_rate = program.schedule(at)",
                "    noise = 0.0 if state.noise is None else state.noise\n"
                "    grads = jax.tree.map(lambda g: g * (1 + noise), grads)\n"
                "    learning_rate = program.schedule(at)",
            ),
        ],
        ["sweep.noise=(0.0,0.5)"],
        {"noise": 0.5, "level": 1, "branch": "ticket", "measure": "test_accuracy"},
    ),
    "another series of checkpoints": (
        2,
        [
            (
                "workdir/folder.py",
                "    @property\n    def paused(",
                "    @property\n    def masked(self) -> Series:\n"
                '        return Series(self.directory / "checkpoints" / "masked")\n\n'
                "    @property\n    def paused(",
            ),
            (
                "lottery/loop.py",
                "    # At once: a study may pause",
                "    run.workdir.save(run.workdir.masked, run.level, run.tickets)\n"
                "    # At once: a study may pause",
            ),
        ],
        [],
        {"level": 1, "branch": "ticket", "measure": "test_accuracy"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_touches_few_files(change, tmp_path):
    most, edits, fields, wanted = CHANGES[change]
    assert len({file for file, *_ in edits}) <= most
    shutil.copytree(ROOT, tmp_path / "lth_jax")
    shutil.copytree(ROOT.parent / "configs", tmp_path / "configs")
    for file, old, new in edits:
        path = tmp_path / "lth_jax" / file
        text = path.read_text()
        assert text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new))
    command = [sys.executable, "-m", "lth_jax.main", "--config=configs/digits.py:smoke"]
    command += ["--workdir=run", *(f"--config.{field}" for field in (*SHORT, *fields))]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    assert any(wanted.items() <= row.items() for row in map(json.loads, lines))
    if "series" in change:
        assert (tmp_path / "run" / "checkpoints" / "masked" / "1").is_dir()
