"""Progress: a bar where somebody watches; elsewhere lines, as a log wants them."""

import sys
from typing import Any

from lth_jax.devices import processes

_SECONDS = 60  # between two lines of a level
_LINE = "{desc}{n_fmt} of {total_fmt} steps, {rate_fmt}, {remaining} left"


class Lines:
    """Takes what `tqdm` writes over and over, and prints it line by line."""

    def write(self, text: str) -> None:
        if (line := text.strip()) and sys.stderr:
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Nothing is held back."""


def options(steps: int, where: str) -> dict[str, Any]:
    """Return how `tqdm` shows a run of some steps: the first process alone does.

    A line at the beginning of every level and every minute, where standard error is
    neither a terminal nor a notebook's.
    """
    shown = {"total": steps, "desc": f"{where}: ", "unit": "step", "unit_scale": True}
    shown["disable"] = not processes.is_first()
    watched = sys.stderr and sys.stderr.isatty() or "ipykernel" in sys.modules
    if watched:
        return shown
    shown |= {"mininterval": _SECONDS, "maxinterval": _SECONDS, "bar_format": _LINE}
    # No line before there is a step, and none left at the end.
    return shown | {"file": Lines(), "delay": 1e-9, "leave": False}
