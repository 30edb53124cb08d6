"""The figures: what is drawn, where, and how it looks."""

import html
import io
import itertools
import json
import re

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth_jax import drawing, report
from lth_jax.branches import BRANCHES
from lth_jax.report import figures, ranking
from lth_jax.workdir.records import Member, row


def number(replicate, k, level, branch, measure, value, *, step=10, copy=0, **columns):
    member = Member(replicate, k, level, branch, copy)
    found = {"density": 0.5**level, "step": step, "measure": measure, "value": value}
    return row(member, **found) | columns


ROWS = [
    number(replicate, k, level, branch, "test_accuracy", 0.9 - 0.1 * level + 0.02 * i)
    for i, replicate in enumerate(range(2))
    for k in (0, 5)
    for level in range(3)
    for branch in (("ticket", "random_reinit") if level else ("dense",))
    if level or k == 0
]


def lines(figure):
    """Return {title of a panel: {colour: line}} of lines with points."""
    return {
        ax.get_title(): {line.get_color(): line for line in ax.lines}
        for ax in figure.axes
    }


def color(branch):
    return drawing.style(branch.replace(" ", "_"))["color"]


def test_accuracy_stands_over_density_with_the_dense_level():
    panels = lines(figures.by_density(ROWS))
    assert list(panels) == ["rewound to step 0", "rewound to step 5"]
    for panel in panels.values():
        assert panel.keys() == {color(b) for b in ("dense", "ticket", "random_reinit")}
        np.testing.assert_allclose(
            panel[color("ticket")].get_xydata(), [[50, 81], [25, 71]]
        )
        np.testing.assert_allclose(panel[color("dense")].get_ydata(), [91, 91])
    ax = figures.by_density(ROWS).axes[0]
    assert ax.get_xscale() == "log"
    assert ax.xaxis_inverted()


def test_a_band_is_a_standard_deviation_wide():
    ax = figures.by_density(ROWS).axes[0]
    spread = np.std([80, 82], ddof=1)
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in ax.collections]
    assert any(abs(top - (81 + spread)) < 1e-6 for top in tops)


def test_a_figure_says_over_how_many_networks():
    (legend,) = figures.by_density(ROWS).legends
    assert legend.get_title().get_text() == "mean ± standard deviation, n = 2"
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["dense", "ticket", "random reinit"]


def test_accuracy_stands_over_the_rewind_step():
    panels = lines(figures.by_rewind_step(ROWS))
    assert list(panels) == ["50 % of the weights", "25 % of the weights"]
    ticket = panels["25 % of the weights"][color("ticket")]
    np.testing.assert_allclose(ticket.get_xydata(), [[0, 71], [5, 71]])
    assert figures.by_rewind_step([r for r in ROWS if r["rewind_step"] == 0]) is None


def test_of_several_runs_every_branch_has_a_panel():
    rows = [found | {"run": run} for run in ("a", "b", "c", "d") for found in ROWS]
    panels = figures.by_density(rows).axes
    assert [ax.get_title() for ax in panels] == ["ticket", "random reinit"]
    for ax in panels:
        of_branch = [x for x in ax.lines if x.get_color() == color(ax.get_title())]
        kinds = {(line.get_linestyle(), line.get_marker()) for line in of_branch}
        assert len(of_branch) == len(kinds) == 8  # runs by rewind steps


def test_of_several_runs_each_has_its_dense_networks():
    """In the line of the run; one that is not drawn would be taken for another's."""
    lower = [found | {"run": "b", "value": found["value"] - 0.1} for found in ROWS]
    for ax in figures.by_density([*(f | {"run": "a"} for f in ROWS), *lower]).axes:
        dense = [line for line in ax.lines if line.get_color() == color("dense")]
        np.testing.assert_allclose([line.get_ydata()[0] for line in dense], [91, 81])
        kinds = {line.get_linestyle() for line in ax.lines if line not in dense}
        looks = {line.get_linestyle() for line in dense}
        assert len(looks) == 2
        assert looks <= kinds


