"""ResNet-20 on CIFAR-10, as in Linear Mode Connectivity.

    python -m lth_jax.main --config=configs/resnet20.py --workdir=runs/resnet20
    python -m lth_jax.main --config=configs/resnet20.py:low --workdir=runs/low

Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis" (2020),
Table 1: 63K steps, batch 128, momentum, drops at 32K and 48K. Learning rates:
`standard` 0.1, `low` 0.01, `warmup` 0.03 reached over the first 30K steps. Dense
accuracy 91.7 / 88.8 / 89.7 % (+- 0.1 / 0.1 / 0.3). Test error in % at density 16.8 % (8
levels), standard, Figure 7 (digitised, +- 0.1): ticket 11.35 at k = 0 and 8.28 at k =
2K, dense 8.3, random reinitialisation 11.2. Low and warmup at 8.6 % (11 levels): ticket
11.1 and 10.3-10.8, reinitialised 15.1 and 14.5.

Initialisation, batch-norm scales, weight decay and what is pruned (everything but
biases and batch-norm) are those of the authors' code, open_lth.
Unlike there, momentum is rewound with the weights: open_lth starts it afresh at k, as
`--config.rewind.fresh="('opt_state',)"` does.

`instability`: three data orders of each network at every k of Figures 3, 6 and 7 (ticks
without a label are guesses), and the error on the lines between them. Points of test
error at k = 0, 100, 500 and 2K: ticket 79, 69, 1.3 and 0, dense 81, 65, 19 and 1.5,
both controls 60 to 81 at every k (+- 1; +- 3 below k = 250).

`travel`: that, and how far apart copies end as a share of how far they went from W_k
(Appendix B; what we know of the paper disagrees whether of dense networks that is 25 %
or above 50), with their distances and angles (Appendix G).

`restart`: the dense networks again, but from every k for the whole 63K steps, at the
learning rates of step 0 and without momentum, as in Figure 4: as unstable as those that
go on. Its k are not known: here those of Figure 3.

`sparsities`: three data orders of tickets and shuffled masks at every density down to
8.6 % and every k, for the earliest k at which they are stable, and match (Section 4.4
and Figure 8). In the paper both match above 80 %; tickets alone from there to 13.4 %,
stable and matching from the same k between 51.2 and 13.4 %; none below. The densities
and k are ours: every level, and those of Figure 6.

`connectivity`: the error on the line between tickets of successive levels (Paul et al.,
2022), down to 3.5 % (15 levels, a choice), with W_k of both k above.

`rewind`: tickets of the weights after 10 epochs, for the whole schedule again, as in
Liu et al. (2021), Appendix G. `cifar100`: the same on CIFAR-100. Neither is in the
paper.

Run time: 6 hours a training on two CPU cores; `--dry_run` says it for other devices.

Variants: one of `standard low warmup`; one of `lmc` (default) `instability travel
restart sparsities connectivity`; one of `iterative one_shot admm`; `decay`, a sweep
over weight decays of 0, 1e-4 and 5e-4; `rewind`; `cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low", "warmup"),
        ("lmc", "instability", "travel", "restart", "sparsities", "connectivity"),
        ("iterative", "one_shot", "admm"),
        "decay",
        "rewind",
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    papers.cifar(config, variants)
    config.model.name = "resnet20"
    config.model.norm_scale = "uniform"
    config.model.options = {"width": 16}
    config.optim.milestones = ("32000it", "48000it")
    config.train.length = "63000it"
    config.rewind.steps = ("0it", "2000it")
    config.prune.fraction = 0.2
    config.prune.levels = 8

    if variants & {"low", "warmup"}:
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
        config.prune.levels = 11
    if "warmup" in variants:
        config.optim.learning_rate = 0.03
        config.optim.warm_up = "30000it"
    ks = (0, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 20000)
    papers.mode_connectivity(config, variants, 11, *ks)
    if "connectivity" in variants:
        config.prune.levels = 15
        config.branches, config.studies = ("ticket",), ("connectivity",)
    papers.variations(config, variants)
    if "smoke" in variants:
        papers.resnet20_smoke(config)
    return config.lock()
