"""Network: two pure functions, and how a Linen module becomes them."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from flax import linen as nn
from jaxtyping import Array, Key, PyTree


@runtime_checkable
class Network(Protocol):
    """What is trained: two pure functions.

    `params` is a tree of arrays that learn by gradients; `state` a tree of arrays that
    training changes otherwise (batch statistics), `{}` if there are none. Leaves are
    named by their path, as in masks. Where devices share a batch, statistics may be
    averaged over the axis "batch".

    Example: plain functions are one, too.
        >>> import jax.numpy as jnp
        >>> def init(key, inputs):
        ...     return {"w": jax.random.normal(key, (inputs.shape[-1], 10))}, {}
        >>> def apply(params, state, inputs, *, train, key):
        ...     return inputs @ params["w"], state
        >>> network = Functions(init, apply)
        >>> params, state = network.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> inputs = jnp.ones((2, 4))
        >>> network.apply(params, state, inputs, train=True, key=None)[0].shape
        (2, 10)
    """

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        """Return initial (params, state); of a batch of inputs, only shapes matter."""
        ...

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        """Return (outputs, state after them); the key is of dropout, None without."""
        ...


@dataclasses.dataclass(frozen=True)
class Functions:
    """A network of two plain functions, as of `Network`."""

    init: Callable[..., tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[PyTree, PyTree]]


def with_fields(network: Network, **fields: Any) -> Network:
    """Return a network with other values of those of these fields that it has."""
    has: Mapping[str, Any] = getattr(network, "fields", {})
    changed = {name: value for name, value in fields.items() if name in has}
    return network.clone(**changed) if changed else network  # pyright: ignore


def alone(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is mapped over the axis "batch" as on one device."""
    mapped = jax.vmap(work, in_axes=None, axis_size=1, axis_name="batch")
    return lambda *arguments: jax.tree.map(lambda x: x[0], mapped(*arguments))


def over(network: Network, axis: str | None) -> Network:
    """Return a network with statistics over an axis, or, with None, of its own.

    A network that has no field `axis_name` may name the axis "batch" itself: by itself,
    it is given one.
    """
    if "axis_name" in getattr(network, "fields", {}):
        return with_fields(network, axis_name=axis)
    return network if axis else _Alone(network)


@dataclasses.dataclass(frozen=True)
class _Alone:
    network: Network

    @property
    def fields(self) -> Mapping[str, Any]:
        return getattr(self.network, "fields", {})

    @property
    def gains(self) -> Sequence[str]:
        return getattr(self.network, "gains", ())

    def clone(self, **fields: Any) -> "_Alone":
        return _Alone(with_fields(self.network, **fields))

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        return alone(self.network.init)(key, inputs)

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        def apply(params: PyTree, state: PyTree, inputs: PyTree, key: Any) -> Any:
            return self.network.apply(params, state, inputs, train=train, key=key)

        return alone(apply)(params, state, inputs, key)


def as_network(made: Any) -> Network:
    """Return what is a network already, or a Linen module as one; else ValueError."""
    if isinstance(made, nn.Module):
        return linen(made)
    is_haiku = type(made).__name__ in ("Transformed", "TransformedWithState")
    if isinstance(made, type) or is_haiku or not isinstance(made, Network):
        raise ValueError(
            f"{made!r} is no network: give a Linen module, what models.nnx, .equinox "
            "or .haiku return, or an object with the functions `init` and `apply`"
        )
    return made


def linen(
    module: nn.Module, collections: tuple[str, ...] = ("batch_stats",)
) -> Network:
    """Make a network of a Flax Linen module, which is called with inputs.

    Where it takes `train` (or `training`, `is_training`, `deterministic`), it is told.
    Its dropout has the key "dropout".

    Args:
        module: unbound; what is no field of it is never changed.
        collections: those beside "params"; the state is the only one's tree, or each by
            name.
    """
    return _Linen(module, collections)


@dataclasses.dataclass(frozen=True)
class _Linen:
    module: nn.Module
    collections: tuple[str, ...]

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @property
    def fields(self) -> dict[str, Any]:
        names = {f.name for f in dataclasses.fields(self.module)} - {"parent", "name"}
        return {name: getattr(self.module, name) for name in names}

    def clone(self, **fields: Any) -> "_Linen":
        return dataclasses.replace(self, module=self.module.clone(**fields))

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        keys = {"params": key, "dropout": jax.random.fold_in(key, 0)}
        told: dict[str, Any] = mode(self.module.__call__, False)
        variables = self.module.init(keys, inputs, **told)
        found = {name: variables.get(name, {}) for name in self.collections}
        if extra := sorted(variables.keys() - {"params", *self.collections}):
            raise ValueError(f"collection {extra[0]!r} is not among {self.collections}")
        return variables["params"], self._joined(found)

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        (first, *others) = self.collections
        variables = {"params": params} | (state if others else {first: state})
        told: dict[str, Any] = mode(self.module.__call__, train)
        if not train:
            return self.module.apply(variables, inputs, **told), state
        outputs, updates = self.module.apply(
            variables,
            inputs,
            **told,
            mutable=[*self.collections],
            rngs=None if key is None else {"dropout": key},
        )
        return outputs, self._joined({n: updates.get(n, {}) for n in self.collections})

    def _joined(self, found: dict[str, PyTree]) -> PyTree:
        return found if len(found) > 1 else found[self.collections[0]]


def mode(call: Callable[..., Any], train: bool) -> dict[str, bool]:
    """Return the argument by which a call is told whether it trains, if it has one."""
    told = {name: train for name in ("train", "training", "is_training")}
    told |= {"deterministic": not train}
    taken = inspect.signature(call).parameters
    return {name: value for name, value in told.items() if name in taken}
