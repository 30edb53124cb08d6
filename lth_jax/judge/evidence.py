"""Evidence: how sure a difference is, also where it was looked at more than once.

Differences are of the same seeds in pairs, and independent between seeds. Tests are
one-sided t-tests. Whatever the spread, the t statistics of one sequence at several
looks have one joint distribution under the null hypothesis of normal differences, so
that the least p of all looks is a statistic whose distribution can be drawn once: the
group-sequential test of Pocock (1977), on the scale of p as Jennison & Turnbull (2000,
Section 4.4) propose for unknown variances, here without their approximation.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special

Values = Sequence[float] | np.ndarray
_SEQUENCES, _AT_ONCE = 200_000, 20_000  # that are drawn
POWER = 0.8  # with which `needed` seeds decide
_LARGEST = 1000  # of seeds that are thought of


def looks(first: int, most: int) -> tuple[int, ...]:
    """Return at how many seeds to look: each time at half as many more.

    >>> looks(5, 20)
    (5, 8, 12, 18, 20)
    """
    found = [first]
    while found[-1] < most:
        found.append(min(most, math.ceil(1.5 * found[-1])))
    return tuple(found)


def p_above(values: Values, bound: float = 0.0) -> float:
    """Return p of a mean that is at most `bound`: the paired t-test, one-sided.

    Of differences that are all equal, 0 or 1. NaN of fewer than two, or of NaN.

    >>> round(p_above([1.0, 2.0, 3.0]), 4), p_above([1.0, 1.0]), p_above([0.0, 0.0])
    (0.0371, 0.0, 1.0)
    """
    found = np.asarray(values, float) - bound
    if found.size < 2 or np.isnan(found).any():
        return math.nan
    return float(_p(found.mean(), found.std(ddof=1), found.size))


def _p(mean: Any, std: Any, n: int) -> Any:
    """Return one-sided p of means of n numbers, which have these deviations."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(std > 0, mean / std * math.sqrt(n), np.sign(mean) * np.inf)
    t = np.where((std == 0) & (mean == 0), -np.inf, t)
    return special.stdtr(n - 1, -t)


def over_looks(p: float, looks: Sequence[int]) -> float:
    """Return how probable it is that the least p of all looks is so low by chance.

    Args:
        p: the least so far.
        looks: at how many seeds one looks or would have, as planned before the first.

    >>> over_looks(0.02, [5])
    0.02
    >>> 0.02 < over_looks(0.02, [5, 8, 12, 18, 20]) < 5 * 0.02
    True
    """
    if len(looks) < 2 or math.isnan(p):
        return p
    least = _least(tuple(looks))
    return float(np.searchsorted(least, p, side="right") + 1) / (least.size + 1)


@functools.cache
def _least(looks: tuple[int, ...]) -> Float[np.ndarray, " sequences"]:
    """Return the least p of sequences without any difference, in rising order."""
    draw, found = np.random.default_rng(0), []
    for _ in range(_SEQUENCES // _AT_ONCE):
        numbers = draw.standard_normal((_AT_ONCE, looks[-1]))
        several = []
        for n in looks:
            some = numbers[:, :n]
            several.append(_p(some.mean(1), some.std(1, ddof=1), n))
        found.append(np.min(several, axis=0))
    return np.sort(np.concatenate(found))


def holm(p: Sequence[float]) -> list[float]:
    """Return p of several claims, each adjusted for all of them (Holm, 1979).

    With adjusted p at most alpha called shown, one or more of those that do not hold
    are shown with probability alpha at most. A NaN is no claim, and stays NaN.

    >>> [round(x, 9) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    judged = sorted(x for x in p if not math.isnan(x))
    steps = [min(1.0, (len(judged) - i) * x) for i, x in enumerate(judged)]
    steps = np.maximum.accumulate(steps)
    return [x if math.isnan(x) else float(steps[judged.index(x)]) for x in p]


def needed(
    values: Values, difference: float, alpha: float, looks: Sequence[int] = ()
) -> int | None:
    """Return how many seeds would decide, by the spread that was seen.

    A mean that is `difference` away from a bound is then found to be away from it with
    probability `POWER`, in a one-sided test at `alpha` (of looks, at what each has of
    it). The spread is the upper end of its one-sided interval of 80 %, so that few
    seeds promise no more than they know (Browne, 1995).

    None above a thousand, of fewer than two numbers, and of a spread of 0.

    >>> needed([0.0, 1.0, 2.0], 1.0, 0.025), needed([0.0, 0.1, 0.2], 1.0, 0.025)
    (38, 3)
    """
    found = np.asarray(values, float)
    if found.size < 2 or not found.std() or np.isnan(found).any():
        return None
    freedom = found.size - 1
    low = special.chdtri(freedom, POWER)  # exceeded with this probability
    std = found.std(ddof=1) * math.sqrt(freedom / low)
    if len(looks) > 1:
        least = _least(tuple(looks))
        alpha = float(least[max(0, int(alpha * least.size) - 1)])
    n = np.arange(2, _LARGEST + 1)
    bound = special.stdtrit(n - 1, 1 - alpha)
    missed = special.nctdtr(n - 1, difference / std * np.sqrt(n), bound)
    enough = np.flatnonzero(1 - missed >= POWER)
    return int(n[enough[0]]) if enough.size else None
