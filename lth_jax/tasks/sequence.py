"""Sequence: a token is predicted at every position, as the next one is of a text."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from lth_jax.tasks.classification import (
    ACCURACY,
    NATS,
    check_classes,
    cross_entropy,
)
from lth_jax.tasks.task import NO_LABEL, Batch, Metric, Unit


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A token a position: targets int [batch, time], outputs [batch, time, tokens].

    Positions whose target is `NO_LABEL` are padding. The loss of an example is the mean
    over its own tokens; metrics are means over all tokens. The error is in bits a
    token, which of bytes are bits a byte.
    """

    units: ClassVar[Mapping[str, Unit]] = {
        "bits": Unit("bits a token"),
        "loss": NATS,
        "accuracy": ACCURACY,
    }
    error: ClassVar[str] = "bits"

    def losses(
        self, outputs: Float[Array, "batch time tokens"], batch: Batch
    ) -> Float[Array, " batch"]:
        losses, counts = self._losses(outputs, batch)
        return losses.sum(-1) / jnp.maximum(1, counts.sum(-1))

    def metrics(
        self, outputs: Float[Array, "batch time tokens"], batch: Batch
    ) -> dict[str, Metric]:
        losses, counts = self._losses(outputs, batch)
        right = counts & (outputs.argmax(-1) == batch["targets"])
        number, nats = counts.sum(-1), losses.sum(-1)
        return {
            "bits": (nats / math.log(2), number),
            "loss": (nats, number),
            "accuracy": (right.sum(-1), number),
        }

    def check_targets(self, targets: Any, outputs: Any) -> None:
        """Raise ValueError unless all targets are tokens; of arrays in memory."""
        check_classes(targets, outputs.shape[-1])

    def _losses(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
        """Return the loss of every token, 0 of padding, and which are none."""
        counts = batch["targets"] != NO_LABEL
        losses = cross_entropy(outputs, batch["targets"])
        return jnp.where(counts, losses, 0), counts
