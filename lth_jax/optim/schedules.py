"""Schedules of the learning rate, by name."""

import dataclasses
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

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
        >>> wave = Schedule("cosine_decay_schedule", 0.1, 10, options={"alpha": 0.1})
        >>> [round(float(wave(i)), 3) for i in (0, 5, 10)]
        [0.1, 0.055, 0.01]
    """

    name: str  # one of SCHEDULES or `of_optax`
    learning_rate: float  # the initial and highest
    length: int  # steps of the whole training
    milestones: tuple[int, ...] = ()  # "step": from here on the rate is multiplied
    gamma: float = 0.1  # "step": by this
    # "linear", "cosine", "exponential" (above 0): the rate at `length`
    end_value: float = 0.0
    warm_up: int = 0  # step i has i / warm_up of its rate, so that the first has 0
    # Arguments of one of optax; what it takes of the above, it gets from there.
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, step: int | Int[Array, ""]) -> Float[Array, ""]:
        rate = self._made()(jnp.minimum(step, self.length))
        if self.warm_up:
            rate *= jnp.minimum(1.0, step / self.warm_up)
        return jnp.asarray(rate, jnp.float32)

    def _made(self) -> optax.Schedule:
        """Return the schedule of optax; ValueError for options it does not take."""
        make, given = named(self.name), {}
        if self.name in SCHEDULES:
            make = partial(make, self)
        else:
            given = self._known(inspect.signature(make).parameters)
        given |= {name: _decoded(value) for name, value in self.options.items()}
        takes = inspect.signature(make)
        try:
            takes.bind(**given)
        except TypeError as error:
            names = ", ".join(takes.parameters) or "none"
            raise ValueError(f"{error}; {self.name} takes {names}") from error
        return make(**given)

    def _known(self, takes: Iterable[str]) -> dict[str, Any]:
        """Return what is known of the arguments that a schedule of optax takes."""
        warms_up = "peak_value" in takes  # from 0, as `warm_up` does
        known = {
            "value": self.learning_rate,
            "init_value": 0.0 if warms_up else self.learning_rate,
            "peak_value": self.learning_rate,
            "end_value": self.end_value,
            "decay_steps": self.length,
            "transition_steps": self.length,
        }
        return {name: value for name, value in known.items() if name in takes}


def _decoded(value: Any) -> Any:
    """Return a dict by step with steps that are numbers: those of JSON are texts."""
    if isinstance(value, Mapping) and all(key.isdecimal() for key in value):
        return {int(key): x for key, x in value.items()}
    return value


# From a `Schedule`, and its options, to one of optax.
SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": lambda s: optax.constant_schedule(s.learning_rate),
    "step": lambda s: optax.piecewise_constant_schedule(
        s.learning_rate, {k: s.gamma**n for k, n in Counter(s.milestones).items()}
    ),
    "linear": lambda s: optax.linear_schedule(s.learning_rate, s.end_value, s.length),
    "exponential": lambda s: optax.exponential_decay(
        s.learning_rate, s.length, s.end_value / s.learning_rate
    ),
    "cosine": lambda s: optax.cosine_decay_schedule(
        s.learning_rate, s.length, s.end_value / s.learning_rate
    ),
}


@cache
def of_optax() -> dict[str, Callable[..., optax.Schedule]]:
    """Return the functions of optax that are called `..._schedule`, by name."""
    return {
        name: made
        for name, made in vars(optax).items()
        if inspect.isfunction(made) and re.fullmatch(r"(?!scale_by).*_schedule", name)
    }


def named(name: str) -> Callable[..., optax.Schedule]:
    """Return what makes the schedule of a name."""
    return SCHEDULES.get(name) or of_optax()[name]
