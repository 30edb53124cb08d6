"""Optimizers, by name."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import optax
from jaxtyping import Array, Float, PyTree
from optax import contrib

from lth_jax import masks

# The usual ones, and a user's own; `of_optax` has all others.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "rmsprop": optax.rmsprop,
}


@cache
def of_optax() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Return the optimizers of optax and of `optax.contrib`, by name.

    They are its functions of a `learning_rate`; a part of one is called `scale_by_...`.
    """
    return {
        name: made
        for module in (contrib, optax)
        for name, made in vars(module).items()
        if inspect.isfunction(made) or isinstance(made, partial)
        if not name.startswith(("_", "scale_by_"))
        if "learning_rate" in inspect.signature(made).parameters
    }


def optimizer(
    name: str,
    learning_rate: float | Float[Array, ""],
    weight_decay: float | Float[Array, ""] | None,
    *,
    decay_everything: bool = True,
    **options: Any,
) -> optax.GradientTransformation:
    """Return an optax optimizer with weight decay.

    Rate and decay may be traced: they differ between the members of a fleet, while the
    structure of the optimizer's state does not.

    Args:
        name: one of OPTIMIZERS or `of_optax`, which gets the `options`.
        learning_rate: of this step.
        weight_decay: an optimizer that takes it (as adamw and lion, which decouple it)
            gets it, 0 for None, whatever optax would choose. For any other it is L2:
            times the parameter, it is added to the gradient, before the moments; None
            leaves it out.
        decay_everything: biases and normalisation decay too; otherwise only kernels,
            those that `masks.full` takes for some by name and rank.

    Raises ValueError for an optimizer whose own decay cannot be that of kernels alone.

    Example:
        >>> tx = optimizer("sgd", 0.1, 0.01, momentum=0.9)
        >>> params = {"w": jax.numpy.ones(1)}
        >>> tx.update(params, tx.init(params), params)[0]
        {'w': Array([-0.101], dtype=float32)}
    """
    make = named(name)
    kernels = None if decay_everything else _are_kernels
    takes = inspect.signature(make).parameters
    if "weight_decay" not in takes:
        descend = make(learning_rate, **options)
        if weight_decay is None:
            return descend
        decay = optax.add_decayed_weights(weight_decay, mask=kernels)
        return optax.chain(decay, descend)
    if kernels is not None:
        of = [mask for mask in ("mask", "weight_decay_mask") if mask in takes]
        if not of:
            raise ValueError(f"{name} cannot decay kernels alone (decay_everything)")
        options[of[0]] = kernels
    decay = 0.0 if weight_decay is None else weight_decay
    return make(learning_rate, weight_decay=decay, **options)


def _are_kernels(params: PyTree) -> PyTree:
    """Return whether each leaf is a kernel; attention's biases have rank 2, too."""
    paths = {*masks.kernels(params)}
    return jax.tree_util.tree_map_with_path(
        lambda path, w: masks.name(path) in paths, params
    )


def named(name: str) -> Callable[..., optax.GradientTransformation]:
    """Return what makes the optimizer of a name."""
    return OPTIMIZERS.get(name) or of_optax()[name]
