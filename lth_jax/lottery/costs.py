"""Costs: what a network took to train, and what it takes to keep and to run."""

from typing import TYPE_CHECKING, Any

import jax

from lth_jax import masks as masks_lib
from lth_jax.layers import summary
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Training
from lth_jax.workdir.records import numbered

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run


def costs(run: "Run", training: Training, network: TrainState) -> list[dict[str, Any]]:
    """Return the rows of what a network costs.

    Of each, `steps_trained`: how many its weights went through in all, before they were
    pruned or rewound, too. Of tickets, `steps_to_find`: how many the run took until
    their masks were known; `parameters` that are not pruned, biases and normalisation
    among them; `bytes` in a file, masks at a bit a weight included
    (`ticket.save_ticket`); `multiply_adds` of one example, by weights that are not
    pruned; and the `density` of every layer, in the order of the network.
    """
    member = training.member
    taken = ("steps_trained", training.had + training.steps)
    if not member.is_ticket:
        return numbered(member, network, [taken])
    left = masks_lib.by_layer(network.masks)
    pruned = sum(total - kept for kept, total in left.values())
    uses = summary.multiply_adds(run.experiment.layers)
    densities = {path: left[path][0] / left[path][1] for path in uses if path in left}
    weights = sum(w.size for w in jax.tree.leaves(network.params)) - pruned
    others = sum(x.size for x in jax.tree.leaves(network.batch_stats))
    bits = sum(-(-total // 8) for _, total in left.values())
    multiply_adds = sum(n * densities.get(path, 1) for path, n in uses.items())
    numbers = [
        taken,
        ("steps_to_find", run.plan.steps_to_find(member)),
        ("parameters", weights),
        ("bytes", 4 * (weights + others) + bits),
        ("multiply_adds", multiply_adds),
        *(("density", share, {"layer": path}) for path, share in densities.items()),
    ]
    return numbered(member, network, numbers)
