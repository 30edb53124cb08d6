"""Answers: what a run found, question by question, in words made from its numbers.

Networks are compared replicate by replicate, at the end of their trainings, in the
task's error on the test. A difference is resolved where the 95 % t interval of the
paired differences is on one side of 0; where all are the same, and there is no t, if
there are six or more.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from lth_jax.numbers import frames, phrases
from lth_jax.numbers.rows import (
    DIVERGED,
    TRAINING,
    Rows,
    branches,
    measures,
    select,
    tidy,
)
from lth_jax.numbers.titles import in_one, main, unit

STABLE = 0.02  # Frankle et al. (2020), Section 3.2: of the test examples
_CONTROLS = ("random_reinit", "shuffled_mask", "random_mask")
_AGAIN = ("fine_tune", "fine_tune_small", "long")
_RIVALS = ("uniform_mask", "erk_mask", "table_mask", "set", "rigl", "rigl_3", "gmp")
_RIVALS += ("dense_equal_bill",)
_PARTS = ("signs", "magnitudes", "permuted", "noise_0.5", "noise_1", "noise_2")
_PARTS += ("inverted_mask", "sibling_mask", "transported", "union_mask")
_PARTS += ("intersection_mask", "cross_lr")
_TUNED = [*itertools.product(("fine_tune", "fine_tune_small"), ("ticket", "long"))]
_SEEDS = (("transported", "sibling_mask"), ("sibling_mask", "shuffled_mask"))
_ALIKE = 6  # differences that are the same, which have one sign once in 32 times


class Answer(NamedTuple):
    """A question, and what the numbers say, a text a comparison."""

    question: str
    texts: list[str]


def answers(rows: Rows) -> list[Answer]:
    """Return the answers that a run, or several, have numbers for."""
    rows = _ended(tidy(rows))
    if main(rows) not in measures(rows):
        return []
    there = [name for name in branches(rows) if name not in ("ticket", "dense", "admm")]
    known = (*_CONTROLS, *_AGAIN, *_RIVALS, *_PARTS)
    asked = {
        "Do tickets match the dense network?": _matching(rows),
        "Do tickets beat their controls?": _than(rows, _CONTROLS),
        "Tickets or fine-tuning?": _pairs(rows, _TUNED),
        "Tickets or rivals?": _than(rows, _RIVALS),
        "What of a ticket matters?": _than(rows, _PARTS),
        "Tickets or other branches?": _than(rows, [n for n in there if n not in known]),
        "What of a mask is of its seed?": _pairs(rows, _SEEDS),
        "From which rewind step are networks stable?": _stable(rows),
    }
    found = [Answer(question, [*texts]) for question, texts in asked.items()]
    return [answer for answer in found if answer.texts]


def _ended(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows without those of networks on their way.

    Of a run that tells of no end, but of levels, an older version did not: all are of
    ended networks, but at level 0 they may be on their way.
    """
    networks, runs = frames.networks(rows), rows["run"]
    ends = rows["measure"] == "steps_trained"
    told = runs.isin(runs[ends]) | ~runs.isin(runs[rows["level"] > 0])
    return rows[~told | networks.isin(networks[ends]) | (rows["measure"] == DIVERGED)]


def _dense(rows: pd.DataFrame) -> Iterator[str]:
    """Say how good the dense networks are."""
    measure, words = main(rows), main(rows).replace("_", " ")
    shown, numbers = unit(rows, measure), frames.summary(rows, measure)
    whole = (numbers["branch"] == "dense") & (numbers["rewind_step"] == 0)
    numbers = numbers[whole]
    for _, its in numbers.iterrows():
        where = _named(its, _varied(numbers))
        mean, low, high = (shown.factor * x for x in phrases.interval(its)[:3])
        ends = "" if math.isnan(low) else f" ({low:.4g} to {high:.4g})"
        text = f"{words} of dense networks: {mean:.4g} {shown.name}{ends}"
        yield f"{where}{text}{phrases.counted(its)}"


def _matching(rows: pd.DataFrame) -> Iterator[str]:
    """Say down to where tickets match, as papers do, and where they are resolved."""
    yield from _dense(rows)
    numbers = frames.matching(rows)
    numbers = numbers[numbers["branch"] == "ticket"]
    numbers = numbers.rename(columns={"difference": "mean"})
    for where, places in _by_training(rows, numbers):
        found, text = places[places["matches"]], "by their means, tickets match dense"
        first = len(found) and places["matches"].iloc[: len(found)].all()
        if places["level"].nunique() > 1 and first:
            text += f" networks down to {found['at'].iloc[-1].removeprefix('at ')}"
        else:
            text += f" networks {phrases.listed(found['at'])}"
        if found.empty and places["within_std"].isna().all():
            text = "one replicate does not tell whether tickets match dense networks"
        n = phrases.counted(places, rows, "ticket")
        yield f"{where}{text}; {_resolved(rows, places, 'dense')}{n}"


def _than(rows: pd.DataFrame, others: Iterable[str]) -> Iterator[str]:
    """Say where tickets are better than each of some branches."""
    yield from _pairs(rows, [("ticket", other) for other in others])


