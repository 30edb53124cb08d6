"""Rule: how many weights a level prunes, and in which layers.

Some layers may count in the density and yet be kept whole, as open_lth has it for the
last layer. The others are pruned the more: a fraction or density is that of all.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp

from lth_jax import masks as masks_lib
from lth_jax import prune, stacked
from lth_jax.masks import Masks
from lth_jax.scores import Scores

Counts = Mapping[str, tuple[int, int]]  # weights kept, and all, by path of the layer


@dataclass(frozen=True)
class Rule:
    """A level's pruning, by a fraction of what remains or to a density.

    Attributes:
        fraction: of the weights that remain, in (0, 1), which goes.
        density: in (0, 1], which remains instead, if it is given.
        scope: as of `prune.by_fraction`; a share of every layer is the same in each. Or
            as "2:4": of every 4 along the input axis, 2 remain (`prune.n_of_m`).
            That is axis -2, and masks of which it is not are refused.
        keep: regular expressions for the paths of layers that are kept whole. Then the
            share of the others is such that all weights together have the rule's.
        stacked: as of `prune.by_fraction`; here an expression may find no layer.

    >>> masks = {"a": jax.numpy.ones(8, bool), "fc": jax.numpy.ones(2, bool)}
    >>> scores = {"a": jax.numpy.arange(8.0), "fc": jax.numpy.zeros(2)}
    >>> masks_lib.by_layer(Rule(0.2, keep=("^fc$",)).shrink(scores, masks))
    {'a': (6, 8), 'fc': (2, 2)}
    """

    fraction: float
    density: float | None = None
    scope: str = "global"
    keep: tuple[str, ...] = ()
    stacked: tuple[str, ...] = ()

    def shrink(self, scores: Scores, masks: Masks) -> Masks:
        """Return smaller masks: the lowest scores are pruned. Raises as `share`."""
        if self.block:
            self._check_inputs(masks)
            return self.beside(masks, lambda m: prune.n_of_m(scores, m, *self.block))
        share = self.share(self.counts(masks))
        by = prune.by_fraction if self.density is None else prune.to_density

        def shrunk(others: Masks) -> Masks:
            return by(scores, others, share, self.scope, self.stacked_in(others))

        return self.beside(masks, shrunk)

    def as_many(self, scores: Scores, masks: Masks) -> Masks:
        """Return masks of the highest scores anywhere, of as many weights as others."""

        def highest(others: Masks) -> Masks:
            if self.block:
                dense = jax.tree.map(jnp.ones_like, others)
                return prune.n_of_m(scores, dense, *self.block)
            return prune.as_many(scores, others, self.scope, self.stacked_in(others))

        return self.beside(masks, highest)

    @property
    def block(self) -> tuple[int, ...]:
        """Return how many remain, and of how many, of a scope like "2:4"."""
        return tuple(map(int, self.scope.split(":"))) if ":" in self.scope else ()

    def counts(self, masks: Masks) -> Counts:
        """Return what masks keep of each layer, those that are stacked one by one."""
        return stacked.by_layer(masks, self.stacked_in(masks))

    def stacked_in(self, masks: Masks) -> list[str]:
        """Return the expressions for stacked layers that find some in masks."""
        paths = [path for path, _ in masks_lib.leaves(masks)]
        return [x for x in self.stacked if any(re.search(x, p) for p in paths)]

    def beside(self, masks: Masks, by: Callable[[Masks], Masks]) -> Masks:
        """Return masks pruned by a function, which does not see what is kept whole."""
        pruned = by(self.others(masks))
        return jax.tree.map(lambda m, new: m if new is None else new, masks, pruned)

    def others(self, masks: Masks) -> Masks:
        """Return masks without those that are kept whole."""
        return masks_lib.without(masks, self.keep)

    def together(self, layers: Counts) -> dict[str, tuple[int, int]]:
        """Return counts of what is pruned together, in scope "global" under ""."""
        others, whole = self._apart(layers)
        return {**({"": _sums(others)} if self.scope == "global" else others), **whole}

    def left(self, before: Counts) -> Counts:
        """Return the counts of `together` after pruning.

        Raises ValueError as `share`, and if nothing is left.

        >>> Rule(0.2, keep=("fc",)).left({"a": (4, 4), "b": (4, 4), "fc": (2, 2)})
        {'': (6, 8), 'fc': (2, 2)}
        """
        if self.block:
            (others, whole), (n, m) = self._apart(before), self.block
            return {
                **{p: (n * size // m, size) for p, (_, size) in others.items()},
                **whole,
            }
        share, (_, whole) = self.share(before), self._apart(before)
        pruned = {
            path: (
                prune.after_fraction(kept, share)
                if self.density is None
                else prune.at_density(total, share),
                total,
            )
            for path, (kept, total) in self.together(before).items()
            if path not in whole
        }
        if not _sums(pruned)[0]:
            raise ValueError(f"nothing would be left of {_sums(pruned)[1]} weights")
        return {**pruned, **whole}

    def share(self, before: Counts) -> Fraction:
        """Return the fraction, or density, of the layers that are not kept whole.

        Raises ValueError if too few of their weights are left.
        """
        (kept, total), (_, whole) = map(_sums, self._apart(before))
        if self.density is None:
            gone = Fraction(str(self.fraction)) * (kept + whole)
            share, left = gone / max(1, kept), kept - gone
        else:
            left = Fraction(str(self.density)) * (total + whole) - whole
            share = left / total
        if whole and left < 1:
            raise ValueError(
                f"{math.floor(left + whole):,} weights would be left in all, but "
                f"{whole:,} are never pruned"
            )
        return share

    def _check_inputs(self, masks: Masks) -> None:
        """Raise ValueError if axis -2 of what is pruned may not be that of the inputs.

        It is of dense and convolutional kernels, but neither of attention's (Flax has
        [width, heads, dim]) nor of what Equinox calls weights, [out, in].
        """
        for path, mask in masks_lib.leaves(self.others(masks)):
            *_, last = re.sub(r"/(raw_)?value$", "", path).split("/")
            rank = mask.ndim - any(re.search(x, path) for x in self.stacked)
            is_other = rank == 3 and not re.search("conv", path, re.IGNORECASE)
            if last.startswith("weight") or is_other:
                raise ValueError(
                    f"{path}, of shape {mask.shape}, may have its inputs along another "
                    "axis than -2; add it to config.prune.exclude"
                )

    def _apart(self, layers: Counts) -> tuple[Counts, Counts]:
        """Return the layers that are pruned, and those that are kept whole."""
        leaf = {path: re.sub(r"\[\d+\]$", "", path) for path in layers}  # if stacked
        matched = [p for p in layers if any(re.search(x, leaf[p]) for x in self.keep)]
        whole = {path: layers[path] for path in matched}
        return {p: counts for p, counts in layers.items() if p not in whole}, whole


def _sums(layers: Counts) -> tuple[int, int]:
    """Return how many weights layers keep together, and of how many."""
    return sum(n for n, _ in layers.values()), sum(n for _, n in layers.values())
