"""The command line: python -m lth_jax.export WORKDIR --level=3 --format=safetensors."""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax

from lth_jax import masks as masks_lib
from lth_jax.errors import ExportError
from lth_jax.export import torch_layout
from lth_jax.export.ticket import Ticket, save_arrays, save_ticket
from lth_jax.workdir import Workdir, read


def find(
    workdir: Path,
    level: int,
    *,
    replicate: int = 0,
    rewind_step: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    rewound: bool = False,
) -> Ticket:
    """Return a run's ticket at a level, or at level 0 the dense network.

    Args:
        workdir: folder of the run; it may be on its way.
        level: number of pruning rounds.
        replicate: which seed.
        rewind_step: k; by default the run's first.
        learning_rate: where a run has several; by default the first.
        weight_decay: likewise.
        rewound: the ticket as training finds it, W_k under the masks (with what
            `rewind.fresh` takes from W_0), and not trained.

    Raises:
        ExportError: there is no such ticket.
    """
    run = Workdir(workdir)
    levels = run.levels.numbers()
    if level not in levels:
        there = ", ".join(map(str, levels)) or "none"
        raise ExportError(
            f"--level: {level} is not in {workdir}; levels there: {there}"
        )
    wanted = {
        "replicate": replicate,
        "rewind_step": rewind_step,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }
    members = run.members(run.levels, level)
    tickets = [member for member in members if member.is_ticket]
    for name, value in wanted.items():
        if value is None:
            continue
        there = sorted({getattr(member, name) for member in tickets}, key=str)
        tickets = [member for member in tickets if getattr(member, name) == value]
        if not tickets:
            raise ExportError(f"--{name}: {value} is not among {there}")
    member = tickets[0]
    network = run.levels.raw(level)[members.index(member)]
    masks = masks_lib.unpack(network["masks"], network["params"])
    config = read(workdir / "config.json")
    if rewound:

        def dense(step: int) -> dict[str, Any]:
            members = run.members(run.dense, step)
            return run.dense.raw(step)[members.index(member.origin)]

        fresh = config["rewind"].get("fresh", ())
        first = dense(0) if fresh else {}
        network = dense(member.rewind_step) | {part: first[part] for part in fresh}
    about = {
        **{name: x for name, x in member._asdict().items() if x is not None},
        "step": int(network["step"]),
        "density": masks_lib.density(masks),
        "model": config["model"],
        "data": read(workdir / "environment.json").get("data", {}),
    }
    params = masks_lib.apply(network["params"], masks)
    return Ticket(params, network["batch_stats"], masks, about)


def main(arguments: list[str] | None = None) -> None:
    """Write a ticket of a run to a file: kept weights, and masks at a bit a weight."""
    parser = argparse.ArgumentParser(
        prog="python -m lth_jax.export", description=main.__doc__
    )
    parser.add_argument("workdir", type=Path, help="folder of a run")
    parser.add_argument("--level", type=int, required=True, help="0: the dense network")
    parser.add_argument(
        "--format",
        choices=["safetensors", "npz", "torch"],
        help="by default that of --out, or safetensors; torch: a state dict in "
        "safetensors, with PyTorch's names and layouts, dense",
    )
    parser.add_argument("--replicate", type=int, default=0, help="by default 0")
    parser.add_argument("--rewind_step", type=int, help="by default the run's first")
    parser.add_argument("--learning_rate", type=float, help="of a run with several")
    parser.add_argument("--weight_decay", type=float, help="of a run with several")
    parser.add_argument(
        "--rewound", action="store_true", help="W_k under the masks, not trained"
    )
    parser.add_argument("--out", type=Path, help="by default WORKDIR/tickets/...")
    chosen = vars(parser.parse_args(arguments))
    kind, out = chosen.pop("format"), chosen.pop("out")
    kind = kind or ("npz" if out and out.suffix == ".npz" else "safetensors")
    ending = ".npz" if kind == "npz" else ".safetensors"
    try:
        if out and out.suffix != ending:
            raise ExportError(f"--out: {out}, of format {kind}, must end in {ending}")
        ticket = find(**chosen)
        path = out or chosen["workdir"] / "tickets" / _file_name(ticket, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, ticket, kind)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    arrays = jax.tree.leaves((ticket.params, ticket.batch_stats))
    dense = sum(x.nbytes for x in arrays)
    print(
        f"{ticket.about['density']:.2%} of the weights, {path.stat().st_size:,} bytes "
        f"(dense: {dense:,}): {path}"
    )


def write(path: Path, ticket: Ticket, kind: str) -> None:
    """Write a ticket; `kind` "torch" for PyTorch's names and layouts.

    Raises:
        ValueError: a bad suffix, or a network without a counterpart in PyTorch.
    """
    if kind != "torch":
        return save_ticket(path, ticket)
    arrays = torch_layout.state_dict(
        ticket.about["model"]["name"],
        ticket.params,
        ticket.batch_stats,
        channels=ticket.about["data"].get("shape", [1])[-1],
    )
    return save_arrays(path, arrays, ticket.about)


def _file_name(ticket: Ticket, kind: str) -> str:
    names = ("level", "rewind_step", "replicate", "learning_rate", "weight_decay")
    parts = [f"{name}_{ticket.about[name]}" for name in names if name in ticket.about]
    endings = {"safetensors": ".safetensors", "npz": ".npz"}
    return "_".join(parts) + endings.get(kind, "_torch.safetensors")
