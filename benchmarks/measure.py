"""Measure: ratios of two ways to do the same work, alternating in one run."""

import dataclasses
import statistics
import time
from collections.abc import Callable

import numpy as np

Work = Callable[[], float]  # does some of it, and returns seconds per unit


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        name: of the benchmark.
        work: what is done.
        rival: what it is measured against.
        ours: what we take, with its unit.
        ratio: how many times as fast we are, with its spread; or the share.
        target: what it should be.
        limit: the physical limit, where one can be computed.
    """

    name: str
    work: str
    rival: str
    ours: str
    ratio: str
    target: str
    limit: str = "-"


def timed(work: Callable[[], object], units: int) -> float:
    """Return the seconds that a unit of some work takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / units


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Seconds a unit of ours and of a rival's, measured in turns."""

    ours: list[float]
    rival: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast ours is, pair by pair."""
        return [rival / ours for ours, rival in zip(self.ours, self.rival)]

    def __str__(self) -> str:
        ratios = self.ratios
        middle = statistics.median(ratios)
        ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
        return f"{middle:.2f}x ({ends}, n = {len(ratios)})"


def compare(ours: Work, rival: Work, pairs: int = 5) -> Pairs:
    """Measure both in turns, after a turn of each that is not counted."""
    ours(), rival()
    taken = [(ours(), rival()) for _ in range(pairs)]
    return Pairs([a for a, _ in taken], [b for _, b in taken])


def text(seconds: list[float]) -> str:
    """Return a median of seconds as text, in a unit that fits."""
    middle = statistics.median(seconds)
    if middle >= 1:
        return f"{middle:.3g} s"
    return f"{1e3 * middle:.3g} ms" if middle >= 1e-3 else f"{1e6 * middle:.3g} us"


def matmul_peak() -> float:
    """Return the measured peak of this machine's cores, in FLOP a second."""
    n, a = 2048, np.ones((2048, 2048), np.float32)
    a @ a
    return max(2 * n**3 / timed(lambda: a @ a, 1) for _ in range(5))


def bandwidth() -> float:
    """Return the measured rate of reading memory on one core, in bytes a second."""
    a = np.ones(64 * 2**20, np.float32)
    return max(a.nbytes / timed(a.sum, 1) for _ in range(5))
