"""What competes with a ticket: as many weights, trained and billed alike.

    python -m lth_jax.main --config=configs/rivals.py --workdir=runs/rivals
    python -m lth_jax.main --config=configs/rivals.py:snip --workdir=runs/rivals_snip
    python -m lth_jax.main --config=configs/rivals.py:short --workdir=runs/rivals_short

LeNet-300-100 on MNIST as in `lenet.py` (24K steps), n = 10, at 21, 10 and 3.5 % of the
weights; `resnet20` on CIFAR-10 as in `resnet20_stabilizing.py` (30K steps), n = 5, at
20, 10 and 5 %. Beside the ticket of step 0, with its controls: random masks, uniform or
ERK; SET and RigL, which move them; RigL in three times the steps; gradual magnitude
pruning; and a dense network in the ticket's share of the steps: on LeNet those have the
multiply-adds of a ticket's training; of convolutions pruned globally, not as many.
On ResNet-20 tickets of step 0 do not match the dense network (Frankle et al., 2019;
numbers in `resnet20_stabilizing.py`): at 16.8 % of the weights they have 87.7 %, dense
networks 90.5 %. Those of step 500 are above it there, and below it at 6.9 and 3.5 %. So
`resnet20` by itself has rivals beside tickets that are known to fall behind. RigL
against tickets that match, of 20 %, with those of step 0 in the same run:

    python -m lth_jax.main --config=configs/rivals.py:resnet20 --workdir=runs/resnet20 \
        --config.rewind.steps="('0it','500it')"

and on a TPU, whose products are of bfloat16 by default, with
`--config.train.precision=float32`.

Each other variant is a run of its own, with its controls at the lowest density:

`late`: tickets of step 500. `early`: magnitudes at step 500.
`snip`, `grasp`, `synflow`: scores of step 0. `trained`: the trained weights go on under
their masks with the learning rate of step 0 (learning-rate rewinding, Renda et al.,
2020, iterative), and `fine_tuned`: as many steps at the rate of the last.

What papers have is of other networks. ResNet-50 on ImageNet at 20 % (Evci et al., 2020,
Figure 2): static 70.6, SNIP 72.0, SET 72.9, RigL 74.6, gradual pruning 75.6, RigL in
five times the steps 76.6; dense 76.8. WideResNet-22-2 on CIFAR-10 at 20 % (Sundar &
Dwaraknath, 2021, the reproduction of that paper; n = 3): small dense 91.0 +- 0.1,
static 91.2 +- 0.2, SET 92.7 +- 0.3, RigL 92.6 +- 0.1 (both with ERK 92.9 and 93.1),
gradual pruning 93.2 +- 0.3, RigL in twice the steps 93.0 +- 0.2. Renda et al. (2020):
learning-rate rewinding is at least as good as rewinding weights, both are better than
fine-tuning. Frankle et al. (2021): SNIP's, GraSP's and SynFlow's masks are below those
of magnitudes after training, and as good when they are shuffled within layers.

Written down before these runs. Expected at the lowest density: static uniform < static
ERK < SET <= RigL < gradual pruning; the ticket above static ERK and above its own
controls; RigL in three steps for one at least as good as the ticket; learning-rate
rewinding at least as good as rewinding to step 0. What decides: paired t-tests over
replicates of the test accuracy, at each density: RigL less ERK; RigL and gradual
pruning less ticket; ticket less random reinit and less shuffled mask; three times the
steps less once; late less step 0; trained less ticket (Holm over the three densities of
each). All other differences are shown and decide nothing.

`short`: `resnet20` for two CPU cores and two hours, depth 8, width 8, batch 64, 850
steps with the drops in proportion, pruned at once; late is step 20. The weight decay is
that of the whole protocol, 1e-4.

Masks move every 100 steps (`short`: every 25), until three quarters of a training, 30 %
of a layer at first: RigL's numbers, not searched.

Run time on two CPU cores: the default 75 minutes, its variants 10 to 15, `short` 80;
`--dry_run` says it for other devices. `resnet20` has 160 trainings of 5.3M steps in
all, with step 500 beside step 0 210 of 6.8M; neither was run.

Variants: one of `lenet` (default) `resnet20 short`; one of `late early snip grasp
synflow trained fine_tuned`; `smoke` (seconds).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.config import papers

CONTROLS = ("ticket", "random_reinit", "shuffled_mask")
RIVALS = ("uniform_mask", "erk_mask", "set", "rigl", "rigl_3", "gmp")
SCORED = ("snip", "grasp", "synflow")


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(
        variant,
        ("lenet", "resnet20", "short"),
        ("late", "early", *SCORED, "trained", "fine_tuned"),
        "smoke",
    )
    config = config_lib.default()
    if variants & {"resnet20", "short"}:
        papers.resnet20_stabilizing(config, variants)
        config.replicates = 5
        config.prune.densities = (0.5, 0.2, 0.1, 0.05)
    else:
        papers.lenet(config)
        config.replicates = 10
        config.train.length = "24000it"
        config.prune.densities = (0.5, 0.21, 0.1, 0.035)
    config.branch_levels = (2, 3, 4)
    config.branches = (*CONTROLS, *RIVALS, "dense_equal_bill")
    late = "500it"
    if "short" in variants:
        config.data.batch_size = 64
        config.model.name = "resnet8"
        config.model.options = {"width": 8}
        config.optim.milestones = ("567it", "708it")
        config.train.length = "850it"
        config.prune.schedule = "one_shot"
        config.prune.densities = (0.2, 0.1, 0.05)
        config.branch_levels = ()
        config.move.every = "25it"
        late = "20it"

    if variants & {"late", "early", *SCORED, "trained", "fine_tuned"}:
        config.branches = CONTROLS
        config.branch_levels = (len(config.prune.densities),)
    if variants & {"late", "early"}:
        config.rewind.steps = (late,)
    if "early" in variants:
        config.prune.at = "k"
    for method in variants & {*SCORED}:
        config.prune.method = method
    if variants & {"early", *SCORED}:
        config.prune.schedule = "one_shot"
        config.prune.densities = tuple(config.prune.densities[-3:])
        config.branch_levels = (3,)
    if variants & {"trained", "fine_tuned"}:
        config.branches = ("ticket",)
        config.prune.schedule = "iterative"
        config.rewind.weights = "trained"
        config.rewind.clock = "end" if "fine_tuned" in variants else "k"
    if "smoke" in variants:
        _smoke(config, variants)
    return config.lock()


def _smoke(config: ConfigDict, variants: set[str]) -> None:
    """Shrink everything to seconds."""
    if variants & {"resnet20", "short"}:
        papers.resnet20_smoke(config)
        config.data.validation = 8
    config.replicates = 2
    config.train.length = "8it"
    config.move.every = "2it"
    config.prune.levels, config.prune.densities = 0, (0.5, 0.2)
    config.branch_levels = ()
    config.rewind.steps = ("2it",) if variants & {"late", "early"} else ("0it",)
