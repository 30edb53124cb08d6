"""What of a ticket matters: its weights with less and less of W_k, and other masks.

    python -m lth_jax.main --config=configs/ablations.py --workdir=runs/ablations

LeNet-300-100 on MNIST as in `lenet.py` (24K steps), n = 10, at 3.5 % of the weights,
rewound to step 0; on the way there tickets alone are trained. Of W_0 are kept: `signs`
(one magnitude a layer), `magnitudes` (random signs), the values in another order within
each layer (`permuted`), all with Gaussian noise of 0.5, 1 and 2 deviations of the layer
(`noise_0.5` to `noise_2`), nothing (`random_reinit`). Of the mask: how many weights a
layer keeps (`shuffled_mask`), that of another replicate (`sibling_mask`), what either
or both of two replicates keep (`union_mask`, `intersection_mask`, as many weights), and
the weights that the method would prune first (`inverted_mask`). `supermask` is what
they reach without training.

Zhou et al. (2019), "Deconstructing Lottery Tickets", on LeNet-300-100, Conv-2, 4 and 6
with masks of large final weights: weights that keep their signs alone train about as
well as the ticket (Section 4: "as long as you keep the sign"), others about as badly as
new ones; untrained, up to 86 % on MNIST (abstract), where masks also go by whether a
weight keeps its sign, which those here do not.
Frankle, Schwab & Morcos (2020), Section 5, on ResNet-20 at a later k: noise of half a
deviation costs little, of more it costs much; weights permuted within a layer are as
new ones, and weights of which the signs alone are kept do not suffice (abstract). Their
numbers are in figures; none is digitised here.

Written down before the run, and before `rivals.py` and `transported.py` were, of which
the networks with the ticket's, random reinits', shuffled and sibling masks are the same
(errors of 1.88, 2.58, 3.39 and 2.58 %): of those the outcome was known when this ran.
Expected: signs within 0.1 points of the ticket; magnitudes
with random signs, permuted weights and new ones below it, and alike; noise below the
ticket more and more; sibling masks as shuffled ones or better; union and intersection
below the ticket; inverted masks the lowest. What decides: paired t-tests over
replicates of the test accuracy at 3.5 %, of each branch less the ticket (Holm over all
of them), and of magnitudes and of permuted less random reinit. "As good as" is said
where the 95 % interval lies within 0.1 points.

Run time on two CPU cores: 1 hour; `--dry_run` says it for other devices.

Variants: `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers

WEIGHTS = ("signs", "magnitudes", "permuted", "noise_0.5", "noise_1", "noise_2")
MASKS = ("sibling_mask", "union_mask", "intersection_mask", "inverted_mask")


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
    papers.lenet(config)
    config.replicates = 10
    config.train.length = "24000it"
    config.prune.densities = (0.5, 0.21, 0.1, 0.035)
    config.branch_levels = (4,)
    config.branches = (
        *("ticket", *WEIGHTS, "random_reinit"),
        *("shuffled_mask", *MASKS),
    )
    config.studies = ("supermask",)
    if "smoke" in variants:
        config.replicates = 2
        config.train.length = "8it"
        config.prune.densities = (0.5, 0.2)
        config.branch_levels = ()
    return config.lock()
