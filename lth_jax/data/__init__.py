"""Data: image sets from TFDS, and the batches that training sees."""

from lth_jax.data.dataset import DataError, Dataset, Split, fingerprint
from lth_jax.data.memory import Memory, normalise
from lth_jax.data.order import batch_indices, steps_per_epoch
from lth_jax.data.sources import KNOWN, load

__all__ = [
    "KNOWN",
    "DataError",
    "Dataset",
    "Memory",
    "Split",
    "batch_indices",
    "fingerprint",
    "load",
    "normalise",
    "steps_per_epoch",
]
