"""Document: one HTML file that needs no network, and is complete without its script.

The script is our own and short: it shows what points of the figures say, to mouse,
finger and keyboard, and hides a branch whose name in a legend is pressed. A library
that draws would weigh more than all figures of a page, and draw them differently from
the files beside it.
"""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

_HERE = Path(__file__).parent
# From these widths of an SVG on, a figure takes two columns, or all.
_WIDE, _FULL = 400, 620
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{head}
</header>
<nav aria-label="Contents">
<h2>Contents</h2>
{contents}
</nav>
<main>
{main}
</main>
<script>
{script}</script>
</body>
</html>
"""


class Card(NamedTuple):
    """A figure, or text, under a heading, with what is folded below it."""

    title: str
    name: str  # as that of no other card: links lead to it
    svg: str = ""  # an element, of a view box
    text: str = ""  # HTML
    folded: str = ""  # HTML
    full: bool = False  # as wide as the page, as wide figures are


class Group(NamedTuple):
    """Cards under a heading."""

    title: str
    cards: list[Card]


def document(title: str, head: str, groups: Iterable[Group]) -> str:
    """Return a page: its head as HTML, a list of contents, and groups of cards."""
    groups, contents, main = [g for g in groups if g.cards], [], []
    for i, group in enumerate(groups):
        title_of, cards, links = html.escape(group.title), [], []
        for card in group.cards:
            cards.append(_card(card))
            name = html.escape(card.name)
            links.append(f'<li><a href="#{name}">{html.escape(card.title)}</a></li>')
        main.append(
            f'<section id="g{i}">\n<h2>{title_of}</h2>\n<div class="grid">\n'
            + "\n".join(cards)
            + "\n</div>\n</section>"
        )
        inner = f"<ul>{''.join(links)}</ul>"
        contents.append(f'<li><a href="#g{i}">{title_of}</a>{inner}</li>')
    return _PAGE.format(
        title=html.escape(title),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        head=head,
        contents=f"<ul>{''.join(contents)}</ul>",
        main="\n".join(main),
    )


def _card(card: Card) -> str:
    title, name = html.escape(card.title), html.escape(card.name)
    found, kind = [f"<h3>{title}</h3>"], " full" if card.full else ""
    if card.svg:
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', card.svg)
        width = float(box[1]) if box else 0.0
        kind = " full" if width > _FULL else " wide" if width > _WIDE else kind
        size = f'role="img" aria-label="{title}" tabindex="0" style="--w:{width:.0f}px"'
        svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", card.svg, count=2)
        found.append(f"<figure>{svg.replace('<svg', f'<svg {size}', 1)}</figure>")
    found += filter(None, [card.text, card.folded])
    return (
        f'<article id="{name}" class="card{kind}">\n'
        + "\n".join(found)
        + "\n</article>"
    )


def table(cells: pd.DataFrame, heading: str = "") -> str:
    """Return cells as HTML, in a box of its own that scrolls if it is wide."""
    found = f"<h4>{html.escape(heading)}</h4>" if heading else ""
    return found + f'<div class="scroll">{cells.to_html(index=False, border=0)}</div>'


def words(cells: pd.DataFrame, heading: str = "") -> str:
    """Return cells as HTML that are words, and break into lines."""
    return f'<div class="words">{table(cells, heading)}</div>'


def details(summary: str, text: str) -> str:
    """Return HTML that is folded; nothing of none."""
    summary = html.escape(summary)
    return text and f"<details><summary>{summary}</summary>{text}</details>"
