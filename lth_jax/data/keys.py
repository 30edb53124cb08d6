"""Keys: the random stream of a data seed for one purpose and one moment."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Integer, Key

Count = Integer[ArrayLike, ""]  # a seed, step or epoch: a Python, NumPy or JAX integer

# Counted in epochs, and all others in steps.
ORDER, AUGMENTATION, DROPOUT, MOVES = range(4)


def derive(data_seed: Count, purpose: int, count: Count) -> Key[Array, ""]:
    """Return the key of a data seed (0 to 2**32 - 1) for `purpose` at `count`."""
    # Threefry whatever the default: other generators draw other numbers under vmap.
    key = jax.random.key(jnp.asarray(data_seed, jnp.uint32), impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(key, purpose), count)
