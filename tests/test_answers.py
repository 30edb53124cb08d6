"""Answers in words: literal numbers, of which each sentence is known."""

import json

import pandas as pd
import pytest

from lth_jax import numbers
from lth_jax.numbers import tables, titles
from lth_jax.numbers.answers import Answer
from lth_jax.report import about
from lth_jax.workdir.records import Member, row


def numbered(values, *, k=0, measure="test_accuracy", rate=None, **columns):
    """Rows of {(level, branch): [a value a replicate]}."""
    return [
        row(
            Member(replicate, k if level else 0, level, branch, 0, rate),
            density=0.5**level,
            step=10,
            measure=measure,
            value=value,
        )
        | columns
        for (level, branch), its in values.items()
        for replicate, value in enumerate(its)
    ]


DENSE = {(0, "dense"): [0.90, 0.91, 0.92]}
ROWS = numbered(
    DENSE
    | {
        (1, "ticket"): [0.90, 0.92, 0.92],
        (2, "ticket"): [0.889, 0.90, 0.911],
        (3, "ticket"): [0.86, 0.88, 0.87],
        (1, "random_reinit"): [0.91, 0.90, 0.92],
        (2, "random_reinit"): [0.87, 0.88, 0.89],
        (3, "random_reinit"): [0.80, 0.83, 0.82],
    }
)


def test_where_tickets_match_and_from_where_controls_are_worse():
    """Of paired differences in points: [0, 1, 0]; -1 ± 0.1, [-4, -3, -5]; 2 ± 0.1."""
    assert numbers.answers(ROWS) == [
        Answer(
            "Do tickets match the dense network?",
            [
                "test accuracy of dense networks: 91 % (88.52 to 93.48); n = 3.",
                "by their means, tickets match dense networks down to 25 %; "
                "worse than dense networks at 25 % (−1.0 points, −1.2 to −0.8), "
                "12.5 % (−4.0 points, −6.5 to −1.5); no difference is "
                "resolved at 50 %; n = 3.",
            ],
        ),
        Answer(
            "Do tickets beat their controls?",
            [
                "tickets are better than random reinit at 25 % (+2.0 points, +1.8 to "
                "+2.2), 12.5 % (+5.3 points, +3.9 to +6.8); no difference is "
                "resolved at 50 %; n = 3."
            ],
        ),
    ]


def test_rewind_steps_of_one_density_are_compared_at_once():
    rows = numbered(DENSE)
    for k, values in {0: [0.80, 0.82, 0.81], 5: [0.90, 0.91, 0.93]}.items():
        rows += numbered({(1, "ticket"): values}, k=k)
    (answer,) = numbers.answers(rows)
    assert answer.texts[1] == (
        "at 50 % of the weights: by their means, tickets match dense networks when "
        "rewound to step 5; worse than dense networks when rewound to step 0 (−10.0 "
        "points, −12.5 to −7.5); no difference is resolved when rewound to step 5; "
        "n = 3."
    )


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (range(2, 8), "from 25 % down, the first (−9"),
        (range(1, 7), "from 50 % to 1.56 %, the first (−9"),
        ((1, 2, 3, 5, 7), "at 50 %, 25 %, 12.5 %, 3.12 %, 0.781 %, the first (−9"),
    ],
)
def test_of_many_densities_no_range_has_holes(worse, said):
    values = {
        (level, "ticket"): [0.82, 0.81, 0.83] if level in worse else [0.92, 0.91, 0.9]
        for level in range(1, 8)
    }
    (answer,) = numbers.answers(numbered(DENSE | values))
    assert f"worse than dense networks {said}" in answer.texts[1]


def test_many_rewind_steps_are_listed():
    rows = numbered(DENSE)
    for k in range(6):
        rows += numbered({(1, "ticket"): [0.80, 0.82, 0.81]}, k=k)
    (answer,) = numbers.answers(rows)
    listed = (
        "worse than dense networks when rewound to step 0, 1, 2, 3, 4, 5, the first"
    )
    assert listed in answer.texts[1]


def test_settings_have_their_names():
    values = DENSE | {(1, "ticket"): [0.9] * 3, (1, "fine_tune"): [0.93, 0.94, 0.95]}
    rows = numbered(values, rate=0.1) + numbered(values, rate=0.01)
    *_, answer = numbers.answers(rows)
    assert answer.question == "Tickets or fine-tuning?"
    assert answer.texts == [
        "at 50 % of the weights: fine-tuned weights are better than the ticket at "
        "learning rate 0.01 (+4.0 points, +1.5 to +6.5), 0.1 (+4.0 points, +1.5 to "
        "+6.5); n = 3."
    ]


