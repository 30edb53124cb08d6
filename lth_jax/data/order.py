"""Order: which examples a step sees, as a pure function of data seed and step.

Every epoch has its own permutation of the examples, computed position by position by
the swap-or-not shuffle (Hoang, Morris and Rogaway, "An enciphering scheme based on a
card shuffle", CRYPTO 2012). No permutation is ever stored: a run can resume at any
step, and a batch of 60 out of 60,000 takes 5 microseconds on a CPU.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32, Integer, UInt32

from lth_jax.data import keys
from lth_jax.data.keys import Count

LAST = ("drop", "wrap")
_LARGEST = 2**31  # examples: twice an index must fit in 32 bits


def check(field: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError unless the value of a field is one of those known."""
    if value not in known:
        raise ValueError(f"{field}: {value!r} is not one of {', '.join(known)}")


def steps_per_epoch(n: int, batch_size: int, last: str) -> int:
    """Return the number of steps of an epoch of `n` examples.

    If `last` is `drop`, those of a last, partial batch are left out of the epoch;
    `wrap` completes it with the first examples of the same epoch. Raises ValueError if
    it is neither, or an epoch has no step.

    >>> steps_per_epoch(10, 4, 'drop'), steps_per_epoch(10, 4, 'wrap')
    (2, 3)
    """
    check("last", last, LAST)
    if not 1 <= n <= _LARGEST:
        raise ValueError(f"n: {n} examples are not between 1 and 2**31")
    if batch_size < 1 or (last == "drop" and batch_size > n):
        raise ValueError(f"batch_size: {batch_size} out of {n} examples leave no step")
    return n // batch_size if last == "drop" else -(-n // batch_size)


@partial(jax.jit, static_argnames=("n", "batch_size", "last"))
def batch_indices(
    data_seed: Count, step: Count, *, n: int, batch_size: int, last: str
) -> Int32[Array, "batch_size"]:
    """Return the indices of the examples of one step.

    None comes twice in an epoch, but for those that complete a batch with last="wrap".

    The seed is from 0 to 2**32 - 1 (a uint32, from 2**31 on), the step counted from 0
    over all epochs; both may be traced. The others are those of `steps_per_epoch`.
    """
    steps = steps_per_epoch(n, batch_size, last)
    epoch, within = jnp.divmod(jnp.asarray(step, jnp.uint32), jnp.uint32(steps))
    positions = within * jnp.uint32(batch_size) + jnp.arange(batch_size, dtype="uint32")
    positions = positions % jnp.uint32(n)
    return position_to_index(positions, round_words(data_seed, epoch, n=n), n=n)


def round_words(data_seed: Count, epoch: Count, *, n: int) -> UInt32[Array, "rounds 2"]:
    """Return the random words that make the order of one epoch of `n` examples."""
    # In r rounds a position is never moved with probability 2**-r, and two are always
    # moved together with the same. With two rounds a bit of `n`, less than one such
    # pair is expected; ten more are for small `n`, where that is not rare enough.
    rounds = 2 * n.bit_length() + 10 if n > 1 else 0
    key = keys.derive(data_seed, keys.ORDER, epoch)
    return jax.random.bits(key, (rounds, 2), jnp.uint32)


def position_to_index(
    positions: Integer[Array, "*shape"], words: UInt32[Array, "rounds 2"], *, n: Count
) -> Int32[Array, "*shape"]:
    """Return the examples at some positions of an order: a bijection on 0..n-1.

    Each round pairs every position x with (K - x) mod n, for a random K, and swaps the
    two or not by a pseudo-random bit of the pair. `n` may be traced.
    """
    size = jnp.uint32(n)

    def shuffle(x, words):
        mirror, salt = words[0] % size, words[1]
        # Unsigned and never above 2 * n: nothing overflows.
        partner = jnp.where(x > mirror, mirror + size - x, mirror - x)
        swap = _bit(jnp.maximum(x, partner) ^ salt)
        return jnp.where(swap, partner, x), None

    # Partly unrolled: few kernels to launch on an accelerator, and quick to compile.
    index, _ = lax.scan(shuffle, positions.astype(jnp.uint32), words, unroll=8)
    return index.astype(jnp.int32)


def _bit(x: UInt32[Array, "*shape"]) -> Array:
    """Return a pseudo-random bit: the highest of the MurmurHash3 finaliser."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x >= jnp.uint32(2**31)
