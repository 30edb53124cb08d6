"""Methods: how weights are chosen to be pruned."""

from collections.abc import Callable

from jaxtyping import Array, Key

from lth_jax import scores
from lth_jax.scores import Scores
from lth_jax.state import TrainState


def magnitude(trained: TrainState, key: Key[Array, ""]) -> Scores:
    """Score the trained weights by their absolute values."""
    del key
    return scores.magnitude(trained.params)


def random(trained: TrainState, key: Key[Array, ""]) -> Scores:
    """Score at random."""
    return scores.random(key, trained.params)


METHODS: dict[str, Callable[[TrainState, Key[Array, ""]], Scores]] = {
    "magnitude": magnitude,
    "random": random,
}
