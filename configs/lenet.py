"""LeNet-300-100 on MNIST, as in Linear Mode Connectivity and in Stabilizing the LTH.

    python -m lth_jax.main --config=configs/lenet.py --workdir=runs/lenet
    python -m lth_jax.main --config=configs/lenet.py:stabilizing --workdir=runs/lenet50k

Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis" (2020),
Table 1: 266K parameters, 24K steps, batch 60, Adam 1.2e-3, constant, pruned iteratively
to 3.5 % (0.8^15). Test error in % (digitised, +-0.07): dense 1.67-1.89; at 3.5 %:
ticket 1.85, random pruning (shuffled mask) 3.2-3.4, random reinitialisation 2.5.

Variant `stabilizing`: Frankle et al., "Stabilizing the Lottery Ticket Hypothesis"
(2019), Figure 2: 50K steps, 55K training examples; dense accuracy 98.0 +- 0.2; Figure 3
at 10.7 % (0.8^10): ticket 98.3 +- 0.1, random subnetwork (shuffled mask) 97.5 +- 0.3.

Neither paper says how it initialises or whether the output layer is pruned: here
kernels are Gaussian Glorot, as in Frankle & Carbin (2019), and all three are pruned
together, as the papers' densities 0.8^n imply. No augmentation, no weight decay.

`stability`: `stabilizing` with four data orders of each network at 10.7 %, compared as
in its Figures 3 and 10. Data order, ticket against random subnetwork: distance 20.7 +-
0.6 against 58.6 +- 4.0, angle 22.7 against 49.2 degrees; pruning: 48.1 +- 0.6 against
75.7 +- 0.5, 53.1 against 83.6 degrees. (18 samples and 3; errors are minimum or
maximum.) Not in the paper: which tensors enter (here the surviving weights), and
whether images are standardised. Here they are not: distances are about as large as the
paper's then; otherwise random subnetworks are a quarter nearer, tickets 3 to 7 %.

`instability`: three data orders of each network at 3.5 % and the error on the lines
between them, as in LMC's Figures 3 and 6, at k = 0: none for the ticket. (LeNet is the
network whose dense and random ones are nearly stable, too.)

`correlation`: the protocol of Liu et al., "Lottery Ticket Preserves Weight Correlation:
Is It Desirable or Not?" (2021), which has no LeNet, in minutes: SGD with momentum 0.9
at learning rates 0.1 and 0.01, a tenth of their 150 epochs with the drops in
proportion, batch 128, weight decay 1e-3 (ten times as strong, since training is ten
times as short), every layer but the last pruned alike. One of
`iterative one_shot admm`; `decay` for weight decays of 0, 1e-3 and 5e-3.

Variants: one of `lmc` (default) `stabilizing stability instability correlation`; with
the last, one of `iterative one_shot admm`, and `decay`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers as protocols


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("lmc", "stabilizing", "stability", "instability", "correlation"),
        ("iterative", "one_shot", "admm"),
        "decay",
        "smoke",
    )
    config = config_lib.default()
    config.data.name = "mnist"
    config.data.batch_size = 60
    config.model.name = "lenet"
    config.model.init = "glorot_normal"
    config.model.options = {"widths": (300, 100)}
    config.optim.name = "adam"
    config.optim.learning_rate = 1.2e-3
    config.train.length = "24000it"
    config.prune.fraction = 0.2
    config.prune.levels = 15

    if variants & {"stabilizing", "stability"}:
        config.data.standardise = False
        config.data.validation = 5_000
        config.train.length = "50000it"
        config.prune.levels = 10
    if variants & {"stability", "instability"}:
        copies = 4 if "stability" in variants else 3
        protocols.compare_copies(config, copies, "stability", "instability")
    if "correlation" in variants:
        protocols.correlation(config, variants)
        config.replicates = 3
        config.optim.weight_decay = 1e-3
        config.optim.milestones = ("8ep", "12ep")
        config.train.length = "15ep"
        config.prune.densities = (0.7, 0.5, 0.3, 0.15)
        config.prune.exclude = ("^fc/",)
        config.prune.admm.interval = "1ep"
        config.prune.admm.updates = 2
    protocols.variations(config, variants)
    if "smoke" in variants:
        config.replicates = 2
        config.train.length = "20it"
        config.prune.levels = 2
        config.prune.densities = config.prune.densities[:2]
        config.prune.admm.rho = (1e-2,)
        config.prune.admm.interval = "2it"
        config.branch_levels = ()
    return config.lock()
