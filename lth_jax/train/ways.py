"""Ways: how the members of a fleet go on a device; the fastest is found by trying.

- "in_turn": one after another, each as itself.
- "vmapped": together. Convolutions become grouped ones.
- "products": together, with convolutions as batched matrix products of patches, which
  take as many times the images' memory as a kernel has positions.

They come to the same numbers, but for rounding.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from lth_jax.config.table import WAYS
from lth_jax.devices import memory, processes
from lth_jax.errors import ConfigError
from lth_jax.models.lean import Products
from lth_jax.models.network import with_fields
from lth_jax.train.fit import fit
from lth_jax.train.state import TrainState
from lth_jax.train.step import Program

# The fastest way by platform, where it was measured (benchmarks/NOTES.md).
MEASURED = {"cpu": "in_turn"}
_SECONDS = 0.3  # how long a way is timed, without compilation
_USABLE = 0.9  # of the memory: the compiler does not count everything


def candidates(
    program: Program, way: str, most: int, together: int | None, *, convolves: bool
) -> tuple[str, ...]:
    """Return the ways of which the fastest is to be found; often there is one.

    Args:
        program: of the training.
        way: that of the config, or "auto".
        most: members of a device at a time, 0 for no limit.
        together: networks of the largest fleet, if known.
        convolves: the network has kernels of images.

    Raises:
        ConfigError: a network, or a layout, does not go the config's way.
    """
    conv = getattr(program.network, "fields", {}).get("conv")
    convolves = convolves and callable(conv)
    if program.layout.name == "data" and way not in ("auto", "in_turn"):
        raise ConfigError(
            f"config.train.way: {way!r} is of fleets; in layout 'data' networks go "
            "'in_turn'"
        )
    if way == "in_turn" and most > 1:
        raise ConfigError(
            f"config.train.members: {most} at a time are not 'in_turn'; leave "
            "train.way or train.members out"
        )
    if way == "products" and not convolves:
        raise ConfigError(
            "config.train.way: 'products' needs a network of images with a field "
            "`conv`; name another way"
        )
    alone = together is not None and together <= len(program.layout.devices)
    if way != "auto":
        return (way,)
    if program.layout.name == "data" or alone:
        return ("in_turn",)
    if most:
        return ("vmapped",)
    if measured := MEASURED.get(program.layout.devices[0].platform):
        return (measured,)
    return WAYS if convolves else ("in_turn", "vmapped")


def evaluated(way: str) -> str:
    """Return the way in which networks are evaluated that are trained in a way."""
    return "vmapped" if way == "vmapped" else "in_turn"


def going(program: Program, way: str, most: int = 0) -> Program:
    """Return a program whose members go a way, so many at most on a device."""
    network = program.network
    if way == "products":
        network = with_fields(network, conv=Products)
    members = 1 if way == "in_turn" else most
    layout = replace(program.layout, members=members)
    return replace(program, network=network, layout=layout)


def fitting(
    program: Program, like: TrainState, number: int, others: int = 0
) -> Program:
    """Return a program of which as many members go at a time as devices have room for.

    As the compiler estimates it, in all processes the same; on a platform that does not
    say how much memory there is, it is the same program.

    Args:
        program: of the training.
        like: the shapes of a member.
        number: of the fleet's members.
        others: bytes of what else will be on a device, but for training data.
    """
    local = program.layout.local
    if program.layout.each(number) == 1 or memory.free(local) is None:
        return program
    shared = program.supply(0, 0), 1
    free = memory.free(local) or 0  # beside the training data
    room = processes.least(max(1, int(_USABLE * free) - others))
    while program.layout.each(number) > 1:
        states = program.layout.like(like, of=number)
        try:
            needed = program.advance.needs(states, shared)
        except jax.errors.JaxRuntimeError as error:
            if not memory.was_short(error):
                raise
            needed = 2 * room  # some compilers refuse what does not fit
        needed = -processes.least(-needed)
        if needed <= room:
            break
        layout = program.layout.limited(number, min(room / needed, 0.9))
        program = replace(program, layout=layout)
    return program


def timed(
    programs: dict[str, Program], fleet: Sequence[TrainState], stop: int
) -> dict[str, float]:
    """Return the member-steps a second of each way, 0 where devices have no room.

    Members of the fleet, which are at the same step, are not changed; `stop` is the
    last step of their training. All processes have the numbers of the first one.
    """
    found = []
    for program in programs.values():
        try:
            found.append(steps_per_second(program, fleet, stop, _SECONDS))
        except jax.errors.JaxRuntimeError as error:
            if not memory.was_short(error) or processes.several():
                raise
            found.append(0.0)
    return dict(zip(programs, processes.of_first(np.array(found)).tolist()))


def steps_per_second(
    program: Program, fleet: Sequence[TrainState], stop: int, seconds: float
) -> float:
    """Train the first group of a fleet for a while; return its member-steps a second.

    Without two steps: the first compiles, and starts what makes batches; before the
    second, what lays out trained members is compiled. Where members come to `stop`,
    they begin anew.
    """
    group = next(iter(program.layout.groups(fleet)))
    trained, first = group, int(group[0].step)
    at = first

    def take(steps: int) -> float:
        nonlocal trained, at
        if at + steps > stop:
            trained, at = group, first
        began = time.monotonic()
        trained, at = fit(trained, at + steps, program), at + steps
        jax.block_until_ready(trained)
        taken = np.array(time.monotonic() - began)
        return max(float(processes.of_first(taken)), 1e-9)

    take(1)
    take(1)
    steps, taken = 1, take(1)
    while taken < seconds / 2 and steps < stop - first:
        steps = min(stop - first, 10 * steps, int(steps * seconds / taken) + 1)
        taken = take(steps)
    return steps * len(group) / taken
