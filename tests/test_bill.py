"""Bills: what networks of a real run took to be found and trained, by hand.

A LeNet of 64 * 12 + 12 * 10 weights on digits: of 12 steps of 20 examples, from step 3.
"""

import os
import signal

import pytest
from small import build, configuring
from tqdm.auto import tqdm

from lth_jax import check, lottery
from lth_jax.branches import BRANCHES, Branch
from lth_jax.train import experiment
from lth_jax.train.moves import Moves
from lth_jax.workdir import Workdir
from lth_jax.workdir.pauses import Interrupted

WHOLE, KEPT = 888, (888, 444, 222)
BATCH = 20
STEP = 3 * BATCH  # of an example's multiply-adds: forward, and for two gradients
DENSE = 12 * STEP * WHOLE
TICKET = [DENSE, 9 * STEP * 444, 9 * STEP * 222]
# Moves before steps 2, 4, 6 and 8, each of one batch, dense backwards to the weights.
MOVES = [4 * BATCH * (2 * kept + WHOLE) for kept in KEPT]
# By (1 - share)^3: 27 / 64, 1 / 8 and 1 / 64 of what goes are there yet.
GMP = [0, 2 * (888 + 631 + 500 + 451) + 4 * 444, 2 * (888 + 503 + 305 + 232) + 4 * 222]


@pytest.fixture(autouse=True)
def compile_once(monkeypatch):
    monkeypatch.setattr(experiment, "build", build)


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    settings = {
        "replicates": 1,
        "train.length": "12it",
        "move.every": "2it",
        "prune.fraction": 0.5,
        "prune.levels": 2,
        "rewind.steps": ("3it",),
        "branches": ("ticket",),
    }
    return configuring(tmp_path_factory, **settings)


def bills(directory):
    """Of every branch and level: to find and to train; and the same as if dense.

    Of the first replicate, at the first learning rate.
    """
    kinds = "multiply_adds_to_find", "multiply_adds_to_train"
    measures = [f"{dense}{kind}" for dense in ("", "dense_") for kind in kinds]
    found = {}
    rows = [*Workdir(directory).records.rows()]
    first = {name: rows[0].get(name) for name in ("replicate", "learning_rate")}
    for row in rows:
        if row["measure"] in measures and first.items() <= ({**first} | row).items():
            one = found.setdefault((row["branch"], row["level"]), {})
            assert row["measure"] not in one
            one[row["measure"]] = row["value"]
    return {
        key: tuple(numbers.get(measure) for measure in measures)
        for key, numbers in found.items()
    }


