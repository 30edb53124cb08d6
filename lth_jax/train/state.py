"""State: everything that training one network changes or depends on."""

import dataclasses
from functools import partial
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params
from lth_jax.models.network import Network, alone

# What a replicate's key is folded with, one number a purpose.
INITIALISATION, DATA, DATA_AGAIN, BRANCH, PRUNING, LEVEL, MATCHING = range(7)


@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Proximal:
    """The proximal term of ADMM, strength / 2 * |W - target + dual|^2."""

    target: Params  # Z, sparse
    dual: Params  # U, scaled
    strength: Float[Array, ""]  # rho
    updates: Int[Array, ""]  # Z- and U-steps taken


@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Course:
    """How a network trains whose masks move, or whose schedule is stretched."""

    stretch: Float[Array, ""]  # steps for a step of the schedule
    # How many weights each layer is to keep in the end; None where masks do not move.
    goal: PyTree
    since: Int[Array, ""]  # step at which masks moved last, or training began
    spent: PyTree  # sum, over the steps before that, of a layer's density; as masks


@no_type_check  # JAX also builds states of stacked arrays, shapes and shardings
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """One member: a network under its masks, on its way through training.

    Whatever differs between the members of a fleet is an array in here, so that any
    mixture of replicates, branches, copies and hyperparameters is one program.
    """

    step: Int[Array, ""]  # steps taken while the loss was finite: rate and data follow
    params: Params  # exactly 0 where the mask is False
    batch_stats: Any  # the state of the network: running statistics, or {}
    opt_state: optax.OptState  # moments, exactly 0 where the mask is False
    masks: Masks  # True: kept; None: never pruned
    data_seed: UInt32[Array, ""]  # with the step: order and augmentation of examples
    loss: Float[Array, ""]  # sum of the training losses, since `loss_from`
    loss_from: Int[Array, ""]  # step at which the loss was last set to 0
    learning_rate: Float[Array, ""]  # factor on the schedule
    weight_decay: Float[Array, ""] | None = None  # L2; None (not 0) if none has one
    proximal: Proximal | None = None  # what ADMM draws prunable weights to
    # Moving averages of `params` and `batch_stats`, by these names, 0 where pruned.
    average: dict[str, Params] | None = None
    course: Course | None = None


@partial(
    jax.jit,
    static_argnames=("network", "optimizer", "exclude", "include", "average"),
)
def create(
    key: Key[Array, ""],
    inputs: PyTree,
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    exclude: tuple[str, ...] = (),
    include: tuple[str, ...] = (),
    average: bool = False,
    **swept: float | Float[Array, ""],
) -> TrainState:
    """Return the dense state at step 0 (S_0) of one replicate.

    Args:
        key: the replicate's, of which initialisation and data order derive.
        inputs: a batch of one; only its shapes matter to most networks.
        network, optimizer: whose parameters and moments to initialise.
        exclude, include: as of `masks.full`, which raises ValueError.
        average: it keeps moving averages, too.
        swept: hyperparameters in which members may differ, by their name in the state.
    """
    params, batch_stats = alone(network.init)(
        jax.random.fold_in(key, INITIALISATION), inputs
    )
    created = TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        masks=masks_lib.full(params, exclude, include, getattr(network, "gains", ())),
        data_seed=data_seed(key, copy=0),
        loss=jnp.float32(0),
        loss_from=jnp.int32(0),
        **{
            name: jnp.float32(value)
            for name, value in ({"learning_rate": 1} | swept).items()
        },
    )
    return with_average(created) if average else created


def with_average(state: TrainState) -> TrainState:
    """Return a state whose moving averages begin at what it is."""
    begun = {name: getattr(state, name) for name in ("params", "batch_stats")}
    return dataclasses.replace(state, average=begun)


def on_course(state: TrainState, goal: PyTree, stretch: int | float) -> TrainState:
    """Return a state whose masks begin to move, or whose schedule is stretched.

    Args:
        state: where its training begins.
        goal: as of `Course`.
        stretch: as many times as many steps the schedule takes.
    """
    course = Course(
        stretch=jnp.float32(stretch),
        goal=goal,
        since=state.step,
        spent=jax.tree.map(lambda m: jnp.float32(0), state.masks),
    )
    return dataclasses.replace(state, course=course)


def evaluated(state: TrainState) -> TrainState:
    """Return a state with its moving averages, if it has some, in place of its own."""
    return dataclasses.replace(state, **state.average or {}, average=None)


def data_seed(key: Key[Array, ""], copy: int, purpose: int = DATA) -> UInt32[Array, ""]:
    """Return the seed of a copy's data order, from its replicate's key.

    The purpose DATA_AGAIN is to train weights that were trained before.
    """
    return jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, purpose), copy))
