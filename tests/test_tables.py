"""Tables of the docs that are not of rows alone: verdicts, scores, counts."""

import json
import re

from test_results import ROOT, as_printed, of_run

from lth_jax import judge


def test_verdicts_are_those_of_the_judge():
    page = (ROOT / "docs/results.md").read_text()
    marked = r"<!-- run=(\S+) level=(\d+) (ticket|given) -->"
    lines = re.findall(rf"^\|.*{marked}(.*(?:shown|refuted):.*)", page, re.M)
    for run, level, branch, line in lines:
        found = judge.verdict(of_run(run), judged=branch, level=int(level))
        said = re.findall("shown|refuted|not resolved", line)
        assert said == [finding.verdict for finding in found.findings.values()]
    assert len(lines) > 5


def test_shares_of_scores_are_those_that_were_printed():
    """By network and method; that none is infinite, and no layer's are the first."""
    text = (ROOT / "results/scored/scored.md").read_text().splitlines()[2:]
    printed = [re.findall(r"[^| ]+(?: of \d+)?", line) for line in text]
    page = (ROOT / "docs/results.md").read_text()
    for name in {name for name, *_ in printed}:
        shown = re.search(rf"^\| `{name}` \| (.*) \|$", page, re.M)[1]
        weights, *zeros = shown.split(" | ")
        assert [[weights, zero] for zero in zeros] == [
            line[2:4] for line in printed if line[0] == name
        ]
    rest = {(*line[4:6], line[6].split()[0]) for line in printed}
    assert rest == {("0", "0.2", "0")} and len(printed) == 30


def test_how_often_the_judge_is_wrong_is_what_was_counted():
    counts = json.loads((ROOT / "results/judging/judging.json").read_text())
    page = (ROOT / "docs/judge.md").read_text().partition("## How often it is wrong")[2]
    said = re.findall(r"\| (\d+ of \d+) \| ([\d.]+) % \|$", page, re.M)
    assert said == [
        (f"{its['shown']} of {its['of']}", as_printed(100 * its["to"], "0.0"))
        for its in counts["wrong"]
        if its["claim"] == "any of them"
    ]
    decided = re.findall(r"([\d,]+) of\s([\d,]+)\s", page.rpartition("| 2.8 % |")[2])
    assert decided == [
        (f"{its['decided']:,}", f"{its['asked']:,}")
        for kind in ("shuffled", "redrawn", "random", "half")
        for its in counts["decided"]
        if its["kind"] == kind
    ]
