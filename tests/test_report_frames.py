"""The report: rows in, text out."""

import json

import pandas as pd
import pytest

from lth_jax import report
from lth_jax.numbers import frames, tables
from lth_jax.numbers import rows as rows_lib
from lth_jax.workdir import records
from lth_jax.workdir.records import Member, row


def rows(*numbers, measure="test_accuracy", step=10, **columns):
    """Rows of (replicate, rewind step, level, branch, copy, density, value)."""
    return [
        row(
            Member(replicate, k, level, branch, copy),
            density=density,
            step=step,
            measure=measure,
            value=value,
        )
        | columns
        for replicate, k, level, branch, copy, density, value in numbers
    ]


ROWS = [
    *rows((0, 0, 0, "dense", 0, 1.0, 0.90), (1, 0, 0, "dense", 0, 1.0, 0.94)),
    *rows(
        (0, 5, 1, "ticket", 0, 0.5, 0.91),
        (0, 5, 1, "ticket", 1, 0.5, 0.93),  # a copy
        (0, 5, 1, "random_reinit", 0, 0.5, 0.70),
        (1, 5, 1, "ticket", 0, 0.5, 0.96),
        (1, 5, 1, "ticket", 1, 0.5, 0.96),
        (1, 5, 1, "random_reinit", 0, 0.5, 0.80),
    ),
    *rows(
        (0, 5, 2, "ticket", 0, 0.125, 0.9),
        (1, 5, 2, "ticket", 0, 0.125, 0.9),
        (0, 5, 2, "random_reinit", 0, 0.125, 0.55),
        (1, 5, 2, "random_reinit", 0, 0.125, 0.65),
    ),
    *rows((0, 0, 1, "ticket", 0, 0.5, 0.8), (1, 0, 1, "ticket", 0, 0.5, 0.8)),
]


def test_a_table_has_a_block_for_each_rewind_step_in_order():
    """Copies averaged before replicates; branches as they come; sample deviations."""
    assert report.table(ROWS) == "\n".join(
        [
            "test accuracy in %, mean ± standard deviation, n = 2",
            "dense: 92.00 ± 2.83",
            "",
            "rewound to step 0:",
            "       density         ticket",
            "        50.00%   80.00 ± 0.00",
            "",
            "rewound to step 5:",
            "       density         ticket  random_reinit",
            "        50.00%   94.00 ± 2.83   75.00 ± 7.07",
            "        12.50%   90.00 ± 0.00   60.00 ± 7.07",
        ]
    )


def test_branches_stand_in_the_order_of_the_records():
    swapped = [
        *rows((0, 0, 0, "dense", 0, 1.0, 0.9)),
        *rows((0, 0, 1, "zeta", 0, 0.5, 0.8), (0, 0, 1, "alpha", 0, 0.5, 0.7)),
    ]
    header = report.table(swapped).splitlines()[4]
    assert header.split() == ["density", "zeta", "alpha"]


def test_one_replicate_has_no_spread():
    lines = report.table(rows((0, 0, 0, "dense", 0, 1.0, 0.9))).splitlines()
    assert lines == [
        "test accuracy in %, mean ± standard deviation, n = 1",
        "dense: 90.00",
    ]


def test_losses_are_not_percentages():
    text = report.table(
        rows((0, 0, 0, "dense", 0, 1.0, 0.25), measure="test_loss"), "test_loss"
    )
    assert text.splitlines() == [
        "test loss in nats, mean ± standard deviation, n = 1",
        "dense: 0.2500",
    ]


def test_only_the_end_of_a_training_counts():
    """Wherever it stands: a resumed run may record its rows in another order."""
    early = rows((0, 0, 0, "dense", 0, 1.0, 0.1), step=9)
    late = rows((0, 0, 0, "dense", 0, 1.0, 0.9), step=100)
    for order in (early + late, late + early):
        assert report.frame(order, "test_accuracy")["value"].tolist() == [0.9]


