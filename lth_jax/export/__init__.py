"""Export: tickets to take away. `load_ticket` works without what `find` imports."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth_jax import masks as masks_lib
from lth_jax.errors import ExportError
from lth_jax.export.ticket import Ticket, load_ticket, save_arrays, save_ticket

if TYPE_CHECKING:
    from lth_jax.workdir import Member, Workdir
    from lth_jax.workdir.checkpoints import Series

__all__ = ["ExportError", "Ticket", "find", "load_ticket", "save_ticket", "write"]


def find(
    workdir: Path | str,
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
        level, replicate: number of pruning rounds, and which seed.
        rewind_step: k; by default the run's first. A trained dense network has none.
        learning_rate, weight_decay: where a run has several; by default the first.
        rewound: the ticket as training finds it, W_k under the masks (with what
            `rewind.fresh` takes from W_0), and not trained; at level 0 W_k itself.

    Raises ExportError if there is no such ticket, or tickets are not rewound, RunError
    if the folder is damaged.
    """
    from lth_jax.workdir import Workdir, read

    run = Workdir(workdir)
    levels = run.levels.numbers()
    if level not in levels:
        missing = f"--level: {level} is not in {workdir}; levels there: "
        raise ExportError(missing + (", ".join(map(str, levels)) or "none"))
    wanted = {"replicate": replicate, "rewind_step": rewind_step if level else None}
    wanted |= {"learning_rate": learning_rate, "weight_decay": weight_decay}
    series, number = run.levels, level
    if not level:
        series, number = run.dense, max(run.dense.numbers(), default=0)
    member, network = _network(run, series, number, wanted)
    masks = masks_lib.unpack(network["masks"], network["params"])
    config = read(run.directory / "config.json")
    if rewound:
        if not level:
            member = member._replace(rewind_step=_rewind_step(run, rewind_step))
        network = _rewound(run, member, config)
    about = {
        **{name: x for name, x in member._asdict().items() if x is not None},
        "step": int(network["step"]),
        "density": masks_lib.density(masks),
        "model": config["model"],
        "data": read(run.directory / "environment.json").get("data", {}),
    }
    if not rewound:
        network |= network.get("average") or {}  # what is evaluated
    params = masks_lib.apply(network["params"], masks)
    return Ticket(params, network["batch_stats"], masks, about)


def write(
    path: Path | str,
    ticket: Ticket,
    kind: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Write a ticket, of `kind` "torch" with PyTorch's layouts; or ExportError.

    `names` are a table of PyTorch's, as of `torch_layout.state_dict`. Of kind "onnx" it
    is a graph, as of `onnx_graph.write`.
    """
    if kind == "onnx":
        from lth_jax.export import onnx_graph

        onnx_graph.write(path, ticket)
        return
    if kind != "torch":
        save_ticket(path, ticket)
        return
    from lth_jax.export import torch_layout

    save_arrays(path, torch_layout.state_dict(ticket, names), ticket.about)


def _rewound(
    run: "Workdir", member: "Member", config: dict[str, Any]
) -> dict[str, Any]:
    """Return the dense state from which a ticket starts; at level 0 that of its step.

    Raises ExportError if tickets start from others.
    """
    from lth_jax.branches import BRANCHES, origins
    from lth_jax.config.files import from_json

    whose = member.dense._asdict()
    _, network = _network(run, run.dense, member.rewind_step, whose)
    if not member.level:
        return network
    steps = {"0": 0, "k": member.rewind_step, "end": run.dense.numbers()[-1]}
    rewind = from_json(config).rewind
    for part, origin in origins(BRANCHES["ticket"], member.level, rewind).items():
        if origin not in steps:
            raise ExportError(
                "--rewound: tickets of this run begin with trained weights"
            )
        if origin != "k":
            network[part] = _network(run, run.dense, steps[origin], whose)[1][part]
    return network


def _network(
    run: "Workdir", series: "Series", number: int, wanted: dict[str, Any]
) -> tuple["Member", dict[str, Any]]:
    """Return the first ticket of a checkpoint that has what is wanted and not None."""
    members = run.members(series, number)
    found = chosen([member for member in members if member.is_ticket], wanted)
    return found, series.raw(number)[members.index(found)]


def chosen(tickets: list["Member"], wanted: dict[str, Any]) -> "Member":
    """Return the first of some tickets that has what is wanted and not None.

    Raises ExportError, with the name of what none has, and what there is.
    """
    for name, value in wanted.items():
        if value is None:
            continue
        there = sorted({getattr(ticket, name) for ticket in tickets}, key=str)
        tickets = [ticket for ticket in tickets if getattr(ticket, name) == value]
        if not tickets:
            raise ExportError(f"--{name}: {value} is not among {there}")
    return tickets[0]


def _rewind_step(run: "Workdir", wanted: int | None) -> int:
    """Return the step of the wanted rewind state, by default the first ticket's."""
    if wanted is None:
        levels = filter(None, run.levels.numbers())
        members = (member for n in levels for member in run.members(run.levels, n))
        wanted = next((member.rewind_step for member in members), None)
    steps = run.dense.numbers()[:-1]
    if wanted not in steps:
        raise ExportError(f"--rewind_step: {wanted} is not among {steps}")
    return wanted
