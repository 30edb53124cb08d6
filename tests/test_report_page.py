"""The page: complete, self-contained, and shown by a browser without a complaint."""

import html.parser
import itertools
import json
import os
import re
import subprocess
import sys

import pytest
from browser import CHROMIUM, look

from lth_jax import report
from lth_jax.report import __main__ as command_line
from lth_jax.workdir.records import Member, row

CONFIG = {"prune": {"densities": [], "levels": 3}, "seed": "<&>"}


COPIES = {"split": "test", "pair": "copies", "copy": 1, "other": 0}
START = {"pair": "start_to_end", "p": 0.2}
MEASURES = (
    {"measure": "train_loss"},
    {"measure": "test_accuracy"},
    {"measure": "density", "layer": "fc/kernel"},
    {"measure": "distance", "pair": "dense"},
    *({"measure": "error", "alpha": alpha} | COPIES for alpha in (0, 0.5, 1)),
    *({"measure": measure} | START for measure in ("overlap", "chance_overlap")),
)


def make_run(directory, branches=("ticket", "random_reinit")):
    """Write the folder of a run that is at level 2 of 3."""
    directory.mkdir()
    numbers = [
        row(
            Member(replicate, k, level, branch, 0),
            density=0.5**level,
            step=step,
            measure="",
            value=0.5 + 0.1 * replicate,
        )
        | columns
        for k in (0, 5)
        for level in range(3)
        for branch in (branches if level else ("dense",))
        for replicate in range(2)
        for step in (10, 20)
        for columns in MEASURES
        if level or k == 0
    ]
    lines = [json.dumps(number) + "\n" for number in numbers]
    (directory / "results.jsonl").write_text("".join(lines))
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "environment.json").write_text(json.dumps({"python": "3"}))
    return directory


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of such a run, which is not changed."""
    return report.write(make_run(tmp_path_factory.mktemp("page") / "run"))


class Elements(html.parser.HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


FIGURES = {
    "test_accuracy",
    "test_accuracy_by_rewind_step",
    "test_accuracy_while_training",
    "train_loss",
    "train_loss_by_rewind_step",
    "train_loss_while_training",
    "distance_to_dense",
    "distance_to_dense_by_rewind_step",
    "distance_to_dense_while_training",
    "test_paths",
    "overlap_start_to_end",
    "layers",
}


def test_every_figure_is_in_the_page_and_beside_it(page):
    files = {file.name for file in page.parent.iterdir()}
    assert files == {
        "index.html",
        *(f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")),
    }
    elements = Elements(page.read_text()).found
    drawn = [a for tag, a in elements if tag == "svg" and a.get("role") == "img"]
    assert len(drawn) == len(FIGURES)
    assert all(a["aria-label"] for a in drawn)
    cards = {a["id"] for tag, a in elements if tag == "article"}
    assert cards == FIGURES | {"run_run"}
    links = {a["href"][1:] for tag, a in elements if tag == "a"}
    assert links >= cards


ODD = """
text.usetex: True
backend: tkagg
savefig.format: pdf
savefig.bbox: tight
svg.fonttype: none
font.family: No Such Font
font.size: 20
axes.unicode_minus: False
axes.prop_cycle: cycler("color", ["red"])
figure.autolayout: True
path.effects: [1]
""".strip().splitlines()


@pytest.mark.slow
def test_a_page_is_the_same_whatever_a_matplotlibrc_says(run, tmp_path):
    """Without LaTeX, a display, or any font that it names."""
    code = f"from lth_jax import report\nreport.write({str(run)!r}, directory="
    for name, lines in {"none": [], "odd": ODD}.items():
        (tmp_path / f"{name}rc").write_text("\n".join(lines))
        environment = os.environ | {"MATPLOTLIBRC": str(tmp_path / f"{name}rc")}
        folder = tmp_path / name
        command = [sys.executable, "-c", f"{code}{str(folder)!r})"]
        subprocess.run(command, env=environment | {"PATH": ""}, check=True)
    for file in (tmp_path / "none").iterdir():
        assert file.read_bytes() == (tmp_path / "odd" / file.name).read_bytes()


def test_nothing_in_the_page_comes_from_elsewhere(page):
    text = page.read_text()
    for tag, attributes in Elements(text).found:
        assert tag not in ("iframe", "object")
        assert tag != "script" or "src" not in attributes
        for name in ("src", "href", "srcset", "xlink:href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text


def test_the_page_has_the_tables_the_config_and_how_far_the_run_is(page):
    text = Elements(page.read_text()).text
    assert "Numbers up to level 2 of 3, n = 2." in text
    assert "rewound to step 5" in text
    assert "55.00 ± 7.07" in text
    assert '"seed": "<&>"' in text
    assert '"python": "3"' in text


@pytest.mark.slow
def test_runs_are_compared_on_one_page(run, tmp_path, capsys):
    other = make_run(tmp_path / "other", ("ticket", "mine"))
    (other / "config.json").write_text(json.dumps(CONFIG | {"seed": 7}))
    command_line.main([str(run), str(other), "--out", str(tmp_path / "both")])
    table, _, path = capsys.readouterr().out.rpartition("\n\nreport: ")
    assert table.startswith("test accuracy in %, mean ± standard deviation, n = 2\n")
    assert path == f"{tmp_path / 'both' / 'index.html'}\n"
    text = Elements((tmp_path / "both" / "index.html").read_text()).text
    assert "other: Numbers up to level 2 of 3" in text
    assert "other, rewound to step 5" in text
    differing = text.partition("The configs of the runs differ in")[2][:200].split()
    assert differing[:6] == ["field", "run", "other", "seed", "<&>", "7"]
    assert not (run / "report").exists()


def test_what_is_no_run_is_said_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=f"error: {tmp_path}/results.jsonl: no such"):
        command_line.main([str(tmp_path)])


def test_a_run_without_numbers_has_a_report(run, tmp_path, capsys):
    (run / "results.jsonl").write_text("")
    command_line.main([str(run), f"--out={tmp_path}"])
    assert capsys.readouterr().out.startswith("no test accuracy")
    assert "No numbers yet" in (tmp_path / "index.html").read_text()


def test_a_line_that_is_no_row_is_named(run):
    path = run / "results.jsonl"
    path.write_text(path.read_text() + "what\n")
    lines = len(path.read_text().splitlines())
    with pytest.raises(SystemExit, match=f"error: {path}, line {lines}, is not a row"):
        command_line.main([str(run)])


@pytest.mark.slow
def test_no_picture_is_written_elsewhere(run, tmp_path):
    rows = (run / "results.jsonl").read_text()
    strange = rows.replace("test_accuracy", "../../test_accuracy")
    (run / "results.jsonl").write_text(rows + strange)
    report.write(run, directory=tmp_path / "out" / "report")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report"]
    names = {path.name for path in (tmp_path / "out" / "report").iterdir()}
    assert "______test_accuracy.png" in names


def add_bills(run):
    """Append what every network took; return the names of its measures."""
    names = [f"{dense}multiply_adds_to_{x}" for dense in ("", "dense_") for x in PARTS]
    lines = (run / "results.jsonl").read_text().splitlines()
    ends = [json.loads(line) for line in lines]
    ends = [r for r in ends if r["measure"] == "test_accuracy" and r["step"] == 20]
    with (run / "results.jsonl").open("a") as file:
        for end, (i, name) in itertools.product(ends, enumerate(names)):
            found = {"measure": name, "value": 1e15 * (i + end["level"])}
            file.write(json.dumps(end | found) + "\n")
    return names


PARTS = ("find", "train")


@pytest.mark.slow
def test_what_networks_took_is_on_the_page(run, tmp_path):
    """And all else is as on that of a run that has not told it."""
    pages = {"old": report.write(run, directory=tmp_path / "old")}
    names = add_bills(run)
    pages["new"] = report.write(run, directory=tmp_path / "new")
    files = {n: {f.name: f for f in page.parent.iterdir()} for n, page in pages.items()}
    bills = {"test_accuracy_by_bill", "test_accuracy_by_bill_as_if_dense"}
    added = {f"{name}.{suffix}" for name in bills for suffix in ("png", "svg")}
    assert files["new"].keys() - files["old"].keys() == added
    for name in files["old"].keys() - {"index.html"}:
        assert files["new"][name].read_bytes() == files["old"][name].read_bytes()
    old, new = (
        re.findall("<article.*?</article>", page.read_text(), re.DOTALL)
        for page in pages.values()
    )
    first, second = (part for part in new if part not in old)
    assert [part for part in new if part in old] == old
    assert "<h3>test accuracy in %, by bill</h3>" in first
    assert "<summary>table of bills, in trainings of the dense" in first
    assert "<h3>test accuracy in %, by bill as if dense</h3>" in second
    assert not any(name.replace("_", " ") in first + second for name in names)


def test_a_report_needs_no_jax(run):
    code = (
        "import sys\nfrom lth_jax import report\n"
        f"report.write({str(run)!r})\nsys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def add(run, *numbers):
    """Append rows of a ticket and a random reinitialisation at levels 1 and 2."""
    lines = [
        row(
            Member(replicate, k, level, branch, 0),
            density=0.5**level,
            step=20,
            measure="",
            value=0.1 * level,
        )
        | columns
        for columns in numbers
        for k in (0, 5)
        for level in (1, 2)
        for branch in ("ticket", "random_reinit")
        for replicate in range(2)
    ]
    with (run / "results.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.mark.slow
def test_any_measure_with_any_column_is_drawn(run):
    """A figure by density for each of few values, a table of many."""
    few = [{"measure": "share_of_x_at_y_top_z", "probe": probe} for probe in (3, 7)]
    many = [{"measure": "many", "probe": f"probe {i}"} for i in range(9)]
    lone = [{"measure": "density_of_nothing"}, {"measure": "error", "split": "test"}]
    add(run, *few, *many, *lone)
    page = report.write(run)
    names = {file.stem for file in page.parent.glob("*.png")} - FIGURES
    assert names == {
        f"{name}{suffix}"
        for name in (
            *("share_of_x_at_y_top_z_probe_3", "share_of_x_at_y_top_z_probe_7"),
            *("density_of_nothing", "test_error"),
        )
        for suffix in ("", "_by_rewind_step")
    }
    text = Elements(page.read_text()).text
    assert "share of x at y top z, probe 3, by density" in text
    assert "error on test in %, by density" in text
    assert "many, by probe" in text
    assert "probe 8" in text


@pytest.mark.slow
def test_many_columns_of_few_values_are_not_dozens_of_figures(run):
    columns = [
        {"measure": "many", "a": a, "b": b, "c": c}
        for a in range(4)
        for b in range(3)
        for c in range(2)
    ]
    add(run, *columns)
    names = {file.stem for file in report.write(run).parent.glob("many*.png")}
    assert names == set()


@pytest.mark.slow
def test_numbers_that_are_none_break_no_page(run):
    nothing = float("nan")
    add(run, {"measure": "nothing", "value": nothing}, {"measure": "a", "p": "x"})
    add(run, {"measure": "nothing", "value": nothing, "split": "test", "n": [1]})
    assert "nothing" in Elements(report.write(run).read_text()).text


@pytest.mark.slow
def test_figures_whose_names_are_alike_have_files_of_their_own(run):
    add(run, {"measure": "a", "pair": "b_c"}, {"measure": "a_b", "pair": "c"})
    names = {file.stem for file in report.write(run).parent.glob("a_b_c*.png")}
    endings = ("", "_", "_by_rewind_step", "_by_rewind_step_")
    assert names == {f"a_b_c{ending}" for ending in endings}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_every_picture_and_has_no_complaint(page, tmp_path):
    complaints, seen = look(page, tmp_path)
    assert not complaints
    assert {width for width, _ in seen} == {390, 1366}
    assert {scheme for _, scheme in seen} == {"light", "dark"}
    for (width, scheme), it in seen.items():
        assert it["dark"] == (scheme == "dark")
        assert it["needs"] <= width
        assert len(it["figures"]) == len(FIGURES)
        assert min(min(size) for size in it["figures"]) > 100
        # Without a mouse: a point by a key, a branch by a press on its name.
        assert re.fullmatch(r".+: [\d.e+-]+( \(.+ to .+\))?, n = \d", it["told"])
        assert it["hidden"] > 1
        assert it["shown_again"]
