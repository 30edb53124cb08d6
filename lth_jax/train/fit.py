"""Fit: the one function that trains."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lth_jax.devices import processes
from lth_jax.devices.layout import Layout
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
        members: states, which are not changed. Those of a group that are at different
            steps, as other devices left them, train one step's after another's.
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
        ValueError: members are past `stop`.
    """
    layout, trained = program.layout, [*members]
    for step, indices in _parts(members, stop, layout):
        if pause():
            continue
        group = [members[i] for i in indices]
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
        for i, network in zip(indices, layout.unstack(states, len(group))):
            trained[i] = network
    return trained


def _parts(
    members: Sequence[TrainState], stop: int, layout: Layout
) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield a step, and which members of a group go on from it, the lowest first."""
    for group in layout.groups(range(len(members))):
        at = {i: int(members[i].step) for i in group if np.isfinite(members[i].loss)}
        steps = sorted({*at.values()})
        if steps[-1:] > [stop]:
            raise ValueError(f"fit: members at steps {steps} cannot go to {stop}")
        for step in (step for step in steps if step < stop):
            # Lost members stay as they are, and in the place that they had.
            yield step, [i for i in group if at.get(i, step) == step]
