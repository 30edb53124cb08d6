"""VGG-19 on CIFAR-10, as in Stabilizing the Lottery Ticket Hypothesis.

    python -m lth_jax.main --config=configs/vgg19.py --workdir=runs/vgg19
    python -m lth_jax.main --config=configs/vgg19.py:warmup --workdir=runs/vgg19_warmup

Frankle et al., "Stabilizing the Lottery Ticket Hypothesis" (2019), Figure 2: 20.0M
parameters, 112K steps, batch 64, momentum, 45K training examples. Learning rates:
`standard` 0.1, `low` 0.01, `warmup` 0.1 reached over 10K steps. Dense accuracy
91.5 +- 0.2 / 92.0 +- 0.1 / 92.3 +- 0.1 %. The figure prints the drops of VGG-19 and
Resnet-18 in each other's rows; here 56K and 84K, as 112K steps need.

Figure 3, at 2.2 % (17 levels of 20 %) and k = 0: ticket 90.0 / 91.0 / 92.4 %, random
subnetwork (shuffled mask) 90.2 / 88.0 / 90.3 % (+- 0.3). Figure 5 (digitised,
+- 0.15), standard at 2.2 %: ticket 92.0 % at k = 100, 90.4 % at k = 0.

`stability`: four data orders of each network at 2.2 % and k = 0, compared as in Figures
3 and 10. Distance by data order, ticket and random subnetwork: 285 and 245 (standard),
36.8 and 90.3 (low), 97 and 267 (warmup); by pruning: 216 and 212, 44.0 and 66.1, 138
and 201.

`rewind_sweep`: more k, down to 0.19 % (28 levels), as in Figure 5. Ticket in %
(digitised, +- 0.15) at 41, 6.9, 2.25, 1.15, 0.47 and 0.19 %: 91.8, 92.0, 92.0, 91.5,
89.1 and 85.7 at k = 100; at k = 0 91.7, 91.2, 90.4, 89.6, 87.3 and below 84. Which
other k the paper tried is not in it.

`stability_sweep`: `stability` at more k, of tickets and random subnetworks, as in
Figures 4 and 11. The paper's k are not known; here those of `rewind_sweep` and three
later ones, since its text says that late k cost accuracy.

`appendix_a`: tickets of step 0 and reinitialised ones down to 0.92 % (21 levels), for
Appendix A and its Figure 9, which has the warm-up: `warmup,appendix_a`, where the paper
has reinitialised networks match down to 20 % and tickets to 1 %; and with SNIP's masks
between the two, each found at once before training, by one batch:
`warmup,appendix_a,snip`.

Not in the paper, and here as in Frankle & Carbin (2019): Gaussian Glorot kernels,
weight decay 1e-4, global pruning of the convolutions alone.

`cifar100`: the same on CIFAR-100, which the paper does not have.

Run time: not measured in full; `--dry_run` says it for the devices at hand.

Variants: one of `standard low warmup`; one of `stabilizing` (default) `stability
stability_sweep rewind_sweep appendix_a`; one of `one_shot snip` (the same densities);
`cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low", "warmup"),
        (
            *("stabilizing", "stability", "stability_sweep"),
            *("rewind_sweep", "appendix_a"),
        ),
        ("one_shot", "snip"),
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    papers.cifar(config, variants)
    config.data.validation = 5_000
    config.data.batch_size = 64
    config.model.name = "vgg19"
    config.model.init = "glorot_normal"
    config.optim.milestones = ("56000it", "84000it")
    config.train.length = "112000it"
    config.rewind.steps = ("0it", "100it")
    config.prune.fraction = 0.2
    config.prune.levels = 17
    config.prune.exclude = ("^fc/",)

    if "low" in variants:
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
    if "warmup" in variants:
        config.optim.warm_up = "10000it"
        config.rewind.steps = ("0it",)
    if "stability" in variants:
        config.rewind.steps = ("0it",)
        papers.compare_copies(config, 4, "stability")
    if "stability_sweep" in variants:
        ks = (0, 50, 100, 250, 500, 1000, 5000, 20000, 60000)
        papers.stability_sweep(config, *ks)
    if "appendix_a" in variants:
        config.rewind.steps = ("0it",)
        config.prune.levels = 21
        config.branches = ("ticket", "random_reinit")
    if "rewind_sweep" in variants:
        ks = (0, 50, 100, 250, 500, 1000)
        config.rewind.steps = tuple(f"{k}it" for k in ks)
        config.prune.levels = 28
    papers.variations(config, variants)
    if "smoke" in variants:
        config.replicates = 1
        config.data.validation = 8
        config.data.batch_size = 8
        config.train.length = "3it"
        config.rewind.steps = ("1it",)
        config.prune.levels = 1
        config.branch_levels = ()
        config.branches = ("ticket",)
        config.measures = ()
    return config.lock()
