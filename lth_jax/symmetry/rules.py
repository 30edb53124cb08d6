"""Rules: what operations of a traced program make of the axes of their operands."""

from collections.abc import Callable, Sequence

from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from lth_jax.layers import products
from lth_jax.symmetry.axes import Axes, Solver, fixed, size

# From an operation and its operands' axes to those of its results.
Rule = Callable[[JaxprEqn, list[Axes], Solver], list[Axes] | None]

# Operations on one number of each operand at a time, by name.
_ELEMENTWISE = """
abs acos acosh add add_any and asin asinh atan atan2 atanh bitcast_convert_type cbrt
ceil clamp complex conj convert_element_type copy cos cosh digamma div eq erf erf_inv
erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma log log1p logistic
lt max min mul ne neg nextafter not or population_count pow real reduce_precision rem
round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh
sqrt square stop_gradient sub tan tanh xor
"""
# Those that run another program once, on what they are given.
_CALLS = """
checkpoint closed_call core_call custom_jvp_call custom_vjp_call jit pjit remat2
"""


def follow(program: Jaxpr, given: Sequence[Axes], solver: Solver) -> list[Axes]:
    """Follow axes through a program: permuted operands permute the results alike.

    What an operation asks of its operands is told to the solver. Axes of operands that
    no rule knows are pinned, and those of constants.

    Args:
        program: traced.
        given: the axes of each of its inputs.
        solver: what is known of groups.
    """
    known = dict(zip(program.invars, given, strict=True))

    def read(variable: Var | Literal) -> Axes:
        found = None if isinstance(variable, Literal) else known.get(variable)
        return as_they_are(variable) if found is None else found

    for equation in program.eqns:
        operands = [read(variable) for variable in equation.invars]
        calls = equation.primitive.name in _CALLS.split()
        inner = products.called(equation) if calls else None
        if inner is not None:
            results = follow(inner, operands, solver)
        else:
            results = _rule(equation)(equation, operands, solver)
        if results is None:
            for axis in (axis for axes in operands for axis in axes):
                solver.pin(axis)
            results = [as_they_are(result) for result in equation.outvars]
        known.update(zip(equation.outvars, results))
    return [read(variable) for variable in program.outvars]


def _rule(equation: JaxprEqn) -> Rule:
    is_empty = any(0 in _shape(x) for x in (*equation.invars, *equation.outvars))
    return _unknown if is_empty else _RULES.get(equation.primitive.name, _unknown)


def _unknown(equation: JaxprEqn, given: list[Axes], solver: Solver) -> None:
    """Return that nothing is known."""
    del equation, given, solver


def _elementwise(
    equation: JaxprEqn, given: list[Axes], solver: Solver
) -> list[Axes] | None:
    shape = _shape(equation.outvars[0])
    arrays = [axes for axes in given if axes]
    if any(len(axes) != len(shape) for axes in arrays):
        return None  # bits of other numbers
    result = []
    for i, n in enumerate(shape):
        whole = [axes[i] for axes in arrays if size(axes[i]) == n]
        for other in whole[1:]:
            solver.unify(whole[0], other)
        result.append(whole[0])
    return [(*result,)]


