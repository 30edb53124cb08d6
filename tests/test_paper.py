"""Figures for papers: axes and styles of one's own, and files with their fonts."""

import re
import zlib

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text
from test_report_figures import ROWS, color, ranked

from lth_jax import report
from lth_jax.errors import RunError
from lth_jax.report import figures, paper

STEP_0 = [row for row in ROWS if row["rewind_step"] == 0]


@pytest.fixture
def axes():
    with matplotlib.rc_context():
        yield plt.figure().subplots(1, 2)
    plt.close("all")


def test_a_figure_is_drawn_into_an_axis_of_ones_own(axes):
    found = figures.by_density(
        STEP_0,
        ax=axes[0],
        branches=["ticket", "dense"],
        labels={"ticket": "winning"},
        title="mine",
    )
    assert found is axes[0]
    assert axes[0].get_title() == "mine"
    assert axes[0].get_xlabel() == "weights remaining in %"
    assert axes[0].get_ylabel() == "test accuracy in %"
    colors = {line.get_color() for line in axes[0].lines}
    assert colors == {color("ticket"), color("dense")}
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels == ["dense", "winning"]
    assert not axes[1].lines


def test_panels_take_as_many_axes(axes):
    assert figures.by_density(ROWS, ax=axes, title="") is axes
    assert [ax.get_title() for ax in axes] == ["", ""]
    for ax in axes:
        assert ax.get_xscale() == "log"
        assert ax.xaxis_inverted()
    with pytest.raises(ValueError, match=r"1 for 2 panels \(rewound to step 0; rewou"):
        figures.by_density(ROWS, ax=axes[0])


@pytest.mark.parametrize(
    "draw",
    [figures.by_density, figures.by_rewind_step],
)
def test_a_branch_that_is_not_there_is_named(draw):
    with pytest.raises(ValueError, match="'tickt' is not among them: dense, ticket"):
        draw(ROWS, branches=["tickt"])


def test_branches_are_chosen_and_named_in_every_figure(axes):
    rows = ranked("ticket", "signs", "random_reinit")
    chosen = {"branches": ["random_reinit", "ticket"], "labels": {"ticket": "mine"}}
    report.ranking.by_branch(rows, least=1, ax=axes[0], **chosen)
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["random reinit", "mine"]


def test_styles_of_ones_own_are_honoured():
    with matplotlib.rc_context({"figure.figsize": (3.0, 2.0), "font.size": 13}):
        figure = figures.by_density(STEP_0)
    assert [*figure.get_size_inches()] == [3, 2]
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() == 13


@pytest.mark.parametrize("width", [2.5, 3.3, 6.9])
def test_nothing_is_cut_and_no_text_is_small(width, tmp_path, monkeypatch):
    drawn = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure,
        "savefig",
        lambda figure, path: (drawn.append(figure), save(figure, path)),
    )
    names = ("random_reinit", "shuffled_mask", "dense_equal_bill", "fine_tune_small")
    more = [row | {"branch": n} for n in names for row in ROWS if row["level"]]
    paper.write(
        report.tidy([*ROWS, *more]), "accuracy", tmp_path / "a.pdf", width=width
    )
    (figure,) = drawn
    assert figure.get_figwidth() == width
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0
    assert box.x1 <= whole.x1
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(sizes) >= 7


def test_fonts_are_embedded_as_true_type(tmp_path):
    path = paper.write(report.tidy(STEP_0), "accuracy", tmp_path / "a.pdf")
    content = path.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
    inflated = [zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x"]
    everything = content + b"".join(inflated)
    assert b"/CIDFontType2" in everything
    assert b"/FontFile2" in everything
    assert b"/Type3" not in everything


def test_styles_have_names_that_matplotlib_takes():
    for name, width in (("one_column", 3.3), ("two_columns", 6.9)):
        with plt.style.context(f"lth_jax.report.{name}"):
            assert matplotlib.rcParams["figure.figsize"][0] == width
            assert matplotlib.rcParams["pdf.fonttype"] == 42


@pytest.mark.parametrize(
    ("name", "out", "which", "words"),
    [
        ("acuracy", "a.pdf", {}, "--figure: acuracy: no figure 'acuracy'; there are"),
        ("accuracy", "a.doc", {}, "--out: a.doc has none of the endings .pdf, .pgf"),
        (
            "accuracy",
            "a.pdf",
            {"width": 0.0},
            "--width, --height: from 0.5 to 100",
        ),
        ("accuracy", "a.pdf", {"branches": ["x"]}, "branches: 'x' is not among them"),
        ("layers", "a.pdf", {}, "--figure: layers: there are no numbers to draw"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(name, out, which, words, tmp_path):
    with pytest.raises(RunError, match=words):
        paper.write(report.tidy(ROWS), name, tmp_path / out, **which)
    assert not (tmp_path / out).exists()
