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
from ml_collections import config_flags

from lth_jax import config, console, job
from lth_jax.errors import RunError, one_line

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; after a colon its variants, joined by commas.",
    lock_config=True,
)
_EARLIEST = "Search for the earliest rewind step whose tickets are stable, or match."
_FLAGS = {
    "workdir": (flags.DEFINE_string, None, "Folder of the run: new, or to go on."),
    "dry_run": (flags.DEFINE_bool, False, "Print what would be trained, for how long."),
    "summary": (flags.DEFINE_bool, False, "Print the network's layers; train nothing."),
    "earliest_rewind": (flags.DEFINE_enum, None, ["stable", "matching"], _EARLIEST),
    "accept_code_change": (flags.DEFINE_bool, False, "Go on though code has changed."),
    "distributed": (flags.DEFINE_bool, False, "Join what the cluster has started."),
    "coordinator": (flags.DEFINE_string, None, "Join others; host:port of the first."),
    "processes": (flags.DEFINE_integer, None, "The number of processes."),
    "process": (flags.DEFINE_integer, None, "Which process this is, from 0."),
}
for _name, (_define, *_options) in _FLAGS.items():
    _define(_name, *_options)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Run what the flags say."""
    if len(argv) > 1:
        sys.exit(f"error: unexpected argument: {argv[1]}")
    job.work(_CONFIG.value, flags.FLAGS)


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; a mistake in them, or in the config's file, is one line."""
    if {"--help", "-h"} & {*argv}:
        lines = [str(__doc__), "Flags:"]
        lines += [f"  --{n:<18} {flags.FLAGS[n].help}" for n in ("config", *_FLAGS)]
        lines += ["", "Configs of the package, as configs/NAME.py:"]
        print("\n".join([*lines, textwrap.fill(", ".join(config.names()), 80)]))
        sys.exit()
    if "--config" in argv[:-1]:
        i = argv.index("--config")
        argv = [*argv[:i], f"--config={argv[i + 1]}", *argv[i + 2 :]]
    try:
        rest = flags.FLAGS([located(argument) for argument in argv])
        _CONFIG.value.is_locked  # noqa: B018  (a missing file shows when it is used)
    except (flags.Error, AttributeError, OSError, RunError) as error:
        sys.exit(f"error: {_reason(error)}")
    return rest


def located(argument: str) -> str:
    """Return `--config=configs/NAME.py` with the path of the package's, if needed."""
    name, _, value = argument.partition("=")
    file, colon, variant = value.partition(":")
    if name not in ("--config", "-config") or not file:
        return argument
    return f"{name}={config.located(file)}{colon}{variant}"


def _reason(error: BaseException) -> str:
    """Return what is wrong with the flags, or what the config's file raised, alone."""
    first = error
    while first.__context__:
        first = first.__context__
    if isinstance(first, RunError) or isinstance(error, flags.Error):
        return str(first if isinstance(first, RunError) else error).splitlines()[-1]
    if isinstance(error, OSError):
        return f"--config: {one_line(error)}"
    said = str((error.__context__ or error).args[0])  # of a KeyError unquoted
    return f"--config: no such field: {' '.join(said.split())}"


def command() -> None:
    """Run the command line."""
    console.prepare()
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    command()
