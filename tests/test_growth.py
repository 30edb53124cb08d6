"""Growth, where it is cut off when the new replicates are in."""

import json
import shutil

import pytest

from lth_jax import config as config_lib
from lth_jax import lottery
from lth_jax.errors import ConfigError, Diverged
from lth_jax.lottery import loop
from lth_jax.workdir import Workdir, growth, identity


@pytest.fixture
def grown(tmp_path):
    """The folders of two runs, without networks: replicates 3 and 4, and 5."""
    here, more = (Workdir(tmp_path / name) for name in ("run", "run/more"))
    for run, first, number in ((here, 3, 2), (more, 5, 1)):
        (run.directory / "checkpoints").mkdir(parents=True)
        written = {"first_replicate": first, "replicates": number}
        (run.directory / "config.json").write_text(json.dumps(written))
    return here, more


def whole():
    config = config_lib.default()
    config.first_replicate, config.replicates = 3, 3
    return config


def stop(*_):
    raise KeyboardInterrupt


def part_removed(folder):
    """Remove a folder's config, and come no further."""
    (folder / "config.json").unlink()
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name", "cut"),
    [
        (identity, "write", stop),
        (shutil, "rmtree", stop),
        (shutil, "rmtree", part_removed),
    ],
)
def test_replicates_that_are_in_are_not_trained_again(
    owner, name, cut, grown, monkeypatch
):
    here, more = grown
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, cut)
        growth.take_in(here, more, whole())
    assert not more.directory.exists()
    assert growth.apart(here, whole()) == []
    assert json.loads((here.directory / "config.json").read_text()) == {
        "first_replicate": 3,
        "replicates": 3,
    }
    assert not [*here.directory.glob("more*")]


def test_replicates_that_are_not_in_stay_where_they_are(grown):
    here, more = grown
    before, new = growth.apart(here, whole())
    assert (before.first_replicate, before.replicates) == (3, 2)
    assert (new.first_replicate, new.replicates) == (5, 1)
    assert more.directory.exists()


def test_replicates_that_all_diverge_are_taken_in_too(tmp_path, monkeypatch):
    """The run gets the rows that say so; other errors of a part are the run's."""
    taken, lost = [], [True]

    def run(*_, **__):
        raise Diverged("all")

    monkeypatch.setattr(loop, "run", run)
    parts = [config_lib.default()] * 2
    monkeypatch.setattr(growth, "apart", lambda *_: parts)
    monkeypatch.setattr(growth, "take_in", lambda *of: taken.append(of))
    monkeypatch.setattr(growth, "is_lost", lambda workdir: lost[0])
    here = Workdir(tmp_path)
    loop.grow(config_lib.default(), here, False)
    assert len(taken) == 1
    lost[0] = False
    with pytest.raises(Diverged):
        loop.grow(config_lib.default(), here, False)


def test_a_folder_into_which_one_cannot_look_is_a_line(tmp_path):
    with pytest.raises(ConfigError, match=r"^--workdir: .*name too long"):
        lottery.run(config_lib.default(), tmp_path / ("a" * 300))
