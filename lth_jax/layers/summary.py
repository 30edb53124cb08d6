"""What each layer of a network costs, without computing anything."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from jax.extend.core import Jaxpr
from jaxtyping import PyTree

from lth_jax import masks as masks_lib
from lth_jax.layers import products
from lth_jax.models.network import Network, alone

Shape = tuple[int, ...]
COLUMNS = ("layer", "output", "parameters", "prunable", "multiply-adds")
_EXAMPLES = 2  # with one, a bias has the shape of what it is added to


class Layer(NamedTuple):
    """One module with parameters of its own, however often it is called."""

    path: str  # names of the modules, joined with '/'
    output_shape: Shape  # of its first call, for one example
    parameters: int
    prunable: int  # parameters that have a mask
    multiply_adds: int  # multiplications by parameters for one example
    weights: dict[str, int]  # the same by path of the parameter


def layers(
    network: Network, example: PyTree, masks: PyTree | None = None
) -> list[Layer]:
    """List the layers of a network, those of Linen in the order of their calls.

    An auxiliary head is among them, as in training. `example` is what has the shapes
    and types of one example's inputs (`jax.ShapeDtypeStruct`); `masks` are those of
    `masks.full`, or some excluded.

    >>> from lth_jax import models
    >>> image = jax.ShapeDtypeStruct((28, 28, 1), "float32")
    >>> layers(models.create("lenet", num_classes=10), image)[0]
    Layer(path='fc1', output_shape=(300,), parameters=235500, prunable=235200,
          multiply_adds=235200, weights={'fc1/bias': 0, 'fc1/kernel': 235200})
    """
    outputs: dict[str, Shape] = {}

    def record(call, args, kwargs, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__":
            arrays = (x for x in jax.tree.leaves(output) if getattr(x, "shape", ()))
            shape = next((x.shape[1:] for x in arrays), ())
            outputs.setdefault("/".join(context.module.path), shape)
        return output

    inputs = batch_of(1, example)
    with nn.intercept_methods(record):
        made = jax.eval_shape(alone(network.init), jax.random.key(0), inputs)
    params = made[0]
    if masks is None:
        masks = jax.eval_shape(masks_lib.full, params)
    sizes = {path: leaf.size for path, leaf in masks_lib.leaves(params)}
    prunable = {path: mask.size for path, mask in masks_lib.leaves(masks)}
    counted = _multiply_adds(network, made, example)
    own: dict[str, list[str]] = {}
    for path in sizes:
        own.setdefault(_module(path, outputs), []).append(path)
    found = []
    for layer in (layer for layer in {**outputs, **own} if layer in own):
        weights = {path: counted.get(path, 0) for path in own[layer]}
        numbers = (
            sum(n.get(p, 0) for p in weights) for n in (sizes, prunable, counted)
        )
        found.append(Layer(layer, outputs.get(layer, ()), *numbers, weights=weights))
    return found


def batch_of(examples: int, example: PyTree) -> PyTree:
    """Return the shapes and types of a batch by those of one example."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((examples, *x.shape), x.dtype), example
    )


def _module(path: str, modules: dict[str, Shape]) -> str:
    """Return the path of the innermost module that has a parameter and was called.

    Where no calls are known, as of other frameworks, that of the parameter's place.
    """
    if not modules:
        return path.rpartition("/")[0] or path
    while path and path not in modules:
        path = path.rpartition("/")[0]
    return path


def trace(network: Network, made: Any, example: PyTree, *, train: bool) -> Jaxpr:
    """Return the program of a network, as a training or an evaluation applies it.

    Its inputs are the leaves of the parameters, of the state, a batch and a key.

    Args:
        network: not sharing statistics.
        made: the shapes and types of its parameters and its state.
        example: as of `layers`.
        train: which of both.
    """
    arrays = (*made, batch_of(_examples(network), example))

    def apply(params: Any, stats: Any, inputs: Any, key: Any) -> Any:
        key = key if train else None
        return network.apply(params, stats, inputs, train=train, key=key)

    return jax.make_jaxpr(alone(apply))(*arrays, jax.random.key(0)).jaxpr


def _examples(network: Network) -> int:
    return _EXAMPLES * (getattr(network, "fields", {}).get("norm_group") or 1)


def _multiply_adds(network: Network, made: Any, example: PyTree) -> dict[str, int]:
    """Return multiply-adds by path, of training where evaluation has none."""

    def total(train: bool) -> dict[str, float]:
        program = trace(network, made, example, train=train)
        paths = jax.tree_util.tree_leaves_with_path(made[0])
        known = [{masks_lib.name(path): 1.0} for path, _ in paths]
        others = [{}] * (len(program.invars) - len(known))
        try:
            return products.count(program, [*known, *others])[0]
        except Exception:  # what a later JAX writes otherwise is not worth a run
            return {}

    counted = total(train=True) | total(train=False)
    return {path: round(n / _examples(network)) for path, n in counted.items()}


def multiply_adds(layers: Sequence[Layer]) -> dict[str, int]:
    """Return how many multiply-adds of an example each weight array has, by path."""
    return {path: n for layer in layers for path, n in layer.weights.items()}


def table(rows: Sequence[Layer]) -> str:
    """Render layers as aligned plain text, with totals in the last line.

    >>> print(table([Layer("fc1", (300,), 235_500, 235_200, 235_200, {})]))
    layer  output  parameters  prunable  multiply-adds
    fc1       300     235,500   235,200        235,200
    total             235,500   235,200        235,200
    """
    sums = (sum(getattr(row, name) for row in rows) for name in Layer._fields[2:5])
    cells = [COLUMNS, *map(_cells, rows), _cells(Layer("total", (), *sums, weights={}))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
        for first, *rest in cells
    )


def _cells(row: Layer) -> tuple[str, ...]:
    shape = "x".join(map(str, row.output_shape))
    return (row.path, shape, *map("{:,}".format, row[2:5]))
