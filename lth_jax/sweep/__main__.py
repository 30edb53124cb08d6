"""The command line: python -m lth_jax.sweep --config=C --config.FIELD=a,b ..."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from lth_jax import console
from lth_jax.errors import RunError
from lth_jax.paths import local
from lth_jax.sweep import launch
from lth_jax.sweep.grid import Share, divide

_TO_START = ("waiting", "interrupted", "lost", "failed")
_WHOLE = ("time", "array_parallelism")  # submitit reckons with these


def main(arguments: list[str] | None = None) -> None:
    """Train many runs of a config, and say how they stand."""
    parser = argparse.ArgumentParser(
        "python -m lth_jax.sweep", description=main.__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", required=True, help="config file and variants")
    add("--config.FIELD", metavar="A,B", dest="_", help="values of a field")
    add("--workdir", required=True, help="folder of the sweep, with a folder a run")
    each = "how many replicates a run has at most; by default all"
    add("--replicates_each", type=int, help=each)
    where = "local: one after another; slurm: an array of jobs, through submitit"
    add("--launcher", choices=["local", "slurm"], default="local", help=where)
    of = "of sbatch: time (whole minutes), mem, ...; True where it takes no value"
    add("--slurm.OPTION", metavar="X", dest="_", help=of)
    add("--accept_code_change", action="store_true", help="go on with changed code")
    add("--dry_run", action="store_true", help="print the runs, or sbatch's script")
    add("--status", action="store_true", help="print how runs stand; start none")
    chosen, rest = parser.parse_known_args(arguments)
    try:
        given, options = _given(rest, "config"), _slurm(_given(rest, "slurm"))
        if strange := [x for x in rest if not x.startswith(("--config.", "--slurm."))]:
            raise RunError(f"{strange[0]}: there is no such flag; see --help")
        shares = divide(chosen.config, given, chosen.replicates_each)
        if chosen.accept_code_change:
            accept = "--accept_code_change"
            shares = [x._replace(flags=(*x.flags, accept)) for x in shares]
        _do(chosen, local(chosen.workdir, "--workdir"), shares, options)
    except (OSError, RunError) as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'lth_jax[slurm]'")
    except KeyboardInterrupt:
        sys.exit(130)


def _given(rest: list[str], kind: str) -> dict[str, str]:
    """Return the flags of a kind, by name."""
    found = {}
    for text in (text for text in rest if text.startswith(f"--{kind}.")):
        name, is_there, value = text.partition("=")
        if not is_there:
            raise RunError(f"{name}: write {name}=VALUE")
        found[name.removeprefix(f"--{kind}.")] = value
    return found


def _slurm(given: dict[str, str]) -> dict[str, Any]:
    """Return options of sbatch by their names with underscores, numbers as such."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        name = name.replace("-", "_")
        found[name] = True if text == "True" else text
        if re.fullmatch("[1-9][0-9]*", text):  # an account may be 007
            found[name] = int(text)
        elif name in _WHOLE:
            whole = "minutes, as 2880 for two days" if name == "time" else "jobs"
            raise RunError(f"--slurm.{name}: {text!r} is no number of {whole}")
    return found


def _do(
    chosen: argparse.Namespace,
    workdir: Path,
    shares: list[Share],
    options: dict[str, Any],
) -> None:
    slurm = chosen.launcher == "slurm"
    if chosen.dry_run:
        for share in shares:
            flags = shlex.join([*share.flags, f"--workdir={workdir / share.name}"])
            print(f"python -m lth_jax.main {flags}", flush=True)
        if slurm:
            print(f"\n{launch.script(workdir, shares, options)}")
        return
    found = launch.states(workdir, shares)
    waiting = [x for x in shares if found[x.name].startswith(_TO_START)]
    if not chosen.status and waiting:
        workdir.mkdir(parents=True, exist_ok=True)
        if slurm:
            names = launch.to_slurm(workdir, waiting, options)
            launch.remember(workdir, dict(zip((x.name for x in waiting), names)))
        else:
            launch.locally(workdir, waiting)
    found = launch.states(workdir, shares)
    print(launch.table(workdir, found))
    for setting in dict.fromkeys(share.setting for share in shares):
        its = [x.name for x in shares if x.setting == setting]
        if len(its) > 1 and all(found[name] in launch.DONE for name in its):
            runs = shlex.join(str(workdir / name) for name in its)
            print(f"\nas one experiment: python -m lth_jax.report {runs} --pool")
    if any(state.startswith("failed") for state in found.values()):
        sys.exit("error: see what runs said, above or in jobs/ of the workdir")


if __name__ == "__main__":
    console.prepare()
    main()
