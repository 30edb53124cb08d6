"""Pictures of tickets: from checkpoints of a few weights to arrays, and to the page."""

import json

import numpy as np
import pytest

from lth_jax import pictures
from lth_jax.errors import ExportError
from lth_jax.pictures import __main__ as command_line
from lth_jax.workdir import Member, Workdir
from lth_jax.workdir.records import row

# Of 2x2 pixels and two units, and a layer that is behind them in the network.
START = {
    "b": {"kernel": np.array([[1.0, -2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])},
    "a": {"kernel": np.array([[1.0], [-1.0]]), "bias": np.zeros(1)},
}
END = {
    "b": {"kernel": np.array([[1.5, 2.0], [0.0, 0.0], [-5.0, 0.0], [0.0, 0.0]])},
    "a": {"kernel": np.array([[2.0], [0.0]]), "bias": np.ones(1)},
}
KEPT = (
    [[1, 1], [0, 0], [1, 0], [0, 0]],
    [[1, 0], [0, 0], [0, 0], [1, 1]],
)


def network(params, kept=None):
    kept = np.ones((4, 2)) if kept is None else np.array(kept)
    last = np.array([[True], [kept.all()]])
    masks = {
        "b": {"kernel": kept.astype(bool)},
        "a": {"kernel": last, "bias": None},
    }
    return {"params": params, "masks": masks, "step": np.int32(9)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run at level 1, of two replicates."""
    run = Workdir(tmp_path_factory.mktemp("pictures"))
    dense = [Member(i, 0, 0, "dense", 0) for i in range(2)]
    tickets = [Member(i, 5, 1, "ticket", 0) for i in range(2)]
    about = {"masks": [], "records": 0}
    both = [network(START)] * 2
    run.dense.save(5, both, members=dense, **about)
    run.levels.save(0, both, members=dense, **about)
    trained = [network(END, kept) for kept in KEPT]
    run.levels.save(1, trained, members=tickets, **about)
    found = [
        row(member, density=0.5, step=9, measure="density", value=0.5) | {"layer": name}
        for name in ("b/kernel", "a/kernel")
        for member in tickets
    ]
    lines = "".join(json.dumps(line) + "\n" for line in found)
    (run.directory / "results.jsonl").write_text(lines)
    (run.directory / "config.json").write_text(json.dumps({"prune": {"levels": 3}}))
    data = {"data": {"shape": [2, 2, 1]}}
    (run.directory / "environment.json").write_text(json.dumps(data))
    return run.directory


@pytest.fixture(scope="module")
def seen(run):
    return pictures.see(run)


def test_layers_are_seen_in_the_order_of_the_network(seen):
    (density,) = seen.kept
    assert density == 40
    assert seen.kept[density].to_dict() == {"b/kernel": 37.5, "a/kernel": 50}


def test_signs_that_flipped_are_of_kept_weights(seen):
    """Of [1, -2, 5] two, and of [1, 7, 8] two, as pruned weights have no sign."""
    assert seen.flipped[40].tolist() == pytest.approx([100 * 2 / 3, 0])


def test_a_unit_without_a_kept_input_is_dead(run, seen):
    assert seen.dead[40].tolist() == [0, 0]
    assert pictures.see(run, rewind_step=5).dead.equals(seen.dead)


def test_overlaps_stand_beside_chance(seen):
    """Both keep one weight of three in common, and the first of the last layer."""
    by_chance = 3 * 3 / 8 + 1 * 1 / 2
    np.testing.assert_allclose(seen.shared[40], [100 * 2 / 4, 100 * by_chance / 4])
    times = seen.times_chance[40]
    np.testing.assert_allclose(times, [100 * 1 / (9 / 8), 100 * 1 / (1 / 2)])


def test_kept_connections_of_every_pixel_are_means_over_replicates(seen):
    np.testing.assert_allclose(seen.inputs[40], [[1.5, 0], [0.5, 1]])


def test_histograms_have_every_kept_weight_of_all_replicates(seen):
    assert [*seen.weights] == ["b/kernel", "a/kernel"]
    edges, start, end = seen.weights["b/kernel"]
    assert start.sum() == end.sum() == 6
    assert (edges[0], edges[-1]) == (-8, 8)
    places = np.searchsorted(edges, [-2, 1, 5, 7, 8]) - 1
    assert set(np.flatnonzero(start)) == set(places)


def test_pictures_stand_on_the_page(run, capsys):
    command_line.main([str(run)])
    drawn = {"inputs", "weights", "flipped", "dead", "shared", "times_chance"}
    assert {path.stem for path in (run / "pictures").glob("*.svg")} == drawn
    page = (run / "report" / "index.html").read_text()
    assert page.count('<img alt="') == len(drawn)
    assert 'alt="kept connections of every input"' in page
    assert capsys.readouterr().out.endswith(f"report: {run}/report/index.html\n")


def test_what_is_no_picture_is_said_in_one_line(run, tmp_path):
    with pytest.raises(ExportError, match=r"--rewind_step: 7 is not among \[5\]"):
        pictures.see(run, rewind_step=7)
    with pytest.raises(SystemExit, match="error: .*no checkpoints of tickets yet"):
        command_line.main([str(tmp_path)])