def test_masks_of_other_seeds_are_compared_with_each_other():
    """In points: [3, 4, 5] above masks as they are; these 1 ± 0.1 below shuffled."""
    values = {
        (1, "sibling_mask"): [0.80, 0.81, 0.82],
        (1, "transported"): [0.83, 0.85, 0.87],
        (1, "shuffled_mask"): [0.81, 0.821, 0.829],
    }
    *_, answer = numbers.answers(numbered(DENSE | values))
    assert answer == Answer(
        "What of a mask is of its seed?",
        [
            "transported masks are better than other seeds' masks at 50 % (+4.0 "
            "points, +1.5 to +6.5); n = 3.",
            "other seeds' masks are worse than shuffled mask at 50 % (−1.0 points, "
            "−1.2 to −0.8); n = 3.",
        ],
    )


def test_one_replicate_resolves_nothing():
    rows = numbered({key: its[:1] for key, its in DENSE.items()})
    rows += numbered({(1, "ticket"): [0.95], (1, "random_reinit"): [0.5]})
    *_, answer = numbers.answers(rows)
    assert answer.texts == [
        "tickets are not resolved against random reinit at 50 % (+45.0 points); n = 1."
    ]


def test_an_error_is_better_where_it_is_lower():
    rows = pd.DataFrame(
        numbered(
            {(0, "dense"): [1.0, 1.11], (1, "ticket"): [0.5, 0.6]}, measure="test_bits"
        )
    )
    rows.attrs["task"] = {"error": "bits", "units": {"bits": ["bits", 1.0, False]}}
    (answer,) = numbers.answers(rows)
    assert "better than dense networks at 50 % (−0.505 bits" in answer.texts[1]


@pytest.mark.parametrize(
    ("means", "words", "sure"),
    [
        (
            (0.1, 0.01, 0.005),
            "stable from step 5 on",
            "the interval is below at step 5",
        ),
        (
            (0.01, 0.1, 0.005),
            "stable from step 9 on",
            "the interval is below at step 0",
        ),
        ((0.1, 0.1, 0.02), "not stable from any step", "no interval is below"),
    ],
)
def test_stable_is_what_all_later_steps_are(means, words, sure):
    rows = [*ROWS]
    for k, mean in zip((0, 5, 9), means):
        where = {"split": "test", "pair": "copies", "measure": "instability"}
        values = [mean, mean + 0.02 * (k == 9)]  # of which the mean is stable alone
        rows += numbered({(1, "ticket"): values}, k=k, **where)
    *_, answer = numbers.answers(rows)
    (text,) = answer.texts
    start = f"by their means, tickets at 50 % are {words} (below 2 %): instability "
    assert text.startswith(start)
    assert text.endswith(f"; {sure}; n = 2.")


def in_run(rows, run):
    return [row | {"run": run} for row in rows]


@pytest.mark.parametrize("level", [1, 2])
def test_each_sentence_names_its_run(level):
    """Of one density together, of several each for itself; rivals are of one alone."""
    rows = []
    for run, better in (("one", 0.01), ("two", 0.02)):
        tickets = {(1, "ticket"): [0.9 + better] * 3}
        tickets |= {(level, "ticket"): [0.9 + better] * 3}
        controls = {(1, "random_reinit"): [0.88, 0.90, 0.89]}
        rows += in_run(numbered(DENSE | tickets | controls), run)
    rows += in_run(numbered({(1, "rigl"): [0.939, 0.94, 0.941]}), "two")
    texts = [text for answer in numbers.answers(rows) for text in answer.texts]
    assert all("one" in text or "two" in text for text in texts), texts
    assert texts[-1].startswith("at 50 % of the weights: tickets are worse than rigl")
    assert " in two (" in texts[-1]
    assert [text.startswith("two: ") for text in texts].count(True) == (
        1 if level == 1 else 2
    )


