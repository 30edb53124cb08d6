"""A small vision transformer on CIFAR, trained from scratch.

    python -m lth_jax.main --config=configs/vit.py --workdir=runs/vit

The network is that of Lee et al., "Vision Transformer for Small-Size Datasets" (2021),
whose repository reports 93.58 % on CIFAR-10 and 73.81 % on CIFAR-100: patches of 4
pixels, width 192, 9 blocks of 12 heads, 384 hidden units; 100 epochs, batch 128, AdamW,
1e-3 with a cosine after 10 epochs of warm-up, weight decay 0.05, label smoothing 0.1.
To get there it takes AutoAugment, CutMix, Mixup, random erasing and stochastic depth,
none of which is here: images are cropped and mirrored. With AutoAugment alone a
network of 6.3M parameters is reported at 90.92 % after 200 epochs (omihub777,
ViT-CIFAR), others with patches of 4 at 80 % (kentaroy47, vision-transformers-cifar10):
what is expected of this one lies between, and was not measured.

Pruned are the kernels of attention and MLPs, the embedding of patches and that of
positions; LayerNorm, biases and the class token are not. To keep the embeddings:
--config.prune.exclude="('^embed', '^positions')".

Run time: not measured; `--dry_run` says it for the devices at hand.

Variants: `cifar100`; `smoke` (seconds, on digits).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "cifar100", "smoke")
    config = config_lib.default()
    config.data.name = "cifar100" if "cifar100" in variants else "cifar10"
    config.data.batch_size = 128
    config.data.last = "wrap"
    config.data.augmentation = "flip_crop"
    config.model.name = "vit"
    config.model.init = "glorot_normal"
    config.model.options = {"patch": 4, "width": 192, "depth": 9, "heads": 12}
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.weight_decay = 0.05
    config.optim.schedule = "cosine"
    config.optim.warm_up = "10ep"
    config.optim.label_smoothing = 0.1
    config.train.length = "100ep"
    config.rewind.steps = ("0it", "1ep", "5ep")

    if "smoke" in variants:
        config.replicates = 1
        config.data.name = "digits"
        config.model.options = {"patch": 4, "width": 8, "depth": 1, "heads": 2}
        config.optim.warm_up = "1it"
        config.train.length = "4it"
        config.rewind.steps = ("0it", "2it")
        config.prune.levels = 1
    return config.lock()
