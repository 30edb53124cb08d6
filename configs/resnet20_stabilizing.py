"""ResNet-20 on CIFAR-10, as in Stabilizing the Lottery Ticket Hypothesis.

    python -m lth_jax.main --config=configs/resnet20_stabilizing.py --workdir=runs/r20
    python -m lth_jax.main --config=configs/resnet20_stabilizing.py:stability,low \
        --workdir=runs/low

Frankle et al., "Stabilizing the Lottery Ticket Hypothesis" (2019), where it is called
Resnet-18, Figures 2 and 5: 30K steps, batch 128, momentum, drops at 20K and 25K, 45K
training examples. Learning rates: `standard` 0.1, `low` 0.01, `warmup` 0.03 reached
over the first 20K steps. Dense accuracy 90.5 / 89.1 / 89.6 %; ticket at 16.8 %: 87.7 %
at k = 0, above dense at k = 500.

Output layer and shortcuts are not pruned: so say the figure's densities. Gaussian
Glorot kernels and weight decay 1e-4, as in Frankle & Carbin (2019).

`stability`: four data orders of each network at 16.8 %, compared as in Figures 3 and 10
at k = 0. Distance by data order, ticket and random subnetwork: 66.4 and 66.7
(standard), 7.1 and 28.9 (low), 9.5 and 37.4 (warmup); by pruning: 54.4 and 53.4, 19.8
and 26.6, 24.8 and 34.6.

`rewind_sweep`: more k, and down to 3.5 % of the prunable weights, as in Figure 5, whose
axis counts output layer and shortcuts: ticket in % (digitised, +- 0.15) at 64, 42, 27,
17.8, 8.0 and 4.6 % (of the prunable: 64, 41, 26, 16.8, 6.9 and 3.5 %): 91.0, 91.3,
91.2, 91.2, 88.5 and 85.2 at k = 500; 90.3, 89.8, 88.9, 87.8, 85.1 and 82.5 at k = 0,
and reinitialised. Which other k the paper tried is not in it.

`stability_sweep`: `stability` at more k, of tickets and random subnetworks, as in
Figures 4 and 11: tickets are most of the way to stable by k = 500, random ones less so
at every k, and late k cost accuracy. The paper's k are not known; here those of
`rewind_sweep` and three later ones.

`appendix_a`: tickets of step 0 and reinitialised ones down to 3.5 %, as deep as in
Figure 5, for Appendix A and its Figure 9, which has the warm-up: `warmup,appendix_a`,
and `warmup,appendix_a,snip` with SNIP's masks, each found at once before training, by
one batch. No number of ResNet-20 is known to us.

`short_sweep`: a small copy of that sweep, for two CPU cores and less than 2 hours: a
quarter of the weights (width 8), batch 64, 1,200 steps with the drops in proportion,
pruned once to 16.8 %; two data orders of each ticket, and the error at five points
between them. The weight decay is 25 times as strong, since training is 25 times as
short. It was chosen after the outcome: with 1e-4, which was run first and stopped after
step 0, tickets of step 0 are better than dense networks.

`short_decays`: that sweep again with other seeds, n = 10, at the paper's weight decay
and at 25 times it, k = 0 and 25, 30 points between two data orders and 10,000 images;
for eight hours of two cores with `resnet20_correlation.py:short_decays`; of depth 8, so
that it asks the same of a smaller network, and confirms no number of the sweep.
Written down before the run. Expected: at 25 times the decay, tickets of step 25 are
better than those of step 0 and stable; at 1e-4, tickets of step 0 are no worse than
those of step 25 (the upper end of the interval of their loss is below 1 point), and
better than dense networks. What decides: paired t-tests of the
test accuracy at 16.8 %: ticket of step 25 less that of step 0 at each decay (Holm over
the two), and the difference of these differences; ticket less dense, and ticket less
random reinit, at each decay and step (Holm over the four of each). Stable is said where
the upper end of the 95 % interval of the instability on the test is below 2 points.

`rewind`: tickets of the weights after 10 epochs, for the whole schedule again, as in
Liu et al. (2021), Appendix G. `cifar100`: the same on CIFAR-100. Neither is in the
paper.

Run time on two CPU cores: `short_sweep` 1 hour 44 minutes, others 3 hours a training;
`--dry_run` says it for other devices.

Variants: one of `standard low warmup`; one of `stability stability_sweep rewind_sweep
short_sweep short_decays appendix_a`; one of `iterative one_shot admm snip`; `decay`, a
sweep over weight decays of 0, the config's own and 5 times that; `rewind`; `cifar100`;
`smoke` (seconds). What is short has no `warmup` and no `rewind`.
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers

SHORT = ("short_sweep", "short_decays")


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("standard", "low", "warmup"),
        ("stability", "stability_sweep", "rewind_sweep", *SHORT, "appendix_a"),
        ("warmup", *SHORT),
        ("iterative", "one_shot", "admm", "snip"),
        ("decay", "short_decays"),
        ("rewind", *SHORT),
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    papers.resnet20_stabilizing(config, variants)
    config.rewind.steps = ("0it", "500it")
    config.prune.fraction = 0.2
    config.prune.levels = 8

    if variants & {"low", "warmup"}:
        config.optim.learning_rate = 0.01
        config.rewind.steps = ("0it",)
    if "warmup" in variants:
        config.optim.learning_rate = 0.03
        config.optim.warm_up = "20000it"
    if "stability" in variants:
        config.rewind.steps = ("0it",)
        papers.compare_copies(config, 4, "stability")
    if "stability_sweep" in variants:
        ks = (0, 100, 250, 500, 1000, 2000, 5000, 10000, 20000)
        papers.stability_sweep(config, *ks)
    if "appendix_a" in variants:
        config.rewind.steps = ("0it",)
        config.prune.levels = 15
        config.branches = ("ticket", "random_reinit")
    if "rewind_sweep" in variants:
        ks = (0, 100, 250, 500, 1000, 2000)
        config.rewind.steps = tuple(f"{k}it" for k in ks)
        config.prune.levels = 15
    if variants & {*SHORT}:
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
    if "short_decays" in variants:
        config.replicates, config.first_replicate = 10, 30
        config.model.name = "resnet8"
        config.sweep.weight_decay = (1e-4, config.optim.weight_decay)
        config.rewind.steps = ("0it", "25it")
        config.branches = ("ticket", "random_reinit")
        config.study.points, config.study.examples = 30, 10_000
    papers.variations(config, variants)
    if "smoke" in variants:
        papers.resnet20_smoke(config)
        config.data.validation = 8
    return config.lock()
