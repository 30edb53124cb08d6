"""Soundness: whether a network, a task and data go together, before anything runs."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PyTree

from lth_jax.config.fields import field
from lth_jax.data.dataset import Split
from lth_jax.errors import ConfigError
from lth_jax.layers.summary import batch_of
from lth_jax.models.network import Network, alone
from lth_jax.tasks import task as task_lib
from lth_jax.tasks.task import Task

if TYPE_CHECKING:
    from lth_jax.train.inputs import Inputs
    from lth_jax.train.state import TrainState

_EXAMPLES = 2


def check(network: Network, task: Task, input: "Inputs", initial: "TrainState") -> None:
    """Raise ConfigError unless a network can learn a task from data.

    Args:
        network, task, input: of the run.
        initial: shapes and types of a network's state.
    """
    examples = _EXAMPLES * (getattr(network, "fields", {}).get("norm_group") or 1)
    inputs = batch_of(examples, input.feed.example)
    targets = batch_of(examples, _target(input))
    of = initial.params, initial.batch_stats, inputs, jax.random.key(0)
    outputs = None
    for train in (True, False):
        with field("model", Exception):
            outputs, after = _traced(network, train, *of)
        _check_state(initial.batch_stats, after)
        with field("task", Exception):
            task_lib.check(task, outputs, {"inputs": inputs, "targets": targets})
    for name, split in input.splits.items() if hasattr(task, "check_targets") else ():
        if isinstance(split, Split):
            with field(f"data ({name})"):
                task.check_targets(split.targets, outputs)  # pyright: ignore


def _target(input: "Inputs") -> PyTree:
    """Return the shapes and types of an example's targets."""
    train = input.splits["train"]
    if not isinstance(train, Split):  # the label of an image on disk
        return jax.ShapeDtypeStruct((), np.int32)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), train.targets
    )


def _traced(network: Network, train: bool, *of: Any) -> tuple[PyTree, PyTree]:
    """Return shapes and types of (outputs, state), or raise ValueError if not pure."""

    def apply(params: PyTree, state: PyTree, inputs: PyTree, key: Any) -> Any:
        key = key if train else None
        return network.apply(params, state, inputs, train=train, key=key)

    programs = [jax.make_jaxpr(alone(apply), return_shape=True)(*of) for _ in range(2)]
    (one, made), (other, _) = programs
    same = str(one.jaxpr) == str(other.jaxpr) and len(one.consts) == len(other.consts)
    if not same or not all(map(_equal, one.consts, other.consts)):
        raise ValueError(
            "the network is not a pure function: a second call with the same key "
            "differs; draw from `key`, and keep what changes in its state"
        )
    return made


def _equal(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(np.asarray(a), np.asarray(b))


def _check_state(before: PyTree, after: PyTree) -> None:
    """Raise ConfigError unless a network returns a state like that of `init`."""
    trees = [
        jax.tree.map(lambda x: (x.shape, str(x.dtype)), x) for x in (before, after)
    ]
    if trees[0] != trees[1]:
        made, found = (task_lib.shapes(x) for x in (before, after))
        raise ConfigError(
            f"config.model: apply returns another state than init: {found}, not {made}"
        )
