"""Frameworks: networks of NNX, Equinox and Haiku as two pure functions.

Each framework is imported where it is used.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from lth_jax import masks as masks_lib
from lth_jax.models.network import Network, mode


def nnx(make: Callable[..., Any], **fields: Any) -> Network:
    """Make a network of a Flax NNX module.

    Params are its `nnx.Param`s; the state is its other variables, as batch statistics.
    Modes are set by its `train()` and `eval()`, and its `Rngs` hold new keys for each
    step, so that nothing of a call is left in the module.

    Args:
        make: the module's class, or a function of `rngs`.
        fields: other arguments of it.
    """
    return _Nnx(make, tuple(sorted(fields.items())))


@dataclasses.dataclass(frozen=True)
class _Nnx:
    make: Callable[..., Any]
    options: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.options)

    def clone(self, **fields: Any) -> "_Nnx":
        return nnx(self.make, **self.fields | fields)  # pyright: ignore

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        from flax import nnx as flax_nnx

        del inputs  # the module knows their shape
        dropout, other = (jax.random.fold_in(key, i) for i in range(2))
        rngs = flax_nnx.Rngs(other, params=key, dropout=dropout)
        _, params, _, rest = self._split(self.make(rngs=rngs, **self.fields))
        return flax_nnx.to_pure_dict(params), flax_nnx.to_pure_dict(rest)

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        from flax import nnx as flax_nnx

        graph, *empty = self._abstract[train]
        parts = [_filled(*pair) for pair in zip(empty, (params, None, state))]
        parts[1] = _seeded(empty[1], jax.random.key(0) if key is None else key)
        module = flax_nnx.merge(graph, *parts)
        outputs = module(inputs, **mode(type(module).__call__, train))
        return outputs, flax_nnx.to_pure_dict(self._split(module)[3])

    @cached_property
    def _abstract(self) -> dict[bool, tuple[Any, ...]]:
        from flax import nnx as flax_nnx

        make = lambda: self.make(rngs=flax_nnx.Rngs(0), **self.fields)  # noqa: E731
        found = {}
        for train in (True, False):
            module = flax_nnx.eval_shape(make)
            (module.train if train else module.eval)()
            found[train] = self._split(module)
        return found

    @staticmethod
    def _split(module: Any) -> tuple[Any, ...]:
        from flax import nnx as flax_nnx

        return flax_nnx.split(module, flax_nnx.Param, flax_nnx.RngState, ...)


def _filled(empty: Any, values: PyTree) -> Any:
    """Return a state of NNX with these values in place of its own."""
    from flax import nnx as flax_nnx

    if values is None:
        return empty
    filled = jax.tree.map(lambda x: x, empty)
    flax_nnx.replace_by_pure_dict(filled, values)
    return filled


def _seeded(empty: Any, key: Key[Array, ""]) -> Any:
    """Return the state of random generators at their start, each of its own key."""
    leaves, tree = jax.tree.flatten(empty)
    seeded = []
    for i, leaf in enumerate(leaves):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        own = jax.random.fold_in(key, i)
        keys = jax.random.split(own, leaf.shape) if leaf.shape else own
        seeded.append(keys if is_key else jnp.zeros(leaf.shape, leaf.dtype))
    return jax.tree.unflatten(tree, seeded)


def equinox(make: Callable[..., Any], **fields: Any) -> Network:
    """Make a network of an Equinox module, which is called with one example.

    It is mapped over the batch, by an axis "batch", which its `BatchNorm`s name. Params
    are its floating-point arrays, by the paths that Equinox shows; with
    `eqx.nn.make_with_state`, the state is that of its `State`. In evaluation it is in
    inference mode.

    Args:
        make: of `key`; returns a module, or a module and its `eqx.nn.State`.
        fields: other arguments of it.
    """
    return _Equinox(make, tuple(sorted(fields.items())))


@dataclasses.dataclass(frozen=True)
class _Equinox:
    make: Callable[..., Any]
    options: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def gains(self) -> list[str]:
        """Paths of what would be a kernel, but for the class of its layer."""
        leaves, tree, *_ = self._abstract
        module, *_ = jax.tree.unflatten(tree, leaves)
        found = masks_lib.kernels(self._parted(leaves)[0])
        return sorted({*found} - {*masks_lib.kernels(module)})

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        del inputs  # the module knows their shape
        return self._parted(jax.tree.leaves(self._made(key)))

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        import equinox as eqx

        empty, tree, parts, names = self._abstract
        found = dict(masks_lib.leaves(params)), dict(masks_lib.leaves(state))
        leaves = [
            x if part is None else found[part][name]
            for x, part, name in zip(empty, parts, names)
        ]
        module, *stateful = jax.tree.unflatten(tree, leaves)
        module = eqx.nn.inference_mode(module, value=not train)
        takes_key = "key" in inspect.signature(type(module).__call__).parameters
        if key is not None:
            key = jax.random.split(key, jax.tree.leaves(inputs)[0].shape[0])

        def one(x: PyTree, key: Any) -> Any:
            return module(x, *stateful, **({"key": key} if takes_key else {}))

        axes = (0, None) if stateful else 0
        outputs = jax.vmap(one, axis_name="batch", out_axes=axes)(inputs, key)
        if not stateful:
            return outputs, state
        outputs, after = outputs
        return outputs, self._parted(jax.tree.leaves((module, after)))[1]

    def _parted(self, leaves: list[Any]) -> tuple[PyTree, PyTree]:
        """Return what learns and the other arrays, by their paths."""
        found: tuple[PyTree, PyTree] = ({}, {})
        for leaf, part, name in zip(leaves, *self._abstract[2:]):
            if part is not None:
                *folders, last = name.split("/")
                inner = found[part]
                for folder in folders:
                    inner = inner.setdefault(folder, {})
                inner[last] = leaf
        return found

    @cached_property
    def _abstract(self) -> tuple[list[Any], Any, list[int | None], list[str]]:
        """Return leaves and structure; which part a leaf is in, and its name there."""
        import equinox as eqx

        made = eqx.filter_eval_shape(self._made, jax.random.key(0))
        pairs, tree = jax.tree_util.tree_flatten_with_path(made)
        parts: list[int | None] = []
        for path, leaf in pairs:
            is_float = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.inexact)
            learns = path[0].idx == 0 and is_float
            is_array = isinstance(leaf, jax.ShapeDtypeStruct)
            parts.append(int(not learns) if is_array else None)
        names = [masks_lib.name(path[1:]) for path, _ in pairs]
        return [leaf for _, leaf in pairs], tree, parts, names

    def _made(self, key: Key[Array, ""]) -> tuple[Any, ...]:
        made = self.make(key=key, **dict(self.options))
        return made if isinstance(made, tuple) else (made,)


def haiku(transformed: Any) -> Network:
    """Make a network of a function that Haiku has transformed, with state or without.

    It is called with inputs, and told by `is_training`, which it must take.
    """
    return _Haiku(transformed)


@dataclasses.dataclass(frozen=True)
class _Haiku:
    transformed: Any

    def init(self, key: Key[Array, ""], inputs: PyTree) -> tuple[PyTree, PyTree]:
        made = self.transformed.init(key, inputs, is_training=True)
        return made if self._has_state else (made, {})

    def apply(
        self, params: PyTree, state: PyTree, inputs: PyTree, *, train: bool, key: Any
    ) -> tuple[PyTree, PyTree]:
        if not self._has_state:
            found = self.transformed.apply(params, key, inputs, is_training=train)
            return found, state
        return self.transformed.apply(params, state, key, inputs, is_training=train)

    @property
    def _has_state(self) -> bool:
        return type(self.transformed).__name__ == "TransformedWithState"
