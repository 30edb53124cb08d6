"""Made: data sets that are computed, and need no file."""

import numpy as np

from lth_jax.data.arrays import from_arrays
from lth_jax.data.dataset import Dataset


def modular_addition(p: int = 67, share: float = 0.4, seed: int = 0) -> Dataset:
    """Return the sums a + b mod p of all pairs a > b, as Minegishi et al. (2023).

    Inputs are int32 [n, 2], labels the sums, p(p - 1) / 2 in all, which is the number
    that they give (for pairs a >= b). A share of them, drawn by a seed of its own, is
    for training, the others for the test.

    >>> sums = modular_addition()
    >>> len(sums.train), len(sums.test), sums.num_classes
    (884, 1327, 67)
    """
    a, b = np.tril_indices(p, -1)
    inputs, labels = np.stack([a, b], 1).astype(np.int32), ((a + b) % p).astype("i4")
    # The stream of a RandomState never changes (NEP 19).
    order = np.random.RandomState(seed).permutation(len(labels))
    size = int(share * len(labels))
    parts = order[:size], order[size:]
    train, test = ((inputs[part], labels[part]) for part in parts)
    return from_arrays(train, test, num_classes=p)
