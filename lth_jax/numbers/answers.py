"""Answers: what a run found, question by question, in words made from its numbers.

Networks are compared replicate by replicate, at the end of their trainings, in the
task's error on the test. A difference is resolved where the 95 % t interval of the
paired differences is on one side of 0.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import pandas as pd

from lth_jax import intervals
from lth_jax.numbers import frames
from lth_jax.numbers.rows import TRAINING, Rows, branches, measures, select, tidy
from lth_jax.numbers.titles import in_words, main, unit

STABLE = 0.02  # Frankle et al. (2020), Section 3.2: of the test examples
_CONTROLS = ("random_reinit", "shuffled_mask", "random_mask")
_AGAIN = ("fine_tune", "fine_tune_small", "long")
_RIVALS = ("uniform_mask", "erk_mask", "table_mask", "set", "rigl", "rigl_3", "gmp")
_RIVALS += ("dense_equal_bill",)
_TUNED = [*itertools.product(("fine_tune", "fine_tune_small"), ("ticket", "long"))]
_SEEDS = (("transported", "sibling_mask"), ("sibling_mask", "shuffled_mask"))
_MOST = 4  # densities that are listed
_REWOUND = "when rewound to step "


class Answer(NamedTuple):
    """A question, and what the numbers say, a text a comparison."""

    question: str
    texts: list[str]


def answers(rows: Rows) -> list[Answer]:
    """Return the answers that a run, or several, have numbers for."""
    rows = tidy(rows)
    if main(rows) not in measures(rows):
        return []
    there = [name for name in branches(rows) if name not in ("ticket", "dense", "admm")]
    others = [n for n in there if n not in (*_CONTROLS, *_AGAIN, *_RIVALS)]
    asked = {
        "Do tickets match the dense network?": _matching(rows),
        "Do tickets beat their controls?": _than(rows, _CONTROLS),
        "Tickets or fine-tuning?": _pairs(rows, _TUNED),
        "Tickets or rivals?": _than(rows, _RIVALS),
        "What of a ticket matters?": _than(rows, others),
        "What of a mask is of its seed?": _pairs(rows, _SEEDS),
        "From which rewind step are networks stable?": _stable(rows),
    }
    found = [Answer(question, [*texts]) for question, texts in asked.items()]
    return [answer for answer in found if answer.texts]


def _dense(rows: pd.DataFrame) -> Iterator[str]:
    """Say how good the dense networks are."""
    measure, words = main(rows), main(rows).replace("_", " ")
    shown, numbers = unit(rows, measure), frames.summary(rows, measure)
    whole = (numbers["branch"] == "dense") & (numbers["rewind_step"] == 0)
    numbers = numbers[whole]
    for _, its in numbers.iterrows():
        where = _named(numbers.loc[[its.name]], _varied(numbers))
        mean, low, high = (shown.factor * x for x in _interval(its)[:3])
        ends = "" if math.isnan(low) else f" ({low:.4g} to {high:.4g})"
        text = f"{words} of dense networks: {mean:.4g} {shown.name}{ends}"
        yield f"{where}{text}{_n(its)}"


def _matching(rows: pd.DataFrame) -> Iterator[str]:
    """Say down to where tickets match, as papers do, and where they are resolved."""
    yield from _dense(rows)
    numbers = frames.matching(rows)
    numbers = numbers[numbers["branch"] == "ticket"]
    numbers = numbers.rename(columns={"difference": "mean"})
    for where, places in _by_training(numbers):
        matching = [*places["matches"]]
        by_level = places["level"].nunique() > 1
        if by_level:
            matching = [all(matching[: i + 1]) for i in range(len(matching))]
        found = places[matching]
        text = "by their means, tickets match dense networks "
        if by_level and len(found):
            text += f"down to {found['at'].iloc[-1].removeprefix('at ')}"
        else:
            text += _list(found["at"])
        yield f"{where}{text}; {_resolved(rows, places, 'dense')}{_n(places)}"


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
    numbers = frames.differences(rows, branch, other)
    for where, places in _by_training(numbers[numbers["level"] > 0]):
        said = _resolved(rows, places, other)
        yield f"{where}{_words(branch)} are {said}{_n(places)}"


def _by_training(numbers: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what tells a training from others, and its levels from the densest on.

    `at` says which level; of one level alone, which training, and they come at once.
    """
    numbers = numbers[numbers["mean"].notna()]
    if numbers.empty:
        return
    numbers = numbers.sort_values("density", ascending=False, kind="stable")
    varied, shares = _varied(numbers), numbers["density"].map(_share)
    if varied and numbers["level"].nunique() == 1:
        before = {"run": "in ", "setting": "at "}.get(varied[0], "when ")
        at = [before + words for words in in_words(numbers, varied)]
        yield f"at {shares.iloc[0]} of the weights: ", numbers.assign(at=at)
        return
    numbers = numbers.assign(at="at " + shares)
    for _, levels in numbers.groupby(TRAINING, sort=False):
        yield _named(levels, varied), levels


def _varied(numbers: pd.DataFrame) -> list[str]:
    """Return in which of run, setting and rewind step numbers differ."""
    return [name for name in TRAINING if numbers[name].nunique() > 1]


def _named(numbers: pd.DataFrame, columns: list[str]) -> str:
    """Return what tells numbers apart, before what is said of them."""
    found = in_words(numbers, columns)
    return f"{found[0]}: " if found and found[0] else ""


