"""Lottery: fit, prune, rewind."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "run":
        from lth_jax.lottery.loop import run

        return run
    raise AttributeError(name)
