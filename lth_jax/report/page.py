"""Page: one HTML file with everything that runs say, to be opened from disk."""

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lth_jax.report import drawing, figures, frames
from lth_jax.report.frames import Rows

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

_COSTS = ("parameters", "bytes")  # are the same, whatever k is

_MATCHING = (
    "matching: test accuracy above dense networks {}, replicate by replicate "
    "(≥ reaches dense, ≈ within one standard deviation of dense or 0.2 points)"
)
_DIFFERENCES = "differences of test accuracy, replicate by replicate"
_TRAININGS = {
    "dense": "of one whole training, whatever a branch had",
    "long": "of two trainings, as fine-tuned weights had",
}


def write(*workdirs: Path | str, directory: Path | str | None = None) -> Path:
    """Write the report of a run, or of several runs in the same figures.

    Every figure is written as PNG and SVG beside the page, which holds them too: it can
    be moved, and needs no network.

    Args:
        workdirs: folders of runs; a run may be on its way.
        directory: where; by default `report` in the first folder.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: a folder has no results.jsonl.
    """
    rows, names = frames.load(*workdirs), frames.names(*workdirs)
    directory = Path(directory or Path(workdirs[0]) / "report")
    directory.mkdir(parents=True, exist_ok=True)
    title = html.escape(", ".join(names))
    parts = [f"<h1>{title}</h1>"]
    for name, workdir in zip(names, workdirs):
        parts.append(_standing(rows[rows["run"] == name], name, Path(workdir)))
    for heading, name, figure in drawn(rows):
        path = directory / re.sub(r"[^\w-]", "_", name)
        drawing.save(figure, path)
        parts += [f"<h2>{html.escape(heading)}</h2>", _image(path, heading)]
        parts.append(_tables(rows, name))
        if name.startswith("overlap_"):
            pair = name.removeprefix("overlap_")
            parts.append(_details("table", frames.overlap_tables(rows, pair)))
        if name == "test_accuracy":
            for branch, training in _TRAININGS.items():
                tables = frames.matching_tables(rows, branch)
                parts.append(_details(_MATCHING.format(training), tables))
            parts.append(_details(_DIFFERENCES, frames.difference_tables(rows)))
    for name, workdir in zip(names, workdirs):
        parts += [
            _file(name, Path(workdir) / f) for f in ("config.json", "environment.json")
        ]
    page = directory / "index.html"
    body = "\n".join(parts)
    page.write_text(_PAGE.format(title=title, body=body), encoding="utf-8")
    return page


def drawn(rows: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """Yield (title, name of the file, figure): whatever there are numbers for.

    A measure's figure by density is named as the measure; accuracies come first. What
    a training does on its way is shown of a run alone.
    """
    found = frames.measures(rows)
    parts = ("_of_", "_at_", "_top_")
    single = [m for m in found if not any(part in m for part in parts)]
    measures = sorted(single, key=lambda m: not m.endswith("accuracy"))
    plan = []
    for m in measures:
        plan.append((f"{frames.title(m)}, by density", m, figures.by_density, m))
        if m not in _COSTS:
            words, name = f"{frames.title(m)}, by rewind step", f"{m}_by_rewind_step"
            plan.append((words, name, figures.by_rewind_step, m))
    if rows["run"].nunique() == 1:
        plan += [
            (
                f"{split} error between copies",
                f"{split}_paths",
                figures.along_paths,
                split,
            )
            for split in ("test", "train")
        ]
        plan += [
            (
                f"{frames.title(m)}, while training",
                f"{m}_while_training",
                figures.while_training,
                m,
            )
            for m in measures
            if m.endswith(("accuracy", "loss"))
        ]
    for heading, name, draw, argument in plan:
        if figure := draw(rows, argument):
            yield heading, name, figure
    for pair in frames.pairs(rows):
        if figure := figures.overlaps(rows, pair):
            words = pair.replace("_", " ")
            yield f"largest weights in common, {words}", f"overlap_{pair}", figure
    if figure := figures.layers(rows):
        yield "density of every layer", "layers", figure


def _image(path: Path, text: str) -> str:
    content = base64.b64encode(path.with_suffix(".svg").read_bytes()).decode()
    source = f"data:image/svg+xml;base64,{content}"
    return f'<img alt="{html.escape(text)}" src="{source}">'


def _tables(rows: Rows, measure: str) -> str:
    """Return the tables of a measure; only accuracies are unfolded."""
    unfolded = measure.endswith("accuracy")
    return _details("table", frames.tables(rows, measure), unfolded=unfolded)


def _details(
    summary: str, tables: Iterator[tuple[str, pd.DataFrame]], *, unfolded: bool = False
) -> str:
    text = "".join(
        (f"<h3>{html.escape(heading)}</h3>" if heading else "")
        + cells.to_html(index=False, border=0)
        for heading, cells in tables
    )
    start = "<details open>" if unfolded else "<details>"
    return text and f"{start}<summary>{summary}</summary>{text}</details>"


def _standing(rows: pd.DataFrame, name: str, workdir: Path) -> str:
    """Say how far a run is: one that is on its way has a report, too."""
    if rows.empty:
        return f"<p>{html.escape(name)}: no numbers yet</p>"
    prune = json.loads((workdir / "config.json").read_text())["prune"]
    levels = len(prune["densities"]) or prune["levels"]
    reached, replicates = rows["level"].max(), rows["replicate"].nunique()
    text = f"{name}: numbers up to level {reached} of {levels}, n = {replicates}"
    if diverged := int((rows["measure"] == frames.DIVERGED).sum()):
        text += f"; diverged, and left out: {diverged}, see results.jsonl"
    return f"<p>{html.escape(text)}</p>"


def _file(name: str, path: Path) -> str:
    if not path.exists():
        return ""
    text = html.escape(json.dumps(json.loads(path.read_text()), indent=2))
    summary = html.escape(f"{name}: {path.name}")
    return f"<details><summary>{summary}</summary><pre>{text}</pre></details>"
