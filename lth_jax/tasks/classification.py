"""Classification: cross-entropy, and how many answers are right."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from lth_jax.tasks.task import NO_LABEL, Batch, Metric, Unit

ACCURACY, NATS = Unit("%", 100.0, higher_is_better=True), Unit("nats")


@dataclasses.dataclass(frozen=True)
class Classification:
    """One class an example: targets int [batch], outputs logits [batch, classes].

    Of a tuple of logits, the first are the network's answer, and others of auxiliary
    heads, of which the loss is added (Szegedy et al., 2015, section 5). Examples whose
    target is `NO_LABEL` count for nothing in metrics; their loss is 0, which is in the
    mean of a batch.
    """

    label_smoothing: float = 0.0  # mass spread over all classes
    aux_weight: float = 0.4  # of the losses of auxiliary heads

    units: ClassVar[Mapping[str, Unit]] = {"accuracy": ACCURACY, "loss": NATS}
    error: ClassVar[str] = "accuracy"

    def losses(self, outputs: PyTree, batch: Batch) -> Float[Array, " batch"]:
        loss, *auxiliary = (
            cross_entropy(logits, batch["targets"], self.label_smoothing)
            for logits in jax.tree.leaves(outputs)
        )
        for other in auxiliary:
            loss += self.aux_weight * other
        return jnp.where(batch["targets"] != NO_LABEL, loss, 0)

    def metrics(self, outputs: PyTree, batch: Batch) -> dict[str, Metric]:
        logits, labels = jax.tree.leaves(outputs)[0], batch["targets"]
        counts = labels != NO_LABEL
        losses = cross_entropy(logits, labels)
        right = counts & (logits.argmax(-1) == labels)
        return {
            "accuracy": (right.astype(jnp.int32), counts.astype(jnp.int32)),
            "loss": (jnp.where(counts, losses, 0), counts.astype(jnp.int32)),
        }

    def check_targets(self, targets: Any, outputs: PyTree) -> None:
        """Raise ValueError unless all targets are classes; of arrays in memory."""
        check_classes(targets, jax.tree.leaves(outputs)[0].shape[-1])


def check_classes(targets: Any, classes: int) -> None:
    """Raise ValueError unless targets are integers below the number of classes."""
    targets = np.asarray(targets)
    if not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets are {targets.dtype}, and classes are integers")
    low, high = (int(f(targets, initial=0)) for f in (np.min, np.max))
    if low < NO_LABEL or high >= classes:
        raise ValueError(
            f"targets are from {low} to {high}, and the network has {classes} outputs, "
            f"of classes from 0 ({NO_LABEL}: none)"
        )


def cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Int[Array, "*batch"],
    label_smoothing: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return the cross-entropy, in nats, of every example.

    The mass `label_smoothing` is spread over all classes (Szegedy et al., 2016,
    section 7).

    Example:
        >>> cross_entropy(jnp.zeros((1, 2)), jnp.array([1]))
        Array([0.6931472], dtype=float32)
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits {[*logits.shape]} are not those of labels {[*labels.shape]}"
        )
    if not label_smoothing:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    targets = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)
