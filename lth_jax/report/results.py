"""Results: what a run has found so far, to be looked at from Python."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lth_jax.numbers import rows, tables
from lth_jax.paths import local
from lth_jax.report import figures, ranking


class Results:
    """The numbers in a run's folder, as of `report.load`; a run may be on its way.

    Attributes:
        directory: the folder.
        diverged: a line for every network that diverged, and is left out.
    """

    def __init__(self, directory: Path | str, diverged: list[str] | None = None):
        self.directory = local(directory)
        self.diverged = diverged or []

    @property
    def rows(self) -> pd.DataFrame:
        """One number a row."""
        return rows.load(self.directory)

    @property
    def figures(self) -> "Figures":
        """What there is to draw, as methods: `accuracy()`, `layers()`."""
        return Figures(self.rows)

    def table(self, measure: str | None = None, **where: Any) -> str:
        """Return a measure by density and branch as text, as `report.table`."""
        return tables.table(self.rows, measure, **where)

    def write(self) -> Path:
        """Write the page, and return its path, as `report.write`."""
        from lth_jax.report import page

        return page.write(self.directory)

    def __repr__(self) -> str:
        lines = [f"{self.directory}: {self.table()}", *self.diverged]
        return "\n".join(lines)


_DRAWN = {name: getattr(figures, name) for name in figures.DRAWN}
_DRAWN |= {"by_branch": ranking.by_branch}


class Figures:
    """Figures of a run: those of `report.figures`, and a measure by density.

    `accuracy()` is `by_density(rows, "test_accuracy")`, and so is any other metric of
    the task; a measure of a study by its name, with what chooses among its numbers:
    `instability(split="test")`.
    """

    def __init__(self, numbers: pd.DataFrame):
        self._rows = numbers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in _DRAWN:
            return partial(_DRAWN[name], self._rows)
        there = rows.measures(self._rows)
        for measure in (name, f"test_{name}"):
            if measure in there:
                return partial(figures.by_density, self._rows, measure)
        raise AttributeError(f"no figure {name!r}; there are {', '.join(dir(self))}")

    def __dir__(self) -> list[str]:
        there = (m.removeprefix("test_") for m in rows.measures(self._rows))
        return [*_DRAWN, *there]