def test_the_error_on_a_path_stands_over_the_way():
    path = {"split": "test", "pair": "copies", "other": 0, "copy": 1}
    rows = [
        number(0, 0, 1, "ticket", "error", alpha / 10, **path, alpha=alpha)
        for alpha in (1.0, 0.0, 0.5)
    ]
    ((line,),) = (panel.values() for panel in lines(figures.along_paths(rows)).values())
    np.testing.assert_allclose(line.get_xydata(), [[0, 0], [0.5, 5], [1, 10]])
    assert figures.along_paths(rows, "train") is None


def test_paths_between_levels_are_drawn_apart_from_those_between_copies():
    rows = [
        number(0, 0, 1, "ticket", "error", 0.1 * of, split="test", pair=pair, alpha=x)
        for of, pair in enumerate(("copies", "levels"), 1)
        for x in (0.0, 1.0)
    ]
    for of, pair in enumerate(("copies", "levels"), 1):
        figure = figures.along_paths(rows, pair=pair)
        ((line,),) = (panel.values() for panel in lines(figure).values())
        np.testing.assert_allclose(line.get_ydata(), 10 * of)
    assert figure.get_supxlabel() == "way from one level to the next"


def test_a_training_stands_over_its_steps_beside_the_dense_one():
    rows = [
        number(0, 0, level, branch, "train_loss", 1 / step, step=step)
        for level, branch in ((0, "dense"), (1, "ticket"))
        for step in (1, 2, 4)
    ]
    (panel,) = lines(figures.while_training(rows)).values()
    assert panel.keys() == {color("dense"), color("ticket")}
    np.testing.assert_allclose(
        panel[color("ticket")].get_xydata(), [[1, 1], [2, 0.5], [4, 0.25]]
    )
    ends = [row for row in rows if row["step"] == 4]
    assert figures.while_training(ends) is None


def test_a_network_that_diverged_is_in_no_mean_of_the_way():
    rows = [
        number(i, 0, 0, "dense", "train_loss", loss, step=step)
        for i, loss in enumerate((1.0, 1.0, 50.0))
        for step in ((5, 10) if loss < 50 else (5,))
    ]
    rows.append(number(2, 0, 0, "dense", "diverged", 7.0, step=7))
    (panel,) = lines(figures.while_training(rows)).values()
    (line,) = panel.values()
    assert [*line.get_ydata()] == [1.0, 1.0]


def test_layers_stand_in_the_order_of_the_network():
    rows = [
        number(0, 0, level, "ticket", "density", density**level, layer=layer)
        for layer, density in (("fc1/kernel", 0.25), ("fc/kernel", 0.75))
        for level in (1, 2)
    ]
    ax = figures.layers(rows).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["fc1", "fc"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[25, 6.25], [75, 56.25]])


def test_layers_of_one_density_stand_over_rewind_steps():
    rows = [
        number(0, k, 1, "ticket", "density", share, layer="fc/kernel")
        for k, share in ((0, 0.5), (2000, 0.25))
    ]
    ax, _ = figures.layers(rows).axes  # and the bar
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "2000"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[50, 25]])


def test_dense_networks_stand_above_the_branches_of_a_level():
    rows = [row for row in ROWS if row["rewind_step"] == 0]
    ax = ranking.by_branch(rows, least=1).axes[0]
    assert ax.get_yticklabels()[0].get_text() == "dense"
    *_, replicates = (x for x in ax.lines if [*x.get_ydata()] == [0, 0])
    np.testing.assert_allclose(replicates.get_xdata(), [90, 92])


def overlapping(level, branch, pair, *numbers):
    """Rows of (p, R_p, by chance) of two replicates that do not differ."""
    return [
        number(replicate, 0, level, branch, measure, found, pair=pair, p=p)
        for p, value, chance in numbers
        for replicate in (0, 1)
        for measure, found in (("overlap", value), ("chance_overlap", chance))
    ]


