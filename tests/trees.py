"""Trees for tests, and when two are the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Net:
    """A container that is neither a dict nor a list."""

    kernel: object
    bias: object


def boolean(*values):
    return jnp.array(values, bool)


def assert_same(a, b):
    """Equal in structure, shapes, types and values, to the last bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y, strict=True)