def test_a_network_that_diverged_has_no_end():
    """Though it was measured on its way to where others ended."""
    lost = rows((1, 5, 1, "ticket", 0, 0.5, 1.0), measure="diverged", step=7)
    found = report.frame([*ROWS, *lost], "test_accuracy")
    tickets = found[(found["branch"] == "ticket") & (found["rewind_step"] == 5)]
    values = dict(zip(zip(tickets["level"], tickets["replicate"]), tickets["value"]))
    # The first replicate has two copies, the other one that is left.
    assert values == pytest.approx(
        {(1, 0): 0.92, (1, 1): 0.96, (2, 0): 0.9, (2, 1): 0.9}
    )
    assert report.summary([*ROWS, *lost], "diverged").empty


def test_overlaps_are_a_table_beside_chance():
    found = rows((0, 0, 0, "dense", 0, 1.0, 0.5), (1, 0, 0, "dense", 0, 1.0, 0.6))
    compared = {"measure": "overlap", "pair": "start_to_end", "p": 0.2}
    found = [r | compared for r in found]
    chance = [r | {"measure": "chance_overlap", "value": 0.2} for r in found]
    ((_, table),) = tables.overlap_tables(found + chance, "start_to_end")
    assert table.to_dict("records") == [
        {"density": "100.00%", "branch": "dense", "p = 20 %": "55.0 ± 7.1 (20.0)"}
    ]
    assert [*tables.overlap_tables(found, "end_to_dense")] == []


def test_a_frame_has_one_row_a_replicate():
    frame = report.frame(ROWS, "test_accuracy")
    assert list(frame.columns) == [
        "run",
        "setting",
        "rewind_step",
        "level",
        "branch",
        "replicate",
        "density",
        "value",
    ]
    first = frame.query("rewind_step == 5 and level == 1 and branch == 'ticket'")
    assert first["value"].tolist() == pytest.approx([0.92, 0.96])
    assert len(frame) == 12
    assert isinstance(frame, pd.DataFrame)


def test_settings_have_tables_of_their_own():
    """Rows name a learning rate and a weight decay only where a run has several."""
    swept = [
        row(
            Member(0, 0, level, branch, 0, rate, None),
            density=1 / (1 + level),
            step=10,
            measure="test_accuracy",
            value=rate,
        )
        for rate in (0.1, 0.01)
        for level, branch in ((0, "dense"), (1, "ticket"))
    ]
    assert report.table(swept).splitlines() == [
        "test accuracy in %, mean ± standard deviation, n = 1",
        "learning rate 0.01, dense: 1.00",
        "learning rate 0.1, dense: 10.00",
        "",
        "learning rate 0.01, rewound to step 0:",
        "       density         ticket",
        "        50.00%           1.00",
        "",
        "learning rate 0.1, rewound to step 0:",
        "       density         ticket",
        "        50.00%          10.00",
    ]


def test_what_admm_trains_is_no_network_of_its_level():
    """It is dense still, and takes more steps than any ticket."""
    drawn = rows((0, 0, 1, "admm", 0, 1.0, 0.3), step=99)
    tickets = rows((0, 0, 0, "dense", 0, 1.0, 0.9), (0, 0, 1, "ticket", 0, 0.5, 0.8))
    assert report.table(drawn + tickets) == report.table(tickets)


def test_the_density_of_a_level_is_its_tickets():
    """Another branch may be denser by a weight, as layers are rounded."""
    frame = report.frame(
        rows((0, 0, 1, "random_mask", 0, 0.51, 0.9), (0, 0, 1, "ticket", 0, 0.5, 0.8)),
        "test_accuracy",
    )
    assert frame["density"].tolist() == [0.5, 0.5]


def test_a_run_without_the_measure_has_no_table():
    assert report.table([]) == "no test accuracy in %"
    said = report.table(ROWS, "angle")
    assert said.startswith("no angle in degrees; there are test_accuracy")


def test_a_branch_is_left_out_while_none_of_its_networks_is_done():
    """Others of the branch tell how long a training is."""
    going = [
        *rows((0, 0, 0, "dense", 0, 1.0, 0.9), (0, 0, 1, "ticket", 0, 0.5, 0.8)),
        *rows((1, 0, 1, "ticket", 0, 0.5, 0.1), step=3),
    ]
    frame = report.frame(going, "test_accuracy")
    assert frame["value"].tolist() == [0.9, 0.8]


