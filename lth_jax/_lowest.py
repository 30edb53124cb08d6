"""Lowest: the n lowest of many numbers, exactly, without sorting or copying them.

The n-th lowest is found in four or five passes, each of which counts the numbers that
do not exceed four guesses. Quantiles of a small sample are the first guesses, and
interpolation between the counts gives the next. Where it is shared by equals, one more
pass finds the place from which they go. Memory beside the numbers: an eighth of them.

Everything is elementwise or a sum: arrays sharded along their first axis stay there.
Of many arrays the small ones are copied into a few: a program grows with each.
"""

import itertools
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

# How many numbers are sorted for the first guesses: of so many one, but at least, at
# most, and of each of several groups.
_ONE_OF, _LEAST, _MOST, _PART = 64, 4096, 16_384, 512
_SMALL, _FEW = 1 << 16, 8  # size of arrays that are joined, where there are more
_ROW = 4096  # numbers in a row of copied arrays
_GROUPS = 32  # whose samples are sorted one by one, which makes a program larger


class Ranked(NamedTuple):
    """Arrays of numbers to rank: those of one group among each other."""

    scores: list[Float[Array, "..."]]  # floating-point, of one dtype
    kept: list[Bool[Array, "..."]]  # False where a number does not take part
    group: list[Any]  # to which an array or each of its rows belongs, ascending from 0


def without(ranked: Ranked, n: UInt32[Array, " groups"]) -> list[Bool[Array, "..."]]:
    """Return `kept` without the n lowest of every group; all if it has no more.

    Of equals, the last go: by array, then by flat index. -0 equals 0, and NaN is above
    infinity. Small arrays come joined: `parted` takes them apart.

    >>> numbers = Ranked([jnp.array([1.0, 2.0, 1.0])], [jnp.ones(3, bool)], [0])
    >>> without(numbers, jnp.array([1], jnp.uint32))
    [Array([ True,  True, False], dtype=bool)]
    """
    ranked = _joined(ranked)
    low, below = _threshold(ranked, n)
    first = lax.cond(
        jnp.any(below < n),  # the others are equals, of the next rank
        lambda: _nth_last(ranked, low + 1, n - below),
        lambda: jnp.full_like(n, 2**32 - 1),
    )
    return [
        m & (ordered(s) > _of(low, g) + (place >= _of(first, g)))
        for s, m, g, place in zip(*ranked, _places(ranked.kept))
    ]


