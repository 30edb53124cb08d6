"""ADMM pruning: training that is drawn, more and more, towards sparse weights.

Zhang et al. (2018): minimise the loss of W subject to W = Z, where a layer of Z has no
more weights than are to be kept, by alternating directions with a scaled dual U. The
W-step is ordinary training with the proximal term rho / 2 * |W - Z + U|^2
(`TrainState.proximal`); the other two are here, and pure.
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lth_jax import masks as masks_lib
from lth_jax import measures, prune, scores
from lth_jax.lottery.training import train
from lth_jax.masks import Masks, Params, Patterns
from lth_jax.train import state as state_lib
from lth_jax.train.state import Proximal
from lth_jax.workdir.member import Member, Networks, Training
from lth_jax.workdir.records import numbered

if TYPE_CHECKING:
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.running import Run


def start(
    params: Params, sparse: Masks, scope: prune.Scope, stacked: Patterns = ()
) -> Proximal:
    """Return Z, the projection of W on as many weights as `sparse` keeps, and U = 0."""
    return Proximal(
        target=project(params, sparse, scope, stacked),
        dual=jax.tree.map(jnp.zeros_like, params),
        strength=jnp.float32(0),
        updates=jnp.int32(0),
    )


def update(
    params: Params,
    proximal: Proximal,
    sparse: Masks,
    scope: prune.Scope,
    stacked: Patterns = (),
) -> tuple[Proximal, dict[str, Float[Array, ""]]]:
    """Take the Z-step and the U-step: Z = project(W + U), U = U + W - Z.

    Also returns the residuals over prunable weights, relative to W: "primal", the
    distance of W and Z, and "dual", how far Z moved.

    Example:
        >>> w, sparse = {"w": jnp.array([1.0, -3.0])}, {"w": jnp.array([True, False])}
        >>> update(w, start(w, sparse, "layer"), sparse, "layer")[0].dual
        {'w': Array([1., 0.], dtype=float32)}
    """
    moved = jax.tree.map(jnp.add, params, proximal.dual)
    target = project(moved, sparse, scope, stacked)
    dual = jax.tree.map(jnp.subtract, moved, target)
    distance = partial(measures.distance, masks=jax.tree.map(jnp.ones_like, sparse))
    size = distance(params, jax.tree.map(jnp.zeros_like, params))
    residuals = {
        "primal": distance(params, target) / size,
        "dual": distance(target, proximal.target) / size,
    }
    updates = proximal.updates + 1
    return replace(proximal, target=target, dual=dual, updates=updates), residuals


def project(
    params: Params, sparse: Masks, scope: prune.Scope, stacked: Patterns = ()
) -> Params:
    """Return the nearest parameters with no more weights than masks keep."""
    nearest = prune.as_many(scores.magnitude(params), sparse, scope, stacked)
    return masks_lib.apply(params, nearest)


def trainings(plan: "Plan", level: int) -> list[Training]:
    """Return what ADMM trains before it prunes; tickets of all k share it."""
    options, begin = plan.config.prune.admm, plan.length
    stop = begin + len(options.rho) * options.updates * plan.interval
    return [
        Training(member._replace(level=level, branch="admm"), begin, stop, begin)
        for member in plan.dense
    ]


def draw(run: "Run", sparse: dict[Member, Masks]) -> Networks:
    """Return the dense networks of tickets, drawn towards as many weights as kept."""
    scope = run.config.prune.scope
    names = {t: t.dense._replace(level=run.level, branch="admm") for t in sparse}
    # ADMM looks at how many weights masks keep, not at which: any k's do.
    masks = {names[ticket]: mask for ticket, mask in sparse.items()}
    starts = {}
    for name, mask in masks.items():
        final = run.dense(name, run.plan.length)
        starts[name] = replace(
            final,
            masks=run.rule.others(final.masks),  # what is kept whole is not drawn
            opt_state=run.dense(name, 0).opt_state,
            data_seed=state_lib.data_seed(run.key(name), 0, state_lib.DATA_AGAIN),
            proximal=start(final.params, mask, scope, run.rule.stacked_in(mask)),
        )
    series = run.workdir.drawn
    if run.level in series.numbers():
        like = next(iter(starts.values()))
        drawn = run.workdir.load(series, run.level, like)
    else:
        drawn = _train(run, starts, masks)
        run.workdir.finish(series, run.level, drawn)
    return {t: drawn[name] for t, name in names.items() if name in drawn}


def _train(run: "Run", networks: Networks, sparse: dict[Member, Masks]) -> Networks:
    """Fit: train networks on, drawn towards as few weights as masks keep.

    The strength rises in stages; in each, the learning rate falls to a tenth.
    """
    options, scope = run.config.prune.admm, run.config.prune.scope
    length, interval = run.plan.length, run.plan.interval
    rate = options.learning_rate / float(run.experiment.program.schedule(length))
    for i, strength in enumerate(np.repeat(options.rho, options.updates)):
        falls = i % options.updates / max(1, options.updates - 1)
        for name, network in networks.items():
            assert network.proximal is not None
            networks[name] = replace(
                network,
                proximal=replace(network.proximal, strength=jnp.float32(strength)),
                learning_rate=jnp.float32(rate * 0.1**falls),
            )
        begin, stop = (length + j * interval for j in (i, i + 1))
        networks = train(run, networks, stop, begin=begin)
        for name, network in networks.items():
            assert network.proximal is not None
            # A run that resumes finds networks for which this was done already.
            if network.step == stop and network.proximal.updates == i:
                layers = sparse[name], scope, run.rule.stacked_in(sparse[name])
                term, residuals = update(network.params, network.proximal, *layers)
                if (i + 1) % options.updates == 0:  # U is in units of the strength
                    again = start(network.params, *layers)
                    term = replace(again, updates=term.updates)
                networks[name] = replace(network, proximal=term)
                numbers = [(f"{side}_residual", r) for side, r in residuals.items()]
                run.workdir.records.add(numbered(name, network, numbers))
    return networks
