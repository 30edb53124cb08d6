"""Densities: how many weights each layer keeps, where masks are sparse from the start.

Layers are given by path and shape, and numbers of weights come back by path, in sorted
path order, for `prune.to_counts`. All is exact: a density is read as a decimal.
"""

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from lth_jax import masks as masks_lib
from lth_jax._drop import at_density

Shapes = Mapping[str, tuple[int, ...]]  # by path of the layer


def uniform(shapes: Shapes, density: float | Fraction) -> dict[str, int]:
    """Give every layer the same density.

    All layers keep `prune.at_density` weights together, of which each has its share,
    rounded by largest remainder; of equal ones the first layer's counts.

    Raises ValueError for a density not in (0, 1], or if nothing would be left.

    >>> uniform({"a": (1, 3), "b": (1, 3)}, 0.5)
    {'a': 2, 'b': 1}
    """
    share = _density(density)
    sizes = _sizes(shapes)
    shares = {path: share * size for path, size in sizes.items()}
    return _rounded(shares, at_density(sum(sizes.values()), share))


def erk(shapes: Shapes, density: float | Fraction) -> dict[str, int]:
    """Give every layer a density in proportion to (sum of dims) / (product of dims).

    Erdős–Rényi-Kernel (Evci et al., 2020, Section 3(1)), which is Erdős–Rényi (Mocanu
    et al., 2018) for dense layers. Layers that would exceed 1 are dense and the others
    share what is left. Totals are those of `uniform`.

    Raises ValueError as `uniform`, and for a density that cannot be reached, since
    numbers without a dimension have no share.

    >>> erk({"a": (10, 10), "b": (2, 2)}, 0.25)
    {'a': 22, 'b': 4}
    """
    share, sizes = _density(density), _sizes(shapes)
    left = share * sum(sizes.values())
    rest = {path: Fraction(size) for path, size in sizes.items()}
    shares: dict[str, Fraction] = {}
    while rest:
        sums = sum(sum(shapes[path]) for path in rest)
        if left and not sums:
            raise ValueError(f"density: {density} cannot be reached by {[*shapes]}")
        each = {path: left * sum(shapes[path]) / max(1, sums) for path in rest}
        dense = {path: rest[path] for path in rest if each[path] > rest[path]}
        shares |= dense or each
        left -= sum(dense.values())
        rest = {path: n for path, n in rest.items() if dense and path not in dense}
    kept = {path: shares[path] for path in sizes}
    return _rounded(kept, at_density(sum(sizes.values()), share))


def table(
    shapes: Shapes, densities: Sequence[tuple[str, float | Fraction]]
) -> dict[str, int]:
    """Give every layer the density of the first regular expression found in its path.

    Each layer keeps `prune.at_density` of its own weights.

    Raises ValueError for a density not in (0, 1], a layer in whose path no expression
    is found, one that is found in none, or if nothing would be left.

    >>> table({"a": (4, 4), "fc": (2, 5)}, [("^fc$", 1.0), (".", 0.25)])
    {'a': 4, 'fc': 10}
    """
    sizes, kept = _sizes(shapes), {}
    masks_lib.matching([pattern for pattern, _ in densities], [*sizes])
    shares = [(pattern, _density(density)) for pattern, density in densities]
    for path, size in sizes.items():
        found = [share for pattern, share in shares if re.search(pattern, path)]
        if not found:
            raise ValueError(f"densities: no regular expression is found in {path}")
        kept[path] = at_density(size, found[0])
    return _some(kept)


def _density(density: float | Fraction) -> Fraction:
    share = Fraction(str(density))
    if not 0 < share <= 1:
        raise ValueError(f"density: {density} is not in (0, 1]")
    return share


def _sizes(shapes: Shapes) -> dict[str, int]:
    """Return numbers of weights in sorted path order."""
    sizes = {path: math.prod(shape) for path, shape in shapes.items()}
    return dict(masks_lib.leaves(sizes))


def _rounded(shares: dict[str, Fraction], total: int) -> dict[str, int]:
    """Round shares of a total by largest remainder."""
    kept = {path: math.floor(share) for path, share in shares.items()}
    more = total - sum(kept.values())
    for path in sorted(kept, key=lambda path: kept[path] - shares[path])[:more]:
        kept[path] += 1
    return _some(kept)


def _some(kept: dict[str, int]) -> dict[str, int]:
    if not any(kept.values()):
        raise ValueError(f"nothing would be left of any of {len(kept)} layers")
    return kept
