"""Intervals: how sure a mean is, by Student's t."""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd


class Interval(NamedTuple):
    """The mean of n numbers, the ends of its interval, and p of a mean of 0."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def interval(values: Iterable[float], share: float = 0.95) -> Interval:
    """Return the mean of independent numbers, its t interval, and p against 0.

    Of differences between the same replicates of two networks, this is the paired
    interval. Of one number, or none, the ends and p are NaN; a NaN stays NaN.
    """
    found = pd.Series([*values], dtype=float)
    mean, std = float(found.mean(skipna=False)), float(found.std(skipna=False))
    return of(mean, std, len(found), share)


def of(mean: float, std: float, n: int, share: float = 0.95) -> Interval:
    """Return the interval of n numbers with a mean and a (sample's) deviation.

    >>> round(of(1.0, 0.5, 4).low, 3)
    0.204
    """
    error = std / math.sqrt(n) if n > 1 else math.nan
    if math.isnan(error):
        return Interval(mean, math.nan, math.nan, math.nan, n)
    t = abs(mean) / error if error else math.inf if mean else 0.0
    half = error * _quantile(share, n - 1)
    return Interval(mean, mean - half, mean + half, 1 - _within(t, n - 1), n)


def _within(t: float, freedom: int) -> float:
    """Return how probable it is that |T| < t: Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    first = freedom % 2
    term, total = (math.cos(angle) if first else 1.0), 0.0
    for k in range(first + 2, freedom + 1, 2):
        total += term
        term *= (k - 1) / k * math.cos(angle) ** 2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if first else total


@functools.cache
def _quantile(share: float, freedom: int) -> float:
    """Return the t that |T| is below with this probability, by bisection."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < share:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        below = _within(middle, freedom) < share
        low, high = (middle, high) if below else (low, middle)
    return high
