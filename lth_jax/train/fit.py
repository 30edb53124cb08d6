"""Fit: the one function that trains."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lth_jax.devices import processes
from lth_jax.train.state import TrainState
from lth_jax.train.step import Program

if TYPE_CHECKING:
    from lth_jax.train.moves import Moves

# Whether to pause is asked after few steps first, and more while they take little time.
_STEPS, _MOST, _SECONDS = 16, 500, 0.5


def fit(
    members: Sequence[TrainState],
    stop: int,
    program: Program,
    progress: Callable[[int], object] = lambda steps: None,
    pause: Callable[[], bool] = lambda: False,
    moves: "Moves | None" = None,
) -> list[TrainState]:
    """Train members to step `stop`.

    Members train in the groups of the layout, one after another. Where a fit is cut
    into several makes no difference to the last bit.

    Args:
        members: states; those of a group are at the same step. They are not changed.
        stop: step at which to stop, the number of steps taken since step 0.
        program: what and how to train.
        progress: called with the number of steps done, summed over members.
        pause: asked between compiled calls, about twice a second, and gives one answer
            in all processes; where it returns True, members are returned as they are:
            groups at `stop`, on their way, or not begun.
        moves: when masks move, and how; members have a `course` then.

    Returns:
        The members at `stop`, if there was no pause. One whose loss is not finite any
        more stays at the step at which that was so first, while others go on.

    Raises:
        ValueError: members of a group are at different steps, or past `stop`.
    """
    layout, trained = program.layout, []
    for group in layout.groups(members):
        step = _start(group, stop)
        if step is None or pause():
            trained += group
            continue
        states = layout.stack(group, of=len(members))
        data_seed = int(group[0].data_seed)  # only a feed of one member looks at it
        finite, since = np.array(True), time.monotonic()
        most = program.steps_per_call if program.steps_per_call > 1 else _MOST
        stretch = min(_STEPS, program.steps_per_call)
        while step < stop:
            until, going = min(step + stretch, stop), True
            while step < until:
                steps = min(program.steps_per_call, until - step)
                arrays = program.supply(data_seed, step)
                if moves:
                    steps = min(steps, moves.until(step))
                    if moves.due(step):
                        states = moves.make(program, states, arrays, step)
                states, now = program.advance(states, (arrays, steps))
                # This call waits for no answer of the one before: what it says is read
                # while this one computes. No more than these two are under way, so that
                # progress stays true and memory bounded.
                going, finite = bool(np.asarray(finite).any()), now
                step += steps
                progress(steps * len(group))
            # Processes meet here only, and not at every step.
            if layout.axis is None:  # else all have the same loss
                going = processes.agree(going)
            if not going or pause():
                break
            before, since = since, time.monotonic()
            if stretch < most and not processes.agree(since - before > _SECONDS):
                stretch = min(2 * stretch, most)
        trained += layout.unstack(states, len(group))
    return trained


def _start(group: Sequence[TrainState], stop: int) -> int | None:
    """Return the step that members are at, or None if they are done or lost."""
    at = sorted({int(member.step) for member in group if np.isfinite(member.loss)})
    if len(at) > 1 or at[-1:] > [stop]:
        raise ValueError(f"fit: members at steps {at} cannot go to {stop} together")
    return at[0] if at and at != [stop] else None
