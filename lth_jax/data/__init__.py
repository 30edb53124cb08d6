"""Data: image sets from TFDS, and the batches that training sees."""

from lth_jax.data.augment import normalise
from lth_jax.data.dataset import Dataset, Split, fingerprint
from lth_jax.data.memory import Memory
from lth_jax.data.order import batch_indices, steps_per_epoch
from lth_jax.data.sources import KNOWN, describe, load
from lth_jax.data.stored import Images
from lth_jax.data.stream import Stream
from lth_jax.errors import DataError
from lth_jax.tasks.classification import NO_LABEL

__all__ = [
    "KNOWN",
    "NO_LABEL",
    "DataError",
    "Dataset",
    "Images",
    "Memory",
    "Split",
    "Stream",
    "batch_indices",
    "describe",
    "fingerprint",
    "load",
    "normalise",
    "steps_per_epoch",
]
