"""Lottery: fit, prune, rewind."""

from lth_jax.lottery.loop import build, run

__all__ = ["build", "run"]
