"""Data: what networks are trained on, and the batches that training sees."""

from lth_jax.data.arrays import from_arrays as from_arrays
from lth_jax.data.augment import normalise as normalise
from lth_jax.data.dataset import Dataset as Dataset
from lth_jax.data.dataset import Split as Split
from lth_jax.data.dataset import fingerprint as fingerprint
from lth_jax.data.huggingface import from_huggingface as from_huggingface
from lth_jax.data.memory import Memory as Memory
from lth_jax.data.order import batch_indices as batch_indices
from lth_jax.data.order import steps_per_epoch as steps_per_epoch
from lth_jax.data.prepared import KNOWN as KNOWN
from lth_jax.data.prepared import describe as describe
from lth_jax.data.sources import SOURCES as SOURCES
from lth_jax.data.sources import load as load
from lth_jax.data.stored import Images as Images
from lth_jax.data.stream import Stream as Stream
from lth_jax.errors import DataError as DataError
from lth_jax.tasks.task import NO_LABEL as NO_LABEL