OVERLAPS = [
    *overlapping(0, "dense", "start_to_end", (0.1, 0.5, 0.1), (0.2, 0.6, 0.2)),
    *overlapping(1, "ticket", "start_to_end", (0.1, 0.3, 0.1)),
    *overlapping(1, "ticket", "start_to_fine_tuned", (0.2, 0.5, 0.2)),
    *overlapping(1, "ticket", "start_to_fine_tuned", (0.5, 0.7, 0.5)),
    *overlapping(1, "random_reinit", "start_to_fine_tuned", (0.2, 0.25, 0.2)),
]


def bars(figure):
    """The heights of the bars, and those of what chance would give."""
    (ax,) = figure.axes
    lines = [path for lines in ax.collections for path in lines.get_paths()]
    chances = {y for path in lines if len(path.vertices) == 2 for _, y in path.vertices}
    return [bar.get_height() for bar in ax.patches], chances


def test_overlaps_are_bars_with_what_chance_would_give():
    figure = figures.overlaps(OVERLAPS, "start_to_end")
    heights, chances = bars(figure)
    assert heights == pytest.approx([50, 60])  # of the dense networks alone
    assert chances >= {10, 20}
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "mean ± standard deviation, n = 2"
    assert figure.axes[0].get_title() == ""
    figure = figures.overlaps(OVERLAPS, "start_to_fine_tuned")
    assert figure.axes[0].get_title() == "rewound to step 0"
    heights, chances = bars(figure)
    assert heights == pytest.approx([25, 50])  # p = 0.2 alone
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["random\nreinit\n50 %", "ticket\n50 %"]
    assert figures.overlaps(OVERLAPS, "end_to_dense") is None
    assert figures.overlaps([], "start_to_end") is None


@pytest.mark.parametrize(
    "draw",
    [
        figures.by_density,
        figures.by_rewind_step,
        figures.along_paths,
        figures.while_training,
        figures.layers,
    ],
)
def test_without_numbers_there_is_no_figure(draw):
    assert draw([]) is None


def test_every_branch_looks_like_no_other():
    """By colour, or else by marker and line; an unknown branch has a look, too."""
    looks = [tuple(drawing.style(branch).values()) for branch in BRANCHES]
    assert len(set(looks)) == len(BRANCHES)
    assert drawing.style("mine") == drawing.style("mine")


def test_branches_of_a_figure_differ_to_colour_blind_people():
    """Under Vienot et al.'s (1999) deuteranopia and protanopia, in linear RGB."""
    seen = {
        "deuteranopia": [[0.293, 0.707, 0], [0.293, 0.707, 0], [-0.022, 0.022, 1]],
        "protanopia": [[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]],
    }
    usual = ("dense", "ticket", "random_reinit", "shuffled_mask", "fine_tune")
    for matrix, (a, b) in itertools.product(
        seen.values(), itertools.combinations(usual, 2)
    ):
        one, two = (
            np.array(matrix) @ np.array(colors.to_rgb(color(branch))) ** 2.2
            for branch in (a, b)
        )
        assert (
            np.linalg.norm(one.clip(0) ** (1 / 2.2) - two.clip(0) ** (1 / 2.2)) > 0.15
        )


def test_of_one_level_the_spread_is_drawn_as_a_bar():
    figure = figures.by_density([row for row in ROWS if row["level"] < 2])
    (bar, *_), *_ = (ax.containers for ax in figure.axes)
    (spread,) = bar.lines[2][0].get_segments()
    std = 100 * 0.02 / 2**0.5
    np.testing.assert_allclose(spread[:, 1], [81 - std, 81 + std])


@pytest.mark.parametrize("draw", [figures.by_density, figures.by_rewind_step])
def test_dense_networks_are_levels_across_the_panel(draw):
    """Also where tickets have one density; and those that had more steps, too."""
    longer = [
        number(i, 0, 0, "long", "test_accuracy", 0.95 + 0.02 * i, step=20)
        for i in range(2)
    ]
    figure = draw([row for row in ROWS if row["level"] < 2] + longer)
    left, right = figure.axes[0].transAxes.transform([(0, 0), (1, 0)])[:, 0]
    found = lines(figure)[figure.axes[0].get_title()]
    for branch, level in (("dense", 91), ("long", 96)):
        line = found[color(branch)]
        np.testing.assert_allclose(line.get_ydata(), [level, level])
        ends = line.get_transform().transform(line.get_xydata())[:, 0]
        np.testing.assert_allclose(ends, [left, right])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["dense", "dense, long"]


