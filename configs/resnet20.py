"""ResNet-20 on CIFAR-10, as in Linear Mode Connectivity and in Stabilizing the LTH.

    python -m lth_jax.main --config=configs/resnet20.py --workdir=runs/resnet20
    python -m lth_jax.main --config=configs/resnet20.py:low --workdir=runs/low

Learning rates (both papers): `standard` 0.1, `low` 0.01, `warmup` 0.03 reached over
the first half (LMC) or two thirds (Stabilizing) of training.

`lmc` (default): Frankle et al., "Linear Mode Connectivity and the Lottery Ticket
Hypothesis" (2020), Table 1: 63K steps, batch 128, momentum, drops at 32K and 48K.
Dense accuracy 91.7 / 88.8 / 89.7 % (standard / low / warmup, +- 0.1 / 0.1 / 0.3). Test
error in % at density 16.8 % (8 levels), standard, Figure 7 (digitised, +- 0.1): ticket
11.35 at k = 0 and 8.28 at k = 2K, dense 8.3, random reinitialisation 11.2. Low and
warmup at 8.6 % (11 levels): ticket 11.1 and 10.3-10.8, reinitialised 15.1 and 14.5.
Initialisation, batch-norm scales, weight decay and what is pruned (everything but
biases and batch-norm) are those of the authors' code, open_lth.

`stabilizing`: Frankle et al., "Stabilizing the Lottery Ticket Hypothesis" (2019), where
it is called Resnet-18, Figures 2 and 5: 30K steps, drops at 20K and 25K, 45K training
examples. Dense accuracy 90.5 / 89.1 / 89.6 %; ticket at 16.8 %: 87.7 % at k = 0, above
dense at k = 500. Output layer and shortcuts are not pruned: so say the figure's
densities. Gaussian Glorot kernels and weight decay 1e-4, as in Frankle & Carbin (2019).

Variants: one of `standard low warmup`, one of `lmc stabilizing`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant, "standard", "low", "warmup", "lmc", "stabilizing", "smoke"
    )
    config = config_lib.default()
    config.data.name = "cifar10"
    config.data.batch_size = 128
    config.data.last = "wrap"
    config.data.augmentation = "flip_crop"
    config.model.name = "resnet20"
    config.model.norm_scale = "uniform"
    config.model.options = {"width": 16}
    config.optim.name = "sgd"
    config.optim.options = {"momentum": 0.9, "nesterov": False}
    config.optim.weight_decay = 1e-4
    config.optim.learning_rate = 0.1
    config.optim.schedule = "step"
    config.optim.milestones = ("32000it", "48000it")
    config.train.length = "63000it"
    config.rewind.steps = ("0it", "2000it")
    config.prune.fraction = 0.2
    config.prune.levels = 8

    if "stabilizing" in variants:
        config.data.validation = 5_000
        config.model.init = "glorot_normal"
        config.model.norm_scale = "ones"
        config.optim.milestones = ("20000it", "25000it")
        config.train.length = "30000it"
        config.rewind.steps = ("0it", "500it")
        config.prune.exclude = ("^fc/", "/shortcut/")
    if variants & {"low", "warmup"}:
        config.prune.levels = 11
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
    if "warmup" in variants:
        config.optim.learning_rate = 0.03
        config.optim.warm_up = "20000it" if "stabilizing" in variants else "30000it"
    if "smoke" in variants:
        config.replicates = 1
        config.data.batch_size = 16
        config.model.options = {"width": 4}
        config.train.length = "4it"
        config.rewind.steps = ("2it",)
        config.prune.levels = 1
        config.measures = ()
    return config.lock()