@pytest.fixture(scope="module")
def billed(configure, tmp_path_factory):
    """A function that runs a config, and gives the bills of its networks."""

    def billed(**changes):
        directory = tmp_path_factory.mktemp("billed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(experiment, "build", build)
            lottery.run(configure(**changes), directory)
        return bills(directory)

    return billed


MANY = (
    *("ticket", "random_reinit", "random_mask", "erk_mask", "rigl", "set", "gmp"),
    *("dense_equal_bill", "fine_tune", "long", "rewind_0"),
)


@pytest.fixture(scope="module")
def iterative(billed):
    return billed(branches=MANY)


def test_the_dense_network_is_found_at_once(iterative):
    assert iterative["dense", 0] == (0, DENSE, 0, DENSE)
    assert len(iterative) == 1 + 2 * len(MANY)


@pytest.mark.parametrize(
    ("branch", "wanted"),
    [
        ("ticket", TICKET),
        ("random_reinit", TICKET),
        ("random_mask", TICKET),
        ("fine_tune", [12 * STEP * kept for kept in KEPT]),
        ("long", [12 * STEP * kept for kept in KEPT]),
        ("erk_mask", [12 * STEP * kept for kept in KEPT]),
        ("set", [12 * STEP * kept for kept in KEPT]),
        ("rigl", [12 * STEP * kept + more for kept, more in zip(KEPT, MOVES)]),
        ("gmp", [STEP * steps for steps in GMP]),
        ("dense_equal_bill", [DENSE, 6 * STEP * WHOLE, 3 * STEP * WHOLE]),
    ],
)
def test_training_takes_what_is_kept_three_times_a_step(iterative, branch, wanted):
    for level in (1, 2):
        _, found, _, _ = iterative[branch, level]
        assert found == pytest.approx(wanted[level], rel=1e-6)


@pytest.mark.parametrize(
    ("branch", "steps"),
    [
        ("ticket", (9, 9)),
        ("long", (12, 12)),
        ("set", (12, 12)),
        ("gmp", (12, 12)),
        ("rigl", (12 + 4, 12 + 4)),  # a move takes as much as a step
        ("dense_equal_bill", (6, 3)),
    ],
)
def test_where_nothing_is_saved_it_takes_all_weights(iterative, branch, steps):
    for level, number in zip((1, 2), steps):
        assert iterative[branch, level][3] == number * STEP * WHOLE


@pytest.mark.parametrize(
    ("branch", "one", "two"),
    [
        ("ticket", DENSE, DENSE + TICKET[1]),
        ("random_reinit", DENSE, DENSE + TICKET[1]),
        ("fine_tune", DENSE, DENSE + TICKET[1]),
        ("rewind_0", DENSE, DENSE + TICKET[1]),
        ("long", DENSE + TICKET[1], DENSE + TICKET[1] + TICKET[2]),
        ("random_mask", DENSE / 4, DENSE / 4),  # 3 of 12 steps for its weights
        ("erk_mask", 0, 0),
        ("rigl", 0, 0),
        ("set", 0, 0),
        ("gmp", 0, 0),
        ("dense_equal_bill", 0, 0),
    ],
)
def test_what_came_before_is_what_masks_and_weights_need(iterative, branch, one, two):
    assert [iterative[branch, level][0] for level in (1, 2)] == [one, two]


def test_what_came_before_may_be_counted_as_if_dense_too(iterative):
    assert iterative["ticket", 2][2] == DENSE + 9 * STEP * WHOLE
    assert iterative["long", 1][2] == DENSE + 9 * STEP * WHOLE


SCORING = STEP * WHOLE  # a gradient of one batch
TWO = {"replicates": 2}
RATES = {"sweep.learning_rate": (0.01, 0.1)}
ADMM = {"prune.admm.rho": (1e-3,), "prune.admm.updates": 2}
ADMM |= {"prune.admm.interval": "1it"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "branch", "one", "two"),
    [
        ({"prune.schedule": "one_shot"}, "ticket", DENSE, DENSE),
        (
            {"prune.schedule": "one_shot"},
            "long",
            DENSE + TICKET[1],
            DENSE + TICKET[2],
        ),
        ({"prune.at": "k"}, "ticket", DENSE / 4, DENSE / 4),
        ({"prune.at": "0"}, "rewind_0", 0, 0),
        ({"prune.at": "0"}, "ticket", DENSE / 4, DENSE / 4),
        ({"prune.method": "snip"}, "rewind_0", SCORING, 2 * SCORING),
        (
            {"prune.method": "snip"},
            "ticket",
            DENSE / 4 + SCORING,
            DENSE / 4 + 2 * SCORING,
        ),
        (
            {"prune.method": "snip", "prune.schedule": "one_shot", "prune.rounds": 3},
            "rewind_0",
            3 * SCORING,
            3 * SCORING,
        ),
        ({"rewind.weights": "trained"}, "ticket", DENSE, DENSE + TICKET[1]),
        (
            {"rewind.weights": "trained", "prune.at": "k"},
            "ticket",
            DENSE,
            DENSE + TICKET[1],
        ),
        (
            {"rewind.weights": "trained", "prune.at": "k"},
            "long",
            DENSE + TICKET[1],
            DENSE + TICKET[1] + TICKET[2],
        ),
        ({"rewind.clock": "end"}, "ticket", DENSE, DENSE + TICKET[1]),
        # Its masks are not of those before: the dense network, and its own steps.
        (
            {"prune.method": "admm"} | ADMM,
            "ticket",
            DENSE + 2 * SCORING,
            DENSE + 2 * SCORING,
        ),
        # It keeps none of the masks before, but looks at what trained under them.
        (
            {"prune.method": "synflow", "prune.at": "end", "prune.rounds": 2},
            "ticket",
            DENSE + 2 * 3 * WHOLE,
            DENSE + 4 * 3 * WHOLE + TICKET[1],
        ),
        # Scores are of step 0, but masks look at trained weights, too.
        ({"prune.at": "0"}, "inverted_mask", DENSE, DENSE),
        ({"prune.at": "0"} | TWO, "transported", DENSE, DENSE),
        ({"prune.at": "0"} | TWO, "union_mask", DENSE, DENSE + TICKET[1]),
        ({"prune.at": "0"} | TWO, "sibling_mask", DENSE / 4, DENSE / 4),
        # To its own step k, and all that the other rate's ticket took.
        (RATES, "cross_lr", DENSE / 4 + DENSE, DENSE / 4 + DENSE + TICKET[1]),
    ],
    ids=str,
)
def test_finding_takes_what_the_config_says(billed, changes, branch, one, two):
    branches = tuple(dict.fromkeys(("ticket", branch)))
    found = billed(branches=branches, **changes)
    assert [found[branch, level][0] for level in (1, 2)] == [one, two]
    assert found["ticket", 1][1] == TICKET[1]


