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
from lth_jax.sweep.part import INTERRUPTED, Part, told

# Minutes of a job, unless --slurm.time says others; and the seconds that it has to
# save itself before that is over, or before it is preempted.
_SLURM: dict[str, Any] = {"time": 24 * 60, "signal_delay_s": 120, "job_name": "lth_jax"}
_AGAIN = {"requeue": True}


def locally(workdir: Path, shares: Sequence[Share]) -> list[int]:
    """Train runs here, one after another: each has all devices. Return statuses."""
    return [Part(str(workdir / x.name), x.flags)() for x in shares]


def to_slurm(
    workdir: Path, shares: Sequence[Share], options: dict[str, Any]
) -> list[str]:
    """Queue runs as one array of jobs; return the jobs' names.

    Raises RunError where there is no Slurm, or it refuses the options.
    """
    import submitit

    try:
        executor = submitit.SlurmExecutor(workdir / "jobs", max_num_timeout=10**6)
        executor.update_parameters(**_options(options))
        with executor.batch():
            jobs = [
                executor.submit(Part(str(workdir / x.name), x.flags)) for x in shares
            ]
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
    return _SLURM | options | {"additional_parameters": _AGAIN}


def queued() -> dict[str, str]:
    """Return the jobs that Slurm has, and their states; none where it is not."""
    if not shutil.which("squeue"):
        return {}
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %T %A"]
    asked = subprocess.run(command, capture_output=True, text=True)
    found = {}
    for name, state, single in map(str.split, asked.stdout.splitlines()):
        found |= {name: state.lower(), single: state.lower()}
    return found


def states(workdir: Path, shares: Sequence[Share]) -> dict[str, str]:
    """Return how every run stands: done, failed, running, pending, or waiting.

    "interrupted" is what has saved itself, and "lost" what ended without a word; both
    are started again, as what waits is.
    """
    there, path = queued(), workdir / "jobs.json"
    names = json.loads(path.read_text()) if path.exists() else {}
    found = {}
    for share in shares:
        said, job = told(workdir / share.name), names.get(share.name)
        own = there.get((said or {}).get("job", "")) or there.get(job or "")
        status = said and said["status"]
        if said and status == 0:
            found[share.name] = "done"
        elif own:
            found[share.name] = own
        elif not said:
            found[share.name] = "waiting"
        else:
            words = {None: "lost", INTERRUPTED: "interrupted"}
            found[share.name] = words.get(status, f"failed ({status})")
    return found


def remember(workdir: Path, jobs: dict[str, str]) -> None:
    """Keep which job has which run."""
    path = workdir / "jobs.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | jobs, indent=2) + "\n")


def table(workdir: Path, shares: Sequence[Share]) -> str:
    """Return how all runs stand, a line each, and a line in all."""
    found = states(workdir, shares)
    width = max(map(len, found))
    lines = [f"{'run':<{width}}  {'state':<12}  level"]
    for name, state in found.items():
        lines.append(f"{name:<{width}}  {state:<12}  {_level(workdir / name)}".rstrip())
    counted = {state: [*found.values()].count(state) for state in found.values()}
    lines.append(", ".join(f"{number} {state}" for state, number in counted.items()))
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
