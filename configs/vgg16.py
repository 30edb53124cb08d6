"""VGG-16 on CIFAR-10, as in Linear Mode Connectivity.

    python -m lth_jax.main --config=configs/vgg16.py --workdir=runs/vgg16
    python -m lth_jax.main --config=configs/vgg16.py:low --workdir=runs/vgg16_low

Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis" (2020),
Table 1: 14.7M parameters, 63K steps, batch 128, momentum, drops at 32K and 48K.
Learning rates: `standard` 0.1, `low` 0.01, `warmup` 0.1 reached over 30K steps. Dense
accuracy 93.7 / 91.7 / 93.4 % (+- 0.1). Pruned iteratively to 1.5 % (19 levels of 20 %;
`low`: 5.5 %, 13 levels). Test error in % there (Figure 7, digitised, +- 0.1), standard:
ticket 9.2 at k = 0 and 6.4 at k = 1K, dense 6.3, random reinitialisation 9.2 and 8.8.
Low, k = 0: ticket 8.4-8.9, reinitialised 9.7. Warmup: 6.6-6.8 and 9.3.

`instability`: three data orders of each network at every k of Figures 3, 6 and 7 (ticks
without a label are guesses), and the error on the lines between them. Points of test
error at k = 0, 100, 500, 1K and 2K (digitised, +- 1; +- 3 below k = 250): ticket 81,
81, 29, 0.9 and 0, dense 84, 21, 4, 2 and 1.

`travel`: that, and how far apart copies end as a share of how far they went from W_k
(Appendix B; what we know of the paper disagrees whether of dense networks that is 45 %
or above 50), with their distances and angles (Appendix G).

`restart`: the dense networks again, but from every k for the whole 63K steps, at the
learning rates of step 0 and without momentum, as in Figure 4: as unstable as those that
go on. Its k are not known: here those of Figure 3.

`sparsities`: three data orders of tickets and shuffled masks at every density down to
0.92 % (21 levels) and every k, for the earliest k at which they are stable, and match
(Section 4.4 and Figure 8). In the paper both match above 16.8 %; tickets alone from
there to 1.2 %, stable and matching from the same k between 6.9 and 1.5 %; none below.
The densities and k are ours: every level, and those of Figure 6.

The paper does not say how it initialises, decays or what it prunes: here as in the
authors' code, open_lth, everything but biases, batch-norm and the output layer.
Unlike there, momentum is rewound with the weights: open_lth starts it afresh at k, as
`--config.rewind.fresh="('opt_state',)"` does.

`cifar100`: the same on CIFAR-100, which the paper does not have.

Run time: not measured in full; `--dry_run` says it for the devices at hand.

Variants: one of `standard low warmup`; one of `lmc` (default) `instability travel
restart sparsities`; `one_shot` (the same densities); `cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low", "warmup"),
        ("lmc", "instability", "travel", "restart", "sparsities"),
        "one_shot",
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    papers.cifar(config, variants)
    config.model.name = "vgg16"
    config.model.norm_scale = "uniform"
    config.optim.milestones = ("32000it", "48000it")
    config.train.length = "63000it"
    config.rewind.steps = ("0it", "1000it")
    config.prune.fraction = 0.2
    config.prune.levels = 19
    config.prune.exclude = ("^fc/",)

    if "low" in variants:
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
        config.prune.levels = 13
    if "warmup" in variants:
        config.optim.warm_up = "30000it"
        config.rewind.steps = ("0it",)
    ks = (0, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 20000)
    papers.mode_connectivity(config, variants, 21, *ks)
    if "one_shot" in variants:
        config.prune.schedule = "one_shot"
    if "smoke" in variants:
        config.replicates = 1
        config.data.batch_size = 8
        config.train.length = "3it"
        config.rewind.steps = ("1it",)
        config.prune.levels = min(1, config.prune.levels)
        config.branch_levels = ()
        config.study.points = 3
        config.study.examples = 16
        config.study.batch_stats = "recompute_mean"  # of 2 batches, not 50
        config.branches = ("ticket",)
        config.measures = ()
    return config.lock()
