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

from lth_jax import evidence
from lth_jax.intervals import interval
from lth_jax.numbers.frames import frame
from lth_jax.numbers.rows import Rows, tidy
from lth_jax.numbers.titles import Unit, main, unit

SHOWN, REFUTED, OPEN = "shown", "refuted", "not resolved"
ALPHA = 0.05  # of intervals; half of it on each side


class Question(NamedTuple):
    """What is asked of masks."""

    claim: str  # what is said, as "beats its own shuffle"
    shown: str  # what follows
    refuted: str  # what follows where it does not hold
    other: str  # the trial that it is compared with
    better: bool  # said to be better, or else as good


QUESTIONS = {
    "dense": Question(
        "matches dense",
        "as good as the dense network: a matching ticket",
        "worse than the dense network: no matching ticket",
        "dense",
        False,
    ),
    "positions": Question(
        "beats its own shuffle",
        "which weights of a layer are kept matters, not how many alone",
        "as many weights of each layer do as well, wherever they are",
        "shuffled",
        True,
    ),
    "weights": Question(
        "beats its own reinitialisation",
        "the weights under the masks matter",
        "new weights under the masks do as well",
        "reinit",
        True,
    ),
    "random": Question(
        "beats a random mask",
        "better than as many weights anywhere",
        "as many weights anywhere do as well",
        "random",
        True,
    ),
    "seed": Question(
        "beats another seed's mask",
        "the masks belong to their own seeds",
        "another seed's masks do as well",
        "sibling",
        True,
    ),
    "found": Question(
        "comes near magnitude pruning after training",
        "as good as what magnitude pruning and rewinding find here",
        "magnitude pruning and rewinding find better ones here",
        "found",
        False,
    ),
}
# By the branch that is judged: the branches that are its trials.
TRIALS: dict[str, dict[str, str]] = {
    "given": {
        "dense": "dense",
        "shuffled": "given_shuffled",
        "reinit": "given_reinit",
        "random": "given_random",
        "sibling": "given_sibling",
        "found": "ticket",
    },
    "ticket": {
        "dense": "dense",
        "shuffled": "shuffled_mask",
        "reinit": "random_reinit",
        "random": "random_mask",
        "sibling": "sibling_mask",
    },
}


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
    # About how many would decide, where it is open: if the difference is as large as it
    # looks, and whatever it is. None for more than a thousand.
    likely: int | None = None
    needed: int | None = None

    @property
    def meaning(self) -> str:
        """What follows, in words."""
        said = {SHOWN: self.question.shown, REFUTED: self.question.refuted}
        return said.get(self.verdict, "not known at this number of seeds")

    def __str__(self) -> str:
        need = f": {self.seeds} seeds would be needed" if self.verdict == OPEN else ""
        return f"{self.question.claim}: {self.verdict}{need}"

    @property
    def seeds(self) -> str:
        """How many would be needed, in words."""
        if not self.likely:
            return "more than n = 1,000"
        most = f"{self.needed:,}" if self.needed else "more than 1,000"
        upto = f" to {most}" if self.needed != self.likely else ""
        return f"about n = {self.likely}{upto}"


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
        ValueError: no such branch, no control beside it, or several rewind steps,
            settings or runs.
    """
    rows, trials = tidy(rows), TRIALS[judged]
    measure = main(rows)
    shown = unit(rows, measure)
    margin = margin if margin is not None else default_margin(shown.name)
    if margin is None or not margin > 0:
        raise ValueError(
            f"margin: say which difference of {measure} would matter, above 0"
        )
    values, density = _values(rows, measure, judged, trials, where)
    sign = shown.factor if shown.higher_is_better else -shown.factor
    asked = {name: q for name, q in QUESTIONS.items() if q.other in values}
    if not asked:
        raise ValueError(f"rows: nothing was trained beside {judged!r} to compare with")
    differences = {
        name: [
            sign * (values["judged"][seed] - x)
            for seed, x in values[question.other].items()
            if seed in values["judged"]
        ]
        for name, question in asked.items()
    }
    return Verdict(
        findings(differences, margin, tuple(looks)),
        measure,
        shown,
        margin,
        density,
        tuple(looks) or (len(values["judged"]),),
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
    own = own[own["level"] == level]
    for name in ("run", "setting", "rewind_step"):
        if len(several := [*dict.fromkeys(own[name])]) > 1:
            raise ValueError(f"{name}: choose one of {several}")
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
        differences: by a key of QUESTIONS, how much better the judged is, a seed each.
        margin, looks: as of `judge`.

    >>> found = findings({"positions": [1.0, 2.0, 1.5, 1.8, 1.2]}, 0.5)
    >>> str(found["positions"])
    'beats its own shuffle: shown'
    """
    asked = {name: QUESTIONS[name] for name in differences}
    p: dict[bool, list[float]] = {True: [], False: []}
    for name, question in asked.items():
        values = differences[name]
        planned = looks or (len(values),)
        for is_shown in p:
            bound, sign = _bound(question, margin, is_shown), 1 if is_shown else -1
            each = [
                evidence.p_above([sign * x for x in values[:n]], sign * bound)
                for n in planned
                if n <= len(values)
            ]
            p[is_shown].append(
                evidence.over_looks(min(each), planned) if each else math.nan
            )
    shown, refuted = (evidence.holm(p[is_shown]) for is_shown in (True, False))
    found = {}
    for i, (name, question) in enumerate(asked.items()):
        mean, low, high, _, n = interval(differences[name])
        verdict = SHOWN if shown[i] <= ALPHA / 2 else OPEN
        verdict = REFUTED if verdict == OPEN and refuted[i] <= ALPHA / 2 else verdict
        found[name] = Finding(
            question, verdict, mean, low, high, shown[i], refuted[i], n
        )
        if verdict == OPEN:
            level = ALPHA / 2 / len(asked)
            apart = [abs(mean - _bound(question, margin, x)) for x in (True, False)]
            seen, worst = (
                evidence.needed(differences[name], x, level, looks)
                for x in (max(margin, *apart), margin)
            )
            seen, worst = (x and max(x, n + 1) for x in (seen, worst))
            found[name] = found[name]._replace(likely=seen, needed=worst)
    return found


def _bound(question: Question, margin: float, is_shown: bool) -> float:
    """Return above which difference a claim is shown, or below which it is refuted."""
    if question.better:
        return 0.0 if is_shown else margin
    return -margin
