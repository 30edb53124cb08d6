"""A small transformer that predicts a text byte by byte.

    python -m lth_jax.main --config=configs/bytes.py --config.data.name=input.txt \
        --workdir=runs/bytes

Any text will do; the numbers here are of "tiny Shakespeare", 1,115,394 bytes (SHA-256
86c4e6aa...c565ed), which is data/tinyshakespeare/input.txt of the repository
karpathy/char-rnn. The last tenth of its windows is the test.

Sizes and training are those that the README of nanoGPT (A. Karpathy) gives for a CPU: 4
layers, 4 heads, width 128, context 64, batch 12, 2,000 steps, no dropout; AdamW 1e-3,
which falls by a cosine to 1e-4 after 100 steps of warm-up, betas 0.9 and 0.99, weight
decay 0.1. Expected of a dense network is its 1.88 nats, 2.71 bits a byte, on windows
of its own. Not as there: bytes in place of 65 characters (0.9M parameters), windows
that do not overlap, gradients are not clipped; the last layer is not tied to the
embeddings; all layers have biases, which decay, as LayerNorm does (there only what has
rank 2 decays); kernels start as Glorot has them, embeddings and positions at a variance
of 1 / width (there all at a standard deviation of 0.02, divided by the square root of
twice the layers where a block adds up); and the cosine falls from step 0, the rise of
the warm-up times it (there it begins after the warm-up).

No paper has tickets of this network. For large k they are expected to match, as those
of convolutional networks do (Frankle et al., 2020); whether they do at k = 0 is the
question, and what `instability` of two data orders says of it.

`short`: for two CPU cores and less than 2 hours: 2 layers of width 64, 1,000 steps, 50
of warm-up.

Run time: `short` half an hour on one CPU core; else not measured.

Variants: `short`; `smoke` (seconds; the text is this file).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "short", "smoke")
    config = config_lib.default()
    config.data.name = "input.txt"
    config.data.window = 64
    config.data.batch_size = 12
    config.task.name = "sequence"
    config.model.name = "transformer"
    config.model.init = "glorot_normal"
    config.model.options = {
        "depth": 4,
        "heads": 4,
        "width": 128,
        "hidden": 512,
        "context": 64,
    }
    config.optim.name = "adamw"
    config.optim.options = {"b1": 0.9, "b2": 0.99}
    config.optim.learning_rate = 1e-3
    config.optim.weight_decay = 0.1
    config.optim.schedule = "cosine"
    config.optim.end_value = 1e-4
    config.optim.warm_up = "100it"
    config.train.length = "2000it"
    config.rewind.steps = ("0it", "50it", "200it", "500it")
    config.prune.densities = (0.5, 0.25, 0.125, 0.0625)
    papers.compare_copies(config, 2, "stability", "instability")
    config.copied_branches = ("ticket",)
    config.dense_branches = ()
    config.study.points = 11
    config.study.examples = 2_000

    if "short" in variants:
        config.model.options.update({"depth": 2, "width": 64, "hidden": 256})
        config.optim.warm_up = "50it"
        config.train.length = "1000it"
        config.rewind.steps = ("0it", "25it", "100it", "250it")
    if "smoke" in variants:
        config.replicates = 1
        config.data.name = __file__
        config.data.window = 16
        config.model.options = {"depth": 1, "heads": 2, "width": 8, "context": 16}
        config.optim.warm_up = "1it"
        config.train.length = "4it"
        config.rewind.steps = ("0it", "2it")
        config.prune.densities = (0.5,)
        config.branch_levels = (1,)
        config.study.points = 3
    return config.lock()
