"""The records: rows that are appended, and what a run's numbers depend on."""

import json
import shutil
import sys
from pathlib import Path

import jax
import pytest

from lth_jax.errors import RecordsError
from lth_jax.workdir import records
from lth_jax.workdir.records import Member, Records


@pytest.fixture
def file(tmp_path):
    return Records(tmp_path / "results.jsonl")


def rows(*values):
    return [{"measure": "loss", "value": value} for value in values]


def test_rows_are_appended_in_order_one_a_line(file):
    file.add(rows(0.5, 1.0))
    file.add(row for row in rows(0.25))
    assert file.rows() == rows(0.5, 1.0, 0.25)
    assert file.path.read_text().splitlines()[2] == '{"measure": "loss", "value": 0.25}'
    assert Records(file.path).rows() == rows(0.5, 1.0, 0.25)


def test_numbers_survive_the_file_to_the_last_bit(file):
    value = 0.1 + 0.2
    file.add(rows(value, 1 / 3, 1e-30))
    assert [row["value"] for row in file.rows()] == [value, 1 / 3, 1e-30]


def test_there_is_no_file_before_the_first_row(file):
    assert file.size() == 0
    file.truncate(0)
    assert not file.path.exists()


def test_what_was_recorded_after_a_size_can_be_forgotten(file):
    file.add(rows(1.0))
    size = file.size()
    file.add(rows(2.0, 3.0))
    with file.path.open("a") as torn:
        torn.write('{"measure": "lo')
    file.truncate(size)
    assert file.rows() == rows(1.0)
    file.add(rows(4.0))
    assert file.rows() == rows(1.0, 4.0)


def test_a_line_that_was_cut_off_is_no_row(file):
    file.add(rows(1.0))
    with file.path.open("a") as torn:
        torn.write('{"measure": "loss", "value": 2')
    assert file.rows() == rows(1.0)


@pytest.mark.parametrize("line", ["{", "3", "[3]", "\\x00", ""])
def test_a_line_that_is_no_row_is_named(file, line):
    file.path.write_text(f"{json.dumps(rows(1.0)[0])}\n{line}\n")
    with pytest.raises(RecordsError, match=r"results\.jsonl, line 2, is not a row"):
        file.rows()


def test_truncating_never_lengthens(file):
    file.add(rows(1.0))
    before = file.path.read_bytes()
    file.truncate(len(before) + 10)
    assert file.path.read_bytes() == before


def test_a_row_says_which_network_and_what_was_measured():
    member = Member(replicate=1, rewind_step=500, level=3, branch="ticket", copy=2)
    row = records.row(member, density=0.512, step=30_000, measure="loss", value=0.25)
    assert json.dumps(row) == (
        '{"replicate": 1, "rewind_step": 500, "level": 3, "density": 0.512, '
        '"branch": "ticket", "copy": 2, "step": 30000, "measure": "loss", '
        '"value": 0.25}'
    )


def test_the_environment_is_json_and_names_versions_devices_and_command():
    there = json.loads(json.dumps(records.environment()))
    assert there["packages"]["jax"] == jax.__version__
    assert {"lth_jax", "jaxlib", "flax", "optax", "numpy"} <= there["packages"].keys()
    assert there["devices"] == [device.device_kind for device in jax.devices()]
    assert there["command"] == sys.argv
    assert there["processes"] == 1


def test_a_tree_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert records.environment()["git_commit"] is None


def test_the_code_is_every_module_that_may_change_a_number(tmp_path, monkeypatch):
    package = tmp_path / "lth_jax"
    shutil.copytree(Path(records.__file__).parents[1], package)
    before = records.code()
    monkeypatch.setattr(records, "__file__", str(package / "workdir" / "records.py"))
    assert records.code() == before
    for name, harmless in (
        ("main", True),
        ("report/page", True),
        ("data/order", False),
    ):
        path = package / f"{name}.py"
        path.write_text(path.read_text() + "# changed")
        assert (records.code() == before) is harmless
