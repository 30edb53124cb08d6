"""Facts: what masks are, before anything is trained."""

import math
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array

from lth_jax import masks as masks_lib
from lth_jax import scores
from lth_jax.masks import Masks, Params


def facts(
    masks: Masks,
    params: Params,
    flow: Callable[[Params], Array],
    *,
    weights: Params | None = None,
    before: Masks | None = None,
    claimed: float | None = None,
) -> dict[str, str]:
    """Return what can be said of masks at once, in words, by what it is about.

    Args:
        masks: that are judged.
        params: of a network before training: biases are 0 and scales are not.
        flow: as of the run's program.
        weights: that belong to the masks.
        before: the masks of the level before, in which these should be.
        claimed: the density that was said.
    """
    kept, total = masks_lib.count(masks)
    everything = sum(x.size for x in jax.tree.leaves(params))
    others = everything - total
    found = {
        "density": f"{kept / total:.4%}: {kept:,} of {total:,} weights that can be "
        f"pruned; {(kept + others) / everything:.4%} of all {everything:,} parameters"
    }
    if claimed is not None:
        near = [
            what
            for what, x in _densities(kept, total, others).items()
            if abs(x - claimed) <= 0.005 * max(x, claimed)  # it was rounded
        ]
        fits = f"that of {near[0]}" if near else "not that of these masks"
        found["claimed density"] = f"{claimed:.4%} is {fits}"
    if weights is not None:
        found["weights"] = _of_weights(masks, weights)
    if before is not None:
        grown = jax.tree.map(lambda b, m: (~b & m).sum(), before, masks)
        back = sum(int(n) for n in jax.tree.leaves(grown))
        found["nested"] = f"{back:,} weights are kept that the level before had pruned"
    layers = masks_lib.by_layer(masks)
    empty = [path for path, (n, _) in layers.items() if not n]
    found["empty layers"] = ", ".join(empty) or "none"
    found["units without inputs"] = _dead(masks)
    found["connected"] = _connected(masks, params, flow, kept)
    return found


def _densities(kept: int, total: int, others: int) -> dict[str, float]:
    return {
        "the weights that can be pruned": kept / total,
        "all parameters": (kept + others) / (total + others),
        "what is pruned, the sparsity": 1 - kept / total,
    }


def _of_weights(masks: Masks, weights: Params) -> str:
    by_path = dict(masks_lib.leaves(weights))
    pairs = [
        (np.asarray(by_path[p]), np.asarray(m)) for p, m in masks_lib.leaves(masks)
    ]
    alive = sum(int(((w != 0) & ~m).sum()) for w, m in pairs)
    if not alive:
        return "exactly 0 where they are pruned; controls have a fresh network's there"
    return f"whole: {alive:,} of the pruned are not 0, and controls may keep them"


def _dead(masks: Masks) -> str:
    """Return how many units or channels of each layer keep no input."""
    found = []
    for path, mask in masks_lib.leaves(masks):
        shape, of = np.shape(mask), path.split("/")[-2:-1]
        # Of attention in Flax, heads are an axis before that of what each puts out.
        outputs = 2 if len(shape) == 3 and of in (["query"], ["key"], ["value"]) else 1
        each = np.asarray(mask).reshape(-1, math.prod(shape[-outputs:]))
        if (dead := int((~each.any(axis=0)).sum())) and each.any():
            found.append(f"{dead} of {each.shape[1]} in {path}")
    return ", ".join(found) or "none"


def _connected(
    masks: Masks, params: Params, flow: Callable[[Params], Array], kept: int
) -> str:
    """Return of how many kept weights a way leads from the inputs to the outputs.

    The effective density of Vysogorets & Kempe (2023), by synaptic flow.
    """
    try:
        shares = scores.synflow_shares(flow, params)(masks)
    except ValueError as error:
        return f"not known ({error})"
    on_way = jax.tree.map(
        lambda s, m: None if m is None else ((s > 0) & m).sum(), shares, masks
    )
    number = sum(int(n) for n in jax.tree.leaves(on_way))
    if not number:
        return "no: the masks cut all inputs from all outputs"
    cut = "; the others begin or end at units that are cut off"
    return (
        f"yes: {number:,} of {kept:,} kept weights lie on a way from inputs to outputs"
        f"{cut if number < kept else ''}"
    )
