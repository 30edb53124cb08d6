"""ResNet-20 on CIFAR, as in Lottery Ticket Preserves Weight Correlation.

    python -m lth_jax.main --config=configs/resnet20_correlation.py --workdir=runs/r20
    python -m lth_jax.main --config=configs/resnet20_correlation.py:short,one_shot \
        --workdir=runs/correlation

Liu et al., "Lottery Ticket Preserves Weight Correlation: Is It Desirable or Not?"
(2021), Sections 4 and 5: 150 epochs, batch 128, SGD with momentum 0.9, drops after
epochs 80 and 120, pruned alike in every layer but the first, at learning rates 0.1 and
0.01 in one run (`standard` and `low`: one of them). Dense accuracy 91.7 / 89.62 %
(CIFAR-10), 67.15 / 63.10 % (CIFAR-100).

Expected on CIFAR-10: low, tickets are best at sparsity 62 % with 90.04 %; standard,
they are as good as their reinitialisations, and `fine_tune` (pruning & fine-tuning)
reaches dense up to sparsity 70 %, with masks of `admm` 80 %. R_p(θ0, θT) is about p at
the standard rate and notably above at the low one (Figure 4; no number is printed).

Weight decay 1e-4, initialisation, the sparsities, the unpruned output layer and all of
ADMM's settings are not in the paper. Controls that it lacks: `long` (tickets and dense
networks trained on, as long as fine-tuned ones), `fine_tune_small`, `shuffled_mask`,
`cross_lr`, and `decay`, a sweep over weight decays of 0, the config's own and 5 times
that. `rewind`:
Appendix G, tickets of the weights after 10 epochs, for the whole schedule again.

`short`: a small copy of that grid at sparsity 70 %, for two CPU cores: width 8, batch
64, 1,200 steps with the drops in proportion, and weight decay 49 times as strong, since
training is 49 times as short. With 850 steps, which were run first, learning rate 0.1
is the worse one; with 1,200 the two are not told apart by three replicates.

`short_decays`: `short,one_shot` again with other seeds, n = 10, at weight decays of
1e-4 and 49 times it, of depth 8. Written down before the run. Expected: at 49 times the
decay, tickets are better than their reinitialisations at the low rate alone; at 1e-4,
at both. What decides: paired t-tests of the test accuracy at 30 %: ticket less random
reinit at each rate and decay (Holm over the four), and at each decay the difference of
these between the rates (Holm over the two); fine-tuned less `long` tickets, and less
`long` dense networks, at each rate and decay (Holm over the four of each).

Run time on two CPU cores: `short` 60 minutes with `one_shot` (and the controls,
`random_reinit` and `long`), 43 with `iterative`, 39 with `admm`; others 6 hours a
training. `--dry_run` says it for other devices.

Variants: one of `standard low`; `short` or `short_decays`; one of `iterative one_shot
admm`; `decay`; `rewind` (not of what is short); `cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers

SHORT = ("short", "short_decays")


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low"),
        ("iterative", "one_shot", "admm", "short_decays"),
        ("decay", "short_decays"),
        ("rewind", *SHORT),
        "cifar100",
        "smoke",
    )
    if "short_decays" in variants:
        variants = {*variants, "one_shot"}
    config = config_lib.default()
    papers.cifar(config, variants)
    config.model.name = "resnet20"
    config.model.options = {"width": 16}
    papers.correlation(config, variants)
    # Not used where there are densities and a sweep, but part of what a run is: with
    # other values, runs that have begun would not go on.
    config.prune.levels = 11 if "low" in variants else 8
    config.optim.learning_rate = 0.01 if "low" in variants else 0.1

    if variants & {*SHORT}:
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
    if "short_decays" in variants:
        config.replicates, config.first_replicate = 10, 30
        config.model.name = "resnet8"
        config.sweep.weight_decay = (1e-4, config.optim.weight_decay)
    papers.variations(config, variants)
    if "smoke" in variants:
        papers.resnet20_smoke(config)
    return config.lock()
