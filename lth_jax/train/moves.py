"""Moves: masks that change while their networks train."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

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
    course = state.course
    assert course is not None
    masks = jax.tree.map(
        lambda m, number: None if number is None else m, state.masks, course.goal
    )
    now = Now(
        weights=state.params,
        gradient=gradient,
        masks=masks,
        key=keys.derive(state.data_seed, keys.MOVES, state.step),
        step=state.step,
        share=share,
        goal=course.goal,
        fraction=fraction,
    )
    moved = jax.tree.map(
        lambda m, new: m if new is None else new, state.masks, mover(now)
    )
    course = spent(course, state.masks, state.step)
    state = rewind.to(dataclasses.replace(state, masks=moved, course=None), moved)
    return dataclasses.replace(state, course=course)


def looks_at_gradient(mover: Mover, network: TrainState) -> bool:
    """Return whether a mover asks for the gradient; nothing is computed."""
    asked = []

    class Watched(Now):
        @property
        def gradient(self) -> PyTree:
            asked.append(True)
            return self.weights

    def look(state: TrainState) -> Masks:
        assert state.course is not None
        key, share = jax.random.key(0), jnp.float32(0)
        of = state.params, state.params, state.masks, key, state.step
        return mover(Watched(*of, share, state.course.goal, share))

    jax.eval_shape(look, network)
    return bool(asked)


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
