"""The command line: python -m lth_jax.export WORKDIR --level=3 --format=safetensors."""

import argparse
import sys
from pathlib import Path

import jax

from lth_jax.errors import ExportError, RunError, one_line
from lth_jax.export import Ticket, find, write


def main(arguments: list[str] | None = None) -> None:
    """Write a ticket of a run to a file: kept weights, and masks at a bit a weight."""
    chosen = vars(_parser().parse_args(arguments))
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
    except (OSError, RunError) as error:
        sys.exit(f"error: {one_line(error)}")
    arrays = jax.tree.leaves((ticket.params, ticket.batch_stats))
    dense = sum(x.nbytes for x in arrays)
    print(
        f"{ticket.about['density']:.2%} of the weights, {path.stat().st_size:,} bytes "
        f"(dense: {dense:,}): {path}"
    )


def _parser() -> argparse.ArgumentParser:
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
    return parser


def _file_name(ticket: Ticket, kind: str) -> str:
    names = ("level", "rewind_step", "replicate", "learning_rate", "weight_decay")
    parts = [f"{name}_{ticket.about[name]}" for name in names if name in ticket.about]
    return "_".join(parts) + ("_torch.safetensors" if kind == "torch" else f".{kind}")


if __name__ == "__main__":
    main()
