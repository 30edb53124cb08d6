"""Optimizers and schedules, by name."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step; after `length` it stays.

    Example:
        >>> rate = Schedule("step", 0.1, length=100, milestones=(20,), warm_up=10)
        >>> [round(float(rate(i)), 3) for i in (0, 5, 10, 19, 20, 99)]
        [0.0, 0.05, 0.1, 0.1, 0.01, 0.01]
        >>> fall = Schedule("exponential", 0.1, length=10, end_value=0.001)
        >>> [round(float(fall(i)), 3) for i in (5, 10, 20)]
        [0.01, 0.001, 0.001]
    """

    name: str  # one of SCHEDULES
    learning_rate: float  # the initial and highest
    length: int  # steps of the whole training
    milestones: tuple[int, ...] = ()  # "step": from here on the rate is multiplied
    gamma: float = 0.1  # "step": by this
    end_value: float = 0.0  # "linear", "exponential" (above 0): the rate at `length`
    warm_up: int = 0  # step i has i / warm_up of its rate, so that the first has 0

    def __call__(self, step: int | Int[Array, ""]) -> Float[Array, ""]:
        rate = SCHEDULES[self.name](self)(jnp.minimum(step, self.length))
        if self.warm_up:
            rate *= jnp.minimum(1.0, step / self.warm_up)
        return jnp.asarray(rate, jnp.float32)


SCHEDULES: dict[str, Callable[[Schedule], optax.Schedule]] = {
    "constant": lambda s: optax.constant_schedule(s.learning_rate),
    "step": lambda s: optax.piecewise_constant_schedule(
        s.learning_rate, dict.fromkeys(s.milestones, s.gamma)
    ),
    "linear": lambda s: optax.linear_schedule(s.learning_rate, s.end_value, s.length),
    "exponential": lambda s: optax.exponential_decay(
        s.learning_rate, s.length, s.end_value / s.learning_rate
    ),
}

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
}


def optimizer(
    name: str,
    learning_rate: float | Float[Array, ""],
    weight_decay: float | Float[Array, ""] | None,
    *,
    decay_everything: bool = True,
    **options: Any,
) -> optax.GradientTransformation:
    """Return an optax optimizer with L2 weight decay.

    Rate and decay may be traced: they differ between the members of a fleet, while the
    structure of the optimizer's state does not.

    Args:
        name: one of OPTIMIZERS, which gets the `options`.
        learning_rate: of this step.
        weight_decay: times the parameter it is added to the gradient, before the
            moments; None leaves it out.
        decay_everything: biases and normalisation decay too; otherwise only kernels.

    Example:
        >>> tx = optimizer("sgd", 0.1, 0.01, momentum=0.9)
        >>> params = {"w": jnp.ones(1)}
        >>> tx.update({"w": jnp.ones(1)}, tx.init(params), params)[0]
        {'w': Array([-0.101], dtype=float32)}
    """
    descend = OPTIMIZERS[name](learning_rate, **options)
    if weight_decay is None:
        return descend
    kernels = None if decay_everything else partial(jax.tree.map, lambda w: w.ndim >= 2)
    return optax.chain(optax.add_decayed_weights(weight_decay, mask=kernels), descend)
