"""Launch: where the runs of a sweep go, and how they stand."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lth_jax import jsonl
from lth_jax.errors import RunError, one_line
from lth_jax.sweep.grid import Share
from lth_jax.sweep.part import DIVERGED, INTERRUPTED, Part, is_at_work, told

# Minutes of a job, unless --slurm.time says others; and the seconds that it has to
# save itself before that is over, or before it is preempted.
_SLURM: dict[str, Any] = {"time": 24 * 60, "signal_delay_s": 120, "job_name": "lth_jax"}
_AGAIN = {"requeue": True}
# What submitit calls options, and sbatch does not; and what a sweep says itself.
_NOT_SBATCH = {"additional_parameters", "setup", "srun_args", "teardown", "use_srun"}
_NOT_SBATCH |= {"stderr_to_stdout"}
_OWN = {"array", "error", "open_mode", "output", "requeue", "signal"}
_OWN |= {"nodes", "ntasks", "ntasks_per_node"}  # a run is one process

DONE = ("done", "done, diverged")  # all is trained, but what came of what diverged


def locally(workdir: Path, shares: Sequence[Share]) -> None:
    """Train runs here, one after another: each has all devices."""
    for share in shares:
        if not is_at_work(workdir / share.name):  # since the others were trained
            _part(workdir, share)()


def _part(workdir: Path, share: Share) -> Part:
    return Part(str(workdir / share.name), share.flags, share.config)


def to_slurm(
    workdir: Path, shares: Sequence[Share], options: dict[str, Any]
) -> list[str]:
    """Queue runs as one array of jobs; return the jobs' names.

    Raises RunError where there is no Slurm, or it refuses the options.
    """
    import submitit

    settings = _options(options)
    try:
        executor = submitit.SlurmExecutor(workdir / "jobs", max_num_timeout=10**6)
        executor.update_parameters(**settings)
        with executor.batch():
            jobs = [executor.submit(_part(workdir, share)) for share in shares]
    except Exception as error:  # of submitit, or of sbatch
        raise RunError(f"--launcher=slurm: {one_line(error)}") from error
    return [str(job.job_id) for job in jobs]


def script(workdir: Path, shares: Sequence[Share], options: dict[str, Any]) -> str:
    """Return the script that `to_slurm` gives to sbatch."""
    from submitit.slurm import slurm

    settings = _options(options)
    if len(shares) > 1:
        settings["map_count"] = len(shares)
    command = f"python -u -m submitit.core._submit {workdir / 'jobs'}"
    try:
        return slurm._make_sbatch_string(command, workdir / "jobs", **settings)
    except TypeError as error:
        raise RunError(f"--slurm: {one_line(error)}") from error


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Return submitit's settings: it passes on what it does not know."""
    from submitit import SlurmExecutor

    if strange := (_NOT_SBATCH | _OWN) & options.keys():
        name = min(strange)
        reason = "a sweep sets it" if name in _OWN else "sbatch has no such option"
        raise RunError(f"--slurm.{name}: {reason}")
    known = SlurmExecutor._valid_parameters()
    its = {name: x for name, x in options.items() if name in known}
    others = {name: x for name, x in options.items() if name not in known}
    return _SLURM | its | {"additional_parameters": others | _AGAIN}


def queued() -> dict[str, str]:
    """Return the jobs that Slurm has, and their states; none where it is not.

    Raises RunError where it does not answer: what it has must not be queued again.
    """
    if not shutil.which("squeue"):
        return {}
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %T %A"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        reason = one_line(asked.stderr or f"status {asked.returncode}")
        raise RunError(f"squeue: {reason}; try again when Slurm answers")
    found = {}
    for name, state, single in map(str.split, asked.stdout.splitlines()):
        found |= {name: state.lower(), single: state.lower()}
    return found


def states(workdir: Path, shares: Sequence[Share]) -> dict[str, str]:
    """Return how every run stands: done, failed, running, pending, or waiting.

    "waiting" is also what was done with another config; "interrupted" is what has saved
    itself, and "lost" what ended without a word: all are started.
    """
    path = workdir / "jobs.json"
    names = json.loads(path.read_text()) if path.exists() else {}
    said = {share.name: told(workdir / share.name) or {} for share in shares}
    there = queued() if names or any(x.get("job") for x in said.values()) else {}
    found = {}
    for share in shares:
        its, job = said[share.name], names.get(share.name)
        own = there.get(its.get("job", "")) or there.get(job or "")
        if not own and is_at_work(workdir / share.name):
            own = "running"
        same = its.get("config", share.config) == share.config  # older ones have none
        word = _word(its["status"]) if its and same else "waiting"
        found[share.name] = own if own and word not in DONE else word
    return found


def _word(status: int | None) -> str:
    words = {0: DONE[0], DIVERGED: DONE[1], None: "lost", INTERRUPTED: "interrupted"}
    return words.get(status, f"failed ({status})")


def remember(workdir: Path, jobs: dict[str, str]) -> None:
    """Keep which job has which run."""
    path = workdir / "jobs.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | jobs, indent=2) + "\n")


def table(workdir: Path, found: dict[str, str]) -> str:
    """Return how all runs stand, a line each, and a line in all."""
    width = max(map(len, found))
    lines = [f"{'run':<{width}}  {'state':<14}  level"]
    for name, state in found.items():
        lines.append(f"{name:<{width}}  {state:<14}  {_level(workdir / name)}".rstrip())
    counted = {state: [*found.values()].count(state) for state in found.values()}
    lines.append("; ".join(f"{number} {state}" for state, number in counted.items()))
    return "\n".join(lines)


def _level(run: Path) -> str:
    """Return up to which level there are numbers, and of how many."""
    rows, plan = run / "results.jsonl", run / "plan.json"
    if not (rows.exists() and plan.exists()):
        return ""
    trainings = json.loads(plan.read_text())["trainings"]
    last = max(member[2] for member, *_ in trainings)
    reached = max((row["level"] for row in jsonl.read(rows)), default=0)
    return f"{reached} of {last}"
