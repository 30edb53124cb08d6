"""The plan of a run is what the run does."""

import jax.numpy as jnp
import pytest

from lth_jax import config as config_lib
from lth_jax import dry_run, masks, prune
from lth_jax.lottery.plan import Plan


def configure(**fields):
    config = config_lib.default()
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_densities_are_those_that_pruning_makes(scope):
    params = {"a": jnp.arange(21.0).reshape(3, 7), "b": jnp.arange(32.0).reshape(4, 8)}
    kept = masks.full(params)
    config = configure(
        **{"prune.fraction": 0.3, "prune.levels": 4, "prune.scope": scope}
    )
    planned = list(Plan(config).densities([21, 32]))
    assert len(planned) == 5
    for density in planned:
        assert density == masks.density(kept)
        kept = prune.magnitude(params, kept, 0.3, scope)


def test_densities_that_are_given_are_rounded_alike():
    params = {"a": jnp.arange(21.0).reshape(3, 7)}
    config = configure(**{"prune.densities": (1, 0.5, 0.1)})
    for density, planned in zip(
        (1.0, 0.5, 0.1), list(Plan(config).densities([21]))[1:]
    ):
        kept = prune.to_density(params, masks.full(params), density)
        assert planned == masks.density(kept)


def test_the_plan_of_digits(tmp_path):
    """Two tickets and controls of each replicate, from step 5 on; all dense first."""
    config = configure(
        **{
            "data.dir": str(tmp_path),
            "model.options": {"widths": (8,)},
            "replicates": 2,
            "train.length": "25it",
            "rewind.steps": ("5it",),
            "prune.levels": 2,
            "branches": ("ticket", "shuffled_mask"),
            "branch_levels": (2,),
        }
    )
    text = dry_run.describe(config)
    assert text.startswith("config.branch_levels=[2]\n")
    lines = text.partition("\n\n")[2].splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["level", "density", "trainings", "steps"],
        ["0", "100.00%", "2", "50"],
        ["1", "79.90%", "2", "40"],
        ["2", "63.85%", "4", "80"],
        ["total", "8", "170"],
    ]
    assert lines[6].startswith("time: about ")
    # Dense at steps 0, 5, 25, as level 0, and six tickets; Adam's moments are not here.
    state = 4 * (64 * 8 + 8 + 80 + 10) + (64 * 8 + 80) // 8 + 4 * 4
    # On the way, three pauses of four networks at level 2.
    assert lines[7] == f"disk: at most {24 * state / 1e6:.1f} MB of checkpoints"


def test_networks_that_diverge_are_timed_all_the_same(tmp_path):
    config = configure(
        **{
            "data.dir": str(tmp_path),
            "model.options": {"widths": (4,)},
            "optim.learning_rate": 1e35,
            "train.length": "25it",
            "prune.levels": 1,
        }
    )
    assert "\ntime: about " in dry_run.describe(config)
