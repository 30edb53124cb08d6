"""Studies: which networks are compared with which, and what is said of them."""

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import config, demands, models, studies
from lth_jax.branches import BRANCHES
from lth_jax.errors import ConfigError
from lth_jax.tasks import Classification
from lth_jax.train.state import TrainState
from lth_jax.workdir import Member

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
    """An error that is the first weight, in percent; of training data, half of it."""
    errors = [float(state.params["w"][0]) / 100 for state in states]
    return {
        "test": [{"accuracy": 1 - error} for error in errors],
        "train": [{"accuracy": 1 - error / 2} for error in errors],
    }


def run(
    trained,
    starts=None,
    twin=lambda member: network(TRAINED),
    before=None,
    fresh=(),
    **study,
):
    """What a study asks of a run."""
    dense = {0: network(INITIAL), 5: network(TRAINED + 1), 9: network(TRAINED)}
    options = {"points": 3, "top": (0.25, 0.5, 0.75), "tensors": "masked"} | study
    return SimpleNamespace(
        config=SimpleNamespace(
            study=SimpleNamespace(**options), rewind=SimpleNamespace(fresh=fresh)
        ),
        experiment=SimpleNamespace(program=SimpleNamespace(task=Classification())),
        level=max(member.level for member in trained),
        before=before or {},
        tickets={m: network for m, network in trained.items() if m.is_ticket},
        plan=SimpleNamespace(length=9, rewind_steps=(0, 5)),
        networks=trained,
        trained=trained.get,
        twin=twin,
        start=(starts or {}).get,
        dense=lambda member, step: dense[step],
        evaluate=evaluate,
        branch=lambda member: BRANCHES[member.branch],
    )


def numbers(study, *arguments, **fields):
    """The values by member, measure and keys, which are written as `name=value`."""
    found = {}
    for member, measure, value, *rest in study(run(*arguments, **fields)):
        keys = tuple(f"{name}={key}" for name, key in (rest[0] if rest else {}).items())
        assert (member, measure, *keys) not in found
        found[member, measure, *keys] = value
    return found


def test_copies_and_the_dense_network_are_apart_over_surviving_weights():
    copy = TICKET._replace(copy=1)
    moved = TRAINED.at[0].add(3.0).at[7].add(100.0)
    trained = {copy: network(moved, HALF, bias=50.0), TICKET: network(TRAINED, HALF)}
    found = numbers(studies.stability, trained)
    assert found[TICKET, "distance", "pair=dense"] == 0
    assert found[copy, "distance", "pair=dense"] == 3
    between = (copy, "distance", "pair=copies", "other=0")
    assert found[between] == 3
    assert len(found) == 6
    found = numbers(studies.stability, trained, tensors="all")
    np.testing.assert_allclose(found[between], np.sqrt(9 + 50**2))


def test_copies_whose_masks_moved_are_apart_over_what_either_keeps():
    copy, other = TICKET._replace(copy=1), HALF[::-1]
    trained = {
        TICKET: network(np.where(HALF, 2.0, 0.0), HALF),
        copy: network(np.where(other, 2.0, 0.0), other),
    }
    found = numbers(studies.stability, trained, twin=lambda member: None)
    distance = found[copy, "distance", "pair=copies", "other=0"]
    assert distance == pytest.approx(2 * 8**0.5)


def test_of_three_copies_there_are_three_pairs():
    trained = {TICKET._replace(copy=i): network(TRAINED + i, HALF) for i in (2, 0, 1)}
    found = numbers(studies.stability, trained, twin=lambda member: None)
    distances = {
        (member.copy, other): value
        for (member, measure, _, other), value in found.items()
        if measure == "distance"
    }
    # 4 weights moved.
    assert distances == {(1, "other=0"): 2, (2, "other=0"): 4, (2, "other=1"): 2}


def test_a_dense_network_is_not_compared_with_itself():
    dense = TICKET._replace(level=0, branch="dense")
    assert numbers(studies.stability, {dense: network(TRAINED)}) == {}