@pytest.mark.slow
def test_the_order_of_branches_does_not_matter(billed):
    found = billed(branches=("long", "ticket"))
    assert found["long", 1][0] == DENSE + TICKET[1]


def test_a_dense_network_that_goes_on_is_billed_once(billed, monkeypatch):
    """Of its branches at level 0, those from its trained weights take what it took."""
    monkeypatch.setitem(BRANCHES, "again", Branch("ticket", "k", again=True))
    found = billed(dense_branches=("again",), **{"prune.levels": 1})
    assert found["again", 0][0] == DENSE


@pytest.mark.parametrize("begin", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_every_move_is_billed_that_is_made(billed, monkeypatch, begin):
    """From step 2 on, one where training begins; after step 3, not that before it."""
    made, make = [], Moves.make

    def counted(moves, program, states, arrays, step):
        made.append(step)
        return make(moves, program, states, arrays, step)

    monkeypatch.setattr(Moves, "make", counted)
    monkeypatch.setitem(BRANCHES, "late", Branch("k", "k", mover="rigl"))
    found = billed(
        branches=("ticket", "late"),
        **{"prune.levels": 1, "rewind.steps": (f"{begin}it",)},
    )
    assert made == ([2, 4, 6, 8] if begin == 2 else [4, 6, 8])
    steps = 12 - begin
    wanted = steps * STEP * 444 + len(made) * BATCH * (2 * 444 + WHOLE)
    assert found["late", 1][1] == pytest.approx(wanted, rel=1e-6)
    assert found["late", 1][3] == (steps + len(made)) * STEP * WHOLE


@pytest.mark.slow
def test_a_run_that_was_cut_has_the_same_rows(configure, tmp_path, monkeypatch):
    config = configure(branches=("gmp", "ticket", "long"))
    lottery.run(config, tmp_path / "whole")
    update, calls = tqdm.update, []

    def some(bar, steps):
        calls.append(steps)
        if len(calls) % 7 == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(bar, steps)

    monkeypatch.setattr(tqdm, "update", some)
    cuts = 0
    while cuts < 99:
        try:
            lottery.run(config, tmp_path / "cut")
            break
        except Interrupted:
            cuts += 1
    assert 3 < cuts < 99
    rows = [Workdir(tmp_path / n).records.path.read_text() for n in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert check.problems(tmp_path / "cut") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["magnitude", pytest.param("admm", marks=pytest.mark.slow)]
)
def test_what_an_older_version_has_trained_has_no_bill(configure, tmp_path, method):
    """What goes on from there is not found for nothing."""
    admm = {
        "prune.method": method,
        "prune.admm.rho": (0.1,),
        "prune.admm.updates": 1,
        "prune.admm.interval": "2it",
        "branches": ("ticket", "erk_mask"),
    }
    lottery.run(configure(**admm | {"prune.levels": 1}), tmp_path)
    path = Workdir(tmp_path).records.path
    older = path.read_text().replace("multiply_adds_to_", "multiply_adds_xx_")
    path.write_text(older)
    lottery.run(configure(**admm), tmp_path)
    found = bills(tmp_path)
    assert [key for key in found if key[0] != "admm"] == [
        ("ticket", 2),
        ("erk_mask", 2),
    ]
    for find, train, dense_find, _ in found.values():
        assert (find, dense_find) == (None, None)
        assert train > 0