def test_all_pairs_of_copies_are_one_measure():
    compared = {"measure": "distance", "pair": "copies"}
    pairs = [
        *rows((0, 0, 1, "ticket", 1, 0.5, 1.0), other=0, **compared),
        *rows((0, 0, 1, "ticket", 2, 0.5, 2.0), other=0, **compared),
        *rows((0, 0, 1, "ticket", 2, 0.5, 6.0), other=1, **compared),
    ]
    assert report.frame(pairs, "distance")["value"].tolist() == [3.0]
    assert report.frame(pairs, "distance", other=0)["value"].tolist() == [1.5]


def test_a_run_that_is_being_written_is_read_up_to_its_last_line(tmp_path):
    lines = [json.dumps(found) + "\n" for found in ROWS]
    (tmp_path / "results.jsonl").write_text("".join(lines) + lines[0][:20])
    assert len(report.load(tmp_path)) == len(ROWS)
    assert report.table(report.load(tmp_path)) == report.table(ROWS)


def test_runs_are_told_apart_by_their_folders(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        text = "".join(json.dumps(found) + "\n" for found in ROWS)
        (tmp_path / run / "results.jsonl").write_text(text)
    both = report.load(tmp_path / "a", tmp_path / "b")
    assert set(both["run"]) == {"a", "b"}
    assert "b, rewound to step 5:" in report.table(both)
    means = report.summary(both, "test_accuracy").groupby("run")["mean"].sum()
    assert means["a"] == means["b"]


def matches(*tickets, dense=(0.90, 0.94)):
    """What is said of tickets with these accuracies, one a replicate."""
    pairs = enumerate(zip(dense, tickets))
    found = report.matching(
        [
            line
            for i, (whole, sparse) in pairs
            for line in rows(
                (i, 0, 0, "dense", 0, 1.0, whole), (i, 5, 1, "ticket", 0, 0.5, sparse)
            )
        ]
    )
    return found.iloc[0]


def test_replicates_are_compared_in_pairs():
    found = matches(0.91, 0.98)
    assert (found["rewind_step"], found["level"], found["n"]) == (5, 1, 2)
    assert found["difference"] == pytest.approx(0.025)
    assert found["std"] == pytest.approx(0.015 * 2**0.5)


@pytest.mark.parametrize(
    ("tickets", "reaches", "within_std", "within_points"),
    [
        ((0.90, 0.94), True, True, True),
        ((0.94, 0.90), True, True, True),  # the same mean
        ((0.87, 0.92), False, True, False),  # 2.5 points; std of dense is 2.83
        ((0.87, 0.91), False, False, False),  # 3 points
    ],
)
def test_a_match_is_what_the_papers_call_one(
    tickets, reaches, within_std, within_points
):
    found = matches(*tickets)
    assert found["reaches_dense"] == reaches
    assert found["within_std"] == within_std
    assert found["within_0.2_points"] == within_points


def test_a_fifth_of_a_point_matches_though_dense_networks_hardly_differ():
    assert matches(0.9181, 0.9183, dense=(0.9199, 0.9201))["within_0.2_points"]
    assert not matches(0.9179, 0.9181, dense=(0.9199, 0.9201))["within_0.2_points"]


def test_copies_of_dense_networks_do_not_change_what_matches():
    """Those rewound to step 0 stand beside the first in the rows."""
    alone = matches(0.87, 0.92)
    others = rows(*((i, 0, 0, "dense", 1, 1.0, 0.92) for i in (0, 1)))
    both = report.matching(
        [
            *rows((0, 0, 0, "dense", 0, 1.0, 0.90), (1, 0, 0, "dense", 0, 1.0, 0.94)),
            *rows((0, 5, 1, "ticket", 0, 0.5, 0.87), (1, 5, 1, "ticket", 0, 0.5, 0.92)),
            *others,
        ]
    ).iloc[0]
    assert both.to_dict() == alone.to_dict()


def test_one_replicate_cannot_say_whether_a_ticket_is_within_a_deviation():
    found = matches(0.899, dense=(0.9,))
    assert found["within_std"] is None
    assert found["within_0.2_points"]


def test_no_sparse_network_matches_while_there_is_none():
    assert report.matching(rows((0, 0, 0, "dense", 0, 1.0, 0.9))).empty
    assert report.matching([]).empty
    assert [*tables.matching_tables([])] == []


def test_the_table_of_matches_marks_them():
    ((heading, cells),) = [
        table for table in tables.matching_tables(ROWS) if "step 5" in table[0]
    ]
    assert heading == "rewound to step 5"
    assert cells["ticket"].tolist() == ["+2.00% ± 0.00% ≥", "-2.00% ± 2.83% ≈"]
    assert cells["random_reinit"].tolist() == ["-17.00% ± 4.24%", "-32.00% ± 4.24%"]


def test_tickets_are_compared_with_dense_networks_of_as_many_steps():
    """Those of step 0, whatever the rewind step of the ticket."""
    longer = [(i, 0, 0, "long", 0, 1.0, 0.95) for i in range(2)]
    found = report.matching([*ROWS, *rows(*longer)], reference="long")
    ticket = found[(found["branch"] == "ticket") & (found["rewind_step"] == 5)]
    assert ticket["difference"].tolist() == pytest.approx([-0.01, -0.05])
    assert ticket["n"].tolist() == [2, 2]
    assert [*tables.matching_tables(ROWS, "long")] == []


def test_branches_are_compared_in_pairs():
    found = report.differences(ROWS, "ticket", "random_reinit")
    assert found["level"].tolist() == [1, 2]
    assert found["mean"].tolist() == pytest.approx([0.94 - 0.75, 0.9 - 0.6])
    assert found["std"].tolist() == pytest.approx([0.06 * 0.5**0.5, 0.1 * 0.5**0.5])
    assert found["n"].tolist() == [2, 2]
    ((heading, cells),) = tables.difference_tables(ROWS)
    assert heading == "rewound to step 5"
    assert cells["ticket − random_reinit"].tolist() == [
        "+19.00% ± 4.24%",
        "+30.00% ± 7.07%",
    ]
    assert [*tables.difference_tables([])] == []


def test_what_is_trained_once_is_compared_at_every_rewind_step():
    tickets = [(0, k, 1, "ticket", 0, 0.5, value) for k, value in ((0, 0.8), (5, 0.9))]
    dense, rigl = (0, 0, 0, "dense", 0, 1.0, 0.9), (0, 0, 1, "rigl", 0, 0.5, 0.7)
    found = report.differences(rows(*tickets, dense, rigl), "ticket", "rigl")
    assert found["rewind_step"].tolist() == [0, 5]
    assert found["mean"].tolist() == pytest.approx([0.1, 0.2])
    tuned = (0, 0, 1, "fine_tune", 0, 0.5, 0.7)  # it goes on from trained weights
    found = report.differences(rows(*tickets, dense, tuned), "ticket", "fine_tune")
    assert found["rewind_step"].tolist() == [0]


def test_a_cell_of_fewer_replicates_says_so():
    ticket = [line for line in ROWS if line["replicate"] == 0 or line["level"] < 2]
    ((_, cells),) = [t for t in tables.tables(ticket, "test_accuracy") if "5" in t[0]]
    assert cells["ticket"].tolist() == ["94.00 ± 2.83", "90.00, n = 1"]


def test_comparisons_say_of_how_many_samples_they_are():
    compared = [
        line
        for copy, value in ((1, 1.0), (2, 3.0))
        for replicate in (0, 1)
        for line in rows(
            (replicate, 5, 1, "ticket", copy, 0.5, value + replicate),
            measure="distance",
            pair="copies",
            other=0,
        )
    ]
    found = frames.samples(compared, "distance").iloc[0]
    assert (found["mean"], found["min"], found["max"], found["n"]) == (2.5, 1, 4, 4)
    ((_, cells),) = tables.tables(compared, "distance")
    assert cells["ticket"].tolist() == ["2.50 ± 0.71 (1.00 to 4.00, n = 4)"]


def test_numbers_that_differ_in_a_column_stay_apart():
    """Whether the column is known here or of a study of one's own."""
    found = [
        line
        for column, values in {
            **{"split": ("test", "train"), "pair": ("dense", "start_to_end")},
            **{"alpha": (0.0, 0.5), "p": (0.1, 0.2), "layer": ("fc", "fc1")},
            **{"probe": (3, 7), "of": ([1], [2]), "n": (1, "two")},
        }.items()
        for value, number in zip((None, *values), (1.0, 2.0, 3.0))
        for line in rows(
            (0, 0, 1, "ticket", 0, 0.5, number),
            measure=f"share_{column}",
            **({} if value is None else {column: value}),
        )
    ]
    for measure in rows_lib.measures(found):
        frame = report.summary(found, measure)
        assert sorted(frame["mean"]) == [1, 2, 3]
        assert len(rows_lib.varying(frame)) == 1
    chosen = report.summary(found, "share_probe", probe=7)
    assert chosen["mean"].tolist() == [3]
    assert report.frame(found, "share_probe", probe=None)["value"].tolist() == [1]
    assert report.frame(found, "share_probe", probe=...)["value"].tolist() == [2, 3]
    several = report.frame(found, "share_layer", layer=("fc", "fc1"))
    assert several["layer"].tolist() == ["fc", "fc1"]
    ((_, cells),) = tables.tables(found, "share_probe")
    assert cells["probe"].tolist() == ["", "3", "7"]
    assert cells["ticket"].tolist() == ["1.00", "2.00", "3.00"]
    assert report.table(found, "share_split", split="test").splitlines() == [
        "share split on test, mean ± standard deviation, n = 1",
        "",
        "rewound to step 0:",
        "       density         ticket",
        "        50.00%           2.00",
    ]


def test_copies_are_averaged_whatever_the_split():
    compared = [
        *rows((0, 0, 1, "ticket", 1, 0.5, 1.0), split="test", other=0, pair="copies"),
        *rows((0, 0, 1, "ticket", 2, 0.5, 3.0), split="test", other=1, pair="copies"),
        *rows((0, 0, 1, "ticket", 2, 0.5, 8.0), split="train", other=0, pair="copies"),
    ]
    frame = report.frame(compared, "test_accuracy")
    assert frame[["split", "pair", "value"]].values.tolist() == [
        ["test", "copies", 2.0],
        ["train", "copies", 8.0],
    ]


def test_the_dense_network_from_every_step_stands_beside_the_whole_training():
    dense = (0, 0, 0, "dense", 0, 1.0)
    of_p = {"measure": "overlap", "p": 0.2}
    compared = [
        *rows((*dense, 0.3), pair="start_to_end", **of_p),
        *rows((*dense, 0.4), pair="rewound_to_end", other=5, **of_p),
        *rows((*dense, 0.6), pair="rewound_to_end", other=9, **of_p),
    ]
    found = frames.overlaps(compared, "start_to_end")
    assert dict(zip(found["other"].fillna(0), found["mean"])) == {
        0: 0.3,
        5: 0.4,
        9: 0.6,
    }
    assert frames.pairs(compared) == ["start_to_end"]
    ((_, cells),) = tables.overlap_tables(compared, "start_to_end")
    assert set(zip(cells["other"], cells["p = 20 %"])) == {
        ("", "30.0"),
        ("5", "40.0"),
        ("9", "60.0"),
    }


def test_numbers_that_are_none_are_no_error():
    lost = [line | {"value": float("nan")} for line in ROWS if line["replicate"]]
    found = report.summary(
        [*lost, *(r for r in ROWS if not r["replicate"])], "test_accuracy"
    )
    assert set(found["n"]) == {1}
    assert "nan" in report.table(lost)


def test_the_report_knows_what_every_row_has():
    """Of itself: what defines it needs JAX."""
    assert Member._fields == rows_lib.MEMBER
    assert rows_lib.DIVERGED == records.DIVERGED


def test_what_diverged_has_no_numbers_of_another_step_in_its_place():
    """A branch that was trained for step 5 as well, and has lost all of that."""

    def network(branch, step, replicate, measure="test_accuracy", value=0.5):
        return {
            "run": "a",
            "replicate": replicate,
            "rewind_step": step,
            "level": 1,
            "density": 0.5,
            "branch": branch,
            "copy": 0,
            "step": 9,
            "measure": measure,
            "value": value,
        }

    seeds = range(3)
    rows = [network("ticket", k, i) for k in (0, 5) for i in seeds]
    rows += [network("noise_2", 0, i) for i in seeds]
    alone = frames.differences(pd.DataFrame(rows), "ticket", "noise_2")
    assert sorted(alone["rewind_step"]) == [0, 5]  # trained once
    rows += [network("noise_2", 5, i, "diverged", 1.0) for i in seeds]
    found = frames.differences(pd.DataFrame(rows), "ticket", "noise_2")
    assert [*found["rewind_step"]] == [0]
