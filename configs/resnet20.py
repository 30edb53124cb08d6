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

`instability`: `lmc` with three data orders of each network at every k of LMC's Figures
3, 6 and 7 (ticks without a label are guesses), and the error on the lines between them.
Points of test error at k = 0, 100, 500 and 2K: ticket 79, 69, 1.3 and 0, dense 81, 65,
19 and 1.5, both controls 60 to 81 at every k (+- 1; +- 3 below k = 250).

`stability`: `stabilizing` with four data orders of each network at 16.8 %, compared as
in its Figures 3 and 10 at k = 0 (Figure 4: set `rewind.steps`). Distance by data
order, ticket and random subnetwork: 66.4 and 66.7 (standard), 7.1 and 28.9 (low), 9.5
and 37.4 (warmup); by pruning: 54.4 and 53.4, 19.8 and 26.6, 24.8 and 34.6.

`rewind_sweep`: `stabilizing` at more k and down to 3.5 % of the prunable weights, as in
Figure 5, whose axis counts output layer and shortcuts: ticket in % (digitised, +- 0.15)
at 64, 42, 27, 17.8, 8.0 and 4.6 % (of the prunable: 64, 41, 26, 16.8, 6.9 and 3.5 %):
91.0, 91.3, 91.2, 91.2, 88.5 and 85.2 at k = 500; 90.3, 89.8, 88.9, 87.8, 85.1 and 82.5
at k = 0, and reinitialised. Which other k the paper tried is not in it.

`short_sweep`: a small copy of that sweep, for two CPU cores and less than 2 hours: a
quarter of the weights (width 8), batch 64, 1,200 steps with the drops in proportion,
pruned once to 16.8 %; two data orders of each ticket, and the error at five points
between them. The weight decay is 25 times as strong, since training is 25 times as
short: otherwise weights keep too much of their first values, and tickets of step 0 win.

`correlation`: Liu et al., "Lottery Ticket Preserves Weight Correlation: Is It Desirable
or Not?" (2021), Sections 4 and 5: 150 epochs, drops after 80 and 120, pruned alike in
every layer but the first, at learning rates 0.1 and 0.01 in one run (`standard` and
`low`: one of them). Dense accuracy 91.7 / 89.62 % (CIFAR-10), 67.15 / 63.10 %
(CIFAR-100). On CIFAR-10, low, tickets are best at sparsity 62 % with 90.04 %; standard,
they are as good as their reinitialisations, and `fine_tune` (pruning & fine-tuning)
reaches dense up to sparsity 70 %, with masks of `admm` 80 %. R_p(θ0, θT) is about p at
the standard rate and notably above at the low one (Figure 4; no number is printed).
Weight decay 1e-4, initialisation, the sparsities, the unpruned output layer and all of
ADMM's settings are not in the paper. Controls that it lacks: `long` (tickets and dense
networks trained on, as long as fine-tuned ones), `fine_tune_small`, `shuffled_mask`,
`cross_lr`, and `decay`, a sweep over weight decays of 0, 1e-4 and 5e-4. `rewind`:
Appendix G, tickets of the weights after 10 epochs, for the whole schedule again.

`short_correlation`: a small copy of that grid at sparsity 70 %, for two CPU cores:
width 8, batch 64, 1,200 steps with the drops in proportion, and weight decay 49 times
as strong, since training is 49 times as short. It took 60 minutes with `one_shot` (and
the controls, `random_reinit` and `long`), 43 with `iterative`, 39 with `admm`. With 850
steps, learning rate 0.1 is the worse one.

`cifar100`: the same on CIFAR-100, which only the last of these papers has.

Variants: one of `standard low warmup`; one of `lmc instability stabilizing stability
rewind_sweep short_sweep correlation short_correlation`; one of `iterative one_shot
admm`; `decay`; `rewind`; `cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers as protocols


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low", "warmup"),
        (
            "lmc",
            "instability",
            "stabilizing",
            "stability",
            "rewind_sweep",
            "short_sweep",
            "correlation",
            "short_correlation",
        ),
        ("warmup", "short_sweep", "correlation", "short_correlation"),
        ("iterative", "one_shot", "admm"),
        "decay",
        ("rewind", "short_sweep", "short_correlation"),
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    config.data.name = "cifar100" if "cifar100" in variants else "cifar10"
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

    stabilizing = variants & {
        "stabilizing",
        "stability",
        "rewind_sweep",
        "short_sweep",
    }
    if stabilizing:
        config.data.validation = 5_000
        config.model.init = "glorot_normal"
        config.model.norm_scale = "ones"
        config.optim.milestones = ("20000it", "25000it")
        config.train.length = "30000it"
        config.rewind.steps = ("0it", "500it")
        config.prune.exclude = ("^fc/", "/shortcut/")
    if variants & {"low", "warmup"}:
        config.prune.levels = 8 if stabilizing else 11
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
    if "warmup" in variants:
        config.optim.learning_rate = 0.03
        config.optim.warm_up = "20000it" if stabilizing else "30000it"
    if "instability" in variants:
        ks = (0, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 20000)
        config.rewind.steps = tuple(f"{k}it" for k in ks)
        protocols.compare_copies(config, 3, "instability")
    if "stability" in variants:
        config.rewind.steps = ("0it",)
        protocols.compare_copies(config, 4, "stability")
    if "rewind_sweep" in variants:
        ks = (0, 100, 250, 500, 1000, 2000)
        config.rewind.steps = tuple(f"{k}it" for k in ks)
        config.prune.levels = 15
    if "short_sweep" in variants:
        config.data.batch_size = 64
        config.model.options = {"width": 8}
        config.optim.weight_decay = 1e-4 * 30_000 / 1_200
        config.optim.milestones = ("800it", "1000it")
        config.train.length = "1200it"
        config.rewind.steps = ("0it", "25it", "100it", "250it")
        config.prune.schedule = "one_shot"
        config.prune.densities = (0.168,)
        config.copies = 2
        config.copied_branches = ("ticket",)
        config.studies = ("stability", "instability")
        config.study.points = 5
        config.study.examples = 2_500
    if variants & {"correlation", "short_correlation"}:
        config.model.norm_scale = "ones"
        protocols.correlation(config, variants)
    if "short_correlation" in variants:
        config.replicates = 3
        config.data.batch_size = 64
        config.model.options = {"width": 8}
        config.optim.weight_decay = 1e-4 * 58_650 / 1_200
        config.optim.milestones = ("640it", "960it")
        config.train.length = "1200it"
        config.prune.densities = (0.55, 0.3)
        config.prune.admm.rho = (1e-2, 1e-1, 1.0)
        config.prune.admm.updates = 3
        config.prune.admm.interval = "70it"
        config.branches, config.dense_branches = ("ticket", "fine_tune"), ()
        config.branch_levels = (2,)
        if variants & {"one_shot", "admm"}:
            config.prune.densities, config.branch_levels = (0.3,), ()
        if "one_shot" in variants:
            config.branches += ("random_reinit", "long")
            config.dense_branches = ("long",)
    protocols.variations(config, variants)
    if "smoke" in variants:
        config.replicates = 1
        config.data.validation = min(config.data.validation, 8)
        config.data.batch_size = 16
        config.model.options = {"width": 4}
        config.train.length = "4it"
        config.rewind.steps = ("2it",)
        config.prune.levels = 1
        config.prune.densities = ()
        config.prune.admm.rho = (1e-2,)
        config.prune.admm.updates = 2
        config.prune.admm.interval = "1it"
        config.branch_levels = ()
        config.study.points = 3
        config.study.examples = 16
        config.measures = ()
    return config.lock()
