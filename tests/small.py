"""Small experiments, whose programs are compiled once for all runs of a test file."""

import dataclasses
import functools
import json

from flax import linen as nn

from lth_jax import config as config_lib
from lth_jax import models
from lth_jax.train import experiment

BUILD = experiment.build
RUN_ONLY = ("replicates", "branches", "copies", "prune.", "seed", "studies")
BUILT = ("prune.admm.interval", "prune.exclude", "prune.include", "prune.stacked")


@functools.cache
def _built(fields):
    changes = json.loads(fields)
    config = config_lib.default()
    with config.unlocked():
        config.model.options = {"widths": (12,)}
    for name, value in changes.items():
        changes[name] = tuple(value) if isinstance(value, list) else value
    config.update_from_flattened_dict(changes)
    made = BUILD(config)
    # So that a training takes several calls.
    program = dataclasses.replace(made.program, steps_per_call=2)
    return dataclasses.replace(made, program=program)


def build(config, together=None):
    """Return a config's experiment, on all devices, in place of `experiment.build`."""
    del together
    fields = config_lib.flatten(config)
    built = {
        n: x for n, x in fields.items() if n in BUILT or not n.startswith(RUN_ONLY)
    }
    return _built(json.dumps(built))


def configuring(tmp_path_factory, **settings):
    """Return a function from changes of these settings, on digits, to a config."""
    here = {"data.dir": str(tmp_path_factory.getbasetemp() / "tfds")}

    def configure(**changes):
        config = config_lib.default()
        config.model.options = {"widths": (12,)}
        fields = {"data.batch_size": 20} | here | settings | changes
        config.update_from_flattened_dict(fields)
        return config.lock()

    return configure


class Convolutional(models.Classifier):
    """A convolution and a batch normalisation."""

    @nn.compact
    def __call__(self, x, train):
        x = self.bound_conv()(2, (3, 3), name="conv")(x)
        x = nn.relu(self.bound_norm(train)(name="norm1")(x))
        return self.classify(x.mean((1, 2)))
