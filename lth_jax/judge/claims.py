"""Claims: what is said of masks, and how sure that is, from the rows of a run.

A claim is about a difference between what two branches reach on the test, in pairs of
the same seed. Those that something is better are shown where the difference is above 0;
those that something is as good, where it is not below by what would matter. A claim is
refuted where the difference is found to be less than what would matter, or to be below
by as much.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_jax import evidence
from lth_jax.intervals import interval
from lth_jax.judge.questions import QUESTIONS, TRIALS, Question
from lth_jax.numbers.frames import frame
from lth_jax.numbers.rows import Rows, tidy
from lth_jax.numbers.titles import Unit, main, unit

SHOWN, REFUTED, OPEN = "shown", "refuted", "not resolved"
ALPHA = 0.05  # of intervals; half of it on each side


class Finding(NamedTuple):
    """What was found of a claim; differences are shown in the measure's unit."""

    question: Question
    verdict: str  # SHOWN, REFUTED or OPEN
    mean: float  # how much better the judged is than the other
    low: float  # ends of its 95 % interval, of this difference alone and looked at once
    high: float
    p_shown: float  # adjusted for all claims, and for looks
    p_refuted: float
    n: int  # seeds
    # About how many would decide, where it is open: if the difference is as it looks,
    # and if it is the margin or none. As of `evidence.needed`.
    likely: int | None = None
    needed: int | None = None

    @property
    def meaning(self) -> str:
        """What follows, in words."""
        said = {SHOWN: self.question.shown, REFUTED: self.question.refuted}
        return said.get(self.verdict, "not known at this number of seeds")

    def __str__(self) -> str:
        need = f": {self.seeds} seeds" if self.verdict == OPEN else ""
        return f"{self.question.claim}: {self.verdict}{need}"

    @property
    def seeds(self) -> str:
        """How many would be needed, in words."""
        if self.likely is None or self.needed is None:
            return "needs more"
        few, many = (
            f"{n:,}" if n <= evidence.LARGEST else f"more than {evidence.LARGEST:,}"
            for n in sorted([self.likely, self.needed])
        )
        return f"needs about {few}" + f" to {many}" * (few != many)


class Verdict(NamedTuple):
    """What masks were found to be."""

    findings: dict[str, Finding]  # by a key of QUESTIONS
    measure: str
    unit: Unit
    margin: float  # the difference that would matter, in the unit
    density: float
    looks: tuple[int, ...]  # at how many seeds one looks; one, where that was once
    values: dict[str, list[float]]  # by trial, what each seed reached, in the unit

    @property
    def is_resolved(self) -> bool:
        """Whether every claim is shown or refuted."""
        return all(f.verdict != OPEN for f in self.findings.values())


def judge(
    rows: Rows,
    judged: str = "given",
    margin: float | None = None,
    looks: Sequence[int] = (),
    **where: Any,
) -> Verdict:
    """Return what rows of a run say of masks.

    Args:
        rows: of a run with the trials, as `report.load` returns them; those of any run
            with tickets and controls do, where `judged` is "ticket".
        judged: the branch, a key of TRIALS. What was not trained beside it is not
            asked.
        margin: the difference that would matter, in the unit in which the task's error
            is shown; by default half a point, where that is a share.
        looks: at how many seeds one looks, as planned before the first; seeds beyond
            the last are not looked at.
        where: `level`, by default the last at which it was trained; `rewind_step`,
            `setting` and `run`, where there are several.

    Raises:
        ValueError: no such branch, no control beside it, several rewind steps, settings
            or runs, or an argument that is none; the line names it.
    """
    if judged not in TRIALS:
        raise ValueError(f"judged: {judged!r} is not one of {', '.join(TRIALS)}")
    if wrong := where.keys() - {"level", "rewind_step", "setting", "run"}:
        raise ValueError(f"where: {', '.join(sorted(wrong))}: no column to choose by")
    if list(looks) != sorted({*looks}) or min(looks, default=2) < 2:
        raise ValueError(f"looks: {[*looks]} do not rise from 2 seeds or more")
    rows = tidy(rows)
    measure = main(rows)
    shown = unit(rows, measure)
    margin = margin if margin is not None else default_margin(shown.name)
    if margin is None or not 0 < margin < math.inf:
        raise ValueError(
            f"margin: say which difference of {measure} would matter, above 0"
        )
    values, density = _values(rows, measure, judged, TRIALS[judged], where)
    sign = shown.factor if shown.higher_is_better else -shown.factor
    asked = {name: q for name, q in QUESTIONS.items() if q.other in values}
    if not asked:
        raise ValueError(f"rows: nothing was trained beside {judged!r} to compare with")
    seeds = sorted(set[int]().union(*values.values()))
    reached = {
        trial: np.array([its.get(seed, math.nan) for seed in seeds])
        for trial, its in values.items()
    }
    differences = {
        name: sign * (reached["judged"] - reached[question.other])
        for name, question in asked.items()
    }
    return Verdict(
        findings(differences, margin, tuple(looks)),
        measure,
        shown,
        margin,
        density,
        tuple(looks) or (len(seeds),),
        {t: [shown.factor * x for x in v.values()] for t, v in values.items()},
    )


