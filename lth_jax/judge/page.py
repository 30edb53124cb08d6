"""Page: a verdict in words, as a table, a picture and JSON."""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lth_jax import drawing
from lth_jax import page as page_lib
from lth_jax.evidence import POWER
from lth_jax.intervals import interval
from lth_jax.judge.claims import ALPHA, OPEN, REFUTED, SHOWN, Finding, Verdict
from lth_jax.page import Card, Group

TRIALS = {  # how they are called, and what they are
    "judged": ("these masks", "on their weights"),
    "dense": ("dense network", "fresh weights, nothing pruned"),
    "found": ("magnitude pruning after training", "and rewinding, at this density"),
    "reinit": ("these masks, new weights", "drawn as the config says"),
    "sibling": ("another seed's masks", "the next ones, on these weights"),
    "shuffled": ("shuffled within layers", "as many of each layer, on these weights"),
    "random": ("random masks", "as many of the network, in whichever layers"),
}
# On white, and on black.
_COLOURS = {
    SHOWN: "#1a7f37, #4fc36b",
    REFUTED: "#c0392b, #ff7b6b",
    OPEN: "#7a5d00, #d9b13b",
}


def sentences(verdict: Verdict) -> str:
    """Return a verdict in words, of which the first are about the dense network."""
    lines, points = [], _points(verdict)
    if dense := verdict.findings.get("dense"):
        said = {SHOWN: "A matching ticket", REFUTED: "No matching ticket"}
        found = said.get(dense.verdict, "Not known whether it is a matching ticket")
        difference = _difference(dense, _unit(verdict).removeprefix(" in"))
        lines.append(f"{found}: {difference} from dense.")
    for said, better, words in (
        (SHOWN, True, "better than"),
        (REFUTED, True, f"not better by {points} than"),
        (SHOWN, False, f"not worse by {points} than"),
        (REFUTED, False, f"worse by more than {points} than"),
        (OPEN, True, "undecided whether better than"),
        (OPEN, False, f"undecided whether worse by {points} than"),
    ):
        others = [
            f.question.claim.removeprefix("beats ").removeprefix("comes near ")
            for f in verdict.findings.values()
            if (f.verdict, f.question.better) == (said, better) and f is not dense
        ]
        if others:
            lines.append(f"{words.capitalize()} {', '.join(others)}.")
    return " ".join(lines)


def table(verdict: Verdict) -> pd.DataFrame:
    """Return a line a claim: the difference, what was found, and how sure that is."""
    lines = []
    for finding in verdict.findings.values():
        question = finding.question
        lines.append(
            {
                "claim": question.claim,
                "verdict": finding.verdict,
                f"difference{_unit(verdict)} (95 %)": _difference(finding),
                "p of shown": _p(finding.p_shown),
                "p of refuted": _p(finding.p_refuted),
                "seeds": f"{finding.n}{_more(finding)}",
            }
        )
    return pd.DataFrame(lines)


def _unit(verdict: Verdict) -> str:
    name = verdict.unit.name
    return " in points" if name == "%" else f" in {name}" if name else ""


def _difference(finding: Finding, unit: str = "") -> str:
    return f"{finding.mean:+.2f}{unit} ({finding.low:.2f} to {finding.high:.2f})"


def _p(p: float) -> str:
    return "below 0.0001" if p < 1e-4 else f"{p:.4f}"


def _more(finding: Finding) -> str:
    return f" ({finding.seeds})" if finding.verdict == OPEN else ""


def rules(verdict: Verdict) -> pd.DataFrame:
    """Return a line a kind of claim: what each p is of, the null hypothesis."""
    lines = [
        ("it beats", "of not better", f"of better by {_points(verdict)}"),
        ("it matches, nears", f"of worse by {_points(verdict)}", "of less than that"),
    ]
    return pd.DataFrame(lines, columns=["claim", "p of shown is", "p of refuted is"])


def _points(verdict: Verdict) -> str:
    return f"{verdict.margin:g}{_unit(verdict).removeprefix(' in')}"


def method(verdict: Verdict) -> list[str]:
    """Return in words how claims were decided."""
    looked = "Seeds were looked at once."
    if len(verdict.looks) > 1:
        looked = (
            f"Looks were planned at {', '.join(map(str, verdict.looks))} seeds, until "
            "all is decided; p counts all of them (Pocock, 1977, on the scale of p)."
        )
    return [
        f"A claim is shown where its p of shown is {ALPHA / 2:g} or less, else refuted "
        "where that of refuted is. Differences are between the same seeds, positive "
        "where the masks are better, and tests one-sided: the lesser p of a t test and "
        "of Wilcoxon's signed-rank test, which one seed far off does not sway. That is "
        "corrected for being the lesser of two, and adjusted for all claims of its "
        "column (Holm, 1979). An interval is of t, and of its own difference alone. "
        f"{looked}",
        "What is neither is not resolved. Behind it stands how many seeds would decide "
        f"with a probability of {POWER:g}: of two numbers, one if the difference is as "
        f"it looks, the other if it is {_points(verdict)} or none. Few seeds know the "
        "spread badly: it is taken to be at the upper end of its interval.",
        "All p are right for normal differences of independent seeds. Where a few "
        "seeds fail and the others do not, ranks tell of the others: read the "
        "interval, too.",
    ]


