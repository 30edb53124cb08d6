"""The records: rows that are appended, and what a run's numbers depend on."""

import dataclasses
import functools
import json
import linecache
import runpy
import shutil
import sys
import types

import jax
import optax
import pytest
from flax import linen as nn

from lth_jax import compare, report
from lth_jax.errors import RecordsError
from lth_jax.workdir import Member, environment, records
from lth_jax.workdir.records import Records


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


NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("where", ["value", "probe", "listed"])
def test_a_number_that_is_not_finite_is_json_and_comes_back(file, value, where):
    row = {"measure": "loss", "value": 0.5} | {where: value}
    if where == "listed":
        row["listed"] = [value, {"a": (value,)}]
    file.add([row])
    json.loads(file.path.read_text(), parse_constant=refuse)
    (value_read,) = (found["value"] for found in file.rows())
    (value_drawn,) = report.load(file.path.parent)["value"]
    assert repr(value_read) == repr(value_drawn) == repr(row["value"])


@pytest.mark.parametrize("value", NOT_FINITE)
def test_rows_of_before_are_read(file, value):
    file.path.write_text(json.dumps(rows(value)[0]) + "\n")
    assert repr(file.rows()) == repr(rows(value))


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


@pytest.mark.parametrize("line", ["{", "3", "[3]", "\\x00", "", "{}", '{"value": "a"}'])
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


def test_a_row_says_of_what_a_measure_is_where_that_needs_saying():
    member = Member(0, 0, 1, "ticket", 1, learning_rate=0.1)
    keys = {"split": "test", "pair": "copies", "other": 0, "alpha": 0.5, "probe": "a"}
    numbers = {"density": 0.8, "step": 9, "measure": "error", "value": 1.0}
    row = records.row(member, **numbers, **keys, layer=None)
    assert list(row.items())[-6:] == [("learning_rate", 0.1), *keys.items()]
    assert "layer" not in row
    assert "weight_decay" not in row
    assert records.member(row) == member


@pytest.mark.parametrize("taken", ["level", "copy", "weight_decay"])
def test_a_key_is_no_column_that_every_row_has(taken):
    numbers = {"density": 0.8, "step": 9, "measure": "mine", "value": 1.0}
    with pytest.raises(ValueError, match=f"mine: '{taken}' is a column of every row"):
        records.row(Member(0, 0, 1, "ticket", 1), **numbers, **{taken: 3})


def test_a_key_is_all_but_the_numbers():
    """Density too is a number: it follows from the network."""
    member = Member(0, 0, 1, "ticket", 1)
    numbers = {"step": 9, "measure": "error"}
    one = records.row(member, **numbers, density=0.8, value=1.0, p=0.1)
    again = records.row(member, **numbers, density=0.7, value=2.0, p=0.1)
    assert records.key(one) == records.key(again)
    others = [
        records.row(member, **numbers, density=0.8, value=1.0, p=0.2),
        records.row(member, **numbers, density=0.8, value=1.0),
        records.row(member._replace(copy=0), **numbers, density=0.8, value=1.0, p=0.1),
        records.row(member, **numbers | {"step": 8}, density=0.8, value=1.0, p=0.1),
    ]
    assert len({records.key(row) for row in [one, *others]}) == 5


def test_networks_that_diverged_are_known_with_the_step(file):
    lost = Member(1, 0, 2, "ticket", 0, weight_decay=0.1)
    for measure in (records.DIVERGED, "train_loss"):
        numbers = {"density": 1.0, "step": 7, "measure": measure, "value": 1.0}
        file.add([records.row(lost, **numbers)])
        assert file.diverged() == {lost: 7}


# -------------------------------------------------------------------- environment


def test_the_environment_is_json_and_names_versions_devices_and_command():
    there = json.loads(json.dumps(environment.environment()))
    assert there["packages"]["jax"] == jax.__version__
    assert {"lth_jax", "jaxlib", "flax", "optax", "numpy"} <= there["packages"].keys()
    assert there["devices"] == [device.device_kind for device in jax.devices()]
    assert there["command"] == sys.argv
    assert there["processes"] == 1
    assert there["code"] == environment.code()


def test_a_tree_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.environment()["git_commit"] is None


def test_the_code_is_every_module_that_may_change_a_number(tmp_path, monkeypatch):
    package = tmp_path / "lth_jax"
    shutil.copytree(environment._root(), package)
    before = environment.code()
    monkeypatch.setattr(environment, "_root", lambda: package)
    assert environment.code() == before
    for name, harmless in (
        ("main", True),
        ("job", True),
        ("report/page", True),
        ("data/order", False),
        ("config/table", False),
        ("branches", False),
    ):
        path = package / f"{name}.py"
        path.write_text(path.read_text() + "# changed")
        named = [] if harmless else [f"lth_jax/{name}.py"]
        assert compare.changed(before, environment.code()) == named
        before = environment.code()
    (package / "masks.py").rename(package / "mask.py")
    differ = compare.changed(before, environment.code())
    assert differ == ["lth_jax/mask.py", "lth_jax/masks.py"]


