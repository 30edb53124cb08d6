"""A run whose layers are stacked prunes each of them by itself, by every method."""

import jax
import pytest
from flax import linen as nn

from lth_jax import check, lottery, models, stacked
from lth_jax import config as config_lib
from lth_jax.errors import ConfigError


class Scanned(nn.Module):
    """Three layers of 7 in one leaf."""

    num_classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(7, name="fc1")(x.reshape(len(x), -1))

        class Layer(nn.Module):
            @nn.compact
            def __call__(self, x, _):
                return nn.relu(nn.Dense(7, name="dense")(x)), None

        scan = nn.scan(
            Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x, _ = scan(name="layers")(x, None)
        return nn.Dense(self.num_classes, name="fc")(x)


@pytest.fixture
def configure(tmp_path, monkeypatch):
    monkeypatch.setitem(models.MODELS, "scanned", Scanned)

    def configure(**changes):
        config = config_lib.default()
        config.data.dir = str(tmp_path / "tfds")
        config.update_from_flattened_dict(
            {
                "model.name": "scanned",
                "replicates": 1,
                "train.length": "2it",
                "prune.levels": 2,
                "prune.fraction": 0.3,
                "prune.scope": "layer",
                "prune.stacked": ("^layers/",),
                "prune.admm.interval": "1it",
                "prune.admm.updates": 1,
                "prune.admm.rho": (0.1,),
                "optim.end_value": 0.01,
            }
            | changes
        )
        return config.lock()

    return configure


LEFT = {1: 34, 2: 23}  # of 49, less a rounded up 0.3, twice


@pytest.mark.slow
def test_the_experiment_counts_every_layer(configure):
    _, made = lottery.build(configure())
    layers = {f"layers/dense/kernel[{i}]": 49 for i in range(3)}
    assert made.prunable == {"fc/kernel": 70, "fc1/kernel": 448} | layers


def test_a_pattern_that_finds_no_layers_is_named(configure):
    with pytest.raises(ConfigError, match=r"^config\.prune\.stacked: 'scan' matches"):
        lottery.build(configure(**{"prune.stacked": ("scan",)}))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["magnitude", "admm", "synflow"])
def test_a_run_prunes_every_layer_by_itself(configure, tmp_path, method):
    config = configure(**{"prune.method": method})
    lottery.run(config, tmp_path / "run")
    assert check.problems(tmp_path / "run") == []
    with lottery.loop.opened(config, tmp_path / "run") as run:
        for level, left in LEFT.items():
            for masks in _masks(run, level):
                counts = stacked.by_layer(masks, ["^layers/"])
                for i in range(3):
                    assert counts[f"layers/dense/kernel[{i}]"] == (left, 49)


def _masks(run, level):
    like = run.initial(run.plan.dense[0], jax.random.key(0))
    saved = run.workdir.load(run.workdir.levels, level, like)
    return [network.masks for network in saved.values()]
