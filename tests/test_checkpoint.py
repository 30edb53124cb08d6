"""Checkpoints: what comes back is what was saved, to the last bit, or nothing."""

import dataclasses
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trees import assert_same

from lth_jax import models, prune
from lth_jax.errors import CheckpointError, RecordsError
from lth_jax.optim import optimizers as optim
from lth_jax.train import state
from lth_jax.workdir import checkpoints as checkpoint
from lth_jax.workdir.checkpoints import Series
from lth_jax.workdir.records import Records


@pytest.fixture
def series(tmp_path):
    return Series(tmp_path / "checkpoints" / "dense")


def files(series):
    return [path for path in series.directory.rglob("*") if path.is_file()]


def test_a_new_series_is_empty_and_looking_makes_no_folder(series):
    assert series.numbers() == []
    assert not series.directory.exists()


@pytest.mark.parametrize("size", [1, 7, 8, 9, 77])
def test_booleans_come_back_at_any_length(series, size):
    mask = jnp.arange(size) % 3 == 0
    series.save(0, {"mask": mask})
    assert_same(series.restore(0, {"mask": mask}), {"mask": mask})


def test_trees_come_back_with_their_types_shapes_and_nones(series):
    tree = {
        "params": {"kernel": jnp.linspace(0, 1, 6).reshape(2, 3), "bias": jnp.ones(3)},
        "masks": {"kernel": jnp.array([[True, False, True]] * 2), "bias": None},
        "empty": {},
        "moments": (optax.EmptyState(), jnp.float32(1e-30), jnp.bfloat16(0.1)),
        "seeds": [jnp.uint32(2**32 - 1), jnp.int32(-1)],
    }
    series.save(3, tree)
    assert_same(series.restore(3, tree), tree)


def test_shapes_are_enough_to_restore_the_states_of_a_fleet(series):
    lenet = models.create("lenet", num_classes=3, widths=(5,))

    def initialise(key):
        optimizer = optim.optimizer("adam", 0.1, 0.01)
        return state.create(key, jnp.zeros((1, 3, 3, 1)), lenet, optimizer)

    start = initialise(jax.random.key(0))
    masks = prune.random(jax.random.key(2), start.masks, 0.3)
    fleet = [
        dataclasses.replace(start, masks=masks, step=jnp.int32(step))
        for step in range(2)
    ]
    series.save(7, fleet)
    like = jax.eval_shape(initialise, jax.random.key(0))
    restored = series.restore(7, [like] * 2)
    assert_same(restored, fleet)
    assert restored[0].params["fc"]["kernel"].devices() == {jax.devices()[0]}


def test_masks_take_one_bit_a_weight(series):
    rng = np.random.default_rng(0)
    series.save(0, {"mask": jnp.asarray(rng.random(2**20) < 0.5)})
    size = sum(path.stat().st_size for path in files(series))
    assert 2**17 < size < 1.5 * 2**17


def test_numbers_are_in_order_and_come_with_what_was_said_about_them(series):
    for number in (0, 2, 10, 63_000):
        series.save(number, {"w": jnp.full(2, number)}, records=number + 1, unit="a")
    again = Series(series.directory)
    assert again.numbers() == [0, 2, 10, 63_000]
    assert again.about(10) == {"records": 11, "unit": "a"}
    assert again.restore(2, {"w": jnp.zeros(2, int)})["w"].tolist() == [2, 2]


def test_all_checkpoints_are_kept(series):
    for number in range(12):
        series.save(number, {"w": jnp.ones(1)})
    assert series.numbers() == [*range(12)]


def test_a_series_may_keep_the_latest_only(series):
    latest = Series(series.directory, keep=2)
    for number in range(1, 6):
        latest.save(number, {"w": jnp.full(2, number)})
    assert latest.numbers() == [4, 5]
    assert latest.restore(5, {"w": jnp.ones(2, int)})["w"].tolist() == [5, 5]


