"""SqueezeNet on ImageNet, as in Stabilizing the Lottery Ticket Hypothesis.

    python -m lth_jax.main --config=configs/squeezenet.py --workdir=runs/squeezenet

Frankle et al., "Stabilizing the Lottery Ticket Hypothesis" (2019), Figure 6: 1.25M
parameters, 150 epochs, batch 1024, RMSprop, learning rate 0.66 falling exponentially to
6.6e-5. Top-1 accuracy of the dense network 54.8 +- 0.6 %, of five. One-shot (Figure 8,
digitised, +- 1):

                           80    50    30    20    10 % of weights
    rewind to epoch 10   55.4  54.9    51    44    25
    rewind to 0                  41     0     0     0
    random reinit                 0     0     0     0

(At 70 %: 50.5 % rewound to 0, 51 % reinitialised. 0: it does not learn.)

`rewind_sweep`: one-shot to 50 %, rewound to epochs 0, 2, ..., 14; the paper reports a
match with dense from epoch 10, not which others it tried.

`stability`: three data orders (a choice) of each network at these k, compared as in
Figures 7 and 12: distance and angle between data orders, and to the dense network.

Not in the paper, and here as in the TPU code that it names: decay 0.9 (TensorFlow's
default), momentum 0.9 and epsilon 1 of RMSprop, squares that start at 1, Glorot kernels
(uniform there, normal here), no weight decay. Unlike there: dropout of 0.5 (that code
has the layer, but never in its training mode) and crops of 8 to 100 % of the area
(there a random 224x224 of an image whose shorter side is 256 to 512).

`tpu_code`: that code trains SqueezeNet by Nesterov momentum, from 0.03 linearly to
0.005, and Inception-v3 by RMSprop from 0.66: the paper has the two the other way round,
which may be a slip.

Run time: not measured, and no work for a CPU; `--dry_run` says it for the devices at
hand.

Variants: one of `one_shot iterative rewind_sweep stability`; `tpu_code`; `smoke`
(seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("one_shot", "iterative", "rewind_sweep", "stability"),
        "tpu_code",
        "smoke",
    )
    config = config_lib.default()
    config.replicates = 1
    config.data.name = "imagenet2012"
    config.data.test_split = "validation"
    config.data.feed = "stream"
    config.data.augmentation = "resized_crop"
    config.data.batch_size = 1024
    config.model.name = "squeezenet"
    config.model.init = "glorot_normal"
    config.model.dtype = "bfloat16"
    config.model.options = {"dropout": 0.5}
    config.optim.name = "rmsprop"
    config.optim.options = {
        "decay": 0.9,
        "momentum": 0.9,
        "eps": 1.0,
        "initial_scale": 1.0,
    }
    config.optim.learning_rate = 0.66
    config.optim.schedule = "exponential"
    config.optim.end_value = 6.6e-5
    config.train.length = "150ep"
    config.train.evaluate_every = "10ep"
    config.train.layout = "data"
    config.rewind.steps = ("0it", "10ep")
    config.prune.schedule = "one_shot"
    config.prune.densities = (0.8, 0.7, 0.5, 0.3, 0.2, 0.1)

    if "iterative" in variants:
        config.prune.schedule = "iterative"
        config.prune.densities = ()
        config.prune.fraction = 0.2
        config.prune.levels = 10
    if variants & {"rewind_sweep", "stability"}:
        config.rewind.steps = tuple(f"{epoch}ep" for epoch in range(0, 15, 2))
        config.prune.densities = (0.5,)
    if "stability" in variants:
        papers.compare_copies(config, 3, "stability")
    if "tpu_code" in variants:
        config.optim.name = "sgd"
        config.optim.options = {"momentum": 0.9, "nesterov": True}
        config.optim.learning_rate = 0.03
        config.optim.schedule = "linear"
        config.optim.end_value = 0.005
    if "smoke" in variants:
        config.data.batch_size = 8
        config.data.stream.image_size = 48
        config.data.stream.resize = 54
        config.data.stream.workers = 0
        config.train.length = "3it"
        config.train.evaluate_every = ""
        config.rewind.steps = ("1it",)
        config.prune.densities = (0.5,)
        config.branch_levels = ()
        config.branches = ("ticket",)
    return config.lock()