def test_the_error_between_copies_and_its_barrier():
    copy, of = TICKET._replace(copy=1), ("split=test", "pair=copies", "other=0")
    trained_on = ("split=train", *of[1:])
    trained = {
        TICKET: network(TRAINED.at[0].set(10.0)),
        copy: network(TRAINED.at[0].set(20.0)),
    }
    found = numbers(studies.instability, trained)
    assert found == {
        (copy, "error", *of, "alpha=0.0"): pytest.approx(0.10),
        (copy, "error", *of, "alpha=0.5"): pytest.approx(0.15),
        (copy, "error", *of, "alpha=1.0"): pytest.approx(0.20),
        (copy, "instability", *of): pytest.approx(0.05),
        (copy, "error", *trained_on, "alpha=0.0"): pytest.approx(0.05),
        (copy, "error", *trained_on, "alpha=0.5"): pytest.approx(0.075),
        (copy, "error", *trained_on, "alpha=1.0"): pytest.approx(0.10),
        (copy, "instability", *trained_on): pytest.approx(0.025),
    }


def test_copies_that_are_the_same_are_stable():
    trained = {TICKET._replace(copy=i): network(TRAINED) for i in (0, 1)}
    found = numbers(studies.instability, trained)
    copy = TICKET._replace(copy=1)
    assert found[copy, "instability", "split=test", "pair=copies", "other=0"] == 0


def test_last_weights_are_evaluated_beside_their_averages():
    average = {"params": {"w": TRAINED.at[0].set(10.0)}, "batch_stats": {}}
    last = network(TRAINED.at[0].set(20.0))
    trained = {TICKET: dataclasses.replace(last, average=average)}
    of = run(trained)
    evaluators = {"test": lambda members: evaluate(members)["test"]}
    of.experiment.evaluators = evaluators
    of.with_room = lambda number, work: work(of.experiment)
    assert [*studies.last_weights(of)] == [(TICKET, "last_test_accuracy", 0.8)]
    assert trained[TICKET].average is average


def test_supermasks_are_evaluated_where_they_start():
    """Of copy 0 alone; where one has no start, the others are there."""
    lost = TICKET._replace(branch="shuffled_mask")
    trained = {m: network(TRAINED) for m in (TICKET, TICKET._replace(copy=1), lost)}
    of, asked = run(trained), []
    starts = {TICKET: network(TRAINED.at[0].set(20.0))}
    of.start = starts.get
    of.experiment.evaluators = {"test": lambda some: evaluate(some)["test"]}
    of.with_room = lambda number, work: asked.append(number) or work(of.experiment)
    ((member, measure, value),) = studies.supermask(of)
    assert (member, measure, asked) == (TICKET, "untrained_test_accuracy", [1])
    assert value == evaluate([starts[TICKET]])["test"][0]["accuracy"]
    assert value != evaluate([trained[TICKET]])["test"][0]["accuracy"]


def test_copies_of_a_dense_network_part_from_it_at_their_rewind_step():
    """It has one name, and is the other of all of them."""
    dense = Member(0, 0, 0, "dense", 0)
    copies = [dense._replace(rewind_step=k, copy=c) for k in (0, 5) for c in (1, 2)]
    trained = {m: network(TRAINED + m.rewind_step) for m in (dense, *copies)}
    found = numbers(studies.stability, trained)
    pairs = {(m, other) for m, measure, _, other in found if measure == "distance"}
    assert pairs == {(m, f"other={c}") for m in copies for c in range(m.copy)}
    apart = found[copies[2], "distance", "pair=copies", "other=0"]
    assert apart == pytest.approx(5 * 8**0.5)


def test_copies_that_begin_afresh_are_none_of_the_dense_network():
    """Which went on at k: of another step, it is another training."""
    dense = Member(0, 0, 0, "dense", 0)
    copies = [dense._replace(rewind_step=5, copy=copy) for copy in (1, 2)]
    trained = {m: network(TRAINED) for m in (dense, *copies)}
    found = numbers(studies.stability, trained, fresh=("step",))
    pairs = {(m, other) for m, measure, _, other in found if measure == "distance"}
    assert pairs == {(copies[1], "other=1")}


