"""The bill: what a network took to be found and trained, in the report."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth_jax import drawing, report
from lth_jax.numbers import frames, tables
from lth_jax.report import figures
from lth_jax.report.results import Figures
from lth_jax.workdir.records import Member, row


def network(replicate, k, level, branch, accuracy, *bill, step=100, run="", copy=0):
    """The rows of a network at its end: find, train, and both as dense, in 10^15."""
    names = (*frames.COSTS, *frames.COSTS_AS_DENSE)
    numbers = dict(zip(names, (1e15 * cost for cost in bill)))
    numbers |= {"test_accuracy": accuracy, "steps_trained": float(step)}
    member = Member(replicate, k, level, branch, copy)
    density = 0.5 ** (level if branch != "dense" else 0)
    return [
        row(member, density=density, step=step, measure=name, value=value)
        | ({"run": run} if run else {})
        for name, value in numbers.items()
    ]


def made(run="", lower=0.0, steps=(0, 5)):
    """A run of two replicates: dense networks, longer ones, tickets and controls."""
    return [
        line
        for i in range(2)
        for of in (
            (0, 0, "dense", 0.90, 0, 2, 0, 2),
            (0, 0, "dense_equal_bill", 0.91, 0, 3, 0, 3),
            *(
                one
                for k in steps
                for one in (
                    (k, 1, "ticket", 0.88 + k / 1000, 2, 1, 2, 2),
                    (k, 1, "random_mask", 0.80, 0, 1, 0, 2),
                    (k, 2, "ticket", 0.86 + k / 1000, 3, 0.5 + i / 4, 4, 2),
                    (k, 2, "random_mask", 0.70, 0, 0.5, 0, 2),
                )
            ),
        )
        for line in network(i, *of[:3], of[3] + 0.02 * i - lower, *of[4:], run=run)
    ]


ROWS = made()
WITHOUT = [row for row in ROWS if "multiply_adds" not in row["measure"]]


def color(branch):
    name = branch.replace(" ", "_")
    return drawing.style(name, ["dense_equal_bill"])["color"]


def points(figure):
    """Return {panel: {colour: [points of each line]}}."""
    found = {}
    for ax in figure.axes:
        of = found.setdefault(ax.get_title(), {})
        for line in ax.lines:
            if line.get_marker() not in ("_", "None"):  # of bars
                of.setdefault(line.get_color(), []).append(line.get_xydata())
    return found


def bills(found):
    """Return {(k, level, branch): (find, train, bill)} in 10^15."""
    keys, parts = ["rewind_step", "level", "branch"], ["find", "train", "bill"]
    return {
        key: tuple(line / 1e15) for key, line in found.set_index(keys)[parts].iterrows()
    }


def test_a_bill_is_what_it_took_to_find_and_to_train():
    found = bills(report.bill(ROWS))
    assert found[0, 0, "dense"] == (0, 2, 2)
    assert found[0, 0, "dense_equal_bill"] == (0, 3, 3)
    assert found[5, 2, "ticket"] == (3, 0.625, 3.625)  # the mean of 0.5 and 0.75
    assert found[5, 2, "random_mask"] == (0, 0.5, 0.5)
    assert bills(report.bill(ROWS, dense=True))[5, 2, "ticket"] == (4, 2, 6)


def test_a_bill_stands_beside_the_summary():
    found = report.bill(ROWS)
    whole = report.summary(ROWS, "test_accuracy")
    assert found[[*whole]].equals(whole)
    assert report.bill(ROWS, "steps_trained")["mean"].tolist() == [100] * len(found)


def test_networks_without_the_numbers_have_no_bill():
    some = [row for row in ROWS if row["branch"] != "random_mask" or row["level"] == 1]
    lost = [row for row in ROWS if row not in some and row in WITHOUT]
    assert bills(report.bill(some + lost)) == bills(report.bill(some))
    for rows in ([], WITHOUT):
        for dense in (False, True):
            assert report.bill(rows, dense=dense).empty
            assert figures.by_bill(rows, dense=dense) is None
        assert [*tables.bill_tables(rows)] == []


def test_networks_of_a_branch_end_where_they_say():
    """Those of equal bills have lengths of their own, by level and replicate."""
    cost = (0, 2, 0, 2)
    rows = [
        line
        for i in (0, 1)
        for level, step in ((1, 150), (2, 180))
        for line in network(i, 0, level, "equal", 0.8 + i / 10, *cost, step=step + i)
    ]
    early = [row | {"step": 50, "value": 0.1} for row in rows[4::6]]
    assert {row["measure"] for row in early} == {"test_accuracy"}
    found = report.bill(early + rows)
    assert found["mean"].tolist() == pytest.approx([0.85, 0.85])
    assert found["n"].tolist() == [2, 2]


def test_the_measure_stands_over_the_bill_in_panels_of_rewind_steps():
    figure = figures.by_bill(ROWS)
    found = points(figure)
    assert list(found) == ["rewound to step 0", "rewound to step 5"]
    for k, panel in zip((0, 5), found.values()):
        (ticket,), (mask,) = panel[color("ticket")], panel[color("random_mask")]
        high = k / 10
        np.testing.assert_allclose(ticket, [[3, 89 + high], [3.625, 87 + high]])
        np.testing.assert_allclose(mask, [[1, 81], [0.5, 71]])  # in order of density
        np.testing.assert_allclose(panel[color("dense")], [[[2, 91]]])
        np.testing.assert_allclose(panel[color("dense_equal_bill")], [[[3, 92]]])
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert not ax.xaxis_inverted()
    assert figure.get_supxlabel() == "multiply-adds to find and to train, in 10¹⁵"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["dense", "dense equal bill", "ticket", "random mask"]


def test_as_if_dense_every_training_is_a_whole_one():
    figure = figures.by_bill(ROWS, dense=True)
    panel = points(figure)["rewound to step 0"]
    np.testing.assert_allclose(panel[color("ticket")], [[[4, 89], [6, 87]]])
    np.testing.assert_allclose(panel[color("random_mask")], [[[2, 81], [2, 71]]])
    assert "as if dense" in figure.get_supxlabel()


def test_of_one_density_every_branch_is_a_marker_with_a_bar():
    figure = figures.by_bill([row for row in ROWS if row["level"] < 2])
    for panel, ax in zip(points(figure).values(), figure.axes):
        assert len(panel) == 4
        assert all(len(line) == 1 for (line,) in panel.values())
        shown = {line.get_marker() for line in ax.lines} - {"_", "None"}
        assert "" not in shown
        assert len(shown) == 3  # that of dense networks and tickets differs in colour
        bars = [path for bar in ax.collections for path in bar.get_paths()]
        assert [len(path.vertices) for path in bars] == [2, 2, 2, 2]


def test_longer_dense_networks_are_of_the_rewind_step_or_else_of_step_0():
    """Copies of the dense network itself are no other network."""
    own = [
        *network(0, 5, 0, "dense_equal_bill", 0.95, 0, 4, 0, 4, copy=1),
        *network(0, 5, 0, "dense", 0.1, 0, 2, 0, 2, copy=1),
    ]
    longer = color("dense_equal_bill")
    found = points(figures.by_bill(ROWS + own))
    np.testing.assert_allclose(found["rewound to step 0"][longer], [[[3, 92]]])
    np.testing.assert_allclose(found["rewound to step 5"][longer], [[[4, 95]]])
    for panel in found.values():
        np.testing.assert_allclose(panel[color("dense")], [[[2, 91]]])


def test_of_several_runs_every_branch_has_a_panel_and_every_run_its_dense_networks():
    rows = made("a", steps=(0,)) + made("b", 0.1, steps=(0,))
    found = points(figures.by_bill(rows))
    assert list(found) == ["ticket", "random mask"]
    for branch, panel in found.items():
        assert len(panel[color(branch)]) == 2
        np.testing.assert_allclose(panel[color("dense")], [[[2, 91]], [[2, 81]]])


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1e-15, ""),
        (1e-13, ""),
        (1e-10, ", in 10³"),
        (1, ", in 10¹⁵"),
        (900, ", in 10¹⁸"),
    ],
)
def test_bills_are_in_a_unit_that_can_be_read(factor, unit):
    rows = [
        row | ({"value": factor * row["value"]} if row not in WITHOUT else {})
        for row in ROWS
    ]
    figure = figures.by_bill(rows)
    label = figure.get_supxlabel().removeprefix("multiply-adds to find and to train")
    assert label == unit
    largest = max(ax.dataLim.x1 for ax in figure.axes)
    assert 1 <= largest < 1000


@pytest.mark.parametrize("spread", [1.0, 1.001, 1.3, 40.0, 1e6])
def test_the_picture_holds_its_legend_and_labels_do_not_cover_each_other(spread):
    rows = [
        row | ({"value": row["value"] ** np.log10(spread)} if of else {})
        for row in ROWS
        for of in ["multiply_adds" in row["measure"] and row["value"] > 0]
    ]
    figure = figures.by_bill(rows)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    for ax in figure.axes:
        seen = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert seen
        assert all(one.x1 < two.x0 for one, two in zip(seen, seen[1:]))


def test_a_table_has_bills_in_trainings_of_the_dense_network():
    found = dict(tables.bill_tables(ROWS))
    assert list(found) == ["", "rewound to step 0", "rewound to step 5"]
    cells = found["rewound to step 5"]
    assert list(cells) == [
        *("density", "branch", "test accuracy in %"),
        *("bill", "to find", "to train"),
        *("bill, as if dense", "to find, as if dense", "to train, as if dense"),
    ]
    assert cells.to_numpy().tolist()[1::2] == [
        ["50.00%", "ticket", "89.50 ± 1.41", "1.500", "1.000", "0.500"]
        + ["2.000", "1.000", "1.000"],
        ["25.00%", "ticket", "87.50 ± 1.41", "1.812", "1.500", "0.312"]
        + ["3.000", "2.000", "1.000"],
    ]
    assert found[""]["bill"].tolist() == ["1.000", "1.500"]
    assert found[""]["branch"].tolist() == ["dense", "dense_equal_bill"]


def test_without_the_dense_network_a_table_has_no_bills():
    rows = [row for row in ROWS if row["branch"] != "dense"]
    found = dict(tables.bill_tables(rows))
    assert set(found["rewound to step 0"]["bill"]) == {""}


def test_a_cell_of_fewer_replicates_says_so():
    rows = [row for row in ROWS if row["replicate"] == 0 or row["level"] < 2]
    cells = dict(tables.bill_tables(rows))["rewound to step 0"]
    assert cells["test accuracy in %"].tolist()[-1] == "86.00, n = 1"


def test_the_results_of_a_run_have_the_figure():
    assert Figures(report.tidy(ROWS)).by_bill(dense=True).axes
