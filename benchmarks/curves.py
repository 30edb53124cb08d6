"""Curves: python -m benchmarks.curves DIRECTORY measures what a member's step costs.

LeNet-300-100 on random images of MNIST's size, batch 60, Adam, around one point: a
fleet of eight members at density 0.2 on all cores. Density, members, width and devices
change one at a time. Every point is measured in a process of its own, so that its
memory is its own. Leaves curves.csv and curves.svg.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import ours
from lth_jax import machine

_CORES = machine.cores()
_POINT = {"density": 0.2, "members": 8, "width": 1, "devices": _CORES}
_AXES = {
    "density": (1.0, 0.5, 0.2, 0.05, 0.01),
    "members": (1, 2, 4, 8, 16, 32),
    "width": (1, 2, 4),
    "devices": tuple(range(1, _CORES + 1)),
}
_TURNS, _STEPS = 5, 200
_TIME, _MEMORY = "µs a step and member", "MiB"


def measure(density: float, members: int, width: int, devices: int) -> dict[str, float]:
    """Return what a point takes, in this process.

    Args:
        density: of the masks.
        members: of the fleet.
        width: factor on the layers' 300 and 100 units.
        devices: XLA's; each has a core.

    Returns:
        Microseconds a step and member, the median of five turns; and the most memory of
        the process while it trains, in MiB.
    """
    jax.config.update("jax_num_cpu_devices", devices)
    program = ours.lenet(ours.images(60_000, 28, 1), ours.fleet(jax.devices()), width)
    fleet = ours.tickets(program, members, (28, 28, 1), density)
    training = ours.Training(program, fleet, _STEPS)
    taken = [training() for _ in range(1 + _TURNS)][1:]  # the first compiles
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {_TIME: 1e6 * statistics.median(taken), _MEMORY: most}


def points() -> list[dict[str, Any]]:
    """Return all points, each axis by itself."""
    return [
        {"axis": axis} | _POINT | {axis: value}
        for axis, values in _AXES.items()
        for value in values
    ]


def draw(table: pd.DataFrame) -> Figure:
    """Return the curves: time above memory, a column an axis."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    rows = figure.subplots(2, len(_AXES), sharex="col", sharey="row", squeeze=False)
    for axes, measured in zip(rows, (_TIME, _MEMORY)):
        for ax, (axis, along) in zip(axes, table.groupby("axis", sort=False)):
            ax.plot(along[axis], along[measured], "o-", color="black")
            ax.set_xscale("log")
            ax.minorticks_off()
            ax.set_xticks(along[axis], [f"{value:g}" for value in along[axis]])
            ax.grid(alpha=0.3)
        axes[0].set_ylabel(measured)
        axes[0].set_ylim(bottom=0)
    for ax, axis in zip(rows[-1], _AXES):
        ax.set_xlabel(axis)
    return figure


def main() -> None:
    """Measure all points, or, as a process of its own, one."""
    parser = argparse.ArgumentParser(prog="benchmarks.curves", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        print(json.dumps(measure(**arguments.point)))
        return
    found = []
    for point in points():
        alone = json.dumps({name: point[name] for name in _POINT})
        command = [sys.executable, "-m", "benchmarks.curves", ".", "--point", alone]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(point | json.loads(shown.stdout.splitlines()[-1]))
        print(found[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(found)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.directory / "curves.csv", index=False, float_format="%.4g")
    draw(table).savefig(arguments.directory / "curves.svg")


if __name__ == "__main__":
    main()