def test_what_goes_on_from_the_dense_network_has_copies_of_its_own():
    long = Member(0, 0, 0, "long", 0)
    trained = {long._replace(copy=copy): network(TRAINED + copy) for copy in (0, 1)}
    found = numbers(studies.stability, trained)
    distance = found[long._replace(copy=1), "distance", "pair=copies", "other=0"]
    assert distance == pytest.approx(8**0.5)


def test_the_error_between_successive_levels_and_its_barrier():
    """From 10 % at the ticket before, of masks of its own, to 30 %; no barrier."""
    level_2 = TICKET._replace(level=2)
    before = {TICKET: network(TRAINED.at[0].set(10.0)), FINE: network(TRAINED)}
    trained = {
        level_2: network(TRAINED.at[0].set(30.0), HALF),
        level_2._replace(copy=1): network(TRAINED, HALF),
        level_2._replace(branch="fine_tune"): network(TRAINED, HALF),
    }
    found = numbers(studies.connectivity, trained, before=before)
    assert {member for member, *_ in found} == {level_2}
    measured = {key[1:]: value for key, value in found.items()}
    of = ("split=test", "pair=levels")
    assert measured["error", *of, "alpha=0.0"] == pytest.approx(0.1)
    assert measured["error", *of, "alpha=0.5"] == pytest.approx(0.2)
    assert measured["error", *of, "alpha=1.0"] == pytest.approx(0.3)
    assert measured["instability", *of] == pytest.approx(0.1)
    assert len(measured) == 8


def test_the_level_before_the_first_is_the_dense_network():
    dense = TICKET.dense
    trained = {TICKET: network(TRAINED, HALF)}
    found = numbers(studies.connectivity, trained, before={dense: network(TRAINED)})
    # 8 % at both ends, and between.
    assert found[TICKET, "instability", "split=test", "pair=levels"] == 0
    assert numbers(studies.connectivity, {dense: network(TRAINED)}) == {}
    assert numbers(studies.connectivity, trained) == {}


def test_the_distance_between_copies_is_a_share_of_what_they_travelled():
    """From the same 4 weights, 3 away along one and 5 along another."""
    copy, of = TICKET._replace(copy=1), ("pair=copies", "other=0")
    start = network(TRAINED, HALF)
    trained = {
        TICKET: network(TRAINED.at[0].add(3.0), HALF, bias=7.0),
        copy: network(TRAINED.at[1].add(5.0), HALF),
    }
    found = numbers(studies.travel, trained, {copy: start})
    assert found == {
        (copy, "travelled", *of): pytest.approx(4),
        (copy, "distance_share", *of): pytest.approx(34**0.5 / 4),
    }
    found = numbers(studies.travel, trained, {copy: start}, tensors="all")
    travelled = ((3**2 + 7**2) ** 0.5 + 5) / 2
    assert found[copy, "travelled", *of] == pytest.approx(travelled)


@pytest.mark.parametrize(("step", "share"), [(3.0, 0.0), (-3.0, 2.0)])
def test_copies_that_went_together_share_nothing_and_apart_all(step, share):
    copy, of = TICKET._replace(copy=1), ("pair=copies", "other=0")
    trained = {TICKET: network(TRAINED.at[0].add(3.0))}
    trained[copy] = network(TRAINED.at[0].add(step))
    found = numbers(studies.travel, trained, {copy: network(TRAINED)})
    assert found[copy, "distance_share", *of] == pytest.approx(share)


def test_copies_that_stood_still_have_no_share():
    copy = TICKET._replace(copy=1)
    trained = {member: network(TRAINED) for member in (TICKET, copy)}
    found = numbers(studies.travel, trained, {copy: network(TRAINED)})
    assert found == {(copy, "travelled", "pair=copies", "other=0"): 0}


