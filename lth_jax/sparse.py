"""Sparse: an optimizer for losses that know nothing of masks."""

import jax
import jax.numpy as jnp
import optax

from lth_jax import masks as masks_lib
from lth_jax import rewind
from lth_jax.masks import Masks


def sparse_optimizer(
    tx: optax.GradientTransformation, masks: Masks
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that keeps pruned weights, gradients and moments at 0.

    What `tx` sees is under the masks: gradients, parameters, and every part of its
    state that is shaped like them. Updates set a pruned weight to 0 whatever it was. If
    the parameters start under the masks, training is that of a loss with
    `masks.apply(params, masks)` in it. Masks may be traced: under jit, others recompile
    nothing. `update` needs the parameters, else it raises ValueError.

    >>> params = {"w": jnp.array([[1.0, 2.0]]), "b": jnp.array([3.0])}
    >>> masks = {"w": jnp.array([[True, False]]), "b": None}
    >>> tx = sparse_optimizer(optax.sgd(0.1), masks)
    >>> updates, _ = tx.update(params, tx.init(params), params)
    >>> optax.apply_updates(params, updates)
    {'b': Array([2.7], dtype=float32), 'w': Array([[0.9, 0. ]], dtype=float32)}
    """
    tx = optax.with_extra_args_support(tx)

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("sparse_optimizer: update needs the parameters")
        masked, state = rewind.to((params, state), masks)
        updates = masks_lib.apply(updates, masks)
        updates, state = tx.update(updates, state, masked, **extra)

        def one(u, w, m):
            return u if m is None else jnp.where(m, u, -w)

        return jax.tree.map(one, updates, params, masks), state

    return optax.GradientTransformationExtraArgs(tx.init, update)
