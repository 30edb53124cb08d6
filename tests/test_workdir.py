"""The folder of a run: whose it is, and from where a run goes on in it."""

import dataclasses
import functools
import json
import linecache
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import compare, models, settings
from lth_jax import config as config_lib
from lth_jax.config.table import FIELDS
from lth_jax.devices import processes
from lth_jax.errors import CheckpointError, ConfigError
from lth_jax.optim import optimizers as optim
from lth_jax.train import state
from lth_jax.workdir import Member, Workdir, environment, identity


def config(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return made.lock()


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "runs" / "one")


@functools.cache
def network():
    lenet = models.create("lenet", num_classes=2, widths=(3,))
    sgd = optim.optimizer("sgd", 0.1, None)
    return state.create(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), lenet, sgd)


def fleet(step, level=1):
    return {
        Member(replicate, 0, level, "ticket", 0): dataclasses.replace(
            network(), step=jnp.int32(step + replicate)
        )
        for replicate in range(2)
    }


def steps(fleet):
    return [int(network.step) for network in fleet.values()]


def measured(workdir, value, level=0):
    workdir.records.add([{"level": level, "value": value}])


def begin(workdir, config, *others, **options):
    identity.begin(workdir.directory, config, *others, **options)


def go_on(workdir):
    """In a run of dense networks saved at steps 0 and 20, and of two levels."""
    workdir.recover([0, 20], 2)


def values(workdir):
    return [row["value"] for row in workdir.records.rows()]