def test_runs_of_other_densities_do_not_share_one():
    tickets = numbered(DENSE | {(1, "ticket"): [0.91, 0.93, 0.92]})
    other = [r | {"density": 0.1} if r["level"] else r for r in tickets]
    (answer,) = numbers.answers(in_run(tickets, "one") + in_run(other, "two"))
    matching = [text for text in answer.texts if "by their means" in text]
    assert ["50 %" in text for text in matching] == [True, False]
    assert ["10 %" in text for text in matching] == [False, True]


def test_networks_on_their_way_are_not_compared():
    done = numbered(DENSE | {(1, "ticket"): [0.91, 0.93, 0.92]})
    ends = [row | {"measure": "steps_trained", "value": 10} for row in done]
    begun = numbered({(1, "random_reinit"): [0.1, 0.2, 0.3]})
    assert len(numbers.answers(done + ends + begun)) == 1
    assert len(numbers.answers(done + begun)) == 2  # nothing tells of ends
    assert numbers.answers(numbered(DENSE)) == []  # in the midst of level 0


def test_a_branch_of_ones_own_is_compared_beside_others():
    rows = numbered(DENSE | {(1, "mine"): [0.9, 0.9, 0.91]})
    for k, values in {0: [0.80, 0.81, 0.82], 500: [0.95, 0.96, 0.95]}.items():
        rows += numbered({(1, "ticket"): values, (1, "signs"): values}, k=k)
    found = {answer.question: answer.texts for answer in numbers.answers(rows)}
    (text,) = found["Tickets or other branches?"]
    assert "better than mine when rewound to step 500" in text
    assert "worse than mine when rewound to step 0" in text
    assert len(found["What of a ticket matters?"]) == 1


def test_rivals_that_train_once_are_compared_with_tickets_of_every_step():
    rows = numbered(DENSE | {(1, "rigl"): [0.9, 0.9, 0.91]})
    for k, values in {0: [0.80, 0.81, 0.82], 500: [0.95, 0.96, 0.95]}.items():
        rows += numbered({(1, "ticket"): values}, k=k)
    (text,) = numbers.answers(rows)[-1].texts
    assert text == (
        "at 50 % of the weights: tickets are better than rigl when rewound to step 500 "
        "(+5.0 points, +2.5 to +7.5); worse than rigl when rewound to step 0 (−9.3 "
        "points, −10.8 to −7.9); n = 3."
    )


def test_where_only_sparser_tickets_match_these_are_listed():
    values = {
        (1, "ticket"): [0.86, 0.88, 0.87],
        (2, "ticket"): [0.92, 0.92, 0.93],
        (3, "ticket"): [0.93, 0.925, 0.94],
    }
    (answer,) = numbers.answers(numbered(DENSE | values))
    said = "by their means, tickets match dense networks at 25 %, 12.5 %; better"
    assert answer.texts[1].startswith(said)


def test_one_replicate_matches_where_it_reaches_dense_and_else_tells_nothing():
    for ticket, said in {
        0.95: "by their means, tickets match dense networks at 50 %; not",
        0.899: "by their means, tickets match dense networks at 50 %; not",
        0.89: "one replicate does not tell whether tickets match dense networks; not",
    }.items():
        rows = numbered({(0, "dense"): [0.90], (1, "ticket"): [ticket]})
        (answer,) = numbers.answers(rows)
        assert answer.texts[1].startswith(said)


def test_one_replicate_of_any_measure_matches_where_it_reaches_dense():
    values = {(0, "dense"): [1.0], (1, "ticket"): [0.5], (2, "ticket"): [1.5]}
    rows = pd.DataFrame(numbered(values, measure="test_bits"))
    rows.attrs["task"] = {"error": "bits", "units": {"bits": ["bits", 1.0, False]}}
    (answer,) = numbers.answers(rows)
    said = "by their means, tickets match dense networks down to 50 %; not resolved"
    assert answer.texts[1].startswith(said)


def test_learning_rates_rise_and_have_no_down():
    rows = []
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
        better = 0.03 if rate >= 0.01 else 0.001
        tickets = {(1, "ticket"): [x + better for x in (0.90, 0.911, 0.92)]}
        rows += numbered(DENSE | tickets, rate=rate)
    text = numbers.answers(rows)[0].texts[-1]
    assert "down" not in text
    assert (
        "better than dense networks at learning rate 0.01, 0.03, 0.1, 0.3, 1," in text
    )