def test_what_is_below_nothing_is_drawn():
    rows = [
        number(i, 0, 1, "ticket", "pearson", value, pair="start_to_end")
        for i, value in enumerate((-0.02, -0.01))
    ]
    low, high = figures.by_density(rows, "pearson").axes[0].get_ylim()
    assert low < -0.02 < -0.01 < high


def test_branches_of_ones_own_differ_whoever_is_drawn_first():
    own = ("movement", "mine", "imp_sgd", "large_final")
    looks = [drawing.style(branch, own) for branch in own]
    assert len({tuple(look.values()) for look in looks}) == 4
    backwards = [drawing.style(branch, own[::-1]) for branch in own[::-1]]
    assert looks == backwards[::-1]
    assert drawing.style("mine") == drawing.style("mine", ["movement_2", "ticket"])


def test_networks_that_are_all_alike_are_drawn():
    alike = [row | {"value": 0.5} for row in ROWS]
    low, high = figures.by_density(alike).axes[0].get_ylim()
    assert low < 50 < high


def test_equal_figures_are_equal_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        drawing.save(figures.by_density(ROWS), tmp_path / name / "figure")
    for suffix in ("png", "svg"):
        one, two = (tmp_path / name / f"figure.{suffix}" for name in ("a", "b"))
        assert one.read_bytes() == two.read_bytes()


def test_kinds_of_a_number_have_panels_of_their_own():
    """With the dense networks of the same kind."""
    rows = [
        number(0, 0, level, branch, "share", probe / 10 - level / 100, probe=probe)
        for probe in (3, 7)
        for level, branch in ((0, "dense"), (1, "ticket"), (2, "ticket"))
    ]
    panels = lines(figures.by_density(rows, "share"))
    for probe in (3, 7):
        panel = panels[f"probe {probe}, rewound to step 0"]
        np.testing.assert_allclose(panel[color("dense")].get_ydata(), probe / 10)
        ticket = panel[color("ticket")].get_ydata()
        np.testing.assert_allclose(ticket, [probe / 10 - 0.01, probe / 10 - 0.02])
    (ax,) = figures.by_density(rows, "share", probe=7).axes
    assert ax.get_title() == "rewound to step 0"


def test_dense_networks_are_bars_from_every_step_on():
    rewound = [
        row | {"pair": "rewound_to_end", "other": other, "value": row["value"] + 0.1}
        for row in overlapping(0, "dense", "", (0.1, 0.5, 0.1), (0.2, 0.6, 0.2))
        for other in (100, 25)
    ]
    (ax,) = figures.overlaps(rewound + OVERLAPS, "start_to_end").axes
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["dense\n100 %", "dense from\nstep 25", "dense from\nstep 100"]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([50, 60, 60, 60, 70, 70])


