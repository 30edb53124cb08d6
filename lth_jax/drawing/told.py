"""Told: what a figure says of its points, for a page on which one can point at them.

Artists are marked with the label of their branch, and lines keep a text for every
point; `inline` writes both into an SVG, where a script finds them.
"""

import html
import json
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_TOLD: weakref.WeakKeyDictionary[Line2D, Sequence[str]] = weakref.WeakKeyDictionary()
_OWN = re.compile(r' id="(?:figure|axes|patch|line2d|text|legend|xtick|ytick)_\d+"')
_OTHERS = re.compile(r' id="(?:\w*Collection|QuadMesh|matplotlib\.axis|AxesImage)_\d+"')


def mark(label: str, *artists: Artist, entry: bool = False) -> None:
    """Mark artists as a branch's, by its label in the legend; or as that entry."""
    for artist in artists:
        artist.set_gid(f"{'entry' if entry else 'of'}:{label}")


def tell(line: Line2D, texts: Sequence[str]) -> None:
    """Keep a text for every point of a line that is marked."""
    _TOLD[line] = texts


def save(figure: Figure, path: Path) -> str:
    """Write PNG and SVG at a path without suffix; equal figures make equal files.

    Returns:
        The SVG, to be written into a page.
    """
    if engine := figure.get_layout_engine():  # once for both files
        engine.execute(figure)
        figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path.with_suffix(".png"))
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return inline(path.with_suffix(".svg").read_text(encoding="utf-8"), points(figure))


def points(figure: Figure) -> list[tuple[float, float, str, str]]:
    """Return x, y (in units of the SVG), label and text of all points that tell."""
    found, scale = [], 72 / figure.dpi
    height = 72 * figure.get_figheight()
    for ax in figure.axes:
        box = ax.get_window_extent()
        for line in ax.lines:
            label = (line.get_gid() or "").removeprefix("of:")
            places = line.get_transform().transform(line.get_xydata())
            for (x, y), text in zip(places, _TOLD.get(line, ())):
                y = min(max(y, box.y0), box.y1)  # of what leaves the picture: its edge
                place = round(x * scale, 1), round(height - y * scale, 1)
                found.append((*place, label, text))
    return found


def inline(svg: str, told: Sequence[tuple[float, float, str, str]] = ()) -> str:
    """Return an SVG as an element of a page, with the points that tell.

    Without the names that matplotlib numbers, which other figures have, too.
    """
    svg = _OTHERS.sub("", _OWN.sub("", svg[svg.index("<svg") :]))
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(of|entry):([^"]*)"', r' class="\1" data-of="\2"', svg)
    if told:
        text = html.escape(json.dumps(told, ensure_ascii=False, separators=(",", ":")))
        svg = svg.replace("<svg", f'<svg data-points="{text}"', 1)
    return svg
