"""Shell: lth-jax, the commands of the package as one.

    lth-jax run --config=configs/digits.py --workdir=runs/digits
    lth-jax report runs/digits

Each is a module, too: `lth-jax report` is `python -m lth_jax.report`.
"""

import difflib
import importlib
import sys

from lth_jax import console

# By name: the module whose `main` takes arguments, and what it does.
COMMANDS = {
    "run": ("lth_jax.main", "find lottery tickets as a config says, or go on"),
    "sweep": ("lth_jax.sweep.__main__", "many runs of a config, here or on a cluster"),
    "judge": ("lth_jax.judge.__main__", "say whether masks are a winning ticket"),
    "report": ("lth_jax.report.__main__", "tables, figures and a page of runs"),
    "pictures": ("lth_jax.pictures.__main__", "draw tickets: inputs, weights, units"),
    "check": ("lth_jax.check.__main__", "verify what a run has left"),
    "export": ("lth_jax.export.__main__", "write a ticket to a file"),
    "track": ("lth_jax.track.__main__", "rows, page and tickets to a tracker"),
    "new": ("lth_jax.shell.new", "write a config of one's own, with every field"),
    "completion": ("lth_jax.shell.completion", "print what completes commands"),
}


def command(arguments: list[str] | None = None) -> None:
    """Run the command that the first argument names; without one, `run`."""
    console.prepare()
    first, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if first in ("--help", "-h", "help"):
        print(_help())
    elif first.startswith("-"):  # as it was before there were others
        _main("run")([first, *rest])
    elif first in COMMANDS:
        _main(first)(rest)
    else:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        sys.exit(
            f"error: {first}: there is no such command{meant} There are "
            f"{', '.join(COMMANDS)}"
        )


def _main(name: str):
    module = importlib.import_module(COMMANDS[name][0])
    return module.command if name == "run" else module.main


def _help() -> str:
    lines = [f"  {name:<12}{said}" for name, (_, said) in COMMANDS.items()]
    examples = str(__doc__).split("\n\n")[1]
    more = (
        "`lth-jax COMMAND --help` says more; that of run has every field of a config."
    )
    return "\n".join(["Find, train and study lottery tickets.", "", *lines]) + (
        f"\n\n{examples}\n\n{more}"
    )
