"""State: everything that training one network changes or depends on."""

import dataclasses
from functools import partial
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key, UInt32

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params

# What a replicate's key is folded with, one number a purpose.
INITIALISATION, DATA, DATA_AGAIN, BRANCH, PRUNING = range(5)


@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Proximal:
    """The proximal term of ADMM, strength / 2 * |W - target + dual|^2.

    Attributes:
        target: Z, sparse, shaped like the parameters.
        dual: U, scaled.
        strength: rho.
        updates: Z- and U-steps taken.
    """

    target: Params
    dual: Params
    strength: Float[Array, ""]
    updates: Int[Array, ""]


@no_type_check  # JAX also builds states of stacked arrays, shapes and shardings
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """One member: a network under its masks, on its way through training.

    Whatever differs between the members of a fleet is an array in here, so that any
    mixture of replicates, branches, copies and hyperparameters is one program.

    Attributes:
        step: training steps taken, as long as the loss was finite; the learning rate
            and the data are functions of it.
        params: parameters, exactly 0 where the mask is False.
        batch_stats: running statistics of batch normalisation, or {}.
        opt_state: the optimizer's moments, exactly 0 where the mask is False.
        masks: True where a weight is kept, None where a parameter is never pruned.
        data_seed: with the step, decides the order of examples and their augmentation.
        learning_rate: factor on the schedule.
        weight_decay: L2 coefficient; None (not 0) if no member uses it.
        loss: sum of the training losses, in nats, since step `loss_from`.
        loss_from: step at which the loss was last set to 0.
        proximal: what prunable weights are drawn to (ADMM), or None.
    """

    step: Int[Array, ""]
    params: Params
    batch_stats: Any
    opt_state: optax.OptState
    masks: Masks
    data_seed: UInt32[Array, ""]
    learning_rate: Float[Array, ""]
    weight_decay: Float[Array, ""] | None
    loss: Float[Array, ""]
    loss_from: Int[Array, ""]
    proximal: Proximal | None = None


@partial(jax.jit, static_argnames=("model", "optimizer", "shape", "exclude"))
def create(
    key: Key[Array, ""],
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    exclude: tuple[str, ...] = (),
    learning_rate: float | Float[Array, ""] = 1.0,
    weight_decay: float | Float[Array, ""] | None = None,
) -> TrainState:
    """Return the dense state at step 0 (S_0) of one replicate.

    Args:
        key: the replicate's key; initialisation and data order derive from it.
        model: network to initialise.
        optimizer: whose moments to initialise.
        shape: of one example: (height, width, channels).
        exclude: regular expressions for the paths of parameters never to be pruned.
        learning_rate: factor on the schedule.
        weight_decay: L2 coefficient; None leaves it out.

    Raises:
        ValueError: a pattern in `exclude` matches nothing.
    """
    variables = model.init(
        jax.random.fold_in(key, INITIALISATION), jnp.zeros((1, *shape)), train=False
    )
    params = variables["params"]
    return TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        masks=masks_lib.full(params, exclude),
        data_seed=data_seed(key, copy=0),
        learning_rate=jnp.float32(learning_rate),
        weight_decay=None if weight_decay is None else jnp.float32(weight_decay),
        loss=jnp.float32(0),
        loss_from=jnp.int32(0),
    )


def data_seed(key: Key[Array, ""], copy: int, purpose: int = DATA) -> UInt32[Array, ""]:
    """Return the seed of a copy's data order: equal keys and copies, equal batches.

    Args:
        key: the replicate's key.
        copy: number of the copy.
        purpose: DATA, or DATA_AGAIN to train weights that were trained before.
    """
    return jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, purpose), copy))
