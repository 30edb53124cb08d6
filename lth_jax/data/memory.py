"""Memory: the feed of a data set that fits on the device, which makes the batches."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from lth_jax.data import keys, order
from lth_jax.data.augment import Augmentation
from lth_jax.data.dataset import Split
from lth_jax.data.keys import Count


@dataclasses.dataclass(eq=False)
class Memory:
    """Batches of a split as a pure function of data seed and step.

    Raises ValueError for an unknown `last`, or if there is no step.
    """

    split: Split
    batch_size: int  # examples a step, over all devices that share it
    last: str = "drop"  # an epoch's partial batch, or "wrap" around
    prepare: Callable[[PyTree], PyTree] = lambda inputs: inputs  # for the network
    augment: Augmentation | None = None  # before that

    divided = False  # every device holds all of `arrays`

    def __post_init__(self):
        n, size = len(self.split), self.batch_size
        self.steps_per_epoch = order.steps_per_epoch(n, size, self.last)
        # What `batch` needs on every device: to be put there once.
        self.arrays = {"inputs": self.split.inputs, "targets": self.split.targets}

    @property
    def example(self) -> PyTree:
        """The shapes and types of what a network is given of one example."""
        seed = jnp.uint32(0)
        batch = jax.eval_shape(lambda arrays: self.batch(arrays, seed, 0), self.arrays)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch["inputs"]
        )

    def batch(
        self,
        arrays: dict[str, PyTree],
        data_seed: Count,
        step: Count,
        part: Count = 0,
        parts: int = 1,
    ) -> dict[str, PyTree]:
        """Return one of `parts` equal, contiguous parts of a step's batch.

        Whatever `parts`, all parts together are the same batch. Pure and jittable; all
        but `parts` may be traced (`part` may be a device's `lax.axis_index`). `inputs`
        are prepared, as images are normalised: float32 [batch_size / parts, h, w, c].
        Raises ValueError if `parts` does not divide the batch size.
        """
        size, rest = divmod(self.batch_size, parts)
        if rest:
            reason = f"{self.batch_size} cannot be divided over {parts} devices"
            raise ValueError(f"batch_size: {reason}")

        def share(whole: Array) -> Array:
            return lax.dynamic_slice_in_dim(whole, part * size, size)

        def take(indices: Array, tree: PyTree) -> Any:
            return jax.tree.map(lambda x: x[indices], tree)

        epoch = {"n": len(self.split), "batch_size": self.batch_size, "last": self.last}
        indices = order.batch_indices(data_seed, step, **epoch)
        if self.augment:
            key = keys.derive(data_seed, keys.AUGMENTATION, step)
            inputs = self.augment(key, arrays["inputs"], indices, share)
        else:
            inputs = take(share(indices), arrays["inputs"])
        targets = take(share(indices), arrays["targets"])
        return {"inputs": self.prepare(inputs), "targets": targets}
