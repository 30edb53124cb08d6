"""ADMM pruning: training that is drawn, more and more, towards sparse weights.

Zhang et al. (2018): minimise the loss of W subject to W = Z, where a layer of Z has no
more weights than are to be kept, by alternating directions with a scaled dual U. The
W-step is ordinary training with the proximal term rho / 2 * |W - Z + U|^2 (`fit`, with
`TrainState.proximal`); the other two are here, and pure.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lth_jax import masks as masks_lib
from lth_jax import measures, prune, scores
from lth_jax.masks import Masks, Params
from lth_jax.train.state import Proximal


def start(params: Params, sparse: Masks, scope: prune.Scope) -> Proximal:
    """Return Z, the projection of W, and U = 0; rho is 0.

    Args:
        params: W, trained and dense.
        sparse: masks with as many weights as Z may have.
        scope: "global", or "layer": as many in every layer.

    Example:
        >>> w = {"w": jnp.array([1.0, -3.0])}
        >>> start(w, {"w": jnp.array([True, False])}, "layer").target
        {'w': Array([ 0., -3.], dtype=float32)}
    """
    return Proximal(
        target=project(params, sparse, scope),
        dual=jax.tree.map(jnp.zeros_like, params),
        strength=jnp.float32(0),
        updates=jnp.int32(0),
    )


def update(
    params: Params, proximal: Proximal, sparse: Masks, scope: prune.Scope
) -> tuple[Proximal, dict[str, Float[Array, ""]]]:
    """Take the Z-step and the U-step: Z = project(W + U), U = U + W - Z.

    Returns:
        The proximal term for the next W-step, and the residuals over prunable weights:
        "primal", the distance of W and Z relative to W, and "dual", how far Z moved
        relative to W.

    Example:
        >>> w, sparse = {"w": jnp.array([1.0, -3.0])}, {"w": jnp.array([True, False])}
        >>> term, residuals = update(w, start(w, sparse, "layer"), sparse, "layer")
        >>> term.dual
        {'w': Array([1., 0.], dtype=float32)}
    """
    moved = jax.tree.map(jnp.add, params, proximal.dual)
    target = project(moved, sparse, scope)
    dual = jax.tree.map(jnp.subtract, moved, target)
    distance = partial(measures.distance, masks=jax.tree.map(jnp.ones_like, sparse))
    size = distance(params, jax.tree.map(jnp.zeros_like, params))
    residuals = {
        "primal": distance(params, target) / size,
        "dual": distance(target, proximal.target) / size,
    }
    updates = proximal.updates + 1
    return replace(proximal, target=target, dual=dual, updates=updates), residuals


def project(params: Params, sparse: Masks, scope: prune.Scope) -> Params:
    """Return the nearest parameters with no more weights than masks keep.

    Example:
        >>> w, sparse = {"w": jnp.array([1.0, -3.0])}, {"w": jnp.array([True, False])}
        >>> project(w, sparse, "layer")
        {'w': Array([ 0., -3.], dtype=float32)}
    """
    nearest = prune.as_many(scores.magnitude(params), sparse, scope)
    return masks_lib.apply(params, nearest)
