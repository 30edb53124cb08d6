"""Lottery tickets in seconds: LeNet-300-100 on the 1,797 digits of 8x8 pixels.

    python -m lth_jax.main --config=configs/digits.py --workdir=runs/digits

Not a paper's experiment, but the smallest in which tickets match the dense network at a
density where both controls do not: about 22 %.

Run time: half a minute on two CPU cores.

Variants: `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
    config.data.name = "digits"
    config.data.batch_size = 60
    config.model.name = "lenet"
    config.model.options = {"widths": (300, 100)}
    config.optim.name = "adam"
    config.optim.learning_rate = 1.2e-3
    config.train.length = "600it"
    config.prune.fraction = 0.4
    config.prune.levels = 10

    if "smoke" in variants:
        config.replicates = 2
        config.train.length = "20it"
        config.prune.levels = 2
    return config.lock()
