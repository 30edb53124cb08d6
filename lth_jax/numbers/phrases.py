"""Phrases: places, differences and counts, in words of an answer."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from lth_jax import intervals
from lth_jax.numbers.rows import DIVERGED, Rows, tidy
from lth_jax.numbers.titles import main, unit

MOST = 4  # densities that are listed
ALIKE = 1e-9  # deviation of what differs by rounding alone
REWOUND = "when rewound to step "


def where(
    rows: pd.DataFrame, found: pd.DataFrame, places: pd.DataFrame, *, bare: bool = False
) -> str:
    """Return places in words, with their differences; of many the first and last.

    Bare, they are those that are left when all others were told.
    """
    said = [*map(partial(difference, rows), lines(found))]
    if len(found) <= MOST:
        return listed(found["at"] if bare else found["at"] + said)
    if bare:
        return f"at the {len(found)} others"
    first, last = ([*places.index].index(found.index[i]) for i in (0, -1))
    text = listed(found["at"])
    several = places["level"].nunique() > 1  # from the densest on
    if several and last - first + 1 == len(found):  # without holes
        to = f"to {text.split(', ')[-1]}" if last + 1 < len(places) else "down"
        text = f"from {found['at'].iloc[0].removeprefix('at ')} {to}"
    return f"{text}, the first{said[0]}, the last{said[-1]}"


def lines(found: pd.DataFrame) -> list[pd.Series]:
    """Return the rows of a frame one by one."""
    return [its for _, its in found.iterrows()]


def listed(said: Iterable[str]) -> str:
    """Return places one after another; what all begin with is said once."""
    said = [*said] or ["nowhere"]
    for start in ("at learning rate ", "at weight decay ", REWOUND, "at "):
        if all(text.startswith(start) for text in said):
            return start + ", ".join(text.removeprefix(start) for text in said)
    return ", ".join(said)


def interval(its: pd.Series, sign: int = 1) -> intervals.Interval:
    """Return the interval of a row's mean, std and n."""
    return intervals.of(sign * its["mean"], its["std"], int(its["n"]))


def share(density: float) -> str:
    """Return a density in %."""
    return f"{100 * density:.3g} %"


def difference(rows: pd.DataFrame, its: pd.Series) -> str:
    """Return a difference with its interval, in the unit of the error, in brackets.

    Of as many digits as tell the end that is next to 0 from 0.
    """
    shown = unit(rows, main(rows))
    digits, name = (1, "points") if shown.name == "%" else (3, shown.name)
    found = [round(shown.factor * x, 9) for x in interval(its)[:3]]
    least = min((abs(x) for x in found if abs(x) > 0), default=1.0)
    digits = max(digits, -math.floor(math.log10(least)))
    mean, low, high = (f"{x + 0.0:+.{digits}f}".replace("-", "−") for x in found)
    ends = "" if low == "+nan" else f", {low} to {high}"
    if its["n"] > 1 and its["std"] <= ALIKE:
        ends = ", all alike"
    return f" ({' '.join([mean, name]).strip()}{ends})"


def counted(numbers: pd.DataFrame | pd.Series, rows: Rows = (), *of: str) -> str:
    """Return of how many replicates numbers are, and what is left out of them."""
    counts = sorted({*pd.Series(numbers["n"]).astype(int)})
    n = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    return f"; n = {n}{left_out(rows, *of, beside=numbers)}."


def left_out(rows: Rows, *of: str, beside: Any = None) -> str:
    """Return in words how many networks of branches diverged.

    Beside numbers, they are of the same runs, settings and rewind steps; of branches
    that are trained for one step alone, of that.
    """
    said = []
    for branch in of:
        its = tidy(rows)
        its = its[its["branch"] == branch]
        if beside is not None:
            for name in ("run", "setting"):
                its = its[its[name].isin(beside[name])]
            here = its["rewind_step"].isin(beside["rewind_step"])
            its = its[here] if here.any() else its
        if n := int((its["measure"] == DIVERGED).sum()):
            said.append(f"{n} of {words(branch)}")
    return f"; diverged, and left out: {', '.join(said)}" if said else ""


def words(branch: str, *, one: bool = False) -> str:
    """Return what networks of a branch are called; `one` of them."""
    names = {"ticket": "the ticket" if one else "tickets", "dense": "dense networks"}
    names |= {"long": "tickets of equal steps", "fine_tune": "fine-tuned weights"}
    names |= {"transported": "transported masks", "sibling_mask": "other seeds' masks"}
    return names.get(branch, branch.replace("_", " "))