def _resolved(rows: pd.DataFrame, places: pd.DataFrame, other: str) -> str:
    """Say where networks are better, worse, or neither, than others."""
    sign = 1 if unit(rows, main(rows)).higher_is_better else -1
    low, high = zip(*(_interval(its, sign)[1:3] for _, its in places.iterrows()))
    better, worse = pd.Series(low) > 0, pd.Series(high) < 0
    kinds = {"better than": better, "worse than": worse, "": ~(better | worse)}
    texts = []
    for kind, chosen in kinds.items():
        found = places[chosen.to_numpy()]
        if kind and len(found):
            texts.append(
                f"{kind} {_words(other, one=True)} {_where(rows, found, places)}"
            )
        elif len(found) == len(places):
            said = _where(rows, found, places)
            texts.append(f"not resolved against {_words(other, one=True)} {said}")
        elif len(found):
            said = _where(rows, found, places, bare=True)
            texts.append(f"no difference is resolved {said}")
    return "; ".join(texts)


def _where(
    rows: pd.DataFrame, found: pd.DataFrame, places: pd.DataFrame, *, bare: bool = False
) -> str:
    """Return places in words, with their differences; of many the first and last.

    Bare, they are those that are left when all others were told.
    """
    said = [*map(partial(_difference, rows), _rows(found))]
    if len(found) <= _MOST:
        return _list(found["at"] if bare else found["at"] + said)
    if bare:
        return f"at the {len(found)} others"
    first, last = ([*places.index].index(found.index[i]) for i in (0, -1))
    text = _list(found["at"])
    if last - first + 1 == len(found) and text.startswith("at "):  # without holes
        to = f"to {text.split(', ')[-1]}" if last + 1 < len(places) else "down"
        text = f"from {found['at'].iloc[0].removeprefix('at ')} {to}"
    return f"{text}, the first{said[0]}, the last{said[-1]}"


def _rows(found: pd.DataFrame) -> list[pd.Series]:
    return [its for _, its in found.iterrows()]


def _list(said: Iterable[str]) -> str:
    """Return places one after another; what all begin with is said once."""
    said = [*said] or ["nowhere"]
    for start in ("at learning rate ", "at weight decay ", _REWOUND, "at "):
        if all(text.startswith(start) for text in said):
            return start + ", ".join(text.removeprefix(start) for text in said)
    return ", ".join(said)


def _interval(its: pd.Series, sign: int = 1) -> intervals.Interval:
    return intervals.of(sign * its["mean"], its["std"], int(its["n"]))


def _share(density: float) -> str:
    return f"{100 * density:.3g} %"


def _difference(rows: pd.DataFrame, its: pd.Series) -> str:
    """Return a difference with its interval, in the unit of the error, in brackets."""
    shown = unit(rows, main(rows))
    digits, name = (1, "points") if shown.name == "%" else (3, shown.name)
    mean, low, high = (
        f"{round(shown.factor * x, digits) + 0.0:+.{digits}f}".replace("-", "−")
        for x in _interval(its)[:3]
    )
    ends = "" if low == "+nan" else f", {low} to {high}"
    return f" ({' '.join([mean, name]).strip()}{ends})"


def _n(numbers: pd.DataFrame | pd.Series) -> str:
    counts = sorted({*pd.Series(numbers["n"]).astype(int)})
    return f"; n = {' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]])))}."


def _words(branch: str, *, one: bool = False) -> str:
    names = {"ticket": "the ticket" if one else "tickets", "dense": "dense networks"}
    names |= {"long": "tickets of equal steps", "fine_tune": "fine-tuned weights"}
    names |= {"transported": "transported masks", "sibling_mask": "other seeds' masks"}
    return names.get(branch, branch.replace("_", " "))


def _stable(rows: pd.DataFrame) -> Iterator[str]:
    """Say from which rewind step two copies of a network are linearly connected."""
    if unit(rows, main(rows)).name != "%":
        return
    where = {"split": "test"}
    if "pair" in select(rows, "instability", **where):
        where["pair"] = "copies"
    numbers = frames.summary(rows, "instability", **where)
    numbers = numbers[numbers["mean"].notna()]
    for keys, its in numbers.groupby(["run", "setting", "level", "branch"], sort=False):
        if keys[3] not in ("ticket", "dense"):
            continue
        its = its.sort_values("rewind_step")
        varied = [n for n in ("run", "setting") if numbers[n].nunique() > 1]
        text = _named(its, varied)
        name = "dense networks" if keys[3] == "dense" else "tickets"
        share = _share(its["density"].iloc[0])
        at = "" if keys[3] == "dense" else f" at {share}"
        yield f"{text}by their means, {name}{at} are {_from_step(its)}{_n(its)}"


def _from_step(steps: pd.DataFrame) -> str:
    """Return from which rewind step on the mean instability is below the limit."""
    stable = [*(steps["mean"] < STABLE)]
    said = []
    for _, step in steps.iterrows():
        its = _interval(step)
        mean, low, high = (f"{100 * x:.1f}".replace("-", "−") for x in its[:3])
        ends = "" if math.isnan(its.low) else f" ({low} to {high})"
        said.append(f"{mean} %{ends} from {step['rewind_step']}")
    first = len(stable)
    while first and stable[first - 1]:
        first -= 1
    limit, word = f"{100 * STABLE:.0f} %", "not stable from any step"
    if first < len(stable):
        word = f"stable from step {steps['rewind_step'].iloc[first]} on"
    shown = said[max(0, first - 1) : first + 1] if len(said) > _MOST else said
    whole = [_interval(step).high < STABLE for step in _rows(steps)]
    below = ", ".join(map(str, steps["rewind_step"][whole]))
    sure = f"the interval is below from {below}" if below else "no interval is below"
    return f"{word} (below {limit}): instability {', '.join(shown)}; {sure}"
