"""Every row of a run is in a tracker once, whatever is interrupted."""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from lth_jax import export
from lth_jax.errors import RunError
from lth_jax.track import feed, names
from lth_jax.track.__main__ import main
from lth_jax.track.tracker import State
from lth_jax.workdir import Workdir

ROOT = Path(__file__).parents[1]
ROW = {"replicate": 0, "rewind_step": 2, "level": 1, "density": 0.8}
ROW |= {"branch": "ticket", "copy": 0}


def made(number):
    """Rows as a run has them, of some networks, steps and columns."""
    return [
        ROW
        | {"replicate": i % 3, "branch": ("ticket", "a+b")[i % 2], "step": i // 6}
        | {"measure": "error", "value": i / 7, "alpha": 0.25, "layer": "fc1/kernel"}
        for i in range(number)
    ]


@pytest.fixture
def workdir(tmp_path):
    """The folder of a run with 60 rows, without networks; its page is there."""
    folder = tmp_path / "run"
    (folder / "report").mkdir(parents=True)
    (folder / "config.json").write_text('{"seed": 3, "optim": {"name": "sgd"}}')
    write(folder, made(60))
    (folder / "report" / "index.html").write_text("a page")
    return folder


def write(folder, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "results.jsonl").write_text(lines)
    os.utime(folder / "results.jsonl", (0, 0))  # the page is of these


def points(rows):
    """What of a row a tracker has."""
    return Counter((names.key(row), row["step"], row["value"]) for row in rows)


# ------------------------------------------------------------------------- names


def test_no_two_rows_of_a_step_have_one_name():
    strange = [{"branch": "a+b"}, {"branch": "a_b"}, {"branch": "../.."}]
    strange += [{"layer": "fc1/kernel"}, {"layer": "fc1_kernel"}, {"layer": 200 * "x"}]
    strange += [{"layer": 200 * "x" + "/y"}, {"alpha": 0.5}, {"p": 0.5}, {"copy": 1}]
    rows = [ROW | {"step": 1, "measure": "error", "value": 0.0} | x for x in strange]
    found = {names.key(row) for row in rows}
    assert len(found) == len(rows)
    assert all(len(name) <= 250 and not name.startswith(".") for name in found)


# ------------------------------------------------------- a tracker in this process


class Memory:
    """A tracker that remembers, and is not told when the process dies."""

    look, forgets = "here", False
    runs = {}

    def __init__(self, workdir, state, config):
        self.state, self.config = state, config
        self.run = self.runs.setdefault(state.id, [])

    def there(self, rows):
        return len(self.run)

    def write(self, rows, first):
        assert first == len(self.run)
        self.run += rows

    def keep(self, kind, files):
        self.runs.setdefault("files", []).append((kind, [x.name for x in files]))

    def close(self):
        self.run = None


@pytest.fixture
def memory(monkeypatch):
    from lth_jax.track import to_tensorboard

    monkeypatch.setattr(to_tensorboard, "Tensorboard", Memory)
    monkeypatch.setattr(Memory, "runs", {})
    monkeypatch.setattr(feed, "_BATCH", 7)
    return Memory.runs


def track(workdir):
    return feed.track(workdir, "tensorboard")


def test_rows_come_once_and_those_that_are_new(workdir, memory):
    assert track(workdir) == track(workdir) == 60
    write(workdir, made(75))
    assert track(workdir) == 75
    files = memory.pop("files")
    ((_, rows),) = memory.items()
    assert rows == made(75)
    assert files[0] == ("report", ["index.html"])


@pytest.mark.parametrize("kept", ["nothing", "a batch that is not written down"])
def test_a_process_that_died_lost_nothing_and_tells_nothing_twice(
    workdir, memory, monkeypatch, kept
):
    tell = Memory.write

    def die(self, rows, first):
        if first >= 21:
            if kept != "nothing":
                tell(self, rows[:3], first)
            raise KeyboardInterrupt
        tell(self, rows, first)

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "write", die)
        patch.setattr(feed, "_keep", lambda *_: None)
        track(workdir)
    assert [len(rows) for rows in memory.values()] == [21 + 3 * (kept != "nothing")]
    assert track(workdir) == 60
    del memory["files"]
    assert [*memory.values()] == [made(60)]


def test_a_run_that_is_cut_off_is_waited_for(workdir, memory):
    track(workdir)
    write(workdir, made(40))
    track(workdir)
    write(workdir, made(70))
    track(workdir)
    del memory["files"]
    assert [*memory.values()] == [made(70)]


