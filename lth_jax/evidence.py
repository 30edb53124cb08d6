"""Evidence: how sure a difference is, also where it was looked at more than once.

Differences are of the same seeds in pairs, and independent between seeds. Each is
tested twice, one-sided: by a t test, and by Wilcoxon's signed-rank test (1945), for
which one network that failed counts no more than its rank. What tells is the lesser p
of both, if the mean says the same, at all planned looks: under the null hypothesis of
normal differences it has one distribution, whatever the spread, which is drawn once. So
taking the lesser of two, and looking often, is paid for: the group-sequential test of
Pocock (1977), on the scale of p as Jennison & Turnbull (2000, Section 4.4) propose for
unknown variances, here without their approximation.

Of differences that are not symmetric, the ranks tell of their middle and not of their
mean: where one network of ten fails, both tests find more than they should.
"""

import bisect
import functools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

Values = Sequence[float] | np.ndarray
_SEQUENCES, _AT_ONCE = 200_000, 20_000  # that are drawn
POWER = 0.8  # with which `needed` seeds decide
LARGEST = 1000  # of seeds that are thought of
_EXACT = 200  # seeds; sums of more ranks are normal
_LIKE = 20  # seeds, like whose two tests those of any number are related


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
    """Return the lesser p of two tests of differences that are at most `bound`.

    A half at least where the mean is. Of differences that are all equal there is no t,
    and the ranks alone tell. NaN of fewer than two, or of NaN. `over_looks` says how
    probable so low a p is.

    >>> round(p_above([1.0, 2.0, 3.0]), 4), p_above([1.0, 1.0]), p_above([0.0, 0.0])
    (0.0371, 0.25, 1.0)
    >>> p_above([1.0, 2.0, 3.0, 100.0])  # above 0 all four: 1 of 16
    0.0625
    """
    found = np.asarray(values, float) - bound
    if found.size < 2 or np.isnan(found).any():
        return math.nan
    return float(_p(found.round(9)[None])[0])  # 0.9 less 0.895 is 0.005


def _p(values: Float[np.ndarray, "samples n"]) -> Float[np.ndarray, " samples"]:
    """Return of each sample the lesser p of a t test and of Wilcoxon's, one-sided."""
    mean, std = values.mean(1), values.std(1, ddof=1)
    spread = std > 1e-9 * np.abs(mean)
    t = mean / np.where(spread, std, np.inf) * math.sqrt(values.shape[1])
    of_t = np.where(spread, special.stdtr(values.shape[1] - 1, -t), 1.0)
    lesser = np.minimum(of_t, _of_ranks(values))
    return np.where(mean > 0, lesser, np.maximum(lesser, 0.5))


def _of_ranks(values: Float[np.ndarray, "samples n"]) -> Float[np.ndarray, " samples"]:
    """Return of each sample the p of Wilcoxon's test.

    Of equal sizes those above 0 have the lower ranks, so that p is none too low.
    """
    n, order = values.shape[1], np.lexsort((values <= 0, np.abs(values)), axis=1)
    ranks = np.take_along_axis(values > 0, order, axis=1) @ np.arange(1, n + 1)
    if n <= _EXACT:
        return _at_least(n)[ranks]
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return special.ndtr((n * (n + 1) / 4 + 0.5 - ranks) / spread)


@functools.cache
def _at_least(n: int) -> Float[np.ndarray, " sums"]:
    """Return how probable each sum of ranks 1 to n, or more, is by chance."""
    found = np.ones(1)
    for rank in range(1, n + 1):
        none = np.zeros(rank)
        found = (np.concatenate([found, none]) + np.concatenate([none, found])) / 2
    return found[::-1].cumsum()[::-1]


def over_looks(p: float, looks: Sequence[int]) -> float:
    """Return how probable it is that the least p of all looks is so low by chance.

    Args:
        p: the least so far, as of `p_above`.
        looks: at how many seeds one looks or would have, as planned before the first.

    >>> 0.02 < over_looks(0.02, [10]) < over_looks(0.02, [5, 8, 12, 18, 20]) < 0.1
    True
    """
    if math.isnan(p):
        return p
    least = _lesser(looks)
    return float(np.searchsorted(least, p, side="right") + 1) / (least.size + 1)


def _lesser(looks: Sequence[int]) -> Float[np.ndarray, " sequences"]:
    """Return `_least` of some looks; one at many seeds is like one at `_LIKE`."""
    return _least(tuple(looks) if len(looks) > 1 else (min([_LIKE, *looks]),))


@functools.cache
def _least(looks: tuple[int, ...]) -> Float[np.ndarray, " sequences"]:
    """Return the least p of sequences without any difference, in rising order."""
    draw, found = np.random.default_rng(0), []
    for _ in range(_SEQUENCES // _AT_ONCE):
        numbers = draw.standard_normal((_AT_ONCE, looks[-1]))
        several = [_p(numbers[:, :n]) for n in looks]
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
    probability `POWER`, by the t test alone, at what `alpha` leaves for each test and
    look. The spread is the upper end of its one-sided interval of 80 %, so that few
    seeds promise no more than they know (Browne, 1995).

    `LARGEST` + 1 stands for more than `LARGEST`. None where that is not known: of fewer
    than two numbers, and of a spread of 0.

    >>> needed([0.0, 1.0, 2.0], 1.0, 0.025), needed([0.0, 0.1, 0.2], 1.0, 0.025)
    (39, 3)
    >>> needed([0.0, 1.0, 2.0], 0.0, 0.025), needed([1.0, 1.0], 1.0, 0.025)
    (1001, None)
    """
    found = np.asarray(values, float).round(9)
    if found.size < 2 or np.isnan(found).any() or found.min() == found.max():
        return None
    freedom = found.size - 1
    low = special.chdtri(freedom, POWER)  # exceeded with this probability
    std = found.std(ddof=1) * math.sqrt(freedom / low)
    least = _lesser(looks)
    alpha = float(least[max(0, int(alpha * least.size) - 1)])

    def power(n: int) -> float:
        bound = special.stdtrit(n - 1, 1 - alpha)
        return 1 - special.nctdtr(n - 1, difference / std * math.sqrt(n), bound)

    numbers = range(2, LARGEST + 1)  # of which more have more power
    return 2 + bisect.bisect_left(numbers, POWER, key=power)
