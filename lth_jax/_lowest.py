"""Lowest: the n lowest of many numbers, exactly, without sorting or copying them.

The n-th lowest is found in four or five passes, each of which counts the numbers that
do not exceed four guesses. Quantiles of a small sample are the first guesses, and
interpolation between the counts gives the next. Where it is shared by equals, one more
pass finds the place from which they go. Memory beside the numbers: an eighth of them.

Everything is elementwise or a sum: arrays sharded along their first axis stay there.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

_SAMPLE = 16_384  # numbers that are sorted for the first guesses


class Ranked(NamedTuple):
    """Arrays of numbers to rank: those of one group among each other."""

    scores: list[Float[Array, "..."]]  # floating-point, of one dtype
    kept: list[Bool[Array, "..."]]  # False where a number does not take part
    group: list[int]  # which group an array belongs to, ascending from 0


def without(ranked: Ranked, n: UInt32[Array, " groups"]) -> list[Bool[Array, "..."]]:
    """Return `kept` without the n lowest of every group; all if it has no more.

    Of equals, the last go: by array, then by flat index. -0 equals 0, and NaN is above
    infinity.

    >>> numbers = Ranked([jnp.array([1.0, 2.0, 1.0])], [jnp.ones(3, bool)], [0])
    >>> without(numbers, jnp.array([1], jnp.uint32))
    [Array([ True,  True, False], dtype=bool)]
    """
    low, below = _threshold(ranked, n)
    first = lax.cond(
        jnp.any(below < n),  # the others are equals, of the next rank
        lambda: _nth_last(ranked, low + 1, n - below),
        lambda: jnp.full_like(n, 2**32 - 1),
    )
    return [
        m & (_rank(s) > low[g] + (place >= first[g]))
        for s, m, g, place in zip(*ranked, _places(ranked.kept))
    ]


class _Bracket(NamedTuple):
    """Two ranks, how many numbers do not exceed them, and guesses between them."""

    low: Int[Array, ""]
    high: Int[Array, ""]
    below: UInt32[Array, ""]
    upto: UInt32[Array, ""]
    guesses: Int[Array, "4"]


def _rank(scores: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Return integers in the order of the scores; -0 equals 0, NaN exceeds infinity.

    They compare alike everywhere, while some devices take denormal numbers for 0.
    """
    bits = lax.bitcast_convert_type(scores, f"int{8 * scores.dtype.itemsize}")
    size = bits & jnp.iinfo(bits.dtype).max
    infinity = np.array(np.inf, scores.dtype).view(bits.dtype)
    return jnp.where((bits < 0) & (size <= infinity), -size, size)


def _threshold(
    ranked: Ranked, n: UInt32[Array, " groups"]
) -> tuple[Int[Array, " groups"], UInt32[Array, " groups"]]:
    """Return a rank that n numbers do not exceed, and n; less if the next are ties."""
    guesses = _first_guess(ranked, n)
    ends = jnp.iinfo(guesses.dtype)
    sizes = jnp.array([m.size for m in ranked.kept], n.dtype)
    total = jax.ops.segment_sum(sizes, jnp.array(ranked.group), n.size)
    low = jnp.full(n.shape, ends.min, guesses.dtype)
    high = jnp.full(n.shape, ends.max, guesses.dtype)
    bracket = _Bracket(low, high, jnp.zeros_like(n), total, guesses)
    bracket = lax.while_loop(
        lambda b: jnp.any((b.below != n) & (b.high != b.low + 1)),
        lambda b: jax.vmap(_narrow)(b, _count(ranked, b.guesses), n),
        bracket,
    )
    return bracket.low, bracket.below


def _narrow(
    bracket: _Bracket, counts: UInt32[Array, "4"], n: UInt32[Array, ""]
) -> _Bracket:
    """Return the bracket of the n-th rank between two neighbouring guesses.

    Its guesses are around the line between its ends, from which the count of m numbers
    strays by about sqrt(m), and in the middle: whatever the distribution, it halves.
    """
    low, high, below, upto, guesses = bracket
    few = counts <= n
    low = jnp.max(guesses, initial=low, where=few)
    high = jnp.min(guesses, initial=high, where=~few)
    below = jnp.max(counts, initial=below, where=few)
    upto = jnp.min(counts, initial=upto, where=~few)

    unsigned = jnp.dtype(f"u{low.dtype}")
    width = (high - low).astype(unsigned).astype(jnp.float32)
    inside = (upto - below).astype(jnp.float32)
    line = width * ((n - below) / inside)
    spread = jnp.maximum(1, width / jnp.sqrt(inside) / 2)
    offsets = jnp.stack([line - spread, line, line + spread, width / 2])
    guesses = low + jnp.clip(offsets, 0, width).astype(unsigned).astype(low.dtype)
    return _Bracket(low, high, below, upto, jnp.clip(guesses, low + 1, high - 1))