def test_other_rows_are_a_new_run(workdir, memory, capsys):
    track(workdir)
    other = [row | {"value": 2.0} for row in made(60)]
    write(workdir, other)
    track(workdir)
    assert "rows are not what they were" in capsys.readouterr().out
    del memory["files"]
    assert [*memory.values()] == [made(60), other]


def test_mistakes_are_one_line(workdir, memory, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match="^error: .*: no run has begun there$"):
        main([str(tmp_path), "--to=tensorboard"])

    def fail(self, rows, first):
        raise ZeroDivisionError("of\ntheirs")

    monkeypatch.setattr(Memory, "write", fail)
    with pytest.raises(RunError, match="^--to=tensorboard: of theirs$"):
        track(workdir)


class Offline:
    """What wandb is offline: a folder a session, with the rows that it was told."""

    def __init__(self, folder):
        self.folder = folder

    def Settings(self, **_):
        """What is said of it is not heard."""

    def Artifact(self, *_, **__):
        return SimpleNamespace(add_file=lambda _: None)

    def init(self, **how):
        (self.folder / f"{len([*self.folder.iterdir()])}" / "files").mkdir(parents=True)
        newest = max(self.folder.iterdir(), key=lambda x: int(x.name))
        rows, kept = newest / "rows", newest / "kept"

        def log(row, step):
            with rows.open("a") as file:
                file.write(json.dumps([step, row]) + "\n")

        return SimpleNamespace(
            offline=True,
            dir=str(newest / "files"),
            id=how["id"],
            define_metric=lambda *_, **__: None,
            log=log,
            log_artifact=lambda artifact: kept.write_text("all"),
            finish=lambda: None,
        )


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_offline_a_session_that_ended_within_a_batch_is_thrown_away(
    error, workdir, tmp_path, monkeypatch
):
    from lth_jax.track.to_wandb import Wandb

    (tmp_path / "wandb").mkdir()
    tell = Wandb.write
    monkeypatch.setitem(sys.modules, "wandb", Offline(tmp_path / "wandb"))
    monkeypatch.setattr(feed, "_BATCH", 7)

    def end(self, rows, first):
        tell(self, rows[:3] if first >= 21 else rows, first)
        if first >= 21:
            raise error

    with monkeypatch.context() as patch, contextlib.suppress(RunError):
        patch.setattr(Wandb, "write", end)
        feed.track(workdir, "wandb")
    assert feed.track(workdir, "wandb") == 60
    assert feed.track(workdir, "wandb") == 60
    told = [
        json.loads(line)
        for path in (tmp_path / "wandb").glob("*/rows")
        for line in path.read_text().splitlines()
    ]
    assert sorted(step for step, _ in told) == [*range(60)]
    assert len([*(tmp_path / "wandb").glob("*/kept")]) == 1


