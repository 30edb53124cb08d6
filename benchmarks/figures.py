"""Figures: ways to do the same work, measured in turns, until the time is over."""

import dataclasses
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from lth_jax.errors import one_line

ROUNDS = 5
_TURN = 1.0  # seconds that a turn of steps takes
_TRIED = 16  # steps that say how long a step takes
_MOST = 20_000  # steps of a turn


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a line says.

    Attributes:
        name: what is measured: the block, then the way.
        value: the median; None if there is none.
        unit: of the value and the spread.
        n: how often it was measured.
        spread: the lowest and the highest; None if there is no value.
        error: why there is no value, in one line; None if there is one.
    """

    name: str
    value: float | None
    unit: str = ""
    n: int = 0
    spread: tuple[float, float] | None = None
    error: str | None = None


class LeftOut(Exception):
    """What would not end in time."""


class OutOfTime(BaseException):
    """The time is over, whatever is under way."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long all may take, and how large it may be."""

    seconds: float
    tiny: bool = False  # everything small, to be tried in seconds
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.began + self.seconds - time.monotonic()

    @property
    def rounds(self) -> int:
        """How often everything is measured."""
        return 2 if self.tiny else ROUNDS

    def ask(self, seconds: float) -> None:
        """Raise LeftOut if something that takes so long would not end in time."""
        if self.left <= 0:
            raise LeftOut("left out: the time is over")
        if seconds > self.left:
            said = f"takes {seconds:.0f} s, and {self.left:.0f} s are left"
            raise LeftOut(f"left out: {said}")


class Work(Protocol):
    """Steps of networks that train together."""

    steps: int
    together: int

    def __call__(self) -> float:
        """Take the steps; return seconds per step and network."""
        ...


@dataclasses.dataclass(frozen=True)
class Way:
    """One of the ways to do the same work.

    Attributes:
        name: of the way.
        make: makes the work ready; the first call of the work compiles.
        estimate: seconds that all of this takes on an accelerator, guessed high.
        against: the way that it is compared with, of those before it.
    """

    name: str
    make: Callable[[], Work | Callable[[], float]]
    estimate: float
    against: str | None = None


Units = Mapping[str, Callable[[float], float]]  # from seconds to a value, by its unit


def rates(batch_size: int) -> Units:
    """Return what is said of training, from seconds per step and network."""
    return {"images/s": lambda s: batch_size / s, "member-steps/s": lambda s: 1 / s}


TIMES: Units = {"ms": lambda s: 1e3 * s}


def measured(name: str, unit: str, values: Sequence[float]) -> Figure:
    """Return the figure of some values."""
    values = [float(value) for value in values]
    spread = min(values), max(values)
    return Figure(name, statistics.median(values), unit, len(values), spread)


def failed(name: str, error: BaseException) -> Figure:
    """Return the figure of something that could not be measured."""
    said = one_line(error)
    expected = isinstance(error, LeftOut | OutOfTime)
    kind = "" if expected else f"{type(error).__name__}: "
    return Figure(name, None, error=f"{kind}{said}")


def compared(
    block: str, ways: Sequence[Way], budget: Budget, units: Units
) -> Iterator[Figure]:
    """Measure ways in turns: the figures of each, then ratios of pairs of turns.

    A way that fails or is left out is a figure without a value; others go on.
    """
    works: dict[str, Callable[[], float]] = {}
    for way in ways:
        try:
            budget.ask(way.estimate)
            works[way.name] = _ready(way, budget)
        except Exception as error:
            yield failed(f"{block}/{way.name}", error)
            tidy()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(budget.rounds):
        for name in list(works):
            try:
                taken[name].append(works[name]())
            except Exception as error:
                del works[name], taken[name]
                yield failed(f"{block}/{name}", error)
    for name, seconds in taken.items():
        for unit, value in units.items():
            yield measured(f"{block}/{name}", unit, [value(s) for s in seconds])
    for way in ways:
        if way.name in taken and way.against in taken:
            ratios = np.divide(taken[way.name], taken[way.against])
            name = f"{block}/{way.against} against {way.name}"
            yield measured(name, "times as fast", ratios)


def tidy() -> None:
    """Let go of memory that nothing needs, also on a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _ready(way: Way, budget: Budget) -> Callable[[], float]:
    """Return the work of a way, compiled, with as many steps as make a turn."""
    work = way.make()
    work()
    if hasattr(work, "steps") and not budget.tiny:
        work.steps = _TRIED
        turn = work() * work.together
        work.steps = int(np.clip(_TURN / turn, 2, _MOST))
    return work
