"""What each layer of a network costs, without computing anything."""

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

Shape = tuple[int, ...]
COLUMNS = ("layer", "output", "parameters", "prunable", "multiply-adds")


class Layer(NamedTuple):
    """One layer with parameters."""

    path: str  # names of the modules, joined with '/'
    output_shape: Shape  # for one example
    parameters: int
    prunable: int  # parameters in arrays of rank 2 or more, if not excluded
    multiply_adds: int  # multiplications by a kernel for one example; 0 without one


def layers(
    module: nn.Module, input_shape: Sequence[int], exclude: Sequence[str] = ()
) -> list[Layer]:
    """List the layers of `module(x, train)` in the order of their calls.

    An auxiliary head is among them, as in training. `input_shape` is the height, width
    and channels of one example; `exclude` as of `masks.full`.

    >>> from lth_jax import models
    >>> layers(models.create("lenet", num_classes=10), (28, 28, 1))[0]
    Layer(path='fc1', output_shape=(300,), parameters=235500, prunable=235200,
          multiply_adds=235200)
    """
    found = []

    def record(call, args, kwargs, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        params = context.module.variables.get("params", {})
        own = {k: v.shape for k, v in params.items() if hasattr(v, "shape")}
        if context.method_name == "__call__" and own:
            path = "/".join(context.module.path)
            found.append(_layer(path, output.shape[1:], own, exclude))
        return output

    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    with nn.intercept_methods(record):
        jax.eval_shape(partial(module.init, train=False), jax.random.key(0), images)
    return found


def _layer(
    path: str, output: Shape, params: dict[str, Shape], exclude: Sequence[str]
) -> Layer:
    sizes = {name: math.prod(shape) for name, shape in params.items()}
    prunable = [
        sizes[name]
        for name, shape in params.items()
        if len(shape) > 1 and not any(re.search(p, f"{path}/{name}") for p in exclude)
    ]
    # The last axis of a kernel is the output's features: the others are summed over.
    *summed, _ = params.get("kernel", (0, 0))
    multiply_adds = math.prod(summed) * math.prod(output)
    return Layer(path, output, sum(sizes.values()), sum(prunable), multiply_adds)


def table(rows: Sequence[Layer]) -> str:
    """Render layers as aligned plain text, with totals in the last line.

    >>> print(table([Layer("fc1", (300,), 235_500, 235_200, 235_200)]))
    layer  output  parameters  prunable  multiply-adds
    fc1       300     235,500   235,200        235,200
    total             235,500   235,200        235,200
    """
    sums = (sum(getattr(row, name) for row in rows) for name in Layer._fields[2:])
    cells = [COLUMNS, *map(_cells, rows), _cells(Layer("total", (), *sums))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
        for first, *rest in cells
    )


def _cells(row: Layer) -> tuple[str, ...]:
    shape = "x".join(map(str, row.output_shape))
    return (row.path, shape, *map("{:,}".format, row[2:]))
