"""Tasks: what a network is trained for: a loss, and the score of a batch."""

from lth_jax.tasks.classification import NO_LABEL, Score, cross_entropy, score

__all__ = ["NO_LABEL", "Score", "cross_entropy", "score"]
