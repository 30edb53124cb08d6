"""Correlation: how far weights of two networks agree, beside chance."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lth_jax import masks as masks_lib
from lth_jax import measures
from lth_jax.masks import Masks
from lth_jax.train.state import TrainState
from lth_jax.workdir.member import Member

if TYPE_CHECKING:
    from lth_jax.lottery.running import Run
    from lth_jax.studies import Numbers

_CORRELATIONS = {"pearson": measures.pearson, "cosine": measures.cosine}


def correlation(run: "Run") -> "Numbers":
    """Weight correlation of networks (Liu et al., 2021, Section 4 and Appendix F).

    R_p for every p (`overlap`), with what chance would give (`chance_overlap`),
    `pearson` correlation and `cosine`, of the pairs

    - "start_to_end": a network before and after its training, of its surviving weights;
      of a dense network that is R_p(θ0, θT), and "rewound_to_end" R_p(θk, θT), both
      also layer by layer;
    - "start_to_fine_tuned": a network that starts as it was initialised, or rewound,
      and the fine-tuned one under the same masks, of their surviving weights (footnote
      3);
    - "end_to_initial", "end_to_dense": a fine-tuned network and the dense one that it
      was made from, of all prunable weights, before and after that was trained: for p
      up to the density of every layer (Table 1).

    By chance, a network has its largest weights anywhere among those it has, and masks
    know nothing of the other one: R_p is p. Not so where masks are made of the other
    one's magnitudes, as in "end_to_dense": then chance ignores magnitudes under them.
    """
    for member, network in run.networks.items():
        for keys, a, b, compared, anywhere in _pairs(run, member, network):
            layers = zip(jax.tree.leaves(a.masks), jax.tree.leaves(compared))
            least = min(float(mask.sum() / whole.sum()) for mask, whole in layers)
            for p in run.config.study.top:
                if p > least:
                    continue  # what is pruned is not among the largest
                shared = measures.top_overlap(a.params, b.params, p, compared)
                yield member, "overlap", float(shared), keys | {"p": p}
                chance = measures.chance_overlap(b.params, p, anywhere, compared)
                yield member, "chance_overlap", float(chance), keys | {"p": p}
            for name, measure in _CORRELATIONS.items():
                value = float(measure(a.params, b.params, compared))
                yield member, name, value, keys
            for name, measure, of in _layered(run, keys) if not member.level else ():
                layers = measures.by_layer(measure, a.params, b.params, b.masks)
                for path, value in layers.items():
                    yield member, name, float(value), of | {"layer": path}


def _pairs(
    run: "Run", member: Member, network: TrainState
) -> Iterator[tuple[dict[str, Any], TrainState, TrainState, Masks, Masks]]:
    """Yield (keys, network, network, weights to compare, masks) of what to correlate.

    Under the masks the first network has, by chance, its largest weights anywhere.
    """
    start, masks = run.start(member), network.masks
    assert start is not None, "it was trained"
    yield {"pair": "start_to_end"}, start, network, masks, masks
    if member == member.dense:
        for k in filter(None, run.plan.rewind_steps):
            keys = {"pair": "rewound_to_end", "other": k}
            yield keys, run.dense(member, k), network, masks, masks
    if member.level == 0:
        return
    if member.branch == "fine_tune":
        whole = jax.tree.map(jnp.ones_like, masks)
        initial, final = (run.dense(member, step) for step in (0, run.plan.length))
        yield {"pair": "end_to_initial"}, network, initial, whole, whole
        yield {"pair": "end_to_dense"}, network, final, whole, masks
    fine_tuned = run.trained(member._replace(branch="fine_tune", copy=0))
    if not fine_tuned or run.branch(member).again:
        return
    if masks_lib.checksum(masks) == masks_lib.checksum(fine_tuned.masks):
        yield {"pair": "start_to_fine_tuned"}, start, fine_tuned, masks, masks


def _layered(run: "Run", keys: dict[str, Any]) -> Iterator[tuple[str, Any, dict]]:
    """Yield (name, measure, keys) of what is also measured layer by layer."""
    for p in run.config.study.top:
        yield "overlap", partial(measures.top_overlap, p=p), keys | {"p": p}
    yield from ((name, measure, keys) for name, measure in _CORRELATIONS.items())
