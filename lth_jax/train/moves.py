"""Moves: masks that change while their networks train."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from lth_jax import masks as masks_lib
from lth_jax import rewind
from lth_jax.data import keys
from lth_jax.masks import Masks
from lth_jax.movers import Now
from lth_jax.train.state import Course, TrainState
from lth_jax.train.step import Program, gradients

Mover = Callable[[Now], Masks]


@dataclasses.dataclass(frozen=True)
class Moves:
    """When masks of a training move, and how.

    A move comes before the training step of its number, on that step's batch.
    """

    mover: Mover
    every: int  # steps between moves, of which the first is this one
    last: int  # step of the last move
    fraction: float  # of a layer's weights that are replaced at first

    def due(self, step: int) -> bool:
        """Return whether masks move before a step."""
        return step % self.every == 0 and 0 < step <= self.last

    def number(self, begin: int) -> int:
        """Return how many moves a training has that begins at a step."""
        return max(0, self.last // self.every - (max(begin, 1) - 1) // self.every)

    def make(
        self, program: Program, states: TrainState, arrays: PyTree, step: int
    ) -> TrainState:
        """Move the masks of all members on their devices, which deletes the states."""
        others = step / self.last, self.fraction
        return program.spread(_moving(self.mover))(states, (arrays, others))

    def until(self, step: int) -> int:
        """Return how many steps there are from one to the next that may be moved."""
        return self.every - step % self.every


@cache
def _moving(mover: Mover) -> Callable[..., TrainState]:
    return partial(move, mover=mover)  # of equal movers the same, to be compiled once


def move(
    state: TrainState,
    part: int | Int[Array, ""],
    shared: tuple[PyTree, tuple[Float[Array, ""], Float[Array, ""]]],
    *,
    program: Program,
    mover: Mover,
) -> TrainState:
    """Move the masks of one member on one device.

    Weights that come back are 0, and so are their moments: where masks are False,
    everything is. Of `shared`, the feed's arrays, the share of the moving time that is
    over, and the fraction of weights that are replaced at first.
    """
    arrays, (share, fraction) = shared
    batch = program.feed.batch(
        arrays, state.data_seed, state.step, part, program.layout.parts
    )
    _, gradient, _ = gradients(state, batch, part, program)
    key = keys.derive(state.data_seed, keys.MOVES, state.step)
    now = _now(state, gradient, key, share, fraction)
    moved = jax.tree.map(
        lambda m, new: m if new is None else new, state.masks, mover(now)
    )
    assert state.course is not None
    course = spent(state.course, state.masks, state.step)
    state = rewind.to(dataclasses.replace(state, masks=moved, course=None), moved)
    return dataclasses.replace(state, course=course)


def looks_at_gradient(mover: Mover, state: TrainState) -> bool:
    """Trace a mover; return whether it looks at the gradient. Nothing is computed.

    Args:
        mover: traced as for a move.
        state: with a course, or its shapes.

    Raises:
        ValueError: what it returns are no masks like those it was given. What else its
            code raises comes through.
    """

    def made(gradient: PyTree, state: TrainState) -> tuple[PyTree, Masks]:
        share = jnp.float32(0)
        now = _now(state, gradient, jax.random.key(0), share, share)
        return mover(now), now.masks

    traced, made_and_given = jax.make_jaxpr(made, return_shape=True)(
        state.params, state
    )
    there, wanted = (
        {path: (x.shape, str(x.dtype)) for path, x in masks_lib.leaves(tree)}
        for tree in made_and_given
    )
    empty = {"is_leaf": lambda x: x is None}  # a layer that stays as it is
    same = len({jax.tree.structure(tree, **empty) for tree in made_and_given}) == 1
    for path in sorted(there.keys() | wanted.keys()):
        was, now = wanted.get(path, "no mask"), there.get(path, "nothing")
        if was != now and not (same and path not in there):
            raise ValueError(f"it returns {now} for {path}, and should {was}")
    first = traced.jaxpr.invars[: len(jax.tree.leaves(state.params))]
    used = [x for eqn in traced.jaxpr.eqns for x in eqn.invars]
    used += traced.jaxpr.outvars
    return not {*map(id, first)}.isdisjoint(map(id, used))


def _movable(masks: Masks, course: Course) -> Masks:
    """Return the masks that move: those that have a goal."""
    return jax.tree.map(
        lambda m, number: None if number is None else m, masks, course.goal
    )


def _now(
    state: TrainState,
    gradient: PyTree,
    key: Key[Array, ""],
    share: Float[Array, ""],
    fraction: Float[Array, ""],
) -> Now:
    assert state.course is not None
    return Now(
        weights=state.params,
        gradient=gradient,
        masks=_movable(state.masks, state.course),
        key=key,
        step=state.step,
        share=share,
        goal=state.course.goal,
        fraction=fraction,
    )


def spent(course: Course, masks: Masks, step: int | Int[Array, ""]) -> Course:
    """Return a course that has counted what masks kept until a step."""
    return dataclasses.replace(
        course,
        since=jnp.int32(step),
        spent=jax.tree.map(
            lambda m, sum: sum + m.mean(dtype=jnp.float32) * (step - course.since),
            masks,
            course.spent,
        ),
    )