def default_margin(unit: str) -> float | None:
    """Return half a point, where a measure is a share."""
    return 0.5 if unit == "%" else None


def _values(
    rows: Any, measure: str, judged: str, trials: dict[str, str], where: dict[str, Any]
) -> tuple[dict[str, dict[int, float]], float]:
    """Return by trial what each seed reached, and the density."""
    numbers = frame(rows, measure)
    level = where.pop("level", None)
    for name, value in where.items():
        dense = (numbers["level"] == 0) & (name == "rewind_step")
        numbers = numbers[dense | (numbers[name] == value)]
    own = numbers[numbers["branch"] == judged]
    if own.empty:
        there = ", ".join(dict.fromkeys(numbers["branch"])) or "none"
        raise ValueError(f"rows: there is no {judged!r}; branches are {there}")
    level = own["level"].max() if level is None else level
    if level not in set(own["level"]):
        there = ", ".join(map(str, sorted({*own["level"]})))
        raise ValueError(
            f"level: {judged!r} was trained at {there}, and not at {level}"
        )
    own = own[own["level"] == level]
    for name in ("run", "setting", "rewind_step"):
        if len(several := [*dict.fromkeys(own[name])]) > 1:
            raise ValueError(f"{name}: choose one of {several}")
    for name in ("run", "setting"):
        numbers = numbers[numbers[name] == own[name].iloc[0]]
    found: dict[str, dict[int, float]] = {}
    for trial, branch in ({"judged": judged} | trials).items():
        there = numbers[numbers["branch"] == branch]
        there = there[there["level"] == (0 if branch == "dense" else level)]
        if len(there):
            there = there[there["rewind_step"] == there["rewind_step"].min()]
            pairs = there.sort_values("replicate")[["replicate", "value"]]
            found[trial] = {int(r): float(x) for r, x in pairs.itertuples(index=False)}
    return found, float(own["density"].mean())


def findings(
    differences: Mapping[str, evidence.Values],
    margin: float,
    looks: tuple[int, ...] = (),
) -> dict[str, Finding]:
    """Return what differences say of claims, all of them together.

    Args:
        differences: by a key of QUESTIONS, how much better the judged is, a seed each;
            NaN of a seed with a network that diverged, which is left out.
        margin, looks: as of `judge`.

    >>> found = findings({"positions": [1.0, 2.0, 1.5, 1.8, 1.2]}, 0.5)
    >>> str(found["positions"])
    'beats its own shuffle: shown'
    """
    asked = {name: QUESTIONS[name] for name in differences}
    last = max(looks, default=None)
    there = {name: np.asarray(x, float)[:last] for name, x in differences.items()}
    p = {is_shown: [] for is_shown in (True, False)}
    for name, question in asked.items():
        planned = looks or (len(there[name]),)
        for is_shown in p:
            bound, sign = _bound(question, margin, is_shown), 1 if is_shown else -1
            each = [
                evidence.p_above(sign * _known(there[name][:n]), sign * bound)
                for n in planned
                if n <= len(there[name])
            ]
            least = min((x for x in each if not math.isnan(x)), default=math.nan)
            p[is_shown].append(evidence.over_looks(least, planned))
    shown, refuted = (evidence.holm(p[is_shown]) for is_shown in (True, False))
    found = {}
    for i, (name, question) in enumerate(asked.items()):
        values = _known(there[name])
        mean, low, high, _, n = interval(values)
        verdict = SHOWN if shown[i] <= ALPHA / 2 else OPEN
        verdict = REFUTED if verdict == OPEN and refuted[i] <= ALPHA / 2 else verdict
        found[name] = Finding(
            question, verdict, mean, low, high, shown[i], refuted[i], n
        )
        if verdict == OPEN:
            level = ALPHA / 2 / len(asked)
            apart = max(abs(mean - _bound(question, margin, x)) for x in (True, False))
            seen, worst = (
                evidence.needed(values, x, level, looks) for x in (apart, margin)
            )
            seen, worst = (x and max(x, n + 1) for x in (seen, worst))
            found[name] = found[name]._replace(likely=seen, needed=worst)
    return found


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _bound(question: Question, margin: float, is_shown: bool) -> float:
    """Return above which difference a claim is shown, or below which it is refuted."""
    if question.better:
        return 0.0 if is_shown else margin
    return -margin
