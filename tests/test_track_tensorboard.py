"""The rows of a run as event files."""

import json
import struct

import pytest

from lth_jax.track import feed
from lth_jax.track import to_tensorboard as tensorboard
from lth_jax.track.__main__ import main

pytest.importorskip("tensorboardX")
TO = ("--to=tensorboard",)
ROW = {"replicate": 0, "rewind_step": 2, "level": 1, "branch": "ticket", "copy": 0}


def scalars(folder):
    """Return the (step, tag, value) of the event files in a folder."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in folder.glob("events.*"):
        data = path.read_bytes()
        while data:  # length, its checksum, an event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            data = data[16 + length :]
    return found


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    rows = [
        ROW | {"step": 10, "measure": "test_accuracy", "value": 0.5},
        ROW | {"step": 20, "measure": "test_accuracy", "value": 0.75},
        ROW | {"branch": "random_reinit", "step": 20, "measure": "loss", "value": 2.0},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "results.jsonl").write_text(lines)
    (tmp_path / "config.json").write_text("{}")
    # A page and tickets take a run; see test_track.
    monkeypatch.setattr(feed, "_keep", lambda *_: None)
    return tmp_path


def test_a_network_has_its_rows(workdir, capsys):
    for _ in range(2):  # the second call writes them anew
        main([str(workdir), *TO])
        folder = workdir / "tensorboard"
        name = "replicate_0,rewind_step_2,level_1,copy_0"
        assert scalars(folder / "ticket" / name) == [
            (10, "test_accuracy", 0.5),
            (20, "test_accuracy", 0.75),
        ]
        assert scalars(folder / "random_reinit" / name) == [(20, "loss", 2.0)]
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [
        f"to look at it: tensorboard --logdir={folder}",
        "3 rows are there",
    ]


def test_numbers_that_differ_in_a_column_have_scalars_of_their_own(tmp_path):
    row = ROW | {"step": 10, "measure": "error", "value": 0.5, "split": "test"}
    tensorboard.write([row | {"alpha": a, "value": a} for a in (0.25, 0.75)], tmp_path)
    (folder,) = tmp_path.glob("*/*")
    assert scalars(folder) == [
        (10, "error/split_test/alpha_0.25", 0.25),
        (10, "error/split_test/alpha_0.75", 0.75),
    ]


def test_a_number_that_is_not_finite_is_written(workdir):
    line = json.dumps(ROW | {"step": 10, "measure": "loss", "value": None})
    (workdir / "results.jsonl").write_text(line + "\n")
    main([str(workdir), *TO])
    (folder,) = (workdir / "tensorboard").glob("*/*")
    ((step, tag, value),) = scalars(folder)
    assert (step, tag, str(value)) == (10, "loss", "nan")


def test_a_folder_without_a_run_is_said_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*none: no run has begun"):
        main([str(tmp_path / "none"), *TO])
    assert [*tmp_path.iterdir()] == []


def test_following_writes_what_comes_and_begins_again_after_a_cut(workdir, monkeypatch):
    path = workdir / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.dumps(ROW | {"step": 30, "measure": "loss", "value": 1.0}) + "\n"
    stages = iter(["".join([*lines, row]), lines[0]])

    def sleep(_):
        try:
            path.write_text(next(stages))
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(feed.time, "sleep", sleep)
    main([str(workdir), *TO, "--follow"])
    (folder,) = (workdir / "tensorboard").glob("*/*")
    assert scalars(folder) == [(10, "test_accuracy", 0.5)]


def test_a_file_that_is_no_records_is_one_line(workdir):
    (workdir / "results.jsonl").write_text("no row\n")
    with pytest.raises(SystemExit, match="error: .*line 1, is not a row"):
        main([str(workdir), *TO])


@pytest.mark.parametrize(
    "strange", [{"branch": "../.."}, {"branch": "/a"}, {"replicate": "/../../a"}]
)
def test_no_network_is_written_outside_the_folder(strange, tmp_path):
    row = ROW | strange | {"step": 10, "measure": "test_accuracy", "value": 0.5}
    tensorboard.write([row], tmp_path / "a" / "tensorboard")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tensorboard"]


def test_rows_of_one_second_are_kept_whatever_batch_they_are_in(tmp_path):
    for first in range(3):
        row = ROW | {"step": first, "measure": "test_loss", "value": 1.0}
        tensorboard.write([row], tmp_path, first)
    (folder,) = {path.parent for path in tmp_path.rglob("events.*")}
    found = sorted(step for step, *_ in scalars(folder))
    assert found == [0, 1, 2]
