"""Sparse: an optimizer for losses that know nothing of masks."""

import jax
import jax.numpy as jnp
import optax

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
        if not jax.tree.leaves(updates):  # of a group without parameters
            return tx.update(updates, state, params, **extra)
        masked, updates, state = rewind.to((params, updates, state), masks)
        under = {name: rewind.to((params, x), masks)[1] for name, x in extra.items()}
        updates, state = tx.update(updates, state, masked, **under)
        _, state = rewind.to((params, state), masks)  # of a gradient of `value_fn`
        (leaves, structure), weights = (
            jax.tree.flatten(updates),
            jax.tree.leaves(params),
        )

        def one(u, w, m):
            return u if m is None else jnp.where(m, u, -w)

        leaves = map(one, leaves, weights, rewind.over(params, masks))
        return jax.tree.unflatten(structure, leaves), state

    return optax.GradientTransformationExtraArgs(tx.init, update)
