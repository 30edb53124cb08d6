"""A recurrent network on sequences: the rows of MNIST.

    python -m lth_jax.main --config=configs/sequences.py --workdir=runs/sequences

A GRU of 256 units reads an image of 28 rows from top to bottom and answers after the
last one: 221,706 parameters. Yu et al., "Playing the lottery with rewards and multiple
languages" (2020), find tickets of recurrent networks (LSTM); of this one no number is
published that we know. Harder, and often quoted, is one pixel at a time: a GRU of about
70K parameters reaches 96.2 % (Bai et al., 2018, Table 1). Row by row, about 98 to 99 %
is expected of the dense network: by experience, not by a source.

Cho et al. (2014) for the unit; Adam 1e-3, batch 60, 10 epochs, as for LeNet. Pruned are
the six kernels of the cell and the last layer's; biases are not.

Run time: not measured; `--dry_run` says it for the devices at hand.

Variants: `smoke` (seconds, on digits).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
    config.data.name = "mnist"
    config.data.batch_size = 60
    config.model.name = "gru"
    config.model.init = "glorot_normal"
    config.model.options = {"width": 256}
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    config.train.length = "10ep"
    config.rewind.steps = ("0it", "500it")

    if "smoke" in variants:
        config.replicates = 1
        config.data.name = "digits"
        config.model.options = {"width": 8}
        config.train.length = "4it"
        config.rewind.steps = ("0it", "2it")
        config.prune.levels = 1
    return config.lock()
