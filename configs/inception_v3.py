"""Inception-v3 on ImageNet, as in Stabilizing the Lottery Ticket Hypothesis.

    python -m lth_jax.main --config=configs/inception_v3.py --workdir=runs/inception

Frankle et al., "Stabilizing the Lottery Ticket Hypothesis" (2019), Figure 6: 27.1M
parameters, 171 epochs, batch 1024, momentum, learning rate 0.03 falling linearly to
0.005. Top-1 accuracy of the dense network 78.1 +- 0.1 %, of five. One-shot (Figure 8,
digitised, +- 0.2):

                           70    50    30    20    10 % of weights
    rewind to epoch 8    78.1  78.2 78.15  77.1  73.9
    rewind to 0          77.6  77.2  76.7  74.1  70.3
    random reinit        77.5  76.9  76.5  74.1  70.3

Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis" (2020),
Table 1, has the same training, and one-shot to 30 %. Test error in % there (Figure 7,
digitised, +- 0.1): ticket 24.4 at epoch 0 and 22.15 at 6, dense 21.8, shuffled mask
24.8, random reinitialisation 24.5.

`rewind_sweep`: one-shot to 30 %, rewound to epochs 0, 2, ..., 12, the k of LMC's
Figures 6 and 7. Stabilizing reports a match with dense from epoch 6.

`stability`: three data orders of each network at these k, which are not Stabilizing's
(unknown to us), compared as in its Figures 7 and 12: distance and angle between data
orders, and to the dense network. Three is a choice.

`instability`: the same, and the error on the lines between them, as in LMC's Figures 5
to 7, and how far apart copies end as a share of how far they went from W_k (Appendix B;
what we know of the paper disagrees whether of dense networks that is 28 or 50 %).
Points of test error (+- 1, the first +- 3), of tickets: 76, 60, 12, 2.2, 0.8, 0.5 and
0.4; both controls 73 to 81. `dense_instability`: of dense networks alone, at epochs 0,
2, ..., 30, as in Figures 2 and 3: 78, 78, 77, 63, 42, 25, 17, 12, 9, 7, 6, 4, 3, 3, 2
and 1.5.

Not in the papers, and here as in the TPU code that both name: label smoothing 0.1,
auxiliary loss times 0.4, weight decay 4e-5 on kernels, images of 299x299, crops of 5 to
100 % of the area, bfloat16. Unlike there: Nesterov momentum (there plain), the decay
and epsilon of batch-norm (there 0.996 and 1e-3), weights as they are in evaluation
(there their averages, decay 0.995), and no distortion of colours.

`tpu_code`: that code trains Inception-v3 by RMSprop (decay 0.9, momentum 0.9, epsilon
1), from 0.66 times 0.94 every third epoch, and SqueezeNet by momentum from 0.03
linearly to 0.005: the papers have the two the other way round, which may be a slip.

Run time: not measured, and no work for a CPU; `--dry_run` says it for the devices at
hand.

Variants: one of `one_shot iterative rewind_sweep stability instability
dense_instability`; `tpu_code`; `smoke` (minutes).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        (
            "one_shot",
            "iterative",
            "rewind_sweep",
            "stability",
            "instability",
            "dense_instability",
        ),
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
    config.data.stream.image_size = 299
    config.data.stream.resize = 342
    config.data.stream.area = (0.05, 1.0)
    config.model.name = "inception_v3"
    config.model.init = "variance_scaling"
    config.model.dtype = "bfloat16"
    config.optim.name = "sgd"
    config.optim.options = {"momentum": 0.9, "nesterov": True}
    config.optim.weight_decay = 4e-5
    config.optim.decay_everything = False
    config.optim.label_smoothing = 0.1
    config.optim.aux_weight = 0.4
    config.optim.learning_rate = 0.03
    config.optim.schedule = "linear"
    config.optim.end_value = 0.005
    config.train.length = "171ep"
    config.train.evaluate_every = "9ep"
    config.train.layout = "data"
    config.train.sync_batch_stats = False
    config.rewind.steps = ("0it", "8ep")
    config.prune.schedule = "one_shot"
    config.prune.densities = (0.7, 0.5, 0.3, 0.2, 0.1)

    if "iterative" in variants:
        config.prune.schedule = "iterative"
        config.prune.densities = ()
        config.prune.fraction = 0.2
        config.prune.levels = 10
    if variants & {"rewind_sweep", "stability", "instability"}:
        config.rewind.steps = tuple(f"{epoch}ep" for epoch in range(0, 13, 2))
        config.prune.densities = (0.3,)
    if "stability" in variants:
        papers.compare_copies(config, 3, "stability")
    if "instability" in variants:
        papers.compare_copies(config, 3, "instability", "stability", "travel")
    if "dense_instability" in variants:
        config.rewind.steps = tuple(f"{epoch}ep" for epoch in range(0, 31, 2))
        papers.dense_alone(config, 3, "instability", "travel")
    if "tpu_code" in variants:
        config.optim.name = "rmsprop"
        config.optim.options = {
            "decay": 0.9,
            "momentum": 0.9,
            "eps": 1.0,
            "initial_scale": 1.0,
        }
        config.optim.learning_rate = 0.165 * 1024 / 256
        config.optim.schedule = "step"
        config.optim.gamma = 0.94
        config.optim.milestones = tuple(f"{epoch}ep" for epoch in range(3, 171, 3))
    if "smoke" in variants:
        config.data.batch_size = 8
        config.data.stream.image_size = 75
        config.data.stream.resize = 86
        config.data.stream.workers = 0
        config.model.dtype = "float32"  # compiles in half the time on a CPU
        config.optim.learning_rate = 1e-3
        config.optim.end_value = 1e-4
        config.train.sync_batch_stats = True  # maps of 1x1: few examples explode
        config.train.length = "2it"
        config.train.evaluate_every = ""
        config.rewind.steps = ("1it",)
        config.prune.densities = (0.3,) if config.prune.levels else ()
        config.branch_levels = ()
        config.study.points = 3
        config.study.examples = 16
        config.study.batch_stats = "recompute_mean"  # of 2 batches, not 50
        config.branches = ("ticket",)
    return config.lock()