def test_nothing_is_known_to_be_the_same_as_code_of_an_older_version():
    now = environment.code()
    for before in (None, "0123abcd", {}):
        assert compare.changed(before, now) == sorted(now)


def own(*objects):
    """The code of what a user wrote, besides the package's."""
    package = environment.code()
    found = environment.code(objects)
    assert found.items() >= package.items()
    return {name: found[name] for name in found.keys() - package.keys()}


@pytest.fixture
def mine(tmp_path):
    """Write a file of a user's own, and return what it defines."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return types.SimpleNamespace(**runpy.run_path(str(path)), path=path)

    return write


WRITTEN = """
import functools
import jax
from flax import linen as nn

def plain(run): return []

@functools.wraps(len)
def wrapped(x): return 0

compiled = jax.jit(lambda x: x)
partly = functools.partial(plain, 3)
listed = [plain]

def closed():
    def inner(run): return plain
    return inner

class Model(nn.Module):
    @nn.compact
    def __call__(self, x, train): return x

class Called:
    def __call__(self): return 0

    def method(self): return 0

closing, called, method = closed(), Called(), Called().method
"""


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "wrapped",
        "compiled",
        "partly",
        "listed",
        "closing",
        "Model",
        "called",
        "method",
    ],
)
def test_what_a_user_wrote_counts_with_its_file(mine, name):
    written = getattr(mine(WRITTEN), name)
    before = own(written)
    assert list(before) == ["mine.py"]
    assert own(written, written, len, optax.sgd, nn.Dense) == before
    mine(WRITTEN + "# another comment")
    assert compare.changed(before, own(written)) == ["mine.py"]


def test_the_package_and_what_is_installed_are_nobodys_own():
    assert (
        own(environment.code, optax.sgd, nn.Dense, json.dumps, jax.jit, 3, None) == {}
    )


@pytest.mark.parametrize("file", ["<string>", "<@beartype(mine.f) at 0x7f>", "<stdin>"])
def test_generated_code_is_nobodys_own_whether_its_source_is_known_or_not(file):
    text = "def generated(x): return x"
    space = {}
    exec(compile(text, file, "exec"), space)
    linecache.cache[file] = (len(text), None, [text], file)
    try:
        assert own(space["generated"]) == {}
    finally:
        del linecache.cache[file]


def test_the_code_of_a_notebooks_cell_is_ones_own():
    text, file, space = "def cell(x): return x", "<ipython-input-1-0f>", {}
    exec(compile(text, file, "exec"), space)
    linecache.cache[file] = (len(text), None, [text], file)
    try:
        assert set(own(space["cell"])) == {"cell"}
    finally:
        del linecache.cache[file]


def test_so_do_the_modules_beside_it(mine, tmp_path, monkeypatch):
    """Those that are imported: what a function calls stands in one of them."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside_mine.py").write_text("FACTOR = 2\n")
    (tmp_path / "never_imported.py").write_text("")
    written = mine("import beside_mine\ndef change(x): return x * beside_mine.FACTOR")
    before = own(written.change)
    monkeypatch.delitem(sys.modules, "beside_mine")
    assert set(before) == {"mine.py", "beside_mine.py"}
    sys.modules["beside_mine"] = types.SimpleNamespace(
        __file__=str(tmp_path / "beside_mine.py")
    )
    (tmp_path / "beside_mine.py").write_text("FACTOR = 3\n")
    assert compare.changed(before, own(written.change)) == ["beside_mine.py"]


def test_files_of_one_name_both_count(mine):
    text = "def change(x): return x"
    one, other = mine(text, "a/mine.py"), mine(text, "b/mine.py")
    before = own(one.change, other.change)
    assert before == own(other.change, one.change)
    for written in ("a/mine.py", "b/mine.py"):
        mine(text + "  # changed", written)
        assert compare.changed(before, own(one.change, other.change)) == ["mine.py"]
        mine(text, written)


def define(text, cell):
    """Define a function as a notebook does: its source is in no file."""
    name, space = f"/tmp/ipykernel_1/{cell}.py", {}
    lines = text.splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    exec(compile(text, name, "exec"), space)
    return space["change"]


def test_a_function_of_a_notebook_counts_with_its_source():
    """Whatever the number of the cell."""
    text = "def change(x):\n    return x + 1\n\ndef other(x):\n    return x\n"
    before = own(define(text, 1))
    assert list(before) == ["change"]
    assert own(define(text.replace("other", "another"), 2)) == before
    changed = own(functools.partial(define(text.replace("1", "2"), 3), 0))
    assert compare.changed(before, changed) == ["change"]


def test_generated_code_is_nobodys_own(monkeypatch):
    """Though `python -c`, of the same name, has a source in Python 3.13."""
    lines = ["def __init__(self): pass\n"]
    monkeypatch.setitem(linecache.cache, "<string>", (25, None, lines, "<string>"))
    assert own(dataclasses.make_dataclass("State", ["step"]).__init__) == {}
