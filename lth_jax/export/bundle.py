"""Bundle: a ticket with all that it came from, as one folder or zip to share."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lth_jax import jsonl
from lth_jax import masks as masks_lib
from lth_jax.errors import ExportError
from lth_jax.export.ticket import TICKET, Ticket, load_ticket, save_ticket, unpacked
from lth_jax.paths import local
from lth_jax.workdir.member import Member

SUMS = "SHA256SUMS"
# The dense network of the same seed: at step 0, and at the rewind step.
STATES = {"initial.safetensors": "W_0", "rewound.safetensors": "W_k"}
# What tells dense networks apart: one has the seed and the rates of its tickets.
OF_DENSE = ("replicate", "learning_rate", "weight_decay")
_RECORDS = ("config.json", "environment.json", "plan.json", "results.jsonl")
_CARD = """\
# {model[name]}, {density:.2%} of its weights

A sparse network of [lth_jax](https://github.com/lth-jax/lth_jax): the ticket of
level {level}, replicate {replicate}. It keeps {density:.2%} of the prunable weights,
{kept:,} of {total:,}, {begun}, and trained to step {step}.

| | |
| --- | --- |
{facts}

## Numbers of the run

Of all replicates; this ticket is one of them.

```
{table}
```

## What is here

| file | content |
| --- | --- |
| `ticket.safetensors` | trained weights, and masks: `lth_jax.load_ticket` of all this |
| `rewound.safetensors` | W_k, the dense network at the rewind step, without masks |
| `initial.safetensors` | W_0, the dense network at step 0 |
| `config.json`, `environment.json`, `plan.json` | of the run |
| `results.jsonl` | all numbers of the run, one a row |
| `SHA256SUMS` | of every file; `python -m lth_jax.check` of all this verifies it |
"""


def write(
    path: Path | str, workdir: Path | str, ticket: Ticket, states: dict[str, Ticket]
) -> Path:
    """Write a bundle: a folder, or a zip if the name ends so.

    Args:
        path: of the bundle, where nothing is yet.
        workdir: folder of the run.
        ticket: of the run, trained.
        states: by a name of STATES, the dense network there.

    Raises:
        ExportError: something is there already.
    """
    path, run = local(path), local(workdir)
    if path.exists():
        raise ExportError(f"--out: {path} is there already; name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bundle") as name:
        folder = Path(name) / "bundle"
        folder.mkdir()
        save_ticket(folder / TICKET, ticket)
        for file, state in states.items():
            save_ticket(folder / file, state)
        for file in _RECORDS:
            shutil.copy(run / file, folder / file)
        (folder / "README.md").write_text(card(run, ticket))
        sums = [f"{_sum(x)}  {x.name}\n" for x in sorted(folder.iterdir())]
        (folder / SUMS).write_text("".join(sums))
        if path.suffix == ".zip":
            made = Path(name) / "bundle.zip"
            with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
                for x in sorted(folder.iterdir()):
                    file.write(x, f"{path.stem}/{x.name}")
            made.replace(path)
        else:
            folder.replace(path)
    return path


def card(run: Path, ticket: Ticket) -> str:
    """Return a model card, all of it made from what the run has written."""
    from lth_jax import report  # what draws, too

    about, rows = ticket.about, report.load(run)
    kept, total = masks_lib.count(ticket.masks)
    config = json.loads((run / "config.json").read_text())
    environment = json.loads((run / "environment.json").read_text())
    its = rows[rows["step"] == about["step"]]
    for name in set(Member._fields) & about.keys():
        its = its[its[name] == about[name]]
    numbers = its[its["measure"].str.startswith(("test_", "train_loss"))]
    facts = _facts(about, config)
    for measure, value in zip(numbers["measure"], numbers["value"]):
        facts[measure.replace("_", " ")] = f"{value:.4f}"
    facts |= {"code": environment.get("git_commit")}
    facts |= {"JAX": environment.get("packages", {}).get("jax")}
    begun = f"was rewound to step {about['rewind_step']}"
    if config["rewind"].get("weights") == "trained":
        begun = "was given trained weights"
    lines = (f"| {what} | {x} |" for what, x in facts.items() if x is not None)
    return _CARD.format(
        begun=begun if about["level"] else "was not pruned",
        kept=kept,
        total=total,
        facts="\n".join(lines),
        table=report.table(rows),
        **about,
    )


def _facts(about: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return what a card says of how a ticket was made; None where nothing is."""
    facts = {"network": about["model"]["name"], "data": config["data"]["name"]}
    facts |= {"pruned by": config["prune"]["method"]}
    facts |= {"optimizer": config["optim"]["name"]}
    facts |= {name.replace("_", " "): about.get(name) for name in OF_DENSE[1:]}
    for name in ("weights", "clock", "fresh"):
        value = config["rewind"].get(name)
        facts[f"rewind.{name}"] = value if value and value != "k" else None
    return facts


def problems(path: Path | str) -> Iterator[str]:
    """Yield what is wrong with a bundle, one line a problem.

    That its files are what their checksums say; that masks keep as many weights as the
    rows say, and weights are 0 elsewhere; that all states are of one network; and that
    the card is what these numbers make.
    """
    with unpacked(path) as folder:
        if not (folder / SUMS).is_file():
            yield f"{SUMS}: is missing"
            return
        lines = (folder / SUMS).read_text().splitlines()
        listed = {name: given for given, _, name in (x.partition("  ") for x in lines)}
        there = {x.name for x in folder.iterdir()} - {SUMS}
        for name in sorted(listed.keys() | there):
            if name not in there:
                yield f"{name}: is missing"
            elif name not in listed:
                yield f"{name}: has no checksum"
            elif _sum(folder / name) != listed[name]:
                yield f"{name}: has another checksum"
        if missing := {TICKET, *STATES, *_RECORDS, "README.md"} - there:
            yield from (f"{name}: is missing" for name in sorted(missing - {*listed}))
            return
        yield from _disagreements(folder)


def _disagreements(folder: Path) -> Iterator[str]:
    """Yield where the ticket, its states and its rows do not go together."""
    try:
        ticket = load_ticket(folder / TICKET)
        states = {file: load_ticket(folder / file) for file in STATES}
        rows = jsonl.read(folder / "results.jsonl")
    except ValueError as error:
        yield str(error)
        return
    about = ticket.about
    keys = Member._fields
    its = [row for row in rows if all(row.get(x) == about.get(x) for x in keys)]
    if not its:
        yield f"results.jsonl: has no row of the ticket ({about})"
    for row in its[:1]:
        density = masks_lib.density(ticket.masks)
        if row["density"] != density:
            yield f"{TICKET}: masks keep {density:.4%}, the run's {row['density']:.4%}"
    shapes = {path: w.shape for path, w in masks_lib.leaves(ticket.params)}
    for file, state in states.items():
        if {path: w.shape for path, w in masks_lib.leaves(state.params)} != shapes:
            yield f"{file}: is of another network"
        for name in OF_DENSE:
            if (its_own := state.about.get(name)) != about.get(name):
                yield f"{file}: is of {name} {its_own}"
    if states["rewound.safetensors"].about["step"] != about["rewind_step"]:
        yield "rewound.safetensors: is not at the rewind step"
    if states["initial.safetensors"].about["step"]:
        yield "initial.safetensors: is not at step 0"
    if (folder / "README.md").read_text() != card(folder, ticket):
        yield "README.md: is not what these numbers make"


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_one(path: Path | str) -> bool:
    """Return whether a path is a bundle."""
    found = local(path)
    isfile = os.path.isfile  # False of what is too long to be a name
    if found.suffix == ".zip" and isfile(found):
        return True
    return isfile(found / SUMS) or isfile(found / TICKET)
