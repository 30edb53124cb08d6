"""The guides: every Python block of a page is executed, in order, as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lth_jax import config as config_lib
from lth_jax.branches import BRANCHES
from lth_jax.lottery.methods import METHODS
from lth_jax.optim.optimizers import OPTIMIZERS
from lth_jax.optim.schedules import SCHEDULES
from lth_jax.studies import STUDIES
from lth_jax.tasks import TASKS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def blocks(page):
    return re.findall(
        r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
    )


# But for that of results, which reads runs of hours; `test_tables` has their verdicts.
RUNS = [page for page in PAGES if blocks(page) and page.stem != "results"]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNS, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(blocks(page)))
    subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "page.py"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(tmp_path / "tfds")},
        check=True,
    )


def config_of(guide):
    """What the guide has the reader write to my_config.py."""
    page = blocks(ROOT / "docs" / f"{guide}.md")
    return "".join(block for block in page if block.startswith("# my_config.py"))


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["data", "model", "score", "branch", "mover"])
def test_the_config_of_a_guide_runs_by_itself(guide, tmp_path):
    (tmp_path / "my_config.py").write_text(config_of(guide))
    command = [sys.executable, "-m", "lth_jax.main", "--config=my_config.py"]
    subprocess.run(
        [*command, "--workdir=runs"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )


@pytest.mark.parametrize("guide", ["model", "score", "branch"])
def test_what_a_guide_adds_takes_less_than_30_lines(guide):
    for block in config_of(guide).split("# my_config.py")[1:]:
        assert 1 < len(block.partition("def get_config")[0].splitlines()) < 30


@pytest.mark.parametrize("guide", ["branch", "mover"])
def test_a_branch_and_a_mover_take_15_lines(guide):
    first = config_of(guide).split("# my_config.py")[1]
    assert 1 < sum(bool(line.strip()) for line in first.splitlines()) <= 15


def test_all_that_a_config_can_name_stands_on_one_page():
    page = (ROOT / "docs" / "names.md").read_text()
    for registry in (BRANCHES, METHODS, STUDIES, TASKS, OPTIMIZERS, SCHEDULES):
        assert [name for name in registry if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_to_sections_lead_to_headings(page):
    for file, section in re.findall(
        r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text()
    ):
        there = (page.parent / file if file else page).read_text()
        headings = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
        assert section in {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in headings
        }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_config_that_a_page_names_exists(page):
    for name in re.findall(r"configs/\w+\.py(?::[\w,]+)?", page.read_text()):
        if not name.startswith("configs/NAME.py"):
            config_lib.load(str(ROOT / name))


def test_every_field_that_a_page_names_exists():
    known = config_lib.flatten(config_lib.default()).keys() | {"rewind", "prune.admm"}
    for page in PAGES:
        for field in re.findall(
            r"\bconfig\.((?:[a-z_]+\.)*[a-z_]+)=", page.read_text()
        ):
            assert field in known or field == "any.field", f"{page.name}: {field}"
