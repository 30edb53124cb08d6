"""How often the judge is wrong: verdicts on planted tickets, whose truth is known.

    python -m benchmarks.judging --fleets=200 --seeds=20 --workdir=runs/judging

Every kind of planted masks is trained once, with fleets times seeds networks; each
fleet's verdict is read from its own. Claims whose null hypothesis is true by
construction are counted where they are shown: a shuffled mask does not beat its
shuffle, a random one no other, and new weights no other new weights; of a mask that is
like all others of its kind, neither is another seed's worse. Once with all seeds, and
with looks from five on until all is decided. Then, of verdicts with five seeds: how
often the number of seeds that the judge asked for, of others, decides.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lth_jax import evidence, job, judge
from lth_jax.intervals import interval
from lth_jax.judge import claims, planted
from lth_jax.numbers.rows import load

FIRST, MARGIN = 5, 5.0  # seeds of the first look; points, as planted spreads are wide
NULL = {  # claims that do not hold, by kind
    "shuffled": ("positions", "seed"),
    "redrawn": ("weights", "seed"),
    "random": ("positions", "random", "seed"),
}


def differences(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return by claim how much better the judged is, in points, a network each."""
    found = judge.verdict(rows, margin=MARGIN)
    return {
        name: np.subtract(found.values["judged"], found.values[f.question.other])
        for name, f in found.findings.items()
    }


def verdict(
    all_of: dict[str, np.ndarray], first: int, n: int, looks: tuple[int, ...] = ()
) -> dict[str, claims.Finding]:
    """Return what is found on n networks from the first on, looked at as planned."""
    for look in looks or (n,):
        some = {name: values[first : first + look] for name, values in all_of.items()}
        found = claims.findings(some, MARGIN, looks)
        if all(finding.verdict != claims.OPEN for finding in found.values()):
            break
    return found


def wrong(
    all_of: dict[str, np.ndarray], kind: str, fleets: int, seeds: int
) -> list[dict]:
    """Return how many fleets show what does not hold, of every claim and of any."""
    lines = []
    for looks in ((), evidence.looks(FIRST, seeds)):
        found = [verdict(all_of, i * seeds, seeds, looks) for i in range(fleets)]
        shown = pd.DataFrame(found)[[*NULL[kind]]]
        shown = shown.map(lambda finding: finding.verdict == claims.SHOWN)
        shown["any of them"] = shown.any(axis=1)
        for claim, times in shown.sum().items():
            lines.append(
                {"kind": kind, "looks": len(looks) or 1, "claim": claim}
                | {"shown": int(times), "of": fleets, "to": upper(int(times), fleets)}
            )
    return lines


def decided(all_of: dict[str, np.ndarray], kind: str, networks: int) -> dict[str, Any]:
    """Return how often as many seeds as the judge asked for decide an open claim.

    Of claims that hold by more than the margin, or not at all; others have no number.
    """
    asked = right = left = 0
    clear = {name: is_clear(name, values) for name, values in all_of.items()}
    for first in range(0, networks, FIRST):
        for name, finding in verdict(all_of, first, FIRST).items():
            if finding.verdict != claims.OPEN or not clear[name]:
                continue
            if not finding.needed or finding.needed > networks - FIRST:
                left += 1
                continue
            start = (first + FIRST) % networks
            start = start if start + finding.needed <= networks else 0
            after = verdict(all_of, start, finding.needed)[name]
            asked, right = asked + 1, right + (after.verdict != claims.OPEN)
    return {"kind": kind, "asked": asked, "decided": right, "too many": left}


def is_clear(claim: str, values: np.ndarray) -> bool:
    """Return whether a claim, by all networks, holds by the margin or not at all."""
    better, truth = claims.QUESTIONS[claim].better, interval(values)
    above = truth.mean - (0.0 if better else -MARGIN)
    # Where nothing is different, the mean of all is within its own error of none.
    near = abs(above) <= truth.high - truth.mean
    return above >= MARGIN or near and better or above <= -MARGIN


def upper(times: int, of: int) -> float:
    """Return the upper end of a share's 95 % interval (Wilson, 1927)."""
    z, p = 1.96, times / of
    centre = p + z * z / (2 * of)
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (centre + half) / (1 + z * z / of)


def main() -> None:
    """Train, judge, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fleets", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--kinds", nargs="*", default=list(planted.KINDS))
    parser.add_argument("--accept_code_change", action="store_true")
    asked = parser.parse_args()
    job.use_cores()
    with job.prepared(planted.planted().config):
        tables = measured(asked)
    for lines in tables.values():
        print(pd.DataFrame(lines).to_string(index=False), end="\n\n")
    (asked.workdir / "judging.json").write_text(json.dumps(tables, indent=1) + "\n")


def measured(asked: argparse.Namespace) -> dict[str, list]:
    """Train and judge; return the lines of both tables."""
    tables: dict[str, list] = {"wrong": [], "decided": []}
    for kind in asked.kinds:
        networks = asked.fleets * asked.seeds
        networks = networks if kind in NULL else networks // 10  # for the power alone
        truth = planted.planted(kind, seeds=networks)
        folder = asked.workdir / kind
        how = {"margin": MARGIN, "accept_code_change": asked.accept_code_change}
        judge.judge(truth.given, truth.config, folder, data=truth.data, **how)
        all_of = differences(errors(folder))
        if kind in NULL:
            tables["wrong"] += wrong(all_of, kind, asked.fleets, asked.seeds)
        tables["decided"].append(decided(all_of, kind, networks))
    return tables


def errors(folder: Path) -> pd.DataFrame:
    """Return the rows of the error on the test: all that verdicts look at."""
    rows = load(folder)
    return rows[rows["measure"].isin(["test_accuracy", "steps_trained"])]


if __name__ == "__main__":
    main()
