"""A ticket's mask on another seed: as it is, and with its hidden units in their order.

    python -m lth_jax.main --config=configs/transported.py --workdir=runs/transported

LeNet-300-100 on MNIST as in `lenet.py` (24K steps), n = 10, at 3.5 % of the weights,
rewound to step 0; on the way there tickets alone are trained, as in `ablations.py`.
Beside the ticket, on its W_0: the mask of the next replicate's ticket as it is
(`sibling_mask`); the same with that network's hidden units permuted to align with this
one's (`transported`), by the weights of both dense networks, trained; and the ticket's
mask shuffled within layers (`shuffled_mask`). Studies: how far the masks of two
replicates are the same, before and after, beside chance (`mask_overlap`); and the error
between their dense networks, before and after (`alignment`).

Adnan, Jain, Sharma, Krishnan & Ioannou (2025), "Sparse Training from Random
Initialization: Aligning Lottery Ticket Masks using Weight Symmetry" (ICML): VGG-11 and
ResNet-20 on CIFAR-10 and CIFAR-100, ResNet-50 on ImageNet. A mask that is permuted to
another seed's network trains it to a significantly higher accuracy there than the mask
as it is, and nearly to that of a ticket where networks are wide. They match
activations; LeNet on MNIST is not among theirs, and of their numbers none is copied
here. Ainsworth et al. (2023), Section 5: perceptrons of 512 units on MNIST have no
barrier between them, or nearly none, once they are matched by their weights.

Written down before any run. Expected of test accuracy at 3.5 %: transported masks above
the same masks as they are, and below the ticket, since 300 and 100 units are few; masks
as they are above shuffled ones or alike. Of overlaps: chance before, above it after.
What decides: paired t-tests over replicates of the test accuracy at 3.5 %, of
transported less sibling mask (whether alignment matters), ticket less transported
(whether it is all) and sibling less shuffled mask (Holm over the three). "As good as"
is said where the 95 % interval lies within 0.1 points. A replicate is in two pairs,
once as the one that lends its mask: the tests treat them as independent.

Run time on two CPU cores: half an hour; `--dry_run` says it for other devices.

Variants: `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
    papers.lenet(config)
    config.replicates = 10
    config.train.length = "24000it"
    config.prune.densities = (0.5, 0.21, 0.1, 0.035)
    config.branch_levels = (4,)
    config.branches = ("ticket", "sibling_mask", "transported", "shuffled_mask")
    config.studies = ("alignment", "mask_overlap")
    if "smoke" in variants:
        config.replicates = 2
        config.train.length = "8it"
        config.prune.densities = (0.5, 0.2)
        config.branch_levels = ()
        config.study.examples = 100
        config.study.points = 3
    return config.lock()
