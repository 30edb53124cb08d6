"""Rows: results.jsonl as a data frame, one number a row.

A network is named by five columns: `run` (its folder), `setting` (learning rate and
weight decay, where a run has several; else empty), `rewind_step`, `level`, `branch`.
What else a number depends on stands in optional columns: `split`, `pair`, `other`,
`alpha`, `p`, `layer`, and any that a study of one's own adds.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lth_jax import jsonl
from lth_jax.numbers.titles import in_words
from lth_jax.paths import local

Rows = pd.DataFrame | Iterable[dict[str, Any]]

# These as in `workdir`, which needs JAX.
_SWEPT = ("learning_rate", "weight_decay")
MEMBER = ("replicate", "rewind_step", "level", "branch", "copy", *_SWEPT)
DIVERGED = "diverged"

TRAINING = ["run", "setting", "rewind_step"]
NETWORK = [*TRAINING, "level", "branch"]
FIXED = (*dict.fromkeys([*MEMBER, *NETWORK]), "density", "step", "measure", "value")
_OPTIONAL = ("split", "pair", "other", "alpha", "p", "layer")
_TAKEN = ("mean", "std", "n", "min", "max", "chance", "difference", "cell")
_TAKEN += ("panel", "label", "x", "flat", "order", "run_number", "rows")
_TAKEN += ("find", "train", "bill")


def load(*workdirs: Path | str, pool: bool = False) -> pd.DataFrame:
    """Return the rows of some runs, as `tidy` does; a run may be on its way.

    What the runs' task calls its metrics, and their units, is in `attrs["task"]`.

    Args:
        workdirs: folders of runs.
        pool: they are one experiment, with replicates divided over them: one run, of
            which `attrs["notes"]` says what is missing.

    Raises:
        FileNotFoundError: a folder has no results.jsonl.
        RecordsError: a line of it is not a row.
        PoolError: folders are not one experiment; names the field that differs.
    """
    if pool:
        from lth_jax import pool as pool_lib  # what reads configs, for this alone

        one = pool_lib.read(*workdirs)
        found = tidy(row | {"run": "pooled"} for row in one.rows)
        found.attrs["notes"] = one.notes
        tasks = [one.files["plan"].get("task")]
    else:
        found = tidy(
            row | {"run": name}
            for name, workdir in zip(names(*workdirs), workdirs)
            for row in jsonl.read(local(workdir) / "results.jsonl")
        )
        plans = [local(workdir) / "plan.json" for workdir in workdirs]
        there = [plan for plan in plans if plan.exists()]
        tasks = [json.loads(plan.read_text()).get("task") for plan in there]
    if told := [task for task in tasks if task]:
        units = {name: x for task in told for name, x in task["units"].items()}
        found.attrs["task"] = {"error": told[0]["error"], "units": units}
    return found


def names(*workdirs: Path | str) -> list[str]:
    """Return the shortest names of folders that tell them apart."""
    parts = [local(workdir).parts for workdir in workdirs]
    for length in range(1, max(map(len, parts), default=0)):
        found = ["/".join(part[-length:]) for part in parts]
        if len(set(found)) == len(set(parts)):
            return found
    return [str(workdir) for workdir in workdirs]


def tidy(rows: Rows) -> pd.DataFrame:
    """Return rows as a data frame with `run` and `setting`."""
    found = pd.DataFrame(rows)
    found.attrs = getattr(rows, "attrs", {})
    if found.empty:
        return pd.DataFrame(columns=FIXED)
    if "setting" in found:
        return found
    found = found.rename(columns={name: f"{name}_" for name in _TAKEN})  # of one's own
    setting = in_words(found, [name for name in _SWEPT if name in found]) or ""
    value = found["value"].astype(float)
    return found.assign(setting=setting, run=found.get("run", ""), value=value)


def extras(numbers: pd.DataFrame) -> list[str]:
    """Return which optional columns have a value: known ones first, others by name."""
    others = sorted({*numbers} - {*FIXED, *_TAKEN, *_OPTIONAL})
    columns = [*(name for name in _OPTIONAL if name in numbers), *others]
    return [name for name in columns if numbers[name].notna().any()]


def varying(numbers: pd.DataFrame) -> list[str]:
    """Return in which optional columns numbers differ."""
    return [n for n in extras(numbers) if numbers[n].nunique(dropna=False) > 1]


def select(rows: Rows, measure: str, **where: Any) -> pd.DataFrame:
    """Return the rows of a measure, but for those of what ADMM trains."""
    found = tidy(rows)
    found = found[(found["measure"] == measure) & (found["branch"] != "admm")]
    found = by_replicate(found)
    for name in extras(found):
        kinds = set(found[name].dropna().map(type))
        if len(kinds) > 1 or kinds & {list, dict}:  # pandas cannot group by those
            found[name] = found[name].map(str, na_action="ignore")
        found[name] = found[name].infer_objects()
    for name, value in where.items():
        column = found.get(name, pd.Series(None, found.index, object))
        if value is None or value is ...:
            found = found[column.isna() == (value is None)]
        else:
            found = found[column.isin(value if isinstance(value, tuple) else [value])]
    if {"pair", "other"} <= {*found}:  # which copy it was is of no more interest
        found = found.assign(other=found["other"].mask(found["pair"] == "copies"))
    return found


def by_replicate(found: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order of replicates, on which last digits of means depend."""
    return found.sort_values("replicate", kind="stable")


def measures(rows: Rows) -> list[str]:
    """Return the names of the measures in rows, in their order."""
    return [m for m in dict.fromkeys(tidy(rows)["measure"]) if m != DIVERGED]


def branches(rows: Rows) -> list[str]:
    """Return the names of the branches in rows, in their order."""
    return [*dict.fromkeys(tidy(rows)["branch"])]