def test_a_cleared_series_is_empty_and_starts_again(series):
    series.clear()
    series.save(1, {"w": jnp.ones(2)})
    series.clear()
    assert series.numbers() == []
    series.save(1, {"w": jnp.zeros(2)})
    assert series.restore(1, {"w": jnp.ones(2)})["w"].tolist() == [0, 0]


@pytest.mark.parametrize("wait", [True, False])
def test_there_may_be_no_networks_to_save(series, wait):
    """Where all of a level diverged, or it has none of its own."""
    series.save(1, [], wait=wait, members=[], records=3)
    series.wait()
    assert series.numbers() == [1]
    assert (series.restore(1, []), series.raw(1)) == ([], [])
    assert series.about(1) == {"members": [], "records": 3}
    with pytest.raises(CheckpointError, match="dense/1 is whole, but of another"):
        series.restore(1, [jnp.ones(2)])
    series.save(2, [jnp.ones(2)])
    with pytest.raises(CheckpointError, match="dense/2 is whole, but of another"):
        series.restore(2, [])
    for path in files(series):
        if path.parent.parent.name == "1":
            flip(path)
            with pytest.raises(CheckpointError, match="dense/1 cannot be read"):
                series.restore(1, [])
            flip(path)


def test_what_is_saved_is_never_changed(series):
    series.save(5, {"w": jnp.ones(2)}, records=1)
    before = {path: path.read_bytes() for path in files(series)}
    series.save(5, {"w": jnp.zeros(2)}, records=2)
    assert {path: path.read_bytes() for path in files(series)} == before


def test_a_save_that_fails_leaves_nothing_and_can_be_done_again(series):
    series.save(0, {"w": jnp.ones(2)}, records=1)
    with pytest.raises(CheckpointError, match="dense/1 cannot be saved .*zero size"):
        series.save(1, {"v": jnp.ones(2), "w": jnp.ones(0)}, records=2)
    assert [path.name for path in series.directory.iterdir()] == ["0"]
    series.save(1, {"v": jnp.zeros(2)}, records=3)
    assert series.numbers() == [0, 1]
    assert series.about(1) == {"records": 3}
    assert series.restore(1, {"v": jnp.ones(2)})["v"].tolist() == [0, 0]


def test_a_save_in_the_background_is_there_when_it_was_waited_for(series):
    for number in (1, 2):
        series.save(number, {"w": jnp.full(2, number)}, wait=False, records=number)
    series.wait()
    assert series.numbers() == [1, 2]
    assert series.restore(2, {"w": jnp.ones(2, int)})["w"].tolist() == [2, 2]
    series.save(3, {"w": jnp.ones(2)}, wait=False)
    series.clear()
    assert series.numbers() == []


@pytest.mark.parametrize("then", [Series.wait, Series.clear, "save"])
def test_a_save_that_fails_in_the_background_is_said_next(series, then):
    series.save(1, {"w": jnp.ones(0)}, wait=False)
    with pytest.raises(CheckpointError, match="dense/1 cannot be saved"):
        then(series) if then != "save" else series.save(2, {"w": jnp.ones(2)})
    series.save(2, {"w": jnp.ones(2)})
    assert series.numbers() == [2]


@pytest.mark.parametrize("moment", ["_checksums", "_sync"])
def test_a_save_that_is_cut_off_is_not_listed_and_is_tidied_up(
    series, monkeypatch, moment
):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, moment, die)
        series.save(1, {"w": jnp.ones(2)})
    assert len([*series.directory.iterdir()]) == 1
    assert series.numbers() == []
    series.save(2, {"w": jnp.ones(2)})
    assert [path.name for path in series.directory.iterdir()] == ["2"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"w": [jnp.ones((3, 2))]},
            r"w/0: float32\[2, 3\] there, float32\[3, 2\] here",
        ),
        ({"w": [jnp.ones((2, 3), int)]}, r"float32\[2, 3\] there, int32\[2, 3\] here"),
        ({"v": [jnp.ones((2, 3))]}, r"v/0: nothing there, float32\[2, 3\] here"),
        ({"w": []}, r"w/0: float32\[2, 3\] there, nothing here"),
        ({"w": [jnp.ones((2, 3))] * 2}, r"w/1: nothing there, float32\[2, 3\] here"),
        ({"w": [jnp.ones((2, 3), bool)]}, r"there, uint8\[1\] here"),
    ],
)
def test_what_is_of_another_network_is_no_damage(other, said, series):
    series.save(0, {"w": [jnp.ones((2, 3))]})
    with pytest.raises(CheckpointError, match=f"dense/0 is whole, but.*{said}"):
        series.restore(0, other)