def _first_guess(ranked: Ranked, n: UInt32[Array, " groups"]) -> Int[Array, "groups 4"]:
    """Guess the n-th rank from a sample: somewhat before, just below, at, after."""
    sizes = [m.size for m in ranked.kept]
    step = sum(sizes) // _SAMPLE | 1  # odd, so as not to walk along one column
    starts = itertools.accumulate(sizes, initial=0)
    ranks, group = [], []
    for s, m, g, start in zip(*ranked, starts):
        some = slice(-start % step, None, step)
        rank = _rank(s.ravel()[some])
        ranks.append(jnp.where(m.ravel()[some], rank, jnp.iinfo(rank.dtype).max))
        group += [g] * rank.size
    _, ranks = lax.sort((jnp.array(group), jnp.concatenate(ranks)), num_keys=2)
    number = np.bincount(group, minlength=n.size)

    def guess(n, end, number):
        error = jnp.sqrt(number).astype(jnp.int32)  # two standard errors of a median
        at = (n // step).astype(jnp.int32) + jnp.stack([-error, 0, 0, error])
        at = end - number + jnp.clip(at, 0, number - 1)
        off = ranks[at] - jnp.array([0, 1, 0, 0], ranks.dtype)
        ends = jnp.iinfo(ranks.dtype)
        return jnp.clip(off, ends.min + 1, ends.max - 1)

    return jax.vmap(guess)(n, jnp.array(np.cumsum(number)), jnp.array(number))


def _count(
    ranked: Ranked, guesses: Int[Array, "groups 4"]
) -> UInt32[Array, "groups 4"]:
    """Count the numbers that do not exceed each of four guesses, in one pass."""
    # Without the barrier all ranks, a copy of the scores, are kept during the loop.
    scores, kept, guesses = lax.optimization_barrier(
        (ranked.scores, ranked.kept, guesses)
    )
    words, group = [], []  # the four counts share a word, a byte each, up to 255
    for s, m, g in zip(scores, kept, ranked.group):
        # XLA:CPU writes out what it sums over more than 32 rows; it vectorises over 8.
        rows = math.gcd(s.size, 8)
        rank = _rank(s.reshape(rows, -1))
        word = sum(
            jnp.where(rank <= guess, jnp.uint32(1 << 8 * i), jnp.uint32(0))
            for i, guess in enumerate(guesses[g])
        )
        word = jnp.sum(word * m.reshape(rows, -1), axis=0, dtype=jnp.uint32)
        words += [word, jnp.zeros(-word.size % 512, jnp.uint32)]
        group += [g] * (-(-word.size // 512))
    words = jnp.concatenate(words).reshape(-1, 16).sum(axis=1, dtype=jnp.uint32)
    counts = words.reshape(-1, 32, 1) >> jnp.array([[[0, 8, 16, 24]]], jnp.uint32) & 255
    counts = counts.sum(axis=1, dtype=jnp.uint32)
    return jax.ops.segment_sum(counts, jnp.array(group), guesses.shape[0])


def _places(kept: list[Array]) -> list[UInt32[Array, "..."]]:
    """Number all by flat index, every array from a multiple of 32 on."""
    starts = itertools.accumulate((-(-m.size // 32) * 32 for m in kept), initial=0)
    return [
        (jnp.uint32(start) + lax.iota(jnp.uint32, m.size)).reshape(m.shape)
        for m, start in zip(kept, starts)
    ]


def _nth_last(
    ranked: Ranked, rank: Int[Array, " groups"], n: UInt32[Array, " groups"]
) -> UInt32[Array, " groups"]:
    """Return the place of the n-th last number of a rank; of the first, if too few."""
    tied = [_pack(m & (_rank(s) == rank[g])) for s, m, g in zip(*ranked)]
    words = jnp.concatenate(tied)
    upto = jnp.pad(jnp.cumsum(lax.population_count(words)), (1, 0))

    def place(n, start, end):
        stay = jnp.maximum(upto[end], upto[start] + n) - n
        word = jnp.searchsorted(upto, stay, side="right").astype(jnp.uint32) - 1
        word = jnp.minimum(word, end - 1)
        bits = words[word] >> lax.iota(jnp.uint32, 32) & 1
        bit = jnp.sum(upto[word] + jnp.cumsum(bits) <= stay, dtype=jnp.uint32)
        return 32 * word + bit

    sizes = jnp.array([t.size for t in tied], jnp.uint32)
    number = jax.ops.segment_sum(sizes, jnp.array(ranked.group), n.size)
    end = jnp.cumsum(number)
    return jax.vmap(place)(n, end - number, end)


def _pack(tied: Bool[Array, "..."]) -> UInt32[Array, " words"]:
    """Return booleans 32 a word, the first in the lowest bit."""
    rows = jnp.pad(tied.ravel(), (0, -tied.size % 32)).reshape(-1, 32)
    bits = rows.astype(jnp.uint32) << lax.broadcasted_iota(jnp.uint32, rows.shape, 1)
    return bits.sum(axis=1, dtype=jnp.uint32)
