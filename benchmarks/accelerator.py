"""Accelerator: what the engine does on a GPU, beside PyTorch, in a few minutes.

    python -m benchmarks.accelerator --minutes=8 --out=figures.jsonl
    python -m benchmarks.accelerator --tiny resnet20 lenet/1

One line of JSON a figure, the most important ones first. What fails, or would not end
in time by an estimate, is a line that says so, and others go on. When the time is over
the rest is left out. A name stands for what is below it, too.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.blocks import Block
    from benchmarks.figures import Budget, Figure

# What these say must be known before JAX starts: PyTorch needs memory of the same card.
_MEMORY = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.7",
}
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "torch")


def figures(blocks: Mapping[str, "Block"], budget: "Budget") -> Iterator["Figure"]:
    """Yield the figures of all blocks, also of those that fail or are left out."""
    from benchmarks.figures import OutOfTime, failed, tidy

    for name, block in blocks.items():
        try:
            budget.ask(0)
            found = block(budget)
            while figure := _within(budget, found):
                yield figure
        except (Exception, OutOfTime) as error:
            yield failed(name, error)
        tidy()


def _within(budget: "Budget", found: Iterator["Figure"]) -> "Figure | None":
    """Return the next figure, or raise OutOfTime once the time is over.

    As soon as Python has its turn: what is being compiled is compiled.
    """
    from benchmarks.figures import OutOfTime

    def end(*_: object) -> None:
        raise OutOfTime("cut off, as the time is over")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, budget.left))
    try:
        return next(found, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def about() -> dict[str, Any]:
    """Return what every line says of the machine, the code and the command."""
    import jax

    commit, versions = None, {}
    with contextlib.suppress(ImportError):
        from lth_jax.workdir import environment

        commit = environment._git_commit()
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "card": jax.devices()[0].device_kind,
        "versions": versions,
        "commit": commit,
        "command": shlex.join(
            ["python", "-m", "benchmarks.accelerator", *sys.argv[1:]]
        ),
    }


def chosen(names: list[str], blocks: Mapping[str, "Block"]) -> dict[str, "Block"]:
    """Return the blocks of some names, or all; ValueError if there is none of a name.

    A name stands for a block and for those below it: resnet20 for resnet20/16, too.
    """
    for name in names:
        if not any(f"{block}/".startswith(f"{name}/") for block in blocks):
            known = ", ".join(blocks)
            raise ValueError(f"{name!r} is not known; choose from {known}")
    wanted = tuple(f"{name}/" for name in names) or ("",)
    return {n: block for n, block in blocks.items() if f"{n}/".startswith(wanted)}


def write(
    found: Iterator["Figure"], of: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Write a line a figure."""
    for figure in found:
        say(json.dumps(dataclasses.asdict(figure) | of))


def main() -> None:
    """Measure the blocks that the command line names, or all."""
    parser = argparse.ArgumentParser("python -m benchmarks.accelerator", None, __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, help="file to which lines are added")
    parser.add_argument(
        "--tiny", action="store_true", help="try all, small, in seconds"
    )
    options = parser.parse_args()
    os.environ.update(_MEMORY | os.environ)
    from benchmarks.blocks import BLOCKS
    from benchmarks.figures import Budget

    budget = Budget(60 * options.minutes, options.tiny)
    try:
        blocks = chosen(options.names, BLOCKS)
    except ValueError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        file = options.out and stack.enter_context(options.out.open("a"))

        def say(line: str) -> None:
            for place in filter(None, (sys.stdout, file)):
                print(line, file=place, flush=True)

        write(figures(blocks, budget), about(), say)


if __name__ == "__main__":
    main()
