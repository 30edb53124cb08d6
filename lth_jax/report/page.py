"""Page: one HTML file with everything that runs say, to be opened from disk."""

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lth_jax.paths import local
from lth_jax.report import drawing, figures, frames, ranking, tables, titles
from lth_jax.report.drawing import FEW
from lth_jax.report.rows import DIVERGED, Rows, extras, load, measures, names, select

# Title, name of files, figure, and tables under their headings.
Section = tuple[str, str, Figure | None, list[tuple[str, tables.Tables]]]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1100px;
  padding: 0 1em; color: #222; background: #fff; }}
img {{ max-width: 100%; display: block; margin: 1em 0; }}
table {{ border-collapse: collapse; margin: 0.5em 0 1.5em; }}
th, td {{ padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd;
  font-variant-numeric: tabular-nums; }}
pre {{ background: #f6f6f6; padding: 1em; overflow-x: auto; }}
summary {{ cursor: pointer; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

_MATCHING = (
    "matching: {} above dense networks {}, replicate by replicate "
    "({} reaches dense, ≈ within one standard deviation of dense or 0.2 points)"
)
_TRAININGS = {
    "dense": "of one whole training, whatever a branch had",
    "long": "of two trainings, as fine-tuned weights had",
}
_DIFFERENCES = "differences of {}, replicate by replicate"
_BILLS = "table of bills, in trainings of the dense network"
_BY_BILL = (("by bill", False), ("by bill as if dense", True))

_FIGURES = {  # by what follows the measure in the name of the file
    "": figures.by_density,
    "_by_rewind_step": figures.by_rewind_step,
    "_while_training": figures.while_training,
}
_LARGEST = {"pair": ..., "p": ..., "layer": None}
_OWN: dict[str, dict[str, Any]] = {  # what has figures of another kind
    "error": {"split": ..., "alpha": ...},
    "density": {"layer": ...},
    "overlap": _LARGEST,
    "chance_overlap": _LARGEST,
}
_COSTS = ("parameters", "bytes")  # are the same, whatever k is
_IN_BILLS = (*frames.COSTS, *frames.COSTS_AS_DENSE)
_MOST = 2 * FEW  # kinds of numbers of a measure


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
    title, used = html.escape(", ".join(run for run, _ in runs)), set()
    parts = [f"<h1>{title}</h1>"]
    parts += [_standing(rows[rows["run"] == run], run, folder) for run, folder in runs]
    for section in sections(rows):
        parts += _html(section, directory, used, titles.main(rows))
    for run, folder in runs:
        parts += [_file(run, folder / f) for f in ("config.json", "environment.json")]
    page, body = directory / "index.html", "\n".join(parts)
    page.write_text(_PAGE.format(title=title, body=body), encoding="utf-8")
    return page


def sections(rows: pd.DataFrame) -> Iterator[Section]:
    """Yield a section for all that there are numbers for, the task's error first."""
    alone = rows["run"].nunique() == 1  # then what trainings do on their way is shown
    first = titles.main(rows).removeprefix("test")
    for measure in sorted(measures(rows), key=lambda m: not m.endswith(first)):
        for where in kinds(rows, measure) if measure not in _IN_BILLS else ():
            yield from _of_measure(rows, measure, where, alone)
        if measure == titles.main(rows):
            yield from _of_bills(rows, measure)
            figure = ranking.by_branch(rows, measure)
            yield f"{titles.title(rows, measure)}, by branch", "by_branch", figure, []
    paths = select(rows, "error", **_OWN["error"])
    ends = paths.filter(["pair", "split"]).drop_duplicates()
    for where in ends.sort_values([*ends]).to_dict("records") if alone else ():
        title = titles.title(rows, "error", **{"pair": "copies"} | where)
        name = f"{where['split']}_paths_{where.get('pair', 'copies')}"
        figure = figures.along_paths(rows, **where)
        yield title, name.removesuffix("_copies"), figure, []
    for pair in frames.pairs(rows):
        title = f"largest weights in common, {titles.words_of('pair', pair)}"
        found = [("table", tables.overlap_tables(rows, pair))]
        yield title, f"overlap_{pair}", figures.overlaps(rows, pair), found
    yield "density of every layer", "layers", figures.layers(rows), []


def _of_measure(
    rows: pd.DataFrame, measure: str, where: dict[str, Any], alone: bool
) -> Iterator[Section]:
    """Yield a measure's figures and tables; tables alone where a column has many."""
    title = titles.title(rows, measure, **where)
    name = titles.file_name(measure, **where)
    found = [("table", tables.tables(rows, measure, **where))]
    if measure == titles.main(rows):
        words = measure.replace("_", " ")
        reaches = "≥" if titles.unit(rows, measure).higher_is_better else "≤"
        for branch, training in _TRAININGS.items():
            matching = tables.matching_tables(rows, branch)
            found.append((_MATCHING.format(words, training, reaches), matching))
        found.append((_DIFFERENCES.format(words), tables.difference_tables(rows)))
    for suffix, draw in _FIGURES.items():
        left_out = measure in _COSTS if "rewind" in suffix else not alone and suffix
        if left_out or ... in where.values():
            continue
        if figure := draw(rows, measure, **where):
            words = suffix.replace("_", " ") or " by density"
            yield f"{title},{words}", name + suffix, figure, found
            found = []
    if found:
        yield title, name, None, found


def _of_bills(rows: pd.DataFrame, measure: str) -> Iterator[Section]:
    """Yield a measure against what it took, and against that as if dense."""
    bills = [*tables.bill_tables(rows)]
    found = [(_BILLS, iter(bills))]
    for words, dense in _BY_BILL if bills else ():
        title = f"{titles.title(rows, measure)}, {words}"
        name = f"{titles.file_name(measure)}_{words.replace(' ', '_')}"
        yield title, name, figures.by_bill(rows, measure, dense=dense), found
        found = []


def kinds(rows: Rows, measure: str) -> list[dict[str, Any]]:
    """Return what tells a measure's numbers apart, as arguments of `frames.frame`.

    A column of more than FEW values, or one too many for _MOST kinds, is `...`.
    """
    found = select(rows, measure)
    columns = extras(found)
    if measure in _OWN:
        found = found.drop(select(rows, measure, **_OWN[measure]).index)
    found = found[columns].astype(object).where(found[columns].notna(), None)
    for name in sorted(columns, key=lambda n: found[n].nunique(), reverse=True):
        if found[name].nunique() > FEW or len(found.drop_duplicates()) > _MOST:
            found[name] = [None if value is None else ... for value in found[name]]
    # Of no columns pandas 2 has no tuples.
    values = dict.fromkeys(map(tuple, found.to_numpy()))
    return [dict(zip(columns, its)) for its in values]


def _html(
    section: Section, directory: Path, used: set[str], main: str
) -> Iterator[str]:
    """Yield a section, and save its figure under a name that no other has."""
    title, name, figure, found = section
    title, details = html.escape(title), []
    for text, its in found:
        first = main.removeprefix("test_")
        unfolded = " open" if text.startswith("table") and first in name else ""
        details.append(_details(text, "".join(map(_table, its)), unfolded))
    if figure or any(details):
        yield f"<h2>{title}</h2>"
    if figure:
        name = re.sub(r"[^\w-]", "_", name)[:100]
        while name in used:
            name += "_"
        used.add(name)
        drawing.save(figure, directory / name)
        content = base64.b64encode((directory / f"{name}.svg").read_bytes()).decode()
        yield f'<img alt="{title}" src="data:image/svg+xml;base64,{content}">'
    yield from details


def _table(found: tuple[str, pd.DataFrame]) -> str:
    heading = f"<h3>{html.escape(found[0])}</h3>" if found[0] else ""
    return heading + found[1].to_html(index=False, border=0)


def _details(summary: str, text: str, unfolded: str = "") -> str:
    return text and f"<details{unfolded}><summary>{summary}</summary>{text}</details>"


def _standing(rows: pd.DataFrame, name: str, workdir: Path) -> str:
    """Say how far a run is: one that is on its way has a report, too."""
    if rows.empty:
        return f"<p>{html.escape(name)}: no numbers yet</p>"
    prune = json.loads((workdir / "config.json").read_text())["prune"]
    levels = len(prune["densities"]) or prune["levels"]
    reached, replicates = rows["level"].max(), rows["replicate"].nunique()
    text = f"{name}: numbers up to level {reached} of {levels}, n = {replicates}"
    if diverged := int((rows["measure"] == DIVERGED).sum()):
        text += f"; diverged, and left out: {diverged}, see results.jsonl"
    return f"<p>{html.escape(text)}</p>"


def _file(name: str, path: Path) -> str:
    if not path.exists():
        return ""
    text = html.escape(json.dumps(json.loads(path.read_text()), indent=2))
    return _details(html.escape(f"{name}: {path.name}"), f"<pre>{text}</pre>")
