"""Units: which hidden units of a network can be permuted without changing it."""

from dataclasses import dataclass
from itertools import chain

import jax
from jaxtyping import PyTree

from lth_jax import masks as masks_lib
from lth_jax.layers import summary
from lth_jax.models.network import Network, alone, over
from lth_jax.symmetry import rules
from lth_jax.symmetry.axes import FIXED, Axes, Segment, Solver


@dataclass(frozen=True)
class Groups:
    """The groups of units of a network, and where they are.

    Attributes:
        sizes: the number of units of every group, by its number, from 1.
        params: by path of every parameter, which group is where along its axes.
        state: the same of what is not trained by gradients, as batch statistics.
    """

    sizes: dict[int, int]
    params: dict[str, Axes]
    state: dict[str, Axes]

    def where(self, group: int) -> list[tuple[str, int]]:
        """Return (path, axis) of every axis of a parameter that a group is along.

        >>> from lth_jax import models
        >>> lenet = models.create("lenet", num_classes=10, widths=(20,))
        >>> found = groups(lenet, jax.ShapeDtypeStruct((8, 8, 1), "float32"))
        >>> found.sizes, found.where(1)
        ({1: 20}, [('fc/kernel', 0), ('fc1/bias', 0), ('fc1/kernel', 1)])
        """
        return [
            (path, i)
            for path, axes in self.params.items()
            for i, axis in enumerate(axes)
            if group in {segment.group for segment in chain(*axis)}
        ]


def groups(network: Network, example: PyTree) -> Groups:
    """Find the groups of a network's hidden units, off its traced program.

    Units of a group are permuted alike wherever they are: along the output of a layer,
    its bias and normalisation, and the input of the next one. What is found holds in
    training and in evaluation. An axis that the rules do not see through is left as it
    is: that of a network's inputs and outputs, and what is sorted, looked up by a
    position, or in a loop. Nothing is computed.

    Args:
        network: as of `models.create`.
        example: the shapes and types of one example's inputs.
    """
    network, solver = over(network, None), Solver()
    shapes = summary.batch_of(1, example)
    made = jax.eval_shape(alone(network.init), jax.random.key(0), shapes)
    kinds = [dict(_paths(tree)) for tree in made]
    params, state = (
        {path: tuple(map(solver.new, leaf.shape)) for path, leaf in kind.items()}
        for kind in kinds
    )
    own = [*params.values(), *state.values()]
    for train in (True, False):
        solver.draws = train  # evaluation has no key: its random numbers are constants
        program = summary.trace(network, made, example, train=train)
        inputs = map(rules.as_they_are, program.invars[len(own) :])
        results = rules.follow(program, [*own, *inputs], solver)
        outputs = len(results) - len(state)
        for axis in chain(*results[:outputs]):
            solver.pin(axis)
        for new, old in zip(results[outputs:], state.values()):
            for one, other in zip(new, old, strict=True):
                solver.unify(one, other)
    return _numbered(solver, params, state)


def _numbered(
    solver: Solver, params: dict[str, Axes], state: dict[str, Axes]
) -> Groups:
    """Return what was found, with the groups of parameters numbered from 1."""
    kinds, before = (params, state), None
    while kinds != before:  # resolving one axis may pin another's group
        before = kinds
        kinds = tuple(
            {path: tuple(map(solver.resolve, axes)) for path, axes in kind.items()}
            for kind in kinds
        )
    paths = sorted(kinds[0])
    segments = chain(*(chain(*chain(*kinds[0][path])) for path in paths))
    sizes = {segment.group: segment.size for segment in segments if segment.group}
    number = {group: i for i, group in enumerate(sizes, start=1)}

    def renamed(axes: Axes) -> Axes:
        return tuple(
            tuple(
                tuple(Segment(number.get(s.group, FIXED), s.size) for s in digit)
                for digit in axis
            )
            for axis in axes
        )

    return Groups(
        {number[group]: n for group, n in sizes.items()},
        {path: renamed(kinds[0][path]) for path in paths},
        {path: renamed(axes) for path, axes in kinds[1].items()},
    )


def _paths(tree: PyTree) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    """Return paths and leaves in the order in which a program is given them."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [(masks_lib.name(path), leaf) for path, leaf in pairs]