def _each(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    del equation, solver
    return given


def _drawn(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    """Return axes of random numbers: those of a call are as likely in another order."""
    for axis in (axis for axes in given for axis in axes):
        solver.pin(axis)
    axis = solver.new if solver.draws else fixed
    return [tuple(map(axis, _shape(result))) for result in equation.outvars]


def _iota(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    del given
    along, shape = equation.params["dimension"], _shape(equation.outvars[0])
    return [
        tuple((fixed if i == along else solver.new)(n) for i, n in enumerate(shape))
    ]


def _broadcast(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    (axes, *_), shape = given, _shape(equation.outvars[0])
    kept = dict(zip(equation.params["broadcast_dimensions"], axes))
    return [
        tuple(
            kept[i] if i in kept and size(kept[i]) == n else solver.new(n)
            for i, n in enumerate(shape)
        )
    ]


def _reshape(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    return [solver.refold(given[0], _shape(equation.outvars[0]))]


def _transpose(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    del solver
    return [tuple(given[0][i] for i in equation.params["permutation"])]


def _reduce(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    del solver
    gone = equation.params["axes"]
    return [tuple(axis for i, axis in enumerate(given[0]) if i not in gone)]


def _window(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    params = equation.params
    windows = zip(
        params["window_dimensions"],
        params["window_strides"],
        params["padding"],
        params["base_dilation"],
        params["window_dilation"],
    )
    whole = [window == (1, 1, (0, 0), 1, 1) for window in windows]
    return [_kept(equation, given[0], whole, solver)]


def _dot(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    (left, right), (summed, batch) = given, equation.params["dimension_numbers"]
    for one, two in (*zip(*summed), *zip(*batch)):
        solver.unify(left[one], right[two])
    used = [{*summed[side], *batch[side]} for side in (0, 1)]
    return [
        (
            *(left[i] for i in batch[0]),
            *(axis for i, axis in enumerate(left) if i not in used[0]),
            *(axis for i, axis in enumerate(right) if i not in used[1]),
        )
    ]


def _convolve(
    equation: JaxprEqn, given: list[Axes], solver: Solver
) -> list[Axes] | None:
    (maps, kernel), params = given, equation.params
    dimensions, groups = params["dimension_numbers"], params["feature_group_count"]
    batch, features, *space = dimensions.lhs_spec
    out, into, *window = dimensions.rhs_spec
    depthwise = groups == size(maps[features]) == size(kernel[out])
    if params["batch_group_count"] != 1 or not (groups == 1 or depthwise):
        return None
    # One kernel a channel, or one for all channels.
    solver.unify(maps[features], kernel[into if groups == 1 else out])
    for axis in (*(maps[i] for i in space), *(kernel[i] for i in window)):
        solver.pin(axis)
    result = dict(zip(dimensions.out_spec, (maps[batch], kernel[out])))
    shape = enumerate(_shape(equation.outvars[0]))
    return [tuple(result.get(i, fixed(n)) for i, n in shape)]


def _concatenate(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    along = equation.params["dimension"]
    for other in given[1:]:
        for i, (one, two) in enumerate(zip(given[0], other)):
            if i != along:
                solver.unify(one, two)
    whole = solver.joined([axes[along] for axes in given])
    return [(*given[0][:along], whole, *given[0][along + 1 :])]


def _pad(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes] | None:
    padded = []
    for axis, (low, high, inside) in zip(given[0], equation.params["padding_config"]):
        if inside or low < 0 or high < 0:
            return None
        # What is added is alike everywhere.
        before, after = ([solver.new(int(n))] if n else [] for n in (low, high))
        added = before or after
        padded.append(solver.joined([*before, axis, *after]) if added else axis)
    return [tuple(padded)]


def _slice(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    params, axes = equation.params, given[0]
    steps = params["strides"] or (1,) * len(axes)
    whole = [step == 1 for step in steps]
    cut = _kept(equation, axes, whole, solver)
    parts = zip(axes, whole, params["start_indices"], params["limit_indices"], cut)
    return [
        tuple(
            solver.part(axis, start, stop) if one else new
            for axis, one, start, stop, new in parts
        )
    ]


def _split(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    (axes,), along, start, found = given, equation.params["axis"], 0, []
    for number in equation.params["sizes"]:
        part = solver.part(axes[along], start, start + number)
        found.append((*axes[:along], part, *axes[along + 1 :]))
        start += number
    return found


def _dynamic_slice(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    sizes = equation.params["slice_sizes"]
    whole = [size(axis) == number for axis, number in zip(given[0], sizes)]
    return [_kept(equation, given[0], whole, solver)]


def _gather(equation: JaxprEqn, given: list[Axes], solver: Solver) -> list[Axes]:
    """Return axes of rows that are looked up: what rows have keeps its axes."""
    (axes, at, *_), params = given, equation.params
    numbers = params["dimension_numbers"]
    for axis in at:
        solver.pin(axis)
    found = [*as_they_are(equation.outvars[0])]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    left = [i for i in range(len(axes)) if i not in gone]
    for result, i in zip(numbers.offset_dims, left):
        if params["slice_sizes"][i] == size(axes[i]):
            found[result] = axes[i]
            left = [j for j in left if j != i]
    for i in {*left, *gone}:
        solver.pin(axes[i])
    return [tuple(found)]


def _kept(
    equation: JaxprEqn, axes: Axes, whole: Sequence[bool], solver: Solver
) -> Axes:
    """Return axes as they are where an operation takes them whole; pin the others."""
    for axis, one in zip(axes, whole):
        if not one:
            solver.pin(axis)
    results = as_they_are(equation.outvars[0])
    return tuple(axis if one else new for axis, one, new in zip(axes, whole, results))


def as_they_are(variable: Var | Literal) -> Axes:
    return tuple(map(fixed, _shape(variable)))


def _shape(variable: Var | Literal) -> tuple[int, ...]:
    return getattr(variable.aval, "shape", ())


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **{
        f"reduce_{name}": _reduce for name in ("and", "max", "min", "or", "prod", "sum")
    },
    **{f"reduce_window_{name}": _window for name in ("max", "min", "sum")},
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolve,
    "dot_general": _dot,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "iota": _iota,
    "optimization_barrier": _each,
    "pad": _pad,
    "random_bits": _drawn,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "transpose": _transpose,
}
