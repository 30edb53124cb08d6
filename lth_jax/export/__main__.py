"""The command line: python -m lth_jax.export WORKDIR --level=3 --format=safetensors."""

import argparse
import sys

import jax

from lth_jax import console
from lth_jax.errors import ExportError, RunError, one_line
from lth_jax.export import Ticket, find, write
from lth_jax.paths import local


def main(arguments: list[str] | None = None) -> None:
    """Write a ticket of a run to a file: kept weights, and masks at a bit a weight."""
    chosen = vars(_parser().parse_args(arguments))
    kind, out = chosen.pop("format"), chosen.pop("out")
    try:
        out = out and local(out, "--out")
        kind = kind or ("npz" if out and out.suffix == ".npz" else "safetensors")
        ending = ".npz" if kind == "npz" else ".safetensors"
        if out and out.suffix != ending:
            raise ExportError(f"--out: {out}, of format {kind}, must end in {ending}")
        ticket = find(**chosen)
        path = out or local(chosen["workdir"]) / "tickets" / (
            _stem(ticket, kind) + ending
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, ticket, kind)
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    dense = sum(x.nbytes for x in jax.tree.leaves((ticket.params, ticket.batch_stats)))
    size = f"{path.stat().st_size:,} bytes (dense: {dense:,})"
    print(f"{ticket.about['density']:.2%} of the weights, {size}: {path}")


def _parser() -> argparse.ArgumentParser:
    program, rewound = "python -m lth_jax.export", "W_k under the masks, not trained"
    parser = argparse.ArgumentParser(program, description=main.__doc__)
    add = parser.add_argument
    kinds = "by default that of --out, or safetensors; torch: a state dict in "
    kinds += "safetensors, with PyTorch's names and layouts, dense"
    add("workdir", help="folder of a run")
    add("--level", type=int, required=True, help="0: the dense network")
    add("--format", choices=["safetensors", "npz", "torch"], help=kinds)
    add("--replicate", type=int, default=0, help="by default 0")
    add("--rewind_step", type=int, help="by default the run's first")
    add("--learning_rate", type=float, help="of a run with several")
    add("--weight_decay", type=float, help="of a run with several")
    add("--rewound", action="store_true", help=rewound)
    add("--out", help="by default WORKDIR/tickets/...")
    return parser


def _stem(ticket: Ticket, kind: str) -> str:
    names = ("level", "rewind_step", "replicate", "learning_rate", "weight_decay")
    parts = [f"{name}_{ticket.about[name]}" for name in names if name in ticket.about]
    return "_".join(parts) + ("_torch" if kind == "torch" else "")


if __name__ == "__main__":
    console.prepare()
    main()
