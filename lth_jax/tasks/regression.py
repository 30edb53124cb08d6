"""Regression: the squared error."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lth_jax.tasks.task import Batch, Metric, Unit


@dataclasses.dataclass(frozen=True)
class Regression:
    """Numbers: targets float [batch] or [batch, ...], outputs of the same shape.

    Outputs [batch, 1] go with targets [batch]. The error is the mean squared one, in
    the targets' unit squared, over all numbers of an example.
    """

    units: ClassVar[Mapping[str, Unit]] = {"squared_error": Unit()}
    error: ClassVar[str] = "squared_error"

    def losses(
        self, outputs: Float[Array, "batch ..."], batch: Batch
    ) -> Float[Array, " batch"]:
        targets = batch["targets"]
        if outputs.shape == (*targets.shape, 1):
            outputs = outputs[..., 0]
        if outputs.shape != targets.shape:
            raise ValueError(f"targets are {[*targets.shape]}, which it must return")
        squares = jnp.square(outputs - targets)
        return squares.reshape(len(squares), -1).mean(-1)

    def metrics(
        self, outputs: Float[Array, "batch ..."], batch: Batch
    ) -> dict[str, Metric]:
        return {"squared_error": self.losses(outputs, batch)}

    def check_targets(self, targets: Any, outputs: Any) -> None:
        """Raise ValueError unless targets are of floating point."""
        del outputs
        if not np.issubdtype(np.asarray(targets).dtype, np.floating):
            found = np.asarray(targets).dtype
            raise ValueError(f"targets are {found}: for classes, task.name is another")