def parted(joined: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """Return arrays of these shapes, of which some are joined.

    >>> parted([jnp.array([True, False])], [(1, 2)])
    [Array([[ True, False]], dtype=bool)]
    """
    sizes, parts = [math.prod(shape) for shape in shapes], []
    for whole, run in zip(joined, _runs(sizes)):
        if len(run) == 1:
            parts.append(whole.reshape(shapes[run[0]]))
            continue
        starts = itertools.accumulate((_padded(sizes[i]) for i in run), initial=0)
        parts += [_part(whole, start, shapes[i]) for i, start in zip(run, starts)]
    return parts


@partial(jax.jit, static_argnames="shape")  # a program a shape, wherever it starts
def _part(joined: Array, start: int | Array, shape: tuple[int, ...]) -> Array:
    size = math.prod(shape)
    return lax.dynamic_slice(joined.ravel(), [start], [size]).reshape(shape)


def _padded(size: int) -> int:
    return -(-size // _ROW) * _ROW


def _runs(sizes: list[int]) -> list[list[int]]:
    """Return which arrays, one after another, are joined: small ones of many."""
    few = len(sizes) <= _FEW
    runs: list[list[int]] = []
    for i, size in enumerate(sizes):
        if i and not few and max(size, sizes[i - 1]) < _SMALL:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _joined(ranked: Ranked) -> Ranked:
    """Copy runs of arrays into rows, filled with what does not take part."""

    def rows(arrays):
        fill = [jnp.zeros(_padded(x.size) - x.size, x.dtype) for x in arrays]
        parts = [x.ravel() for pair in zip(arrays, fill) for x in pair]
        return jnp.concatenate(parts).reshape(-1, _ROW)

    scores, kept, group = [], [], []
    for run in _runs([m.size for m in ranked.kept]):
        s, m, g = ([values[i] for i in run] for values in ranked)
        if len(run) > 1:
            g = [np.repeat(g, [_padded(x.size) // _ROW for x in s])]
            s, m = [rows(s)], [rows(m)]
        scores, kept, group = scores + s, kept + m, group + g
    return Ranked(scores, kept, group)


def _of(values: Array, group: Any) -> Array:
    """Return the value of an array's group, or of each of its rows' groups."""
    return values[group] if isinstance(group, int) else values[group][:, None]


def _each(group: Any, size: int) -> np.ndarray:
    """Return the groups of an array's parts, as many as one of its rows has."""
    rows = np.ravel(group)
    return np.repeat(rows, size // rows.size)


def _sizes(arrays: list[Array], group: list[Any], number: int) -> UInt32[Array, "_"]:
    sizes = np.zeros(number, np.uint32)
    for x, g in zip(arrays, group):
        np.add.at(sizes, g, x.size // np.size(g))
    return jnp.asarray(sizes)


class _Bracket(NamedTuple):
    """Two ranks, how many numbers do not exceed them, and guesses between them."""

    low: Int[Array, ""]
    high: Int[Array, ""]
    below: UInt32[Array, ""]
    upto: UInt32[Array, ""]
    guesses: Int[Array, "4"]


def ordered(scores: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
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
    total = _sizes(ranked.kept, ranked.group, n.size)
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
    whole = sum(sizes) // min(max(sum(sizes) // _ONE_OF, _LEAST), _MOST)
    starts = itertools.accumulate(sizes, initial=0)
    ranks, group, steps = [], [], np.zeros(n.size, np.uint32)
    for s, m, g, start in zip(*ranked, starts):
        own = m.size // (_PART * np.unique(g).size) if n.size > 1 else whole
        step = min(whole, own) | 1  # odd, so as not to walk along one column
        some = slice(-start % step, None, step)
        rank = ordered(s.ravel()[some])
        ranks.append(jnp.where(m.ravel()[some], rank, jnp.iinfo(rank.dtype).max))
        group += [*_each(g, m.size)[some]]
        steps[g] = step
    ranks, number = jnp.concatenate(ranks), np.bincount(group, minlength=n.size)
    if n.size <= _GROUPS:  # XLA:CPU sorts five times as fast by one key
        parts = jnp.split(ranks, np.cumsum(number)[:-1])
        ranks = jnp.concatenate([lax.sort(part) for part in parts])
    else:
        _, ranks = lax.sort((jnp.array(group), ranks), num_keys=2)

    def guess(n, step, end, number):
        error = jnp.sqrt(number).astype(jnp.int32)  # two standard errors of a median
        at = (n // step).astype(jnp.int32) + jnp.stack([-error, 0, 0, error])
        at = end - number + jnp.clip(at, 0, number - 1)
        off = ranks[at] - jnp.array([0, 1, 0, 0], ranks.dtype)
        ends = jnp.iinfo(ranks.dtype)
        return jnp.clip(off, ends.min + 1, ends.max - 1)

    return jax.vmap(guess)(n, *map(jnp.array, (steps, np.cumsum(number), number)))


def _count(
    ranked: Ranked, guesses: Int[Array, "groups 4"]
) -> UInt32[Array, "groups 4"]:
    """Count the numbers that do not exceed each of four guesses, in one pass."""
    # Without the barrier all ranks, a copy of the scores, are kept during the loop.
    scores, kept, guesses = lax.optimization_barrier(
        (ranked.scores, ranked.kept, guesses)
    )
    zero = jnp.uint32(0)
    words, group = [], []  # the four counts share a word, a byte each, up to 255
    for s, m, g in zip(scores, kept, ranked.group):
        # XLA:CPU writes out what it sums over more than 32 rows; it vectorises over 8.
        shape = np.size(g), math.gcd(s.size, 8), -1
        rank, each = ordered(s.reshape(shape)), guesses[np.atleast_1d(g)]
        word = sum(
            jnp.where(rank <= each[:, i, None, None], jnp.uint32(1 << 8 * i), zero)
            for i in range(4)
        )
        word = jnp.sum(word * m.reshape(shape), axis=1, dtype=jnp.uint32).ravel()
        whole = word.size // 512 * 512  # taken apart, the sum is not done anew for each
        words += [word[:whole], jnp.pad(word[whole:], (0, -word.size % 512))]
        group += [*_each(g, -(-word.size // 512))]
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
    tied = [_pack(m & (ordered(s) == _of(rank, g))) for s, m, g in zip(*ranked)]
    words = jnp.concatenate(tied)
    upto = jnp.pad(jnp.cumsum(lax.population_count(words)), (1, 0))

    def place(n, start, end):
        stay = jnp.maximum(upto[end], upto[start] + n) - n
        word = jnp.searchsorted(upto, stay, side="right").astype(jnp.uint32) - 1
        word = jnp.minimum(word, end - 1)
        bits = words[word] >> lax.iota(jnp.uint32, 32) & 1
        bit = jnp.sum(upto[word] + jnp.cumsum(bits) <= stay, dtype=jnp.uint32)
        return 32 * word + bit

    number = _sizes(tied, ranked.group, n.size)
    end = jnp.cumsum(number)
    return jax.vmap(place)(n, end - number, end)


def _pack(tied: Bool[Array, "..."]) -> UInt32[Array, " words"]:
    """Return booleans 32 a word, the first in the lowest bit."""
    rows = jnp.pad(tied.ravel(), (0, -tied.size % 32)).reshape(-1, 32)
    bits = rows.astype(jnp.uint32) << lax.broadcasted_iota(jnp.uint32, rows.shape, 1)
    return bits.sum(axis=1, dtype=jnp.uint32)
