"""Descent: the optimizer and the schedule that a config names."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from lth_jax import masks as masks_lib
from lth_jax import rewind
from lth_jax.config.fields import field, known
from lth_jax.errors import ConfigError
from lth_jax.masks import Params
from lth_jax.optim import optimizers, schedules
from lth_jax.optim.optimizers import OPTIMIZERS
from lth_jax.optim.schedules import SCHEDULES, Schedule
from lth_jax.sparse import sparse_optimizer

if TYPE_CHECKING:
    from lth_jax.train.state import TrainState

_PROBED = 20  # steps: what some do every tenth is among them

Make = Callable[..., optax.GradientTransformation]


def check_names(config: ConfigDict) -> None:
    """Raise ConfigError unless optimizer and schedule are known."""
    more = optimizers.of_optax()
    known("optim.name", config.optim.name, OPTIMIZERS, more, "any of optax")
    more = schedules.of_optax()
    known("optim.schedule", config.optim.schedule, SCHEDULES, more, "any of optax")


def schedule(config: ConfigDict, steps: Mapping[str, Any]) -> Schedule:
    """Return the schedule of the learning rate, whose lengths are in steps.

    Raises ConfigError for options that it does not take, or needs.
    """
    optim = config.optim
    made = Schedule(
        optim.schedule,
        optim.learning_rate,
        length=steps["train.length"],
        milestones=steps["optim.milestones"],
        gamma=optim.gamma,
        end_value=optim.end_value,
        warm_up=steps["optim.warm_up"],
        options=optim.schedule_options.to_dict(),
    )
    with field("optim.schedule_options", Exception):
        jax.eval_shape(made, jnp.int32(0))
    return made


def weight_decay(config: ConfigDict) -> float | None:
    """Return the weight decay of the config; None if no member has one."""
    decay = float(config.optim.weight_decay)
    return decay if decay or any(config.sweep.weight_decay) else None


def optimizer(config: ConfigDict) -> Make:
    """Return what makes the optimizer of a rate and a weight decay.

    Raises ConfigError for options that it does not take.
    """
    if "weight_decay" in config.optim.options:
        raise ConfigError(
            "config.optim.options: weight_decay stands in config.optim.weight_decay"
        )
    make = partial(
        optimizers.optimizer,
        config.optim.name,
        decay_everything=config.optim.decay_everything,
        **config.optim.options,
    )
    with _named(config):
        make(config.optim.learning_rate, weight_decay(config))
    return make


def check(config: ConfigDict, state: "TrainState") -> None:
    """Raise ConfigError for an optimizer that cannot train such a state.

    Rate and decay are traced, as in a step of training; nothing is compiled.
    """
    make = optimizer(config)

    def step(state: "TrainState") -> tuple[Params, optax.OptState]:
        params, begun = rewind.to((state.params, state.opt_state), state.masks)
        descend = make(state.learning_rate, state.weight_decay)
        return descend.update(params, begun, params)

    with _named(config):
        found = jax.eval_shape(step, state)
        for new, name in zip(found, ("params", "opt_state")):
            if _shapes(new) != _shapes(getattr(state, name)):
                raise ValueError(f"{name} would change in shape or type")


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: f"{x.dtype}{x.shape}", tree)


def guard(config: ConfigDict) -> Make | None:
    """Return what keeps pruned weights and moments at 0, where the optimizer may not.

    A weight that is 0 and has no gradient stays so with sgd; muon moves it, and adamax
    gives it a moment. That is measured of a few weights of every rank, since optimizers
    of optax depend on no more. A user's own may know parameters by their names.

    Raises ConfigError for an optimizer whose moments cannot be put under masks.
    """
    make = optimizers.named(config.optim.name)
    if make not in optimizers.of_optax().values():
        return sparse_optimizer
    options = config.optim.options.to_dict()
    options["decay_everything"] = config.optim.decay_everything
    given = json.dumps({"weight_decay": weight_decay(config), **options})
    with _named(config):
        return (
            None if _keeps_zeros(make, config.optim.name, given) else sparse_optimizer
        )


@cache
def _keeps_zeros(made: Callable[..., Any], name: str, given: str) -> bool:
    """Return whether an optimizer, which `name` means now, leaves what is pruned at 0.

    Compiling this takes a moment: once for all experiments of a process.
    """
    del made
    rng = np.random.default_rng(0)
    shapes = [(3,), (3, 3), (3, 3, 3), (3, 3, 1, 3)]
    weights, slopes = ([rng.normal(size=s).astype("f4") for s in shapes] for _ in "ab")
    # No row or column is pruned alone.
    masks = [np.arange(w.size).reshape(w.shape) % 4 != 1 for w in weights]
    tx = optimizers.optimizer(name, 0.01, **json.loads(given))

    def step(i: Array, carry: PyTree) -> PyTree:
        params, state = carry
        grads = masks_lib.apply([g * jnp.cos(i + g) for g in slopes], masks)
        changes, state = tx.update(grads, state, params)
        return optax.apply_updates(params, changes), state

    @jax.jit
    def train() -> Array:
        start = rewind.to((weights, tx.init(weights)), masks)
        end = lax.fori_loop(0, _PROBED, step, start)
        pairs = zip(jax.tree.leaves(end), rewind.over(end, masks))
        return jnp.stack([jnp.all(m | (x == 0)) for x, m in pairs if m is not None])

    return bool(train().all())


def _named(config: ConfigDict) -> AbstractContextManager[None]:
    """Name the optimizer's options, if it has some, in what it raises; or itself."""
    return field("optim.options" if config.optim.options else "optim.name", Exception)