@pytest.mark.parametrize("where", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"])
def test_what_is_elsewhere_is_not_counted_here(where, tmp_path, monkeypatch):
    from lth_jax.track.to_trackio import Trackio

    here = SimpleNamespace(get_log_count=lambda *_: 5)
    fake = SimpleNamespace(Artifact=None, finish=None, init=lambda *_, **__: None)
    fake.sqlite_storage = SimpleNamespace(SQLiteStorage=here)
    monkeypatch.setitem(sys.modules, "trackio", fake)
    state = State(tmp_path / "state.json", rows=40)
    assert Trackio(tmp_path, state, {}).there([]) == 5
    monkeypatch.setenv(where, "someone/there")
    assert Trackio(tmp_path, state, {}).there([]) == 40


def test_a_ticket_is_written_whole_or_not_at_all(workdir, monkeypatch):
    (workdir / "checkpoints" / "levels" / "1").mkdir(parents=True)
    monkeypatch.setattr(Workdir, "members", lambda *_: [])
    levels = SimpleNamespace(numbers=lambda: [1])
    monkeypatch.setattr(Workdir, "levels", levels)
    monkeypatch.setattr(export, "find", lambda *_, **__: b"a ticket")

    def cut(path, ticket):
        path.write_bytes(ticket[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "save_ticket", cut)
    with pytest.raises(KeyboardInterrupt):
        feed._tickets(workdir)
    monkeypatch.setattr(export, "save_ticket", lambda path, x: path.write_bytes(x))
    (path,) = feed._tickets(workdir)
    assert path.read_bytes() == b"a ticket"


# ------------------------------------------------------------- trackers themselves

DYING = """
import os, sys
from lth_jax.track import feed
feed._BATCH = 7
how, to, workdir = sys.argv[1:]
tracker = getattr(__import__(f"lth_jax.track.to_{to}", fromlist=[to]), to.capitalize())
tell = tracker.write

def die(self, rows, first):
    tell(self, rows[:3] if first >= 21 else rows, first)
    if first >= 21 and how == "killed":
        os._exit(9)
    if first >= 21:
        raise KeyboardInterrupt

tracker.write = die
feed.track(workdir, to)
"""


def elsewhere(tmp_path):
    """An environment in which trackers write here and call nobody."""
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    settings |= {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    settings |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    settings |= {"WANDB_DIR": str(tmp_path)}
    return os.environ | settings


def offline(to, workdir, tmp_path):
    """Track a run: a process is killed, one interrupted, one goes on, one has more."""
    pytest.importorskip(to, reason=f"{to} is an extra, and not installed")
    command = [sys.executable, "-m", "lth_jax.track", str(workdir), f"--to={to}"]
    dying = [sys.executable, "-c", DYING]
    how = {
        "cwd": tmp_path,
        "env": elsewhere(tmp_path),
        "capture_output": True,
        "text": True,
    }
    for end, status in (("killed", 9), ("interrupted", 0)):
        done = subprocess.run([*dying, end, to, str(workdir)], **how)
        assert done.returncode == status, done.stderr
    for number in (60, 75):
        write(workdir, made(number))
        done = subprocess.run(command, **how)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"{number} rows are there\n")


def read(code, tmp_path):
    """What another process reads: warnings there are theirs."""
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=elsewhere(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout.splitlines()[-1])


def test_mlflow_has_every_row_once(workdir, tmp_path):
    offline("mlflow", workdir, tmp_path)
    code = """
import json, mlflow
client = mlflow.MlflowClient()
(experiment,) = (x for x in client.search_experiments() if x.name == "lth_jax")
(run,) = client.search_runs([experiment.experiment_id])
metrics = [
    (name, metric.step, metric.value)
    for name in run.data.metrics
    for metric in client.get_metric_history(run.info.run_id, name)
]
files = [file.path for file in client.list_artifacts(run.info.run_id)]
print(json.dumps([metrics, run.data.params, files]))
"""
    metrics, params, files = read(code, tmp_path)
    assert Counter(map(tuple, metrics)) == points(made(75))
    assert params == {"seed": "3", "optim.name": "sgd"}
    assert files == ["report"]


def wandb_records(path):
    """Records of a .wandb file: blocks of 32 KB, each record in one piece or more."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = (
            int.from_bytes(data[place + 4 : place + 6], "little"),
            data[place + 6],
        )
        whole += data[place + 7 : place + 7 + length]
        kind, place = data[place + 6], place + 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(whole)
            whole = b""


def test_wandb_offline_has_every_row_once(workdir, tmp_path):
    offline("wandb", workdir, tmp_path)
    found, steps, ids, config = Counter(), [], set(), {}
    for path in (tmp_path / "wandb").glob("offline-run-*/run-*.wandb"):
        ids.add(path.stem)
        for record in wandb_records(path):
            if record.HasField("run"):
                config |= {
                    x.key: json.loads(x.value_json) for x in record.run.config.update
                }
            if not record.HasField("history"):
                continue
            items = {
                "/".join(x.nested_key) or x.key: json.loads(x.value_json)
                for x in record.history.item
            }
            steps.append(items.pop("_step"))
            step = items.pop("step")
            (name,) = (name for name in items if not name.startswith("_"))
            found[name, step, items[name]] += 1
    assert found == points(made(75))
    assert sorted(steps) == [*range(75)]
    assert len(ids) == 1
    assert (config["seed"], config["optim.name"]) == (3, "sgd")


def test_trackio_has_every_row_once(workdir, tmp_path):
    offline("trackio", workdir, tmp_path)
    code = """
import json
from trackio.sqlite_storage import SQLiteStorage
(run,) = SQLiteStorage.get_run_records("lth_jax")
logs = SQLiteStorage.get_logs("lth_jax", run["name"])
print(json.dumps([logs, SQLiteStorage.get_run_config("lth_jax", run["name"])]))
"""
    logs, config = read(code, tmp_path)
    found = Counter()
    for log in logs:
        step = log.pop("step")
        (name,) = log.keys() - {"timestamp"}
        found[name, step, log[name]] += 1
    assert found == points(made(75))
    assert (config["seed"], config["optim.name"]) == (3, "sgd")