@pytest.mark.parametrize("measure", ["train_loss", "error"])
def test_a_branch_that_is_dense_too_has_two_lines(measure):
    """Of `branches` and of `dense_branches`: by their labels, never one line."""
    path = {"split": "test", "pair": "copies", "other": 0, "copy": 1}
    rows = [
        number(0, 0, level, "long", measure, (level + 1) * x / 10, step=10)
        | ({"step": x} if measure == "train_loss" else path | {"alpha": x / 2})
        for level in (0, 1)
        for x in (0, 1, 2)
    ]
    draw = {"train_loss": figures.while_training, "error": figures.along_paths}[measure]
    figure = draw(rows)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [3, 3]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["dense, long", "long"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_is_no_finite_number_is_not_drawn(value):
    """Of everything, or of some."""
    numbers = [row | {"run": "a"} for row in [*ROWS, *OVERLAPS]]
    numbers += [number(0, 0, 1, "ticket", "density", 0.5, layer="fc")]
    numbers += [number(0, 0, 1, "ticket", "train_loss", 1.0, step=s) for s in (1, 2)]
    for lost in (numbers, numbers[::3]):
        rows = [row | ({"value": value} if row in lost else {}) for row in numbers]
        for measure in ("test_accuracy", "train_loss"):
            for draw in (figures.by_density, figures.by_rewind_step):
                figure = draw(rows, measure)
                assert figure is None or np.isfinite(figure.axes[0].get_ylim()).all()
            figures.while_training(rows, measure)
        figures.overlaps(rows, "start_to_end")
        figures.layers(rows)


def test_names_are_no_formulas():
    figures.by_density(
        [row | {"branch": "$\\a", "measure": "a$b$_^"} for row in ROWS], "a$b$_^"
    ).savefig(io.BytesIO())


def overlapping_labels(axis):
    """Pairs of labels of an axis that cover each other."""
    FigureCanvasAgg(axis.axes.figure).draw()
    place = ("x", "y").index(axis.axis_name)
    low, high = axis.axes.bbox.get_points()[:, place]
    boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
    seen = [box for box in boxes if box.width and box.height]
    middles = [box.get_points()[:, place].mean() for box in seen]
    seen = [box for box, at in zip(seen, middles) if low - 5 < at < high + 5]
    assert len(seen) > 1
    return [
        pair for pair in itertools.combinations(seen, 2) if pair[0].overlaps(pair[1])
    ]


@pytest.mark.parametrize("decades", [0.01, 0.3, 1.4, 1.6, 2.9, 3.1, 5, 12, 30])
@pytest.mark.parametrize("steps", [(0,), (0, 1, 2, 3, 4, 5)])
def test_ticks_of_a_log_axis_do_not_cover_each_other(decades, steps):
    rows = [
        number(0, k, level, "ticket", measure, 10 ** (-decades * level / 5), **columns)
        for k in steps
        for level in range(1, 6)
        for measure, columns in (("train_loss", {}), ("density", {"layer": "fc"}))
    ]
    assert not overlapping_labels(figures.by_density(rows, "train_loss").axes[0].yaxis)
    *_, bar = figures.layers(rows).axes
    assert not overlapping_labels(bar.yaxis)


@pytest.mark.parametrize(
    "steps", [(0, 500, 510, 520), (0, 1, 2, 30_000), (0, 1), (7, 8)]
)
def test_ticks_of_what_is_close_do_not_cover_each_other(steps):
    rows = [number(0, k, 1, "ticket", "test_accuracy", 0.5) for k in steps]
    axis = figures.by_rewind_step(rows).axes[0].xaxis
    assert not overlapping_labels(axis)
    assert {min(steps), max(steps)} <= {*axis.get_majorticklocs()}


@pytest.mark.parametrize("density", [1.0, 0.5, 1e-9])
@pytest.mark.parametrize("replicates", [1, 2])
@pytest.mark.parametrize("measure", ["test_accuracy", "train_loss", "distance"])
def test_of_one_density_points_are_in_the_middle_and_whole(
    density, replicates, measure
):
    rows = [
        number(i, k, 1, branch, measure, value + i / 100) | {"density": density}
        for i in range(replicates)
        for k in (0, 5)
        for branch, value in (("ticket", 0.5), ("random_reinit", 0.9))
    ]
    figure = figures.by_density(rows, measure)
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        box = ax.get_window_extent()
        for line in ax.lines[:2]:
            ((x, y),) = ax.transData.transform(line.get_xydata())
            assert abs(x - (box.x0 + box.x1) / 2) < 2
            marker = figure.dpi / 72 * line.get_markersize() / 2
            assert box.y0 + marker <= y <= box.y1 - marker


def test_a_measure_is_what_there_is():
    losses = [row | {"measure": "train_loss"} for row in ROWS]
    assert report.table(losses).startswith("train loss in nats, mean ± standard dev")
    assert report.table([*losses, *ROWS]).startswith("test accuracy in %, mean")
    assert report.table(losses, "error") == "no error in %; there are train_loss"
    assert report.table([]) == "no test accuracy in %"


def ranked(*names, level=1):
    """Rows of branches at one level, of two replicates."""
    return [
        {
            **{"replicate": i, "rewind_step": 0, "level": level, "branch": name},
            **{"copy": 0, "density": 0.5, "step": 9, "measure": "test_accuracy"},
            "value": 0.9 - 0.1 * number - 0.01 * i,
        }
        for number, name in enumerate(names)
        for i in range(2)
    ]


def test_many_branches_of_a_level_have_a_line_each():
    names = ["ticket", "signs", "magnitudes", "permuted", "noise_1", "random_reinit"]
    figure = ranking.by_branch(ranked(*names))
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        name.replace("_", " ") for name in names
    ]
    means = [bar.lines[0].get_xdata()[0] for bar in ax.containers]
    assert sorted(means, reverse=True) == pytest.approx(
        [89.5, 79.5, 69.5, 59.5, 49.5, 39.5]
    )
    assert figure.get_supxlabel().endswith("mean ± standard deviation, n = 2")
    across = next(line for line in ax.lines if line.get_color() == "#0072B2")
    assert across.get_xdata()[0] == pytest.approx(89.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_branch_that_fails_is_a_mark_at_the_edge_of_the_ranking(sign):
    names = ["ticket", "signs", "magnitudes", "permuted", "noise_1", "inverted_mask"]
    rows = [
        row | {"value": 0.5 + sign * (0.4 - 0.4 * (row["branch"] == names[-1]))}
        for row in ranked(*names)
    ]
    for n, row_ in enumerate(rows):
        row_["value"] += 0.001 * n
    figure = ranking.by_branch(rows)
    (ax,) = figure.axes
    low, high = ax.get_xlim()
    assert high - low < 6  # points, of 40
    assert figure.get_supxlabel().endswith("\nat the edge: further away")
    ends = [
        line for line in ax.lines if line.get_marker() in "<>" and line.get_marker()
    ]
    (end,) = [line for line in ends if not line.get_clip_on()]
    assert (end.get_marker(), end.get_xdata()[0]) == (
        ("<", low) if sign > 0 else (">", high)
    )
    assert end.get_ydata() == [5]


def test_few_branches_have_no_ranking():
    assert ranking.by_branch(ranked("ticket", "random_reinit")) is None


def test_a_curve_that_leaves_the_picture_has_a_mark_at_its_edge():
    rows = ROWS + [
        number(i, 0, 2, "shuffled_mask", "test_accuracy", 0.1) for i in range(2)
    ]
    figure = figures.by_density(rows, branches=["dense", "ticket", "shuffled_mask"])
    ax = figure.axes[0]
    (mark,) = (line for line in ax.lines if line.get_marker() == "v")
    np.testing.assert_allclose(mark.get_xydata(), [[25, ax.get_ylim()[0]]])
    assert mark.get_color() == color("shuffled_mask")
    (legend,) = figure.legends
    assert legend.get_title().get_text().endswith("; at the edge: further down")


def test_points_of_a_page_say_mean_interval_and_n(tmp_path):
    """In places of the SVG, under the name that its legend has."""
    svg = drawing.save(figures.by_density(ROWS), tmp_path / "figure")
    (text,) = re.findall('data-points="(.*?)"', svg)
    told = json.loads(html.unescape(text))
    said = {label: text for _, _, label, text in told}
    assert said.keys() == {"dense", "ticket", "random reinit"}
    # Of 90 and 92: t of one degree of freedom is 12.7.
    assert said["dense"] == "dense: 91 (78.29 to 103.7), n = 2"
    assert said["ticket"] == "ticket at 25: 71 (58.29 to 83.71), n = 2"
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    for x, y, *_ in told:
        assert 0 < x < float(box[1])
        assert 0 < y < float(box[2])
    assert svg.count('class="entry"') == 6
