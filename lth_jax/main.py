"""Find lottery tickets: fit, prune, rewind.

    lth-jax --config=configs/digits.py --workdir=runs/digits
    lth-jax --config=configs/resnet20.py:low --workdir=runs/low --config.replicates=1

A config is a file of your own or one that comes with the package. Any of its fields
can be set on top, as --config.optim.learning_rate=0.01; lth_jax/config/table.py
explains them all. To see the resolved config, and what it would train, add --dry_run; a
run writes it to config.json in its workdir. The same command again goes on where a run
was interrupted.
"""

import sys
import textwrap

from absl import app, flags

from lth_jax import commandline, config, console, job

_EARLIEST = "Search for the earliest rewind step whose tickets are so, by bisection."
_CRITERIA = ["stable", "matching", "winning"]
_FLAGS = {
    "workdir": (flags.DEFINE_string, None, "Folder of the run: new, or to go on."),
    "dry_run": (flags.DEFINE_bool, False, "Print what would be trained, for how long."),
    "summary": (flags.DEFINE_bool, False, "Print the network's layers; train nothing."),
    "earliest_rewind": (flags.DEFINE_enum, None, _CRITERIA, _EARLIEST),
    "accept_code_change": (flags.DEFINE_bool, False, "Go on though code has changed."),
    "distributed": (flags.DEFINE_bool, False, "Join what the cluster has started."),
    "coordinator": (flags.DEFINE_string, None, "Join others; host:port of the first."),
    "processes": (flags.DEFINE_integer, None, "The number of processes."),
    "process": (flags.DEFINE_integer, None, "Which process this is, from 0."),
}
_CONFIG = commandline.define(_FLAGS)


def main(argv: list[str]) -> None:
    """Run what the flags say."""
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument: {argv[1]}")
    job.work(_CONFIG.value, flags.FLAGS)


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; a mistake in them, or in the config's file, is one line."""
    if {"--help", "-h"} & {*argv}:
        lines = [str(__doc__), *commandline.texts(known_flags())]
        lines += ["", config.text(), "", "Configs of the package, as configs/NAME.py:"]
        lines += [textwrap.fill(", ".join(config.names()), 80), "", "Names:"]
        for field, known in job.names().items():
            text = f"  {field}: {', '.join(known)}"
            lines.append(textwrap.fill(text, 80, subsequent_indent="    "))
        print("\n".join(lines))
        sys.exit()
    job.use_cores()
    return commandline.parse(argv)


def known_flags() -> dict[str, bool]:
    """Return the flags, and whether a value follows."""
    return commandline.known_flags(_FLAGS)


def command(arguments: list[str] | None = None) -> None:
    """Run the command line, or these arguments."""
    console.prepare()
    given = None if arguments is None else ["lth-jax run", *arguments]
    app.run(main, given, flags_parser=parse)


if __name__ == "__main__":
    command()
