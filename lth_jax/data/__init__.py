"""Data: image sets from TFDS, and the batches that training sees."""

from lth_jax.data.dataset import Dataset, Split, fingerprint
from lth_jax.data.memory import Memory, normalise
from lth_jax.data.order import batch_indices, steps_per_epoch
from lth_jax.data.sources import KNOWN, Library, describe, load, open_library
from lth_jax.data.stream import NO_LABEL, Images, Passage, Stream
from lth_jax.errors import DataError

__all__ = [
    "KNOWN",
    "NO_LABEL",
    "DataError",
    "Dataset",
    "Images",
    "Library",
    "Memory",
    "Passage",
    "Split",
    "Stream",
    "batch_indices",
    "describe",
    "fingerprint",
    "load",
    "normalise",
    "open_library",
    "steps_per_epoch",
]