@pytest.mark.parametrize(
    ("n", "said"),
    [(2, "not resolved against dense networks"), (6, "better than dense networks")],
)
def test_equal_differences_of_few_replicates_resolve_nothing(n, said):
    values = {
        (0, "dense"): [0.5, 0.6] * (n // 2),
        (1, "ticket"): [0.51, 0.61] * (n // 2),
    }
    (answer,) = numbers.answers(numbered(values))
    assert f"; {said} at 50 % (+1.0 points, all alike); n = {n}." in answer.texts[1]


def test_what_is_resolved_is_not_rounded_to_nothing():
    given = {(1, "ticket"): [0.9004, 0.9105, 0.9206], (0, "dense"): [0.90, 0.91, 0.92]}
    (answer,) = numbers.answers(numbered(given))
    assert (
        "better than dense networks at 50 % (+0.05 points, +0.03 to +0.07)"
        in (answer.texts[1])
    )


def test_what_diverged_is_said():
    rows = numbered(DENSE | {(1, "ticket"): [0.91, 0.93, 0.92]})
    rows += numbered({(1, "random_reinit"): [0.1, 0.2, 0.3]})
    lost = numbered({(1, "random_reinit"): [4.0, 5.0, 6.0]}, measure="diverged")
    texts = numbers.answers(rows + lost)[-1].texts
    assert texts == [
        "no pair of tickets and random reinit is left; diverged, and left out: 3 of "
        "random reinit."
    ]
    (text,) = numbers.answers(rows + lost[:1])[-1].texts
    assert text.endswith("; n = 2; diverged, and left out: 1 of random reinit.")


@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_metrics_in_percent_may_have_any_factor(factor):
    values = {(0, "dense"): [11.0, 11.05, 11.1], (1, "ticket"): [11.1, 11.2, 11.21]}
    values = {key: [x / factor for x in its] for key, its in values.items()}
    rows = pd.DataFrame(numbered(values, measure="test_rate"))
    rows.attrs["task"] = {"error": "rate", "units": {"rate": ["%", factor, False]}}
    (answer,) = numbers.answers(rows)
    assert "tickets match dense networks at 50 %" in answer.texts[1]
    ((_, cells),) = tables.matching_tables(rows)
    assert cells["ticket"].tolist() == ["+0.12% ± 0.03% ≈"]


def test_of_two_metrics_the_longer_name_counts():
    rows = pd.DataFrame(numbered(DENSE, measure="test_squared_error"))
    units = {"error": ["%", 100.0, False], "squared_error": ["", 1.0, False]}
    rows.attrs["task"] = {"error": "error", "units": units}
    assert titles.unit(rows, "test_squared_error").name == ""
    assert titles.unit(rows, "test_error").name == "%"


def test_without_the_error_there_is_no_answer():
    assert numbers.answers([]) == []
    assert numbers.answers(numbered(DENSE, measure="train_loss")) == []


def test_what_was_run_is_said_by_its_files():
    config = {
        "model": {"name": "lenet", "options": {"widths": (300, 100)}},
        "data": {"name": "digits", "batch_size": 60},
        "prune": {"method": "magnitude", "fraction": 0.4, "levels": 9, "densities": ()},
        "rewind": {"steps": ["0it", "25it"]},
        "optim": {"name": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
        "replicates": 3,
        "seed": 4,
    }
    environment = {
        "begun": "2026-11-28T07:00:00+00:00",
        "git_commit": "0123456789abcdef-dirty",
        "packages": {"jax": "0.10.0"},
        "devices": ["cpu", "cpu"],
    }
    its = {"config": config, "environment": environment, "plan": {"length": 1200}}
    assert about.ran(its, numbers.tidy(ROWS)) == (
        "lenet (widths 300, 100) on digits. Pruned by magnitude, 40 % of what remains "
        "at each of 9 levels; rewound to steps 0, 25. 1,200 steps of adam at a rate "
        "of 0.001, batches of 60; 3 replicates, seed 4. Begun 28 November 2026, commit "
        "0123456 with changes, jax 0.10.0 on 2 × cpu. Numbers up to level 3 of 9, "
        "n = 3."
    )


def test_runs_differ_in_fields():
    one = {"seed": 1, "optim": {"name": "sgd", "options": {}}, "same": [1, 2]}
    two = json.loads(json.dumps(one)) | {"seed": 2, "optim": {"name": "sgd"}}
    found = about.differing({"a": one, "b": two})
    assert found.to_numpy().tolist() == [
        ["seed", "1", "2"],
        ["optim.options", "{}", ""],
    ]
