"""Memory: how much devices have, and whether they have had too little."""

from collections.abc import Sequence
from typing import Any

import jax


def free(devices: Sequence[Any]) -> int | None:
    """Return the bytes that each device has left at least; None where none can say."""
    stats = [device.memory_stats() or {} for device in devices]
    if any("bytes_limit" not in one for one in stats):
        return None
    return min(one["bytes_limit"] - one.get("bytes_in_use", 0) for one in stats)


def size(tree: Any) -> int:
    """Return the bytes of arrays, or of what is like them."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def was_short(error: BaseException) -> bool:
    """Return whether something has failed because a device had no room for it."""
    known = isinstance(error, jax.errors.JaxRuntimeError)
    return known and "RESOURCE_EXHAUSTED" in str(error)
