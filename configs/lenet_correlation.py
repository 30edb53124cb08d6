"""LeNet-300-100 on MNIST, as in Lottery Ticket Preserves Weight Correlation.

    python -m lth_jax.main --config=configs/lenet_correlation.py --workdir=runs/lenet_r

Liu et al., "Lottery Ticket Preserves Weight Correlation: Is It Desirable or Not?"
(2021), Sections 4 and 5, which has no LeNet: the quick version of its grid. SGD with
momentum 0.9 at learning rates 0.1 and 0.01, a tenth of its 150 epochs with the drops in
proportion, batch 128, weight decay 1e-3 (ten times as strong, since training is ten
times as short), every layer but the last pruned alike.

The paper's expectation: at the low rate tickets beat random reinitialisations, and R_p
of dense weights before and after training is notably above p; at the high rate neither.
Found at 15 % of the weights, of 3 replicates, low and high (with 95 % intervals): R_0.2
77.3 +- 0.1 and 20.6 +- 0.1 %; tickets above random reinitialisations by 0.68 (0.62 to
0.73) and 0.19 (-0.09 to 0.46) points; pruning & fine-tuning above tickets by 0.12 (0.00
to 0.23, p = 0.051) and -0.05 (-0.25 to 0.15).

Run time on two CPU cores: 21 minutes.

Variants: one of `iterative one_shot admm`; `decay`, a sweep over weight decays of 0,
1e-3 and 5e-3; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant, ("iterative", "one_shot", "admm"), "decay", "smoke"
    )
    config = config_lib.default()
    papers.lenet(config)
    papers.correlation(config, variants)
    config.replicates = 3
    config.optim.weight_decay = 1e-3
    config.optim.milestones = ("8ep", "12ep")
    config.train.length = "15ep"
    config.prune.densities = (0.7, 0.5, 0.3, 0.15)
    config.prune.exclude = ("^fc/",)
    config.prune.admm.interval = "1ep"
    config.prune.admm.updates = 2
    # Not used where there are densities, but part of what a run is: with another value,
    # runs that have begun would not go on.
    config.prune.levels = 15

    papers.variations(config, variants)
    if "smoke" in variants:
        config.replicates = 2
        config.train.length = "20it"
        config.prune.levels = 2
        config.prune.densities = config.prune.densities[:2]
        config.prune.admm.rho = (1e-2,)
        config.prune.admm.interval = "2it"
        config.branch_levels = ()
    return config.lock()