def _pairs(rows: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Say where the first of some pairs of branches are better than the second."""
    there = set(rows["branch"])
    for branch, other in pairs:
        if {branch, other} <= there:
            yield from _pair(rows, branch, other)


def _pair(rows: pd.DataFrame, branch: str, other: str) -> Iterator[str]:
    pair, numbers = (branch, other), frames.differences(rows, branch, other)
    numbers = numbers[numbers["level"] > 0]
    for where, places in _by_training(rows, numbers):
        said, n = _resolved(rows, places, other), phrases.counted(places, rows, *pair)
        yield f"{where}{phrases.words(branch)} are {said}{n}"
    if numbers.empty and (lost := phrases.left_out(rows, *pair)):
        yield f"no pair of {' and '.join(map(phrases.words, pair))} is left{lost}."


def _by_training(
    rows: pd.DataFrame, numbers: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what tells a training from others, and its levels from the densest on.

    `at` says which level; of one density alone, which training, and they come at once.
    """
    numbers = numbers[numbers["mean"].notna()]
    if numbers.empty:
        return
    numbers = numbers.sort_values("density", ascending=False, kind="stable")
    varied = _varied(rows[rows["level"] > 0])
    shares = numbers["density"].map(phrases.share)
    if varied and numbers["level"].nunique() == shares.nunique() == 1:
        before = {"run": "in ", "setting": "at "}.get(varied[0], "when ")
        at = [before + _named(its, varied, "") for its in phrases.lines(numbers)]
        yield f"at {shares.iloc[0]} of the weights: ", numbers.assign(at=at)
        return
    numbers = numbers.assign(at="at " + shares)
    for _, levels in numbers.groupby(TRAINING, sort=False):
        yield _named(levels.iloc[0], varied), levels


def _varied(numbers: pd.DataFrame) -> list[str]:
    """Return in which of run, setting and rewind step numbers differ."""
    return [name for name in TRAINING if numbers[name].nunique() > 1]


def _named(its: pd.Series, columns: list[str], end: str = ": ") -> str:
    """Return what tells numbers apart, before what is said of them."""
    words = in_one(columns, its[columns])
    return words and words + end


def _resolved(rows: pd.DataFrame, places: pd.DataFrame, other: str) -> str:
    """Say where networks are better, worse, or neither, than others."""
    sign = 1 if unit(rows, main(rows)).higher_is_better else -1
    ends = [phrases.interval(its, sign) for its in phrases.lines(places)]
    told = (places["std"] > phrases.ALIKE) | (places["n"] >= _ALIKE)
    better = told & pd.Series([its.low > 0 for its in ends], places.index)
    worse = told & pd.Series([its.high < 0 for its in ends], places.index)
    kinds = {"better than": better, "worse than": worse, "": ~(better | worse)}
    texts, them = [], phrases.words(other, one=True)
    for kind, chosen in kinds.items():
        found = places[chosen]
        if kind and len(found):
            texts.append(f"{kind} {them} {phrases.where(rows, found, places)}")
        elif len(found) == len(places):
            said = phrases.where(rows, found, places)
            texts.append(f"not resolved against {them} {said}")
        elif len(found):
            said = phrases.where(rows, found, places, bare=True)
            texts.append(f"no difference is resolved {said}")
    return "; ".join(texts)


def _stable(rows: pd.DataFrame) -> Iterator[str]:
    """Say from which rewind step two copies of a network are linearly connected."""
    shown = unit(rows, main(rows))
    if shown.name != "%":
        return
    where = {"split": "test"}
    if "pair" in select(rows, "instability", **where):
        where["pair"] = "copies"
    numbers = frames.summary(rows, "instability", **where)
    numbers = numbers[numbers["mean"].notna()]
    numbers[["mean", "std"]] *= shown.factor / 100  # as shares
    for keys, its in numbers.groupby(["run", "setting", "level", "branch"], sort=False):
        if keys[3] not in ("ticket", "dense"):
            continue
        its = its.sort_values("rewind_step")
        varied = [n for n in ("run", "setting") if numbers[n].nunique() > 1]
        text = _named(its.iloc[0], varied)
        name = "dense networks" if keys[3] == "dense" else "tickets"
        share = phrases.share(its["density"].iloc[0])
        at = "" if keys[3] == "dense" else f" at {share}"
        said, n = _from_step(its), phrases.counted(its)
        yield f"{text}by their means, {name}{at} are {said}{n}"


def _from_step(steps: pd.DataFrame) -> str:
    """Return from which rewind step on the mean instability is below the limit."""
    stable = [*(steps["mean"] < STABLE)]
    said = []
    for _, step in steps.iterrows():
        its = phrases.interval(step)
        mean, low, high = (f"{100 * x:.1f}".replace("-", "−") for x in its[:3])
        ends = "" if math.isnan(its.low) else f" ({low} to {high})"
        said.append(f"{mean} %{ends} from {step['rewind_step']}")
    first = len(stable)
    while first and stable[first - 1]:
        first -= 1
    limit, word = f"{100 * STABLE:.0f} %", "not stable from any step"
    if first < len(stable):
        word = f"stable from step {steps['rewind_step'].iloc[first]} on"
    shown = said[max(0, first - 1) : first + 1] if len(said) > phrases.MOST else said
    whole = [phrases.interval(step).high < STABLE for step in phrases.lines(steps)]
    below = ", ".join(map(str, steps["rewind_step"][whole]))
    sure = f"the interval is below at step {below}" if below else "no interval is below"
    return f"{word} (below {limit}): instability {', '.join(shown)}; {sure}"
