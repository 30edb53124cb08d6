"""Tasks: what networks are trained for, by name: losses, metrics and their error."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lth_jax.errors import ConfigError
from lth_jax.tasks.classification import Classification
from lth_jax.tasks.regression import Regression
from lth_jax.tasks.sequence import Sequence
from lth_jax.tasks.task import NO_LABEL, Task, Unit

__all__ = [
    "NO_LABEL",
    "TASKS",
    "Classification",
    "Regression",
    "Sequence",
    "Task",
    "Unit",
    "create",
]

# Whatever returns a task. What is bound here is what the name means.
TASKS: dict[str, Callable[..., Task]] = {
    "classification": Classification,
    "regression": Regression,
    "sequence": Sequence,
}


def create(name: str, options: Mapping[str, Any], **common: Any) -> Task:
    """Create a task by name, with options, and those of common ones that it takes.

    Example:
        >>> create("classification", {}, label_smoothing=0.1, aux_weight=0.4)
        Classification(label_smoothing=0.1, aux_weight=0.4)
    """
    make = TASKS[name]
    taken = inspect.signature(make).parameters
    if common.get("label_smoothing") and "label_smoothing" not in taken:
        raise ConfigError(
            f"config.optim.label_smoothing: task {name!r} does not take it; leave it 0"
        )
    found = make(**{n: x for n, x in common.items() if n in taken} | dict(options))
    if not isinstance(found, Task):
        raise ValueError(f"{name!r} is no task: it has losses, metrics, units, error")
    return found