@pytest.mark.slow
def test_a_dense_network_is_compared_with_its_start():
    """The largest 4 of either end are the others of the other; Pearson is -1."""
    dense = TICKET._replace(level=0, branch="dense")
    found = numbers(
        studies.correlation, {dense: network(TRAINED)}, {dense: network(INITIAL)}
    )
    measured = {key[1:]: value for key, value in found.items()}
    rewound = {key for key in measured if "pair=rewound_to_end" in key}
    measured = {key: measured[key] for key in measured.keys() - rewound}
    shares, of = ("p=0.25", "p=0.5", "p=0.75"), "pair=start_to_end"
    overlaps = dict(zip(shares, (0, 0, pytest.approx(4 / 6))))
    correlations = {"pearson": -1, "cosine": pytest.approx(120 / 204)}
    wanted = {("overlap", of, p): value for p, value in overlaps.items()}
    wanted |= {("chance_overlap", of, p): pytest.approx(float(p[2:])) for p in shares}
    wanted |= {(name, of): pytest.approx(x) for name, x in correlations.items()}
    # Layer by layer, of which there is one.
    wanted |= {("overlap", of, p, "layer=w"): x for p, x in overlaps.items()}
    wanted |= {(name, of, "layer=w"): x for name, x in correlations.items()}
    wanted["pearson", of, "layer=w"] = pytest.approx(-1)
    assert measured == wanted
    # And W_5, which is the trained one plus 1.
    assert len(rewound) == len(wanted)
    assert found[dense, "pearson", "pair=rewound_to_end", "other=5"] == pytest.approx(1)


def test_a_fine_tuned_network_is_compared_with_the_dense_one_it_came_from():
    """Half of the weights are left: chance shares p / (1 - s) with the dense."""
    trained = {FINE: network(TRAINED + 1, HALF)}
    found = numbers(studies.correlation, trained, {FINE: network(TRAINED, HALF)})
    measured = {key[1:]: value for key, value in found.items()}
    assert measured["overlap", "pair=end_to_dense", "p=0.25"] == 1
    assert measured["chance_overlap", "pair=end_to_dense", "p=0.25"] == 0.5
    assert measured["overlap", "pair=end_to_initial", "p=0.25"] == 0
    assert measured["chance_overlap", "pair=end_to_initial", "p=0.25"] == 0.25
    assert measured["overlap", "pair=end_to_dense", "p=0.5"] == 1
    # More than there is left cannot be the largest.
    assert ("overlap", "pair=end_to_dense", "p=0.75") not in measured
    assert measured["overlap", "pair=start_to_end", "p=0.75"] == 1


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
    assert found[TICKET, "overlap", "pair=start_to_fine_tuned", "p=0.5"] == 1
    assert found[reinit, "overlap", "pair=start_to_fine_tuned", "p=0.5"] == 0
    assert found[reinit, "chance_overlap", "pair=start_to_fine_tuned", "p=0.5"] == 0.5
    assert (shuffled, "overlap", "pair=start_to_fine_tuned", "p=0.5") not in found
    assert (TICKET, "overlap", "pair=end_to_dense", "p=0.25") not in found
    # What is trained again started from weights that were trained before.
    assert (FINE, "overlap", "pair=start_to_fine_tuned", "p=0.5") not in found


def test_statistics_on_a_path_are_not_recomputed_where_they_may_remain(monkeypatch):
    """Of a network with a momentum of its own nobody knows how much of them would."""
    mean = {"mean": jnp.zeros(2)}
    unknown = models.Functions(lambda key, inputs: ({}, {}), lambda *_: None)

    def check(*chosen, how="recompute", network=unknown, stats=mean):
        settings = config.default()
        settings.studies, settings.study.batch_stats = chosen, how
        made = SimpleNamespace(
            program=SimpleNamespace(network=network, task=Classification()),
            measures=("test_accuracy",),
            like=SimpleNamespace(batch_stats=stats),
        )
        demands.check_made(settings, made)

    monkeypatch.setitem(studies.STUDIES, "own", None)
    refused = {"instability", "connectivity", "alignment", "own"}
    for name in studies.STUDIES:
        for how in ("recompute", "recompute_mean"):
            said = rf"^config\.study\.batch_stats: '{how}' needs .*"
            raises = pytest.raises(ConfigError, match=said)
            with raises if name in refused else nullcontext():
                check("onset", name, how=how)
    check("own", how="interpolate")
    check("own", stats={"step": jnp.int32(0)})
    check("own", network=models.create("resnet20", num_classes=10))
    check()
