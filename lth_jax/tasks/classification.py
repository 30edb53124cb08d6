"""Classification: cross-entropy, and how many answers are right."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

NO_LABEL = -1  # of a masked example, which counts for nothing


class Score(NamedTuple):
    """Right answers, loss in nats and number of examples, each summed over a batch."""

    right: Int[Array, ""]
    loss: Float[Array, ""]
    examples: Int[Array, ""]


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Return the mean cross-entropy, in nats, of examples that all have a label.

    The mass `label_smoothing` is spread over all classes (Szegedy et al., 2016,
    section 7).

    Example:
        >>> cross_entropy(jnp.zeros((1, 2)), jnp.array([1]))
        Array(0.6931472, dtype=float32)
    """
    if not label_smoothing:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean()
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    targets = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def score(logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]) -> Score:
    """Return the score of a batch; examples whose label is `NO_LABEL` weigh 0.

    Example:
        >>> found = score(jnp.eye(3), jnp.array([0, 2, NO_LABEL]))
        >>> int(found.right), int(found.examples)
        (1, 2)
    """
    counts = labels != NO_LABEL
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = counts & (logits.argmax(-1) == labels)
    return Score(right.sum(), jnp.where(counts, losses, 0).sum(), counts.sum())
