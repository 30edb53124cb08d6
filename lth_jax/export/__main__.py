"""The command line: python -m lth_jax.export WORKDIR --level=3 --format=safetensors."""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax

from lth_jax import console
from lth_jax.errors import ExportError, RunError, one_line
from lth_jax.export import Ticket, bundle, find, torch_names, write
from lth_jax.paths import local


def main(arguments: list[str] | None = None) -> None:
    """Write a ticket of a run to a file: kept weights, and masks at a bit a weight."""
    chosen = vars(_parser().parse_args(arguments))
    kind, out, whole = (chosen.pop(name) for name in ("format", "out", "bundle"))
    names = chosen.pop("names")
    try:
        out = out and local(out, "--out")
        if names and (whole or kind != "torch"):
            raise ExportError("--names: is for --format=torch")
        ticket = find(**chosen)
        if whole:
            path = _bundle(chosen, kind, out, ticket)
        else:
            path = _file(chosen, kind, out, ticket, names and torch_names.table(names))
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    dense = sum(x.nbytes for x in jax.tree.leaves((ticket.params, ticket.batch_stats)))
    files = [path] if path.is_file() else path.iterdir()
    size = f"{sum(x.stat().st_size for x in files):,} bytes (dense: {dense:,})"
    print(f"{ticket.about['density']:.2%} of the weights, {size}: {path}")


def _file(
    chosen: dict[str, Any], kind: Any, out: Any, ticket: Ticket, names: Any
) -> Path:
    """Write a ticket alone."""
    by_suffix = {".npz": "npz", ".onnx": "onnx"}
    kind = kind or by_suffix.get(out.suffix if out else "", "safetensors")
    ending = f".{kind}" if kind in by_suffix.values() else ".safetensors"
    if out and out.suffix != ending:
        raise ExportError(f"--out: {out}, of format {kind}, must end in {ending}")
    stem = _stem(ticket, kind) + "_rewound" * chosen["rewound"]
    path = out or local(chosen["workdir"]) / "tickets" / f"{stem}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, ticket, kind, names)
    return path


def _bundle(chosen: dict[str, Any], kind: Any, out: Any, ticket: Ticket) -> Path:
    """Write a ticket with all that it came from."""
    for name in ("format", "rewound"):
        if kind if name == "format" else chosen["rewound"]:
            raise ExportError(f"--{name}: a bundle has all; leave it out")
    about = ticket.about
    steps = dict(zip(bundle.STATES, (0, about["rewind_step"])))
    its = {name: about.get(name) for name in bundle.OF_DENSE}
    dense: dict[str, Any] = {**chosen, **its, "level": 0, "rewound": True}
    states = {x: find(**{**dense, "rewind_step": n}) for x, n in steps.items()}
    path = out or local(chosen["workdir"]) / "tickets" / _stem(ticket, "")
    return bundle.write(path, chosen["workdir"], ticket, states)


def _parser() -> argparse.ArgumentParser:
    program, rewound = "python -m lth_jax.export", "W_k under the masks, not trained"
    parser = argparse.ArgumentParser(program, description=main.__doc__)
    add = parser.add_argument
    bundled = (
        "one folder, or a zip by the name of --out, with W_0, W_k, masks, trained "
    )
    bundled += "weights, config, rows, environment, checksums and a model card"
    kinds = "by default that of --out, or safetensors; torch: a state dict in "
    kinds += "safetensors, with PyTorch's names and layouts; onnx: a graph; both dense"
    add("workdir", help="folder of a run")
    add("--level", type=int, required=True, help="0: the dense network")
    add("--format", choices=["safetensors", "npz", "torch", "onnx"], help=kinds)
    table = "with torch, of any network: a JSON file, layers' paths (regular "
    table += "expressions) to the names of modules"
    add("--names", metavar="FILE", help=table)
    add("--replicate", type=int, default=0, help="by default 0")
    add("--rewind_step", type=int, help="by default the run's first")
    add("--learning_rate", type=float, help="of a run with several")
    add("--weight_decay", type=float, help="of a run with several")
    add("--rewound", action="store_true", help=rewound)
    add("--bundle", action="store_true", help=bundled)
    add("--out", help="by default WORKDIR/tickets/..., named by all that is chosen")
    return parser


def _stem(ticket: Ticket, kind: str) -> str:
    names = ("level", "rewind_step", "replicate", "learning_rate", "weight_decay")
    parts = [f"{name}_{ticket.about[name]}" for name in names if name in ticket.about]
    return "_".join(parts) + ("_torch" if kind == "torch" else "")


if __name__ == "__main__":
    console.prepare()
    main()
