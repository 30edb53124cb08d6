"""Symmetry: networks that differ in the order of their hidden units alone."""

from lth_jax.symmetry.matching import Permutation, inverse, match, permute, random
from lth_jax.symmetry.units import Groups, groups

__all__ = ["Groups", "Permutation", "groups", "inverse", "match", "permute", "random"]
