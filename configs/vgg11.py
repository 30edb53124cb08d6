"""VGG-11 on CIFAR-10 and CIFAR-100, as in Lottery Ticket Preserves Weight Correlation.

    python -m lth_jax.main --config=configs/vgg11.py:cifar100 --workdir=runs/vgg11
    python -m lth_jax.main --config=configs/vgg11.py:low --workdir=runs/low

Liu et al., "Lottery Ticket Preserves Weight Correlation: Is It Desirable or Not?"
(2021), Sections 4 and 5: 150 epochs, batch 128, SGD with momentum 0.9, drops after
epochs 80 and 120, learning rates 0.1 and 0.01: `correlation` (the default) trains both
in one run, `standard` and `low` one of them. Dense accuracy on CIFAR-100: 69.83 %
standard, 67.74 % low; none is printed for CIFAR-10.

Expected (Appendix, CIFAR-100): at the low rate tickets are better than their random
reinitialisations, at the standard rate they are not; there `fine_tune` (pruning &
fine-tuning) is above dense. Order of the masks: ADMM, iterative, one-shot.

The rate of pruning is the same in every layer, and the first convolution is not pruned.
Not in the paper: the sparsities (here those that its text names), the weight decay, the
output layer and whether convolutions have biases (here 1e-4, not pruned, no biases, as
in a code of the same group) and the initialisation.

Table 1 (`admm`, standard, sparsity 50 %, p = 0.2): a fine-tuned network has 20.41 % of
its largest weights in common with the initial one and 49.32 % with the trained one
(CIFAR-100; 20.21 and 48.08 % on CIFAR-10). By chance it would be 20 and 40 %.

Controls that the paper lacks: `long` (tickets and dense networks trained on, as long as
fine-tuned ones), `fine_tune_small`, `shuffled_mask`, `cross_lr`, and `decay`, a sweep
over weight decays of 0, 1e-4 and 5e-4. `rewind`: Appendix G, tickets of the weights
after 10 epochs, for the whole schedule again.

Run time: not measured in full; `--dry_run` says it for the devices at hand.

Variants: one of `correlation standard low`; one of `iterative one_shot admm`; `decay`;
`rewind`; `cifar100`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("correlation", "standard", "low"),
        ("iterative", "one_shot", "admm"),
        "decay",
        "rewind",
        "cifar100",
        "smoke",
    )
    config = config_lib.default()
    papers.cifar(config, variants)
    config.model.name = "vgg11"
    config.model.options = {"conv_bias": False}
    papers.correlation(config, variants)
    papers.variations(config, variants)
    if "smoke" in variants:
        config.replicates = 1
        config.data.batch_size = 8
        config.train.length = "3it"
        config.rewind.steps = ("0it",)
        config.prune.densities = (0.5,)
        config.prune.admm.rho = (1e-2,)
        config.prune.admm.updates = 2
        config.prune.admm.interval = "1it"
        config.branches = ("ticket", "fine_tune")
        config.dense_branches = ()
        config.measures = ()
    return config.lock()