def test_a_new_folder_says_what_the_run_is(workdir):
    begin(workdir, config(**{"train.length": "5it"}))
    written = json.loads((workdir.directory / "config.json").read_text())
    assert written["train"]["length"] == "5it"
    assert written["branches"] == ["ticket", "random_reinit", "shuffled_mask"]
    environment = json.loads((workdir.directory / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__


def test_the_same_config_goes_on_and_leaves_the_environment_alone(workdir):
    begin(workdir, config())
    before = (workdir.directory / "environment.json").stat().st_mtime_ns
    begin(workdir, config())
    assert (workdir.directory / "environment.json").stat().st_mtime_ns == before


def test_another_config_is_refused_naming_what_differs_with_both_values(workdir):
    begin(workdir, config())
    measured(workdir, 1.0)
    other = config(
        **{"replicates": 5, "train.length": "3it", "prune.densities": (0.5,)}
    )
    message = re.escape(
        f"--workdir: {workdir.directory} was made by another config "
        "(config.prune.densities: [] there, [0.5] here; "
        "config.replicates: 3 there, 5 here; "
        "config.train.length: '10ep' there, '3it' here)"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        begin(workdir, other)
    assert values(workdir) == [1.0]


def test_fields_that_only_one_config_has_are_named_too(workdir):
    begin(workdir, config())
    changed = config_lib.default()
    changed.model.options = {"widths": (3,)}
    with pytest.raises(ConfigError, match=r"model\.options.widths: None there, \[3\]"):
        begin(workdir, changed.lock())


NOTHING = {"data.dir", "data.stream.corrupt", "data.stream.workers"}
NOTHING |= {"train.checkpoint_minutes"}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_of_another_run_or_says_that_it_is_not(name, workdir, capsys):
    begin(workdir, config())
    value = config_lib.flatten(config())[name]
    if isinstance(value, bool):
        other = not value
    elif isinstance(value, int | float):
        other = value + 1
    else:
        other = {str: "other", list: (*value, 1), dict: {"a": 1}}[type(value)]
    if name in NOTHING | {"train.devices", "train.members", "train.way"}:
        begin(workdir, config(**{name: other}))
        warned = name not in NOTHING
        assert f"config.{name} {value} before" * warned in capsys.readouterr().err
    else:
        changed = config_lib.default()
        with changed.unlocked():
            changed.update_from_flattened_dict({name: other})
        with pytest.raises(ConfigError, match=rf"another config \(config\.{name}"):
            begin(workdir, changed)


def test_devices_that_share_a_batch_are_of_the_run(workdir):
    begin(workdir, config(**{"train.layout": "data"}))
    begin(workdir, config(**{"train.layout": "data", "train.members": 1}))
    begin(workdir, config(**{"train.layout": "data", "train.devices": 2}))
    with pytest.raises(ConfigError, match=r"config\.train\.devices: 2 there, 1 here"):
        begin(workdir, config(**{"train.layout": "data", "train.devices": 1}))
    edit(workdir, "devices", ["cpu"] * 8)
    with pytest.raises(ConfigError, match=r"config\.train\.devices: 8 there, 2 here"):
        begin(workdir, config(**{"train.layout": "data"}))


def test_another_data_set_is_refused(workdir):
    data = {"examples": {"train": 4}, "sha256": "ab"}
    begin(workdir, config(), data)
    begin(workdir, config(), data)
    said = r"another data set \(data\.sha256: 'ab' there, 'cd' here\)$"
    with pytest.raises(ConfigError, match=said):
        begin(workdir, config(), data | {"sha256": "cd"})


def environment_of(workdir):
    path = workdir.directory / "environment.json"
    return json.loads(path.read_text())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, to be changed."""
    copied = tmp_path / "lth_jax"
    shutil.copytree(environment._root(), copied)
    monkeypatch.setattr(environment, "_root", lambda: copied)
    return copied


def comment(path):
    with path.open("a") as file:
        file.write("# a comment\n")


def test_other_code_is_refused_naming_its_files(workdir, package, capsys):
    begin(workdir, config())
    before = environment_of(workdir)
    comment(package / "main.py")  # no number depends on it
    begin(workdir, config())
    comment(package / "prune.py")
    comment(package / "data" / "order.py")
    with pytest.raises(ConfigError) as caught:
        begin(workdir, config())
    assert str(caught.value) == (
        f"--workdir: {workdir.directory} was made by other code: lth_jax/data/order.py,"
        " lth_jax/prune.py differ; go back to that code or, if no number depends on "
        "the change, add --accept_code_change"
    )
    assert environment_of(workdir) == before
    assert capsys.readouterr().err == ""


def test_other_code_that_is_accepted_is_recorded_and_goes_on(workdir, package, capsys):
    begin(workdir, config())
    before = environment_of(workdir)
    for name in ("prune", "masks"):
        comment(package / f"{name}.py")
        begin(workdir, config(), accept_code_change=True)
        (warning,) = capsys.readouterr().err.splitlines()
        assert warning == (
            f"warning: {workdir.directory} was made by other code: lth_jax/{name}.py "
            "differ, which is accepted"
        )
    begin(workdir, config())  # of what was accepted nothing is said again
    begin(workdir, config(), accept_code_change=True)
    assert capsys.readouterr().err == ""
    now = environment_of(workdir)
    commit = before["git_commit"]
    assert now.pop("accepted_code_changes") == [
        {"files": [f"lth_jax/{name}.py"], "git_commit": commit}
        for name in ("prune", "masks")
    ]
    assert now.pop("code") == environment.code() != before.pop("code")
    assert now == before  # the machine and the command are those that began


def test_code_of_a_users_own_is_part_of_the_run(workdir, tmp_path, capsys):
    path = tmp_path / "own.py"

    def go(text, **options):
        path.write_text(text)
        own = runpy.run_path(str(path))["get_study"]
        begin(workdir, config(), {}, {}, [own, len, [own]], **options)

    text = "def get_study(run):\n    yield\n"
    go(text)
    go(text)
    with pytest.raises(ConfigError, match=r"by other code: own\.py differ; go back"):
        go(text + "    yield\n")
    go(text + "    yield\n", accept_code_change=True)
    assert "own.py differ, which is accepted" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"by other code: own\.py differ"):
        begin(workdir, config())  # without it, the run is another one


def test_what_trains_imports_nothing_that_may_change():
    """But for paths of files."""
    rooms = "train optim models layers tasks data masks prune scores rewind movers"
    for room in rooms.split():
        here = Path(environment.__file__).parents[1] / room
        for path in here.rglob("*.py") if here.is_dir() else [here.with_suffix(".py")]:
            text = path.read_text()
            found = {*re.findall(r"from lth_jax(?:\.| import )(\w+)", text)}
            assert found & {*environment.HARMLESS} <= {"paths"}, path


def test_so_is_code_that_it_imports_or_calls_by_name(tmp_path, monkeypatch):
    """Modules of modules, in other folders, and what stands in a notebook's cells."""
    files = {
        "net.py": "import helper\n\ndef network():\n    return helper.act(1)\n",
        "helper.py": "from sub import other\n\ndef act(x):\n    return other.f(x)\n",
        "sub/other.py": "def f(x):\n    return x\n",
        "sub/__init__.py": "",
    }
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    own = runpy.run_path(str(tmp_path / "net.py"))["network"]
    found = environment.code([own]).keys() - environment.code().keys()
    for name in ("helper", "sub.other", "sub"):
        sys.modules.pop(name)
    assert {"net.py", "helper.py", "other.py"} <= found

    def cells(*sources):
        space = {"__name__": "__main__"}
        for i, source in enumerate(sources):
            name = f"<ipython-input-{i}-{abs(hash(source))}>"
            lines = source.splitlines(keepends=True)
            linecache.cache[name] = (len(source), None, lines, name)
            exec(compile(source, name, "exec"), space)
        return environment.code([space["Net"]])

    block = "class Block:\n    def call(self, x):\n        return {}\n"
    net = "class Net:\n    def call(self, x):\n        return [Block() for _ in x]\n"
    one, same, other = (cells(block.format(x), net) for x in ("x", "x", "-x"))
    assert one == same
    assert compare.changed(one, other) == ["Block.call"]


def test_a_folder_of_an_older_version_is_other_code(workdir):
    begin(workdir, config())
    edit(workdir, "code", "0123abcd")  # was one checksum of all files
    with pytest.raises(
        ConfigError, match="was made by other code: lth_jax/__init__.py"
    ):
        begin(workdir, config())


@pytest.mark.parametrize("late", [1, 2])
def test_a_level_that_is_there_gets_no_branch_later(workdir, late):
    """Of one replicate, where the ticket alone was trained at level 1."""

    def training(level, branch):
        return [[0, 0, level, branch, 0, None, None], 0, 5]

    begun = [training(0, "dense"), training(1, "ticket")]
    grown = [*begun, training(late, "random_reinit")]
    begin(workdir, config(), {}, {"trainings": begun})
    other = config(branch_levels=(0, late))
    if late > 1:
        begin(workdir, other, {}, {"trainings": grown})
    else:
        with pytest.raises(ConfigError, match="another config .*branch_levels"):
            begin(workdir, other, {}, {"trainings": grown})


def test_the_plan_is_written_where_the_run_is(workdir):
    begin(workdir, config(), {}, {"length": 5, "trainings": []})
    path = workdir.directory / "plan.json"
    assert identity.read(path) == {"length": 5, "trainings": []}
    before = path.stat().st_mtime_ns
    begin(workdir, config(), {}, {"length": 5, "trainings": []})
    assert path.stat().st_mtime_ns == before


def edit(workdir, name, value):
    path = workdir.directory / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


def test_other_versions_are_accepted_with_a_warning(workdir, capsys):
    begin(workdir, config())
    edit(workdir, "devices", ["abacus"])
    begin(workdir, config())
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: devices ['abacus'] before, ['cpu', 'cpu'] now")


@pytest.mark.parametrize("name", settings.DRAWS)
def test_a_setting_that_changes_what_is_drawn_is_refused(name, workdir):
    begin(workdir, config())
    settings = environment_of(workdir)["jax"]
    edit(workdir, "jax", settings | {name: "other"})
    now = re.escape(repr(settings[name]))
    said = rf"another setting of JAX \(jax_{name}: 'other' there, {now} here\)$"
    with pytest.raises(ConfigError, match=said):
        begin(workdir, config())


@pytest.mark.parametrize("name", settings.DIGITS)
def test_a_setting_that_changes_last_digits_is_accepted_with_a_warning(
    name, workdir, capsys
):
    begin(workdir, config())
    edit(workdir, "jax", environment_of(workdir)["jax"] | {name: "other"})
    begin(workdir, config())
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: jax_{name} other before, ")


def test_a_folder_that_does_not_know_of_settings_goes_on(workdir, capsys):
    begin(workdir, config())
    path = workdir.directory / "environment.json"
    known = environment_of(workdir)
    del known["jax"]
    path.write_text(json.dumps(known))
    begin(workdir, config())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("content", ["", "{", "[3]", "\0"])
def test_a_file_that_is_damaged_is_named(workdir, name, content):
    begin(workdir, config())
    (workdir.directory / name).write_text(content)
    with pytest.raises(ConfigError, match=f"^--workdir: .*{name} cannot be read"):
        begin(workdir, config())


def test_a_second_run_is_refused_until_the_first_one_is_done(workdir):
    said = (
        f"^--workdir: process {os.getpid()} is at work in .*{workdir.directory.name}$"
    )
    with (
        identity.lock(workdir.directory),
        pytest.raises(ConfigError, match=said),
        identity.lock(workdir.directory),
    ):
        pass
    with identity.lock(workdir.directory):
        pass


HOLD = """
import sys
from pathlib import Path
from lth_jax.workdir import identity
with identity.lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_dead_process_keeps_nobody_out(workdir):
    command = [sys.executable, "-c", HOLD, str(workdir.directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        said = f"process {other.pid} is at work"
        with pytest.raises(ConfigError, match=said), identity.lock(workdir.directory):
            pass
        other.kill()
        other.wait()
        with identity.lock(workdir.directory):
            pass


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    below = Workdir(tmp_path / "file" / "run")
    with (
        pytest.raises(ConfigError, match="^--workdir: .*Not a directory"),
        identity.lock(below.directory),
    ):
        pass


@pytest.fixture
def begun(workdir):
    """A run whose second level is on its way."""
    begin(workdir, config())
    for series, number, level in (
        (workdir.dense, 0, 0),
        (workdir.dense, 20, 0),
        (workdir.levels, 0, 0),
        (workdir.levels, 1, 1),
    ):
        if number:
            measured(workdir, float(number), level)
        workdir.finish(series, number, fleet(0))
    for step in (3, 4):
        measured(workdir, 2 + step / 10, level=2)
        workdir.pause(fleet(step, level=2))
    workdir.paused.wait()
    return workdir


def test_what_no_checkpoint_knows_of_is_forgotten(begun):
    measured(begun, 9.0, level=2)
    with begun.records.path.open("a") as file:
        file.write('{"value": 3')
    go_on(begun)
    assert values(begun) == [20.0, 1.0, 2.3, 2.4]


def test_without_pauses_a_level_begins_anew(begun):
    begun.paused.clear()
    go_on(begun)
    assert values(begun) == [20.0, 1.0]


def harm(series, number):
    """Cut off the largest file of a checkpoint."""
    found = (series.directory / str(number)).rglob("*")
    path = max(found, key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-100])


def test_a_damaged_pause_is_named_and_the_one_before_it_counts(begun, capsys):
    harm(begun.paused, 2)
    go_on(begun)
    assert values(begun) == [20.0, 1.0, 2.3]
    assert steps(begun.resume(fleet(0, level=2))) == [3, 4]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {begun.paused.directory / '2'} cannot be read")
    harm(begun.paused, 1)
    go_on(begun)
    assert values(begun) == [20.0, 1.0]
    assert steps(begun.resume(fleet(0, level=2))) == [0, 1]
    assert f"{begun.paused.directory / '1'} " in capsys.readouterr().err


def test_a_pause_before_the_last_one_may_be_damaged(begun):
    description = begun.paused.directory / "1" / "about" / "metadata"
    description.write_text("{")
    go_on(begun)
    assert values(begun) == [20.0, 1.0, 2.3, 2.4]


@pytest.mark.parametrize(("series", "number"), [("dense", 20), ("levels", 1)])
def test_other_damage_is_an_error_that_changes_nothing(begun, series, number):
    measured(begun, 9.0, level=2)
    rows = begun.records.rows()
    harm(getattr(begun, series), number)
    with pytest.raises(CheckpointError, match=f"{series}/{number} cannot be read"):
        go_on(begun)
    assert begun.records.rows() == rows


@pytest.mark.parametrize(
    ("series", "number"), [("dense", 0), ("dense", 20), ("levels", 0), ("levels", 1)]
)
def test_what_is_missing_is_not_made_again_in_silence(begun, series, number):
    rows = begun.records.rows()
    getattr(begun, series).remove(number)
    begun.paused.clear()
    with pytest.raises(CheckpointError, match=f"{series}/{number} is missing"):
        go_on(begun)
    assert begun.records.rows() == rows


def test_rows_without_any_checkpoint_are_not_thrown_away(begun):
    for series in (begun.dense, begun.levels, begun.paused):
        series.clear()
    with pytest.raises(CheckpointError, match="dense/0 is missing"):
        go_on(begun)


def test_rows_that_are_gone_are_missed(begun):
    begun.records.truncate(begun.records.size() - 1)
    with pytest.raises(CheckpointError, match=r"results\.jsonl has \d+ bytes, and its"):
        go_on(begun)


def test_networks_come_back_with_their_names(workdir):
    saved = {
        Member(1, 5, 2, "ticket", 0, learning_rate=0.1): network(),
        Member(0, 5, 2, "dense", 1, weight_decay=1e-4): network(),
    }
    workdir.save(workdir.levels, 2, saved)
    loaded = workdir.load(workdir.levels, 2, jax.eval_shape(network))
    assert list(loaded) == list(saved)
    assert all(isinstance(member, Member) for member in loaded)
    for member in saved:
        jax.tree.map(np.testing.assert_array_equal, loaded[member], saved[member])


def test_networks_go_on_from_their_last_pause(workdir):
    assert steps(workdir.resume(fleet(0))) == [0, 1]
    for step in (4, 5, 6):
        workdir.pause(fleet(step))
    workdir.paused.wait()
    resumed = workdir.resume(fleet(0))
    assert list(resumed) == list(fleet(0))
    assert steps(resumed) == [6, 7]
    for was, now in zip(fleet(6).values(), resumed.values()):
        jax.tree.map(np.testing.assert_array_equal, was, now)


def test_a_pause_of_others_is_none_of_their_business(workdir):
    workdir.pause(fleet(4, level=1))
    workdir.paused.wait()
    assert steps(workdir.resume(fleet(0, level=2))) == [0, 1]
    assert workdir.resume({}) == {}


def test_nobody_goes_back_to_a_pause(workdir):
    """A run may be killed after its networks are saved, before pauses are forgotten."""
    workdir.pause(fleet(4))
    workdir.paused.wait()
    assert steps(workdir.resume(fleet(9))) == [9, 10]


def test_pauses_are_forgotten_when_the_level_is_done(workdir):
    workdir.pause(fleet(4))
    workdir.finish(workdir.levels, 1, fleet(9))
    assert workdir.paused.numbers() == []
    assert workdir.levels.numbers() == [1]


@pytest.mark.parametrize(
    "work",
    [
        lambda run: run.finish(run.levels, 2, fleet(9, level=2)),
        lambda run: run.pause(fleet(5, level=2)),
        lambda run: run.resume(fleet(0, level=2)),
        lambda run: run.recover([0, 20], 2),
        lambda run: run.records.add([]),
    ],
    ids=["finish", "pause", "resume", "recover", "add"],
)
def test_processes_meet_as_often_whatever_they_find(work, begun, monkeypatch):
    """The first one changes the folder while others list it."""
    meetings = []
    monkeypatch.setattr(processes, "by_first", meetings.append)
    monkeypatch.setattr(processes, "is_first", lambda: False)
    work(begun)
    early, meetings[:] = len(meetings), []
    for number in begun.paused.numbers():
        begun.paused.remove(number)
    work(begun)
    assert early == len(meetings) > 0


def test_a_level_of_which_nothing_is_left_is_done_too(begun):
    """It is saved as one without networks, and not trained again."""
    begun.finish(begun.levels, 2, {})
    go_on(begun)
    assert begun.levels.numbers() == [0, 1, 2]
    assert begun.paused.numbers() == []
    assert begun.members(begun.levels, 2) == []
    assert begun.load(begun.levels, 2, jax.eval_shape(network)) == {}
    assert values(begun) == [20.0, 1.0, 2.3, 2.4]


def test_what_is_to_come_is_said(begun):
    assert begun.to_come([0, 20], 4) == "levels 2 to 4"
    assert begun.to_come([0, 20], 2) == "level 2"
    assert begun.to_come([0, 20], 1) == ""
    begun.finish(begun.levels, 2, {})
    assert begun.to_come([0, 20], 4) == ""
    for level in (2, 1, 0):
        begun.levels.remove(level)
    assert begun.to_come([0, 5, 20, 30], 4) == (
        "dense networks at step 5, 30 and levels 0 to 4"
    )


def test_a_pause_without_networks_is_nobodys(workdir):
    workdir.pause({})
    workdir.paused.wait()
    assert steps(workdir.resume(fleet(0))) == [0, 1]


# --------------------------------------------------------------------- members


def test_a_dense_network_has_one_name():
    copy = Member(2, 5, 0, "dense", 3, learning_rate=0.1)
    branch = Member(2, 5, 4, "random_reinit", 1, learning_rate=0.1)
    dense = Member(2, 0, 0, "dense", 0, learning_rate=0.1)
    assert branch.dense == copy.dense == dense.dense == dense
    assert branch.setting == (0.1, None)


def test_a_level_is_about_its_ticket_and_comes_after_another():
    branch = Member(2, 5, 2, "random_reinit", 1)
    ticket = Member(2, 5, 2, "ticket", 0)
    assert branch.ticket == ticket.ticket == ticket
    assert branch.previous == Member(2, 5, 1, "ticket", 0)
    assert branch.previous.previous == ticket.dense  # of all rewind steps
    assert Member(2, 5, 0, "dense", 1).ticket == ticket.dense
    found = [member.is_ticket for member in (branch, ticket, ticket.dense)]
    assert found == [False, True, True]


def test_a_network_is_named_in_words():
    member = Member(2, 5, 1, "ticket", 0, weight_decay=0.1)
    assert str(member) == (
        "replicate 2, rewind_step 5, level 1, branch ticket, copy 0, weight_decay 0.1"
    )
