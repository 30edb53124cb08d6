"""Ablate: what of a ticket's weights matters, by taking some of it away.

From a key, parameters and masks to parameters: weights that are kept lose their sizes,
signs, places or precision; all others stay as they are. What draws nothing takes a key
all the same, so that one can stand for the other.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params


def signs(key: Key[Array, ""], params: Params, masks: Masks) -> Params:
    """Return weights of the same signs, and of one magnitude a layer: their mean.

    Zhou et al. (2019), Section 4.1 ("constant", of another size). A weight of 0 stays.

    >>> params, masks = {"w": jnp.array([1.0, -3.0])}, {"w": jnp.ones(2, bool)}
    >>> signs(jax.random.key(0), params, masks)
    {'w': Array([ 2., -2.], dtype=float32)}
    """

    def one(key: Key[Array, ""], w: Array, m: Array) -> Array:
        size = jnp.abs(w).mean(where=m)
        return jnp.where(m, jnp.sign(w) * size.astype(w.dtype), w)

    return _each(one, key, params, masks)


def magnitudes(key: Key[Array, ""], params: Params, masks: Masks) -> Params:
    """Return weights of the same magnitudes, and random signs.

    >>> params, masks = {"w": jnp.array([1.0, -3.0])}, {"w": jnp.ones(2, bool)}
    >>> jnp.abs(magnitudes(jax.random.key(0), params, masks)["w"])
    Array([1., 3.], dtype=float32)
    """

    def one(key: Key[Array, ""], w: Array, m: Array) -> Array:
        drawn = jax.random.rademacher(key, w.shape, w.dtype)
        return jnp.where(m, jnp.abs(w) * drawn, w)

    return _each(one, key, params, masks)


def permuted(key: Key[Array, ""], params: Params, masks: Masks) -> Params:
    """Return the weights of every layer in a random order: over the places kept.

    Frankle, Schwab & Morcos (2020), Section 5; Zhou et al. (2019), Section 4.1
    ("reshuffled").

    >>> params = {"w": jnp.array([1.0, -3.0, 5.0])}
    >>> masks = {"w": jnp.array([True, False, False])}
    >>> permuted(jax.random.key(0), params, masks)
    {'w': Array([ 1., -3.,  5.], dtype=float32)}
    """

    def one(key: Key[Array, ""], w: Array, m: Array) -> Array:
        flat, kept = w.ravel(), m.ravel()
        # Places of kept weights in their order, and the same places in a drawn one.
        places = jnp.argsort(~kept, stable=True)
        drawn = jnp.where(kept, jax.random.uniform(key, kept.shape), jnp.inf)
        mixed = flat.at[places].set(flat[jnp.argsort(drawn, stable=True)])
        return jnp.where(kept, mixed, flat).reshape(w.shape)

    return _each(one, key, params, masks)


def noise(
    key: Key[Array, ""], params: Params, masks: Masks, share: float = 1.0
) -> Params:
    """Return weights with Gaussian noise.

    Its deviation is `share` of that of the layer's kept weights, around their mean,
    which is that of large weights where few are kept. Frankle, Schwab & Morcos (2020),
    "The Early Phase of Neural Network Training", Section 5, add noise by the layer to
    W_k.

    >>> params, masks = {"w": jnp.array([1.0, 1.0])}, {"w": jnp.ones(2, bool)}
    >>> noise(jax.random.key(0), params, masks)
    {'w': Array([1., 1.], dtype=float32)}
    """

    def one(key: Key[Array, ""], w: Array, m: Array) -> Array:
        drawn = share * w.std(where=m) * jax.random.normal(key, w.shape, w.dtype)
        return jnp.where(m, w + drawn, w)

    return _each(one, key, params, masks)


def _each(
    one: Callable[[Key[Array, ""], Array, Array], Array],
    key: Key[Array, ""],
    params: Params,
    masks: Masks,
) -> Params:
    """Change every prunable layer of which something is kept, by a key of its own."""
    number = {path: i for i, (path, _) in enumerate(masks_lib.leaves(masks))}

    def changed(path: Any, w: Array, m: Array | None) -> Array:
        if m is None or not math.prod(w.shape):
            return w
        own = jax.random.fold_in(key, number[masks_lib.name(path)])
        return jnp.where(m.any(), one(own, w, m), w)

    return jax.tree_util.tree_map_with_path(changed, params, masks)
