"""Products: how often a traced program multiplies by each of its parameters."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

Numbers = dict[str, int | float]  # by path of the parameter
# Of an array: what part of it is which parameter; {} where that is not known.
Share = Numbers
Found = tuple[Numbers, list[Share]]  # multiplications, and what the results are

_PIECES = ("slice", "dynamic_slice", "split")


def count(program: Jaxpr, given: Sequence[Share]) -> Found:
    """Count multiplications by parameters in matrix products and convolutions.

    A product counts for the parameter that one of its factors is: as it is, reshaped,
    cast, masked, in pieces or joined with others. Loops whose length is not known are
    left out; of branches, what most of them multiply by.

    Args:
        program: traced.
        given: what each of its inputs is.
    """
    shares = dict(zip(program.invars, given, strict=True))

    def read(variable: Var | Literal) -> Share:
        return {} if isinstance(variable, Literal) else shares.get(variable, {})

    total: Numbers = {}
    for equation in program.eqns:
        found, results = _follow(equation, [read(v) for v in equation.invars])
        total = _sum([total, found])
        shares.update(zip(equation.outvars, results))
    return total, [read(v) for v in program.outvars]


def _follow(equation: JaxprEqn, given: list[Share]) -> Found:
    kind = equation.primitive.name
    if kind == "scan":
        return _scan(equation, given)
    if kind == "cond":
        programs = map(_open, equation.params["branches"])
        branches = [count(program, given[1:])[0] for program in programs]
        return {p: max(b.get(p, 0) for b in branches) for p in _sum(branches)}, []
    if kind in ("while", "gather"):
        return {}, []
    inner = called(equation)
    if inner is not None:
        return count(inner, given)
    number = _products(equation)
    if number:
        known = [share for share in given if share]
        return _scaled(known[0], number) if len(known) == 1 else {}, []
    if kind == "concatenate":
        whole = _size(equation.outvars[0])
        parts = (_size(operand) / whole for operand in equation.invars)
        return {}, [_sum(map(_scaled, given, parts))]
    if kind in _PIECES:  # of several parameters it may be any
        share = given[0] if len(given[0]) == 1 else {}
        return {}, [share for _ in equation.outvars]
    return {}, [_alike(equation, given, result) for result in equation.outvars]


def _products(equation: JaxprEqn) -> int:
    """Return how many products an equation takes; 0 if it is none.

    Zeros at the border of a convolution count, those between the inputs of a transposed
    one do not: each of its inputs meets the whole kernel.
    """
    kind, params = equation.primitive.name, equation.params
    if kind == "dot_general":
        (summed, _), _ = params["dimension_numbers"]
        terms = math.prod(_shape(equation.invars[0])[axis] for axis in summed)
        return terms * _size(equation.outvars[0])
    if kind == "conv_general_dilated":
        axes, spread = (
            params["dimension_numbers"],
            max(params["lhs_dilation"], default=1),
        )
        maps, spec = equation.outvars[0], axes.out_spec
        if spread > 1:
            maps, spec = equation.invars[0], axes.lhs_spec
        positions = _size(maps) // _shape(maps)[spec[1]]
        return positions * _size(equation.invars[1])
    return 0


def _alike(equation: JaxprEqn, given: list[Share], result: Var) -> Share:
    """Return what a result is: the one parameter that has as many elements, if any."""
    alike = [
        share
        for operand, share in zip(equation.invars, given)
        if share and _size(operand) == _size(result)
    ]
    return alike[0] if alike and all(share == alike[0] for share in alike) else {}


def _scan(equation: JaxprEqn, given: list[Share]) -> Found:
    params = equation.params
    body = _open(params["jaxpr"])
    # What is scanned, or stacked, has one axis more outside: the last of both.
    scanned, stacked = (
        sum(len(_shape(x)) > len(_shape(y)) for x, y in zip(outer, inner))
        for outer, inner in (
            (equation.invars, body.invars),
            (equation.outvars, body.outvars),
        )
    )
    carried = len(body.outvars) - stacked
    first = len(body.invars) - scanned - carried
    kept: list[Share] = []
    for i in range(carried):
        same = body.outvars[i] is body.invars[first + i]
        kept.append(given[first + i] if same else {})
    found, _ = count(body, [*given[:first], *kept, *given[first + len(kept) :]])
    return _scaled(found, params["length"]), kept


def called(equation: JaxprEqn) -> Jaxpr | None:
    """Return the program that an equation calls with its own inputs, if it does."""
    wanted = [operand.aval for operand in equation.invars]
    for value in equation.params.values():
        inner = _open(value)
        if isinstance(inner, Jaxpr) and [v.aval for v in inner.invars] == wanted:
            return inner
    return None


def _open(program: object) -> Any:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def _shape(operand: Var | Literal) -> tuple[int, ...]:
    return getattr(operand.aval, "shape", ())  # what is no array has none


def _size(operand: Var | Literal) -> int:
    return math.prod(_shape(operand))


def _sum(several: Iterable[Numbers]) -> Numbers:
    total: Numbers = {}
    for numbers in several:
        for path, n in numbers.items():
            total[path] = total.get(path, 0) + n
    return total


def _scaled(numbers: Numbers, factor: int | float) -> Numbers:
    return {path: factor * n for path, n in numbers.items()}
