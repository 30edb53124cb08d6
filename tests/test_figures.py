"""docs/figures.md: each of its runs is there, costs what it says, and can be run."""

import functools
import re
from pathlib import Path

import pytest
from test_configs import IMAGENET, cifar, imagenet, run  # noqa: F401 (fixtures)

from lth_jax import config as config_lib
from lth_jax.lottery.methods import METHODS
from lth_jax.lottery.plan import Plan

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "figures.md").read_text()
# Training examples of TFDS's splits.
EXAMPLES = {"mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
EXAMPLES |= {"imagenet2012": 1_281_167}
RUN = re.compile(r"`(configs/\w+\.py(?::[\w,]+)?)`")
COST = re.compile(r"([\d,]+), ([\d.]+[KM])")


def table(page=PAGE):
    """The cells of every row: figure, run, rows, cost, here."""
    lines = (line.strip("|").split("|") for line in page.splitlines() if "|" in line)
    rows = [[cell.strip() for cell in line] for line in lines]
    return [row for row in rows if row[0] != "figure" and not row[0].startswith("--")]


def named():
    """Every run, with what stands of its rows; "the same" is the line above's."""
    found, above = {}, ""
    for _, runs, rows, _, _ in table():
        above = above if rows == "the same" else rows
        for name in RUN.findall(runs):
            found.setdefault(name, []).append(above)
    return found


@functools.cache
def cost(name):
    """A run's trainings and steps, as the page has them."""
    config = config_lib.load(str(ROOT / name))
    config_lib.check(config)
    examples = EXAMPLES[config.data.name] - config.data.validation
    wrapped = config.data.batch_size - 1 if config.data.last == "wrap" else 0
    epoch = (examples + wrapped) // config.data.batch_size
    steps = config_lib.lengths(config, epoch)
    plan = Plan(
        config,
        steps["train.length"],
        tuple(sorted({*steps["rewind.steps"]})),
        steps["prune.admm.interval"],
        METHODS[config.prune.method],
    )
    levels = range(plan.levels + 1)
    trainings = sum(len(plan.trainings(level)) for level in levels)
    return f"{trainings:,}", shortened(sum(map(plan.steps, levels)))


def shortened(number):
    """Two digits, or all before the point."""
    unit, size = ("M", 1_000_000) if number >= 1_000_000 else ("K", 1_000)
    tenths = (20 * number + size) // (2 * size)
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10}{unit}"
    return f"{(2 * number + size) // (2 * size):,}{unit}"


def test_numbers_are_shortened():
    found = [shortened(n) for n in (57_400, 570_000, 2_250_000, 9_949_999, 24_500_000)]
    assert found == ["57K", "570K", "2.3M", "9.9M", "25M"]


def test_the_page_has_every_figure_of_the_papers_once():
    papers = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:4]
    # Appendices apart; figures that are diagrams are named in the text.
    for paper, figures in zip(
        papers, ({*range(1, 13)}, {*range(1, 9)}, {*range(1, 8)})
    ):
        before = [row[0].partition(":")[0] for row in table(paper)]
        words = " ".join(x for x in before if not x.startswith("Appendix"))
        words += " ".join(re.findall(r"Figures? [\d ,and]+", paper.partition("|")[0]))
        said = {int(n) for n in re.findall(r"(?<![.\d])\d+", words)}
        for low, high in re.findall(r"(\d+) to (\d+)", words):
            said |= {*range(int(low), int(high) + 1)}
        assert figures <= said


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0][:40])
def test_a_row_has_a_run_and_its_cost(row):
    _, runs, rows, costs, here = row
    names = RUN.findall(runs)
    assert names and rows
    assert [cost(name) for name in names] == COST.findall(costs)
    assert re.match(r"(full|short|never)\b", here)


@pytest.mark.slow
@pytest.mark.parametrize("name", named())
def test_the_smallest_run_has_the_rows_that_are_named(name, request, tmp_path):
    config = config_lib.load(str(ROOT / f"{name}{',' if ':' in name else ':'}smoke"))
    data = "cifar"
    with config.unlocked():
        if config.data.name == "mnist":  # of which there is no small copy
            config.data.name, data = "digits", None
            config.data.validation = min(100, config.data.validation)
    if any(of in name for of in IMAGENET):
        data = "imagenet"
    folder = request.getfixturevalue(data) if data else tmp_path
    rows = run(config, folder, tmp_path / "run")
    there = {row["measure"] for row in rows}
    keys = {row.get(key) for row in rows for key in ("pair", "branch", "split")}
    for words in named()[name]:
        measures = {*re.findall(r"`(\w+)`", words)} - {"alpha"}
        if not config.measures:
            measures -= {"test_accuracy"}
        assert measures <= there
        assert {*re.findall(r'"(\w+)"', words)} <= keys
