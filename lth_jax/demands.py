"""Demands: what studies, and some branches, need of a run and its network."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax import symmetry
from lth_jax.branch_masks import PAIRED
from lth_jax.branches import BRANCHES
from lth_jax.config.fields import field
from lth_jax.errors import ConfigError
from lth_jax.models.network import Network
from lth_jax.siblings import COMPARED
from lth_jax.train.evaluate import norm_momentum

if TYPE_CHECKING:
    from lth_jax.train.experiment import Experiment

# Those that do not call `Run.evaluate`; one of a user's own may.
OFF_PATHS = {"stability", "travel", "correlation", "last_weights", "onset"}
OFF_PATHS |= {"supermask", "mask_overlap"}
_OF_COPIES = {"instability", "travel"}  # they measure nothing else


def check(config: ConfigDict) -> None:
    """Raise ConfigError if a study or a dense branch would give nothing."""
    for name in config.studies:
        needs = {
            "two replicates": name in COMPARED and config.replicates < 2,
            "config.copies of 2 or more": name in _OF_COPIES and config.copies < 2,
            "config.train.average": name == "last_weights" and not config.train.average,
        }
        for need in (need for need, is_missing in needs.items() if is_missing):
            raise ConfigError(f"config.studies: {name!r} needs {need}")
    for name in config.dense_branches:
        copied = name in (config.copied_branches or config.dense_branches)
        if BRANCHES[name].first_copy and (config.copies < 2 or not copied):
            raise ConfigError(
                f"config.dense_branches: {name!r} are copies alone: it needs "
                "config.copies of 2 or more, and to be in config.copied_branches"
            )


def check_made(config: ConfigDict, made: "Experiment") -> None:
    """Raise ConfigError if a study needs what a network or its measures do not have."""
    awaited = f"test_{made.program.task.error}"
    if "onset" in config.studies and awaited not in made.measures:
        raise ConfigError(f"config.studies: 'onset' needs {awaited!r} in measures")
    how, network = config.study.batch_stats, made.program.network
    leaves = jax.tree.leaves(made.like.batch_stats)
    averages = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
    on_paths = {*config.studies} - OFF_PATHS
    if how == "interpolate" or not averages or not on_paths:
        return
    if norm_momentum(network) is None:  # how much of what was there would remain?
        raise ConfigError(
            f"config.study.batch_stats: {how!r} needs a Linen model with a field "
            "'norm_momentum', which it lowers; or take 'interpolate'"
        )


def check_units(config: ConfigDict, network: Network, example: PyTree) -> None:
    """Raise ConfigError if hidden units are to be matched, and none can be permuted."""
    asked = [n for n in config.branches if BRANCHES[n].masks == "transported"]
    asked += [n for n in config.studies if n in COMPARED]
    for name in asked[:1]:
        with field("model", Exception):
            found = symmetry.groups(network, example)
        if not found.sizes:
            raise ConfigError(
                f"config.model: {name!r} permutes hidden units, and none of this "
                "network is known that can be"
            )


def grows(config: ConfigDict) -> None:
    """Raise ConfigError if a run is another one with further replicates."""
    paired = [n for n in config.studies if n in COMPARED]
    paired += [n for n in config.branches if n in BRANCHES]
    for name in paired:
        if name in COMPARED or BRANCHES[name].masks in PAIRED:
            of = "numbers" if name in COMPARED else "masks"
            raise ConfigError(
                f"config.replicates: {of} of {name!r} are of other replicates, too; "
                "take another --workdir"
            )