def text(verdict: Verdict, facts: dict[str, str]) -> str:
    """Return a verdict for the terminal."""
    found = table(verdict)
    cells = [[*found.columns], *found.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [f"{name}: {fact}" for name, fact in facts.items()] + [""]
    for line in cells:
        lines.append("  ".join(map(str.ljust, line, widths)).rstrip())
    return "\n".join([*lines, "", sentences(verdict)])


def as_json(verdict: Verdict, facts: dict[str, str]) -> dict[str, Any]:
    """Return a verdict as JSON."""
    findings = {}
    for name, f in verdict.findings.items():
        numbers = f._asdict() | {"question": f.question._asdict()}
        numbers["meaning"] = f.meaning
        findings[name] = {
            k: None if isinstance(x, float) and math.isnan(x) else x
            for k, x in numbers.items()
        }
    return {
        "measure": verdict.measure,
        "unit": verdict.unit.name,
        "margin": verdict.margin,
        "density": verdict.density,
        "looks": list(verdict.looks),
        "resolved": verdict.is_resolved,
        "findings": findings,
        "facts": facts,
        "values": verdict.values,
    }


def values(verdict: Verdict) -> pd.DataFrame:
    """Return a line a trial: what its seeds reached."""
    lines = []
    for trial, words in TRIALS.items():
        if reached := verdict.values.get(trial):
            mean, low, high, *_, n = interval(reached)
            lines.append((*words, f"{mean:.2f} ({low:.2f} to {high:.2f})", n))
    name = f"{verdict.measure.replace('_', ' ')}{_unit(verdict)} (95 %)"
    columns = ["trial", "what it is", name.replace("points", "%"), "seeds"]
    return pd.DataFrame(lines, columns=columns)


def draw(verdict: Verdict) -> Figure:
    """Draw what each trial reached: a point a seed, the mean and its 95 % interval."""
    there = [trial for trial in TRIALS if trial in verdict.values]
    figure = Figure(figsize=(5.5, 0.6 + 0.35 * len(there)), layout="constrained")
    axis = figure.subplots()
    for place, trial in enumerate(there):
        values = verdict.values[trial]
        mean, low, high, *_ = interval(values)
        colour = "C1" if trial == "judged" else "C0"
        axis.plot(values, [place] * len(values), "|", color=colour, alpha=0.5)
        if not math.isnan(low):
            axis.plot([low, high], [place + 0.25] * 2, color=colour, linewidth=2)
        axis.plot([mean], [place + 0.25], "o", color=colour, markersize=5)
    axis.set_yticks(range(len(there)), [TRIALS[trial][0] for trial in there])
    axis.invert_yaxis()
    name = verdict.unit.name
    axis.set_xlabel(verdict.measure.replace("_", " ") + (f" in {name}" if name else ""))
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def write(
    verdict: Verdict, facts: dict[str, str], directory: Path, about: Sequence[str]
) -> Path:
    """Write `verdict.json`, a picture and `index.html` into a folder; return the page.

    Args:
        about: in a line each, what was judged, how it was trained, and what diverged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = json.dumps(as_json(verdict, facts), indent=2)
    (directory / "verdict.json").write_text(found + "\n")
    with drawing.looks():
        picture = drawing.save(draw(verdict), directory / "trials")
    page = directory / "index.html"
    page.write_text(_page(verdict, facts, picture, about), encoding="utf-8")
    return page


def _page(
    verdict: Verdict, facts: dict[str, str], picture: str, about: Sequence[str]
) -> str:
    claims = table(verdict)
    meanings = [f.meaning for f in verdict.findings.values()]
    claims.insert(2, "what that means", meanings)
    listed = page_lib.words(claims)
    for said, colours in _COLOURS.items():
        look = f'<td><strong style="color: light-dark({colours})">'
        listed = listed.replace(f"<td>{said}</td>", f"{look}{said}</strong></td>")
    known = pd.DataFrame({"of": facts.keys(), "found": facts.values()})
    reached = page_lib.details("table", page_lib.words(values(verdict)))
    seeds = "<p>A mark a seed, below it the mean and its 95 % interval.</p>"
    decided = page_lib.words(rules(verdict))
    decided += "".join(f"<p>{html.escape(text)}</p>" for text in method(verdict))
    groups = [
        Group(
            "What was found",
            [
                Card("Every claim", "claims", text=listed, full=True),
                Card("What each trial reached", "trials", picture, seeds + reached),
            ],
        ),
        Group(
            "What the masks are, and how this was decided",
            [
                Card(
                    "The first mask, before training",
                    "facts",
                    text=page_lib.words(known),
                ),
                Card("Tests", "tests", text=decided),
            ],
        ),
    ]
    head = f"<p><strong>{html.escape(sentences(verdict))}</strong></p>"
    head += "".join(f"<p>{html.escape(line)}</p>" for line in about)
    return page_lib.document("Are these masks a winning ticket?", head, groups)
