"""The report: rows in, text out."""

import pandas as pd
import pytest

from lth_jax import report
from lth_jax.records import Member, row


def rows(*numbers, measure="test_accuracy", step=10):
    """Rows of (replicate, rewind step, level, branch, copy, density, value)."""
    return [
        row(
            Member(replicate, k, level, branch, copy),
            density=density,
            step=step,
            measure=measure,
            value=value,
        )
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
        "test loss, mean ± standard deviation, n = 1",
        "dense: 0.25",
    ]


def test_only_the_end_of_a_training_counts():
    """Wherever it stands: a resumed run may record its rows in another order."""
    early = rows((0, 0, 0, "dense", 0, 1.0, 0.1), step=9)
    late = rows((0, 0, 0, "dense", 0, 1.0, 0.9), step=100)
    for order in (early + late, late + early):
        assert report.frame(order, "test_accuracy")["value"].tolist() == [0.9]


def test_a_frame_has_one_row_a_replicate():
    frame = report.frame(ROWS, "test_accuracy")
    assert list(frame.columns) == [
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
