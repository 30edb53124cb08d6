"""Studies: which networks are compared with which, and what is said of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax.lottery import studies
from lth_jax.lottery.studies import Scene
from lth_jax.train.evaluate import Evaluation
from lth_jax.train.state import TrainState
from lth_jax.workdir.records import Member

TICKET = Member(0, 0, 1, "ticket", 0)
FINE = TICKET._replace(branch="fine_tune")
WHOLE = jnp.ones(8, bool)
HALF = jnp.arange(8) < 4
# As at the start, and as trained: the mask HALF keeps the largest trained weights.
INITIAL = jnp.array([1.0, 2, 3, 4, 5, 6, 7, 8])
TRAINED = jnp.array([8.0, 7, 6, 5, 4, 3, 2, 1])


def network(weights, mask=WHOLE, bias=0.0):
    return TrainState(
        step=jnp.int32(9),
        params={"w": jnp.where(mask, weights, 0), "b": jnp.array([bias])},
        batch_stats={},
        opt_state=(),
        masks={"w": mask, "b": None},
        data_seed=jnp.uint32(0),
        learning_rate=jnp.float32(1),
        weight_decay=None,
        loss=jnp.float32(0),
        loss_from=jnp.int32(0),
    )


def evaluate(states):
    """An error that is the first weight, in percent."""
    return {
        "test": [Evaluation(1 - float(s.params["w"][0]) / 100, 0.0) for s in states]
    }


def scene(trained, starts=None, **fields):
    known = {
        "dense": lambda member: network(TRAINED),
        "start": (starts or {}).__getitem__,
        "initial": lambda member: network(INITIAL),
        "final": lambda member: network(TRAINED),
        "evaluate": evaluate,
        "points": 3,
        "top": (0.25, 0.5, 0.75),
        "every_tensor": False,
    }
    return Scene(trained=trained, **(known | fields))


def numbers(study, *arguments, **fields):
    found = list(study(scene(*arguments, **fields)))
    named = {(member, measure): value for member, measure, value in found}
    assert len(named) == len(found)
    return named


def test_copies_and_the_dense_network_are_apart_over_surviving_weights():
    copy = TICKET._replace(copy=1)
    moved = TRAINED.at[0].add(3.0).at[7].add(100.0)
    trained = {copy: network(moved, HALF, bias=50.0), TICKET: network(TRAINED, HALF)}
    found = numbers(studies.stability, trained)
    assert found[TICKET, "distance_to_dense"] == 0
    assert found[copy, "distance_to_dense"] == 3
    assert found[TICKET, "distance_to_copy_1"] == 3
    assert (copy, "distance_to_copy_0") not in found
    found = numbers(studies.stability, trained, every_tensor=True)
    np.testing.assert_allclose(found[TICKET, "distance_to_copy_1"], np.sqrt(9 + 50**2))


def test_of_three_copies_there_are_three_pairs():
    trained = {TICKET._replace(copy=i): network(TRAINED + i, HALF) for i in (2, 0, 1)}
    found = numbers(studies.stability, trained, dense=lambda member: None)
    distances = {
        (member.copy, measure[-1]): value
        for (member, measure), value in found.items()
        if measure.startswith("distance")
    }
    assert distances == {(0, "1"): 2, (0, "2"): 4, (1, "2"): 2}  # 4 weights moved


def test_a_dense_network_is_not_compared_with_itself():
    dense = TICKET._replace(level=0, branch="dense")
    assert numbers(studies.stability, {dense: network(TRAINED)}) == {}


def test_the_error_between_copies_and_its_barrier():
    trained = {
        TICKET: network(TRAINED.at[0].set(10.0)),
        TICKET._replace(copy=1): network(TRAINED.at[0].set(20.0)),
    }
    found = numbers(studies.instability, trained)
    assert found == {
        (TICKET, "test_error_to_copy_1_at_0.000"): pytest.approx(0.10),
        (TICKET, "test_error_to_copy_1_at_0.500"): pytest.approx(0.15),
        (TICKET, "test_error_to_copy_1_at_1.000"): pytest.approx(0.20),
        (TICKET, "test_instability_to_copy_1"): pytest.approx(0.05),
    }


def test_copies_that_are_the_same_are_stable():
    trained = {TICKET._replace(copy=i): network(TRAINED) for i in (0, 1)}
    found = numbers(studies.instability, trained)
    assert found[TICKET, "test_instability_to_copy_1"] == 0


def test_a_dense_network_is_compared_with_its_start():
    """The largest 4 of either end are the others of the other; Pearson is -1."""
    dense = TICKET._replace(level=0, branch="dense")
    found = numbers(
        studies.correlation, {dense: network(TRAINED)}, {dense: network(INITIAL)}
    )
    measured = {measure: value for (_, measure), value in found.items()}
    assert measured == {
        "overlap_start_to_end_top_0.25": 0,
        "overlap_start_to_end_top_0.25_by_chance": pytest.approx(0.25),
        "overlap_start_to_end_top_0.5": 0,
        "overlap_start_to_end_top_0.5_by_chance": pytest.approx(0.5),
        "overlap_start_to_end_top_0.75": pytest.approx(4 / 6),
        "overlap_start_to_end_top_0.75_by_chance": pytest.approx(0.75),
        "pearson_start_to_end": pytest.approx(-1),
        "cosine_start_to_end": pytest.approx(120 / 204),
        # Layer by layer, of which there is one.
        "overlap_start_to_end_top_0.25_of_w": 0,
        "overlap_start_to_end_top_0.5_of_w": 0,
        "overlap_start_to_end_top_0.75_of_w": pytest.approx(4 / 6),
        "pearson_start_to_end_of_w": pytest.approx(-1),
        "cosine_start_to_end_of_w": pytest.approx(120 / 204),
    }


def test_a_fine_tuned_network_is_compared_with_the_dense_one_it_came_from():
    """Half of the weights are left: chance shares p / (1 - s) with the dense."""
    trained = {FINE: network(TRAINED + 1, HALF)}
    found = numbers(studies.correlation, trained, {FINE: network(TRAINED, HALF)})
    measured = {measure: value for (_, measure), value in found.items()}
    assert measured["overlap_end_to_dense_top_0.25"] == 1
    assert measured["overlap_end_to_dense_top_0.25_by_chance"] == 0.5
    assert measured["overlap_end_to_initial_top_0.25"] == 0
    assert measured["overlap_end_to_initial_top_0.25_by_chance"] == 0.25
    assert measured["overlap_end_to_dense_top_0.5"] == 1
    # More than there is left cannot be the largest.
    assert "overlap_end_to_dense_top_0.75" not in measured
    assert measured["overlap_start_to_end_top_0.75"] == 1


def test_starts_are_compared_with_the_fine_tuned_network_under_the_same_masks():
    reinit, shuffled = (
        TICKET._replace(branch=b) for b in ("random_reinit", "shuffled_mask")
    )
    other = jnp.arange(8) > 3
    trained = {
        TICKET: network(TRAINED, HALF),
        reinit: network(TRAINED, HALF),
        shuffled: network(TRAINED, other),
        FINE: network(TRAINED, HALF),
    }
    starts = {
        TICKET: network(TRAINED, HALF),
        reinit: network(INITIAL, HALF),
        shuffled: network(INITIAL, other),
        FINE: network(TRAINED, HALF),
    }
    found = numbers(studies.correlation, trained, starts)
    assert found[TICKET, "overlap_start_to_fine_tuned_top_0.5"] == 1
    assert found[reinit, "overlap_start_to_fine_tuned_top_0.5"] == 0
    assert found[reinit, "overlap_start_to_fine_tuned_top_0.5_by_chance"] == 0.5
    assert (shuffled, "overlap_start_to_fine_tuned_top_0.5") not in found
    assert (TICKET, "overlap_end_to_dense_top_0.25") not in found
    # What is trained again started from weights that were trained before.
    assert (FINE, "overlap_start_to_fine_tuned_top_0.5") not in found