def test_another_optimizer_is_told_by_its_own_moments(series):
    """Whatever containers its state is made of."""
    params = {"a": {"kernel": jnp.ones(2)}}
    sgd, momentum = (optax.sgd(0.1, momentum=m).init(params) for m in (None, 0.9))
    series.save(0, [momentum])
    series.save(1, [sgd, params])
    jax.tree.map(
        np.testing.assert_array_equal, series.restore(0, [momentum]), [momentum]
    )
    with pytest.raises(CheckpointError, match=r"trace/a/kernel: float.*, nothing here"):
        series.restore(0, [sgd])
    with pytest.raises(CheckpointError, match=r"trace/a/kernel: nothing there, float"):
        series.restore(1, [momentum, params])


# ----------------------------------------------------------------------- faults


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def lead_elsewhere(path):
    (dense,) = (parent for parent in path.parents if parent.name == "dense")
    elsewhere = dense.with_name("elsewhere")
    path.replace(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("harm", [Path.unlink, truncate, flip, lead_elsewhere])
def test_damage_to_any_file_is_found_and_nothing_is_restored(series, harm):
    tree = {"w": jnp.arange(2_000.0), "mask": jnp.ones(9, bool)}
    series.save(3, tree, records=1)
    series.verify(3)
    for path in files(series):
        content = path.read_bytes()
        harm(path)
        for read in (series.verify, series.raw, lambda n: series.restore(n, tree)):
            with pytest.raises(CheckpointError, match="dense/3 cannot be read") as said:
                read(3)
            assert len(str(said.value).splitlines()) == 1
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert_same(series.restore(3, tree), tree)


def test_files_that_were_not_saved_are_damage_too(series):
    series.save(3, {"w": jnp.ones(2)})
    (series.directory / "3" / "tree" / "more").write_text("more")
    with pytest.raises(CheckpointError, match="tree/more is not what was saved"):
        series.verify(3)


def test_what_is_on_disk_can_be_had_without_knowing_its_structure(series):
    mask = jnp.array([True, False, True])
    series.save(0, [{"w": jnp.ones(2), "mask": mask, "bias": None}])
    (saved,) = series.raw(0)
    assert saved["w"].tolist() == [1, 1]
    assert saved["mask"].tolist() == [0b10100000]
    assert saved["bias"] is None


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 256 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_said_and_keeps_what_was_saved(full_disk):
    small, series = {"w": jnp.ones(2)}, Series(full_disk / "run" / "dense")
    series.save(0, small)
    noise = {"w": jax.random.normal(jax.random.key(0), (2**16,))}
    with pytest.raises(CheckpointError, match="dense/1 cannot be saved .* the same"):
        series.save(1, noise)
    assert [path.name for path in series.directory.iterdir()] == ["0"]
    assert_same(series.restore(0, small), small)
    series.save(1, small)  # there is room
    assert series.numbers() == [0, 1]


def test_rows_that_find_no_room_are_not_half_there(full_disk):
    records = Records(full_disk / "results.jsonl")
    records.add([{"value": 1.0}])
    with pytest.raises(RecordsError, match=r"results\.jsonl .*No space left on device"):
        records.add({"value": value} for value in range(2**16))
    assert records.rows() == [{"value": 1.0}]
    records.add([{"value": 2.0}])
    assert records.rows() == [{"value": 1.0}, {"value": 2.0}]
