"""Lowest: how much work and memory an exact choice takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax import _drop
from lth_jax import _lowest as lowest
from lth_jax._lowest import Ranked

SIZE = 1 << 16


def normal():
    return np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)


NUMBERS = {
    "normal": normal(),
    "magnitudes": np.abs(normal()),
    "magnitudes of mixed scale": np.abs(normal()) * 10.0 ** -(np.arange(SIZE) % 8),
    "log-uniform": np.exp(np.random.default_rng(1).uniform(-40, 40, SIZE)),
    "all equal": np.ones(SIZE),
    "two values": np.arange(SIZE) % 3 == 0,
    "mostly 0": np.abs(normal()) * (np.arange(SIZE) % 10 == 0),
    "integers": np.arange(SIZE),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_the_threshold_is_found_in_a_few_passes(name, share, monkeypatch):
    numbers = jnp.asarray(NUMBERS[name], jnp.float32)
    ranked = Ranked([numbers], [jnp.ones(SIZE, bool)], [0])
    passes = []

    def count(ranked, guesses):
        passes.append(guesses)
        return np.sum(rank <= np.asarray(guesses[0])[:, None], axis=1)[None]

    rank = np.asarray(lowest.ordered(numbers))
    monkeypatch.setattr(
        lowest, "_count", lambda *args: jnp.asarray(count(*args), jnp.uint32)
    )
    n = int(share * SIZE)
    with jax.disable_jit():
        low, below = lowest._threshold(ranked, jnp.array([n], jnp.uint32))
    assert len(passes) <= 8
    assert below[0] == np.sum(rank <= low[0]) <= n <= np.sum(rank <= low[0] + 1)


@pytest.mark.slow
def test_a_small_layer_beside_a_large_one_takes_no_more_passes(monkeypatch):
    sizes = SIZE // 2, SIZE // 8, 1000
    parts = [normal()[:size] for size in sizes]
    kept = [np.arange(size) % 10 > 0 for size in sizes]
    ranked = Ranked([*map(jnp.abs, parts)], [*map(jnp.asarray, kept)], [0, 1, 2])
    passes, count = [], lowest._count
    monkeypatch.setattr(
        lowest, "_count", lambda *args: passes.append(0) or count(*args)
    )
    n = [int(0.98 * mask.sum()) for mask in kept]
    with jax.disable_jit():
        _, below = lowest._threshold(ranked, jnp.array(n, jnp.uint32))
    assert below.tolist() == n
    assert len(passes) <= 8


def test_no_copy_of_the_numbers_is_made():
    ranked = [jnp.ones((1024, 1024))], [jnp.ones((1024, 1024), bool)]
    program = jax.jit(lambda s, m, n: lowest.without(Ranked(s, m, [0]), n))
    analysis = program.lower(*ranked, jnp.ones(1, jnp.uint32)).compile()
    memory = analysis.memory_analysis().temp_size_in_bytes
    assert memory < 0.2 * ranked[0][0].nbytes


def test_groups_are_ranked_by_themselves():
    scores = [jnp.array([5.0, 6, 7]), jnp.array([1.0, 2]), jnp.array([0.0, 3])]
    ranked = Ranked(scores, [jnp.ones(s.shape, bool) for s in scores], [0, 1, 1])
    left = lowest.without(ranked, jnp.array([1, 2], jnp.uint32))
    assert [m.tolist() for m in left] == [
        [False, True, True],
        [False, True],
        [False, True],
    ]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_ranks_are_in_the_order_of_the_numbers(dtype):
    tiny = jnp.finfo(dtype).smallest_subnormal
    ordered = [-jnp.inf, -2, -1.5, -tiny, 0, tiny, 2 * tiny, 1.5, 2, jnp.inf, jnp.nan]
    numbers = jnp.asarray(np.array([*ordered, -0.0, -np.nan]).astype(dtype))
    ranks = np.asarray(lowest.ordered(numbers), np.int64)
    assert (np.diff(ranks[:11]) > 0).all()
    assert ranks[11] == ranks[4], "-0 equals 0"
    assert ranks[12] > ranks[9], "a negative NaN too is above infinity"


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_program_grows_little_with_small_leaves(scope):
    """Of each it holds a copy, and not a count, a sample and a comparison."""

    def length(number):
        scored = {str(i): jnp.ones((16, 16 + i % 2)) for i in range(number)}
        kept = jax.tree.map(lambda s: s > 0, scored)
        n = 5 if scope == "global" else dict.fromkeys(scored, 5)
        program = jax.make_jaxpr(_drop._drop.__wrapped__)(scored, kept, n)
        return str(program).count("\n")

    few, many = length(20), length(120)
    assert many - few < 100 * 15
