"""Task: what is learnt: the loss of each example, and how outputs are measured."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, PyTree

NO_LABEL = -1  # of a masked example or token, which counts for nothing

Batch = dict[str, PyTree]  # "inputs" and "targets", arrays with examples first
# Of each example a sum, and over how many it is one (by default 1).
Metric = Num[Array, " batch"] | tuple[Num[Array, " batch"], Num[Array, " batch"]]
Totals = dict[str, tuple[Num[Array, ""], Num[Array, ""]]]  # a sum and a count


class Unit(NamedTuple):
    """How a metric is shown, and what is better."""

    name: str = ""  # "%", "nats"
    factor: float = 1.0  # to multiply by before it is shown
    higher_is_better: bool = False  # then it is a share, and its error is 1 - it


@runtime_checkable
class Task(Protocol):
    """What is learnt; one of a user's own is a class with these four.

    Example: a network learns to return its inputs.
        >>> class Reconstruction:
        ...     units = {"squared_error": Unit()}
        ...     error = "squared_error"
        ...
        ...     def losses(self, outputs, batch):
        ...         return jnp.square(outputs - batch["inputs"]).mean(-1)
        ...
        ...     def metrics(self, outputs, batch):
        ...         return {"squared_error": self.losses(outputs, batch)}
        >>> batch = {"inputs": jnp.ones((2, 3)), "targets": jnp.zeros(2)}
        >>> check(Reconstruction(), jnp.zeros((2, 3)), batch)
        >>> means(totals(Reconstruction(), jnp.zeros((2, 3)), batch))
        {'squared_error': 1.0}
    """

    units: ClassVar[Mapping[str, Unit]]  # of the metrics, in their order
    error: ClassVar[str]  # the metric that matching and instability look at

    def losses(self, outputs: PyTree, batch: Batch) -> Float[Array, " batch"]:
        """Return the loss of every example, of which training lowers the mean."""
        ...

    def metrics(self, outputs: PyTree, batch: Batch) -> dict[str, Metric]:
        """Return every metric of every example, or its sum and its count there."""
        ...


def totals(
    task: Task,
    outputs: PyTree,
    batch: Batch,
    counts: Bool[Array, " batch"] | None = None,
) -> Totals:
    """Return sums of a batch's metrics, and their counts; some examples may not count.

    Example:
        >>> from lth_jax.tasks.classification import Classification
        >>> batch = {"targets": jnp.array([0, 2, NO_LABEL])}
        >>> right, examples = totals(Classification(), jnp.eye(3), batch)["accuracy"]
        >>> int(right), int(examples)
        (1, 2)
    """
    found = {}
    for name, metric in task.metrics(outputs, batch).items():
        several = isinstance(metric, tuple)
        pair = metric if several else (metric, jnp.ones(metric.shape, jnp.int32))
        if counts is not None:
            pair = tuple(jnp.where(counts, x, jnp.zeros((), x.dtype)) for x in pair)
        found[name] = tuple(x.sum() for x in pair)
    return found


def means(totals: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics as means, from sums and counts as of `totals`."""
    return {name: float(x) / max(1.0, float(n)) for name, (x, n) in totals.items()}


def error(task: Task, metrics: Mapping[str, float]) -> float:
    """Return a network's error by its metrics, the lower the better."""
    value = metrics[task.error]
    return 1 - value if task.units[task.error].higher_is_better else value


def about(task: Task) -> dict[str, Any]:
    """Return what reports know of a task, as JSON."""
    units = {name: list(unit) for name, unit in task.units.items()}
    return {"error": task.error, "units": units}


def check(task: Task, outputs: PyTree, batch: Batch) -> None:
    """Raise ValueError unless a task can use outputs; shapes and types alone matter."""
    examples = jax.tree.leaves(batch["inputs"])[0].shape[0]
    try:
        losses = jax.eval_shape(task.losses, outputs, batch)
        found = jax.eval_shape(task.metrics, outputs, batch)
    except (IndexError, KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{shapes(outputs)}: {problem}") from problem
    if getattr(losses, "shape", None) != (examples,):
        raise ValueError(
            f"losses: {shapes(losses)} of a batch of {examples}; it takes one an "
            "example"
        )
    if {*found} != {*task.units} or task.error not in found:
        raise ValueError(
            f"metrics are {', '.join(found)}, units of {', '.join(task.units)}, the "
            f"error is {task.error!r}: give each metric a unit, and name one as error"
        )
    for name, metric in found.items():
        for x in metric if isinstance(metric, tuple) else (metric,):
            if getattr(x, "shape", None) != (examples,):
                raise ValueError(
                    f"metric {name!r}: {shapes(x)} of a batch of {examples}"
                )


def shapes(tree: PyTree) -> str:
    """Return the types and shapes of arrays as text.

    >>> shapes({"a": np.zeros((2, 3))})
    "{'a': float64[2, 3]}"
    """

    class Text(str):
        __repr__ = str.__str__

    def text(x: Any) -> Text:
        sizes = ", ".join(map(str, np.shape(x)))
        return Text(f"{getattr(x, 'dtype', type(x).__name__)}[{sizes}]")

    return str(jax.tree.map(text, tree))
