"""Page: the one HTML file that says everything of some runs."""

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lth_jax import drawing
from lth_jax import page as page_lib
from lth_jax.numbers import answers
from lth_jax.numbers.rows import load, names
from lth_jax.page import Card, Group
from lth_jax.paths import local
from lth_jax.report import about
from lth_jax.report.sections import ALIKE, GOOD, TOOK, Section, sections
from lth_jax.report.words import words


def write(*workdirs: Path | str, directory: Path | str | None = None) -> Path:
    """Write the report of a run, or of several in the same figures; return its path.

    Every figure is written as PNG and SVG beside the page, which holds them too: it can
    be moved, and needs no network. By default they go to `report` in the first folder.

    Raises:
        FileNotFoundError: a folder has no results.jsonl.
        RecordsError: a line of it is not a row.
    """
    rows, runs = load(*workdirs), [*zip(names(*workdirs), map(local, workdirs))]
    directory = local(directory) if directory else runs[0][1] / "report"
    directory.mkdir(parents=True, exist_ok=True)
    groups, used = {name: Group(name, []) for name in (GOOD, TOOK, ALIKE)}, set()
    with drawing.looks():
        for section in sections(rows):
            if card := _card(section, directory, used):
                groups[section.group].cards.append(card)
    files = {run: about.files(folder) for run, folder in runs}
    last = [
        Group("The tickets themselves", [*_pictures(runs)]),
        Group("What was run", [*_files(files)]),
    ]
    title = ", ".join(run for run, _ in runs)
    text = page_lib.document(title, _head(rows, files), [*groups.values(), *last])
    page = directory / "index.html"
    page.write_text(text, encoding="utf-8")
    return page


def _head(rows: pd.DataFrame, files: dict[str, Any]) -> str:
    """Return what was run, and the answers, as HTML."""
    found, several = [], len(files) > 1
    for run, its in files.items():
        text = html.escape(about.ran(its, rows[rows["run"] == run]))
        name = f"<strong>{html.escape(run)}</strong>: " if several else ""
        found.append(f"<p>{name}{text}</p>")
    differing = about.differing({run: its["config"] for run, its in files.items()})
    if several and len(differing):
        heading = "The configs of the runs differ in"
        found.append(page_lib.words(differing, heading))
    said = answers(rows)
    for question, texts in said:
        lines = "".join(f"<li>{html.escape(_capital(text))}</li>" for text in texts)
        found.append(
            f"<section><h2>{html.escape(question)}</h2><ul>{lines}</ul></section>"
        )
    if said:
        first = len(found) - len(said)
        found[first:] = [f'<div class="answers">{"".join(found[first:])}</div>']
        found.append(
            '<p class="soft">Differences are between the same replicates, with their '
            "95 % t interval, each by itself; what has 0 in it is not resolved. Means "
            "match, as in the papers, within a standard deviation of dense networks or "
            "0.2 points.</p>"
        )
        found.append(page_lib.details("words", page_lib.words(words(rows))))
    return "\n".join(found)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _card(section: Section, directory: Path, used: set[str]) -> Card | None:
    """Return a section as a card, and save its figure under a name no other has."""
    folded = "".join(
        page_lib.details(text, "".join(page_lib.table(x, title) for title, x in its))
        for text, its in section.tables
    )
    drawn, svg = section.drawn, ""
    if not drawn and not folded:
        return None
    name = re.sub(r"[^\w-]", "_", section.name)[:100]
    while name in used:
        name += "_"
    used.add(name)
    if isinstance(drawn, Figure):
        svg = drawing.save(drawn, directory / name)
    text = f"<p>{html.escape(drawn)}</p>" if isinstance(drawn, str) else ""
    return Card(section.title, name, svg, text, folded)


def _pictures(runs: list[tuple[str, Path]]) -> Iterable[Card]:
    """Yield a card for every picture that `lth_jax.pictures` has left in a folder.

    As an image, which runs nothing, whoever has written it.
    """
    for run, folder in runs:
        path = folder / "pictures" / "titles.json"
        titles = json.loads(path.read_text()) if path.exists() else {}
        for name, title in titles.items():
            text = f"{run}: {title}" if len(runs) > 1 else title
            svg = (path.parent / Path(name).name).with_suffix(".svg").read_bytes()
            source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
            image = f'<img alt="{html.escape(text)}" src="{source}">'
            card = f"<figure>{image}</figure>"
            yield Card(text, f"picture_{run}_{name}", text=card)


def _files(files: dict[str, Any]) -> Iterable[Card]:
    """Yield a card for the config and the environment of every run."""
    for run, its in files.items():
        texts = [
            page_lib.details(
                f"{name}.json",
                f"<pre>{html.escape(json.dumps(its[name], indent=2))}</pre>",
            )
            for name in ("config", "environment")
            if its[name]
        ]
        yield Card(run, f"run_{run}", folded="".join(texts))
