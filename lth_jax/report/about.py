"""About: what was run, and in what runs differ, in words made from their files."""

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lth_jax.numbers.rows import DIVERGED

_FILES = ("config", "environment", "plan")


def files(workdir: Path) -> dict[str, Any]:
    """Return config, environment and plan of a run, {} for a file that is not there."""
    paths = {name: workdir / f"{name}.json" for name in _FILES}
    return {
        name: json.loads(path.read_text()) if path.exists() else {}
        for name, path in paths.items()
    }


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return {name with dots: value} of a tree of dicts."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping) and value
        found |= flat(value, f"{before}{name}.") if inner else {before + name: value}
    return found


def ran(its: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """Return what a run is: network, data, method, steps, replicates, date, commit."""
    config = flat(its["config"])
    parts = [_network(its), _pruned(config), _trained(its, config), _made(its)]
    return " ".join(part for part in [*parts, _standing(its["config"], rows)] if part)


def _network(its: Mapping[str, Any]) -> str:
    config = its["config"]
    model, data = config.get("model", {}), config.get("data", {})
    if not model.get("name"):
        return ""
    options = [f"{n.replace('_', ' ')} {_text(x)}" for n, x in _options(model)]
    name = str(model["name"]) + f" ({', '.join(options)})" * bool(options)
    return f"{name} on {data.get('name', 'data of its own')}."


def _options(model: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return dict(model.get("options") or {}).items()


def _pruned(config: Mapping[str, Any]) -> str:
    """Return how tickets are found, and from where they start."""
    method = config.get("prune.method")
    if not method:
        return ""
    densities, levels = config.get("prune.densities"), config.get("prune.levels")
    share = f"{100 * config.get('prune.fraction', 0):g} % of what remains"
    how = f"{share} at each of {levels} levels"
    if densities:
        how = f"to {', '.join(f'{100 * x:.3g} %' for x in densities)} of the weights"
    if config.get("prune.schedule") == "one_shot":
        how += " at once"
    return f"Pruned by {str(method).replace('_', ' ')}, {how}; {_started(config)}."


def _started(config: Mapping[str, Any]) -> str:
    """Return with what tickets begin."""
    steps = ", ".join(str(x).removesuffix("it") for x in config["rewind.steps"])
    text = f"rewound to step{'s' * (len(config['rewind.steps']) > 1)} {steps}"
    if config.get("rewind.weights") == "trained":
        ends = config.get("rewind.clock") == "end"
        rate = "at the last rate" if ends else f"in the schedule, {text}"
        return f"the trained weights go on, {rate}"
    fresh = [str(part).replace("_", " ") for part in config.get("rewind.fresh") or ()]
    return text + f", but for {', '.join(fresh)} of step 0" * bool(fresh)


def _trained(its: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    length = its["plan"].get("length") or str(config.get("train.length", ""))
    if not length or not config.get("optim.name"):
        return ""
    steps = f"{length:,} steps" if isinstance(length, int) else _length(length)
    rates = config.get("sweep.learning_rate") or [config.get("optim.learning_rate")]
    decays = config.get("sweep.weight_decay") or [config.get("optim.weight_decay")]
    shown = _text(rates)
    rate = f"rates of {shown}, compared" if len(rates) > 1 else f"a rate of {shown}"
    text = f"{steps} of {config['optim.name']} at {rate}"
    if any(decays):
        text += f", weight decay {_text(decays)}"
    if batch := config.get("data.batch_size"):
        text += f", batches of {batch}"
    n = config.get("replicates", 1)
    return f"{text}; {n} replicate{'s' * (n != 1)}, seed {config.get('seed', 0)}."


def _length(text: str) -> str:
    number, name = text[:-2], {"it": "steps", "ep": "epochs"}.get(text[-2:])
    return f"{int(number):,} {name}" if name and number.isdigit() else text


def _made(its: Mapping[str, Any]) -> str:
    """Return when, by which code and on what it was run, as far as that is known."""
    environment, found = its["environment"], []
    if begun := environment.get("begun"):
        day = datetime.datetime.fromisoformat(str(begun))
        found.append(f"begun {day.day} {day:%B %Y}")
    if commit := environment.get("git_commit"):
        name, _, changed = str(commit).partition("-")
        found.append(f"commit {name[:7]}" + " with changes" * bool(changed))
    if version := environment.get("packages", {}).get("jax"):
        devices = [str(x) for x in environment.get("devices", [])]
        kinds = [f"{devices.count(x)} × {x}" for x in dict.fromkeys(devices)]
        found.append(f"jax {version} on {', '.join(kinds)}" if kinds else version)
    text = ", ".join(found)
    return text and f"{text[0].upper()}{text[1:]}."


def _standing(config: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """Say how far a run is: one that is on its way has a report, too."""
    if rows.empty:
        return "No numbers yet."
    prune = config.get("prune", {})
    levels = len(prune.get("densities", ())) or prune.get("levels", "?")
    reached, n = rows["level"].max(), rows["replicate"].nunique()
    text = f"Numbers up to level {reached} of {levels}, n = {n}"
    if diverged := int((rows["measure"] == DIVERGED).sum()):
        text += f"; diverged, and left out: {diverged}, see results.jsonl"
    return text + "."


def differing(configs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the fields in which the configs of runs differ, a column a run."""
    fields = {name: flat(config) for name, config in configs.items()}
    names = dict.fromkeys(name for its in fields.values() for name in its)
    lines = [
        [name, *values]
        for name in names
        if len({*(values := [_text(its.get(name, "")) for its in fields.values()])}) > 1
    ]
    return pd.DataFrame(lines, columns=["field", *fields])


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
