"""Papers: what the configs of one network or of one paper have in common."""

from ml_collections import ConfigDict


def lenet(config: ConfigDict) -> None:
    """Set LeNet-300-100 on MNIST, as Frankle et al. (2019 and 2020) train it."""
    config.data.name = "mnist"
    config.data.batch_size = 60
    config.model.name = "lenet"
    config.model.init = "glorot_normal"
    config.model.options = {"widths": (300, 100)}
    config.optim.name = "adam"
    config.optim.learning_rate = 1.2e-3


def cifar(config: ConfigDict, variants: set[str]) -> None:
    """Set CIFAR, and how all papers train on it: batch 128, momentum, at 0.1."""
    config.data.name = "cifar100" if "cifar100" in variants else "cifar10"
    config.data.batch_size = 128
    config.data.last = "wrap"
    config.data.augmentation = "flip_crop"
    _momentum(config)
    config.optim.learning_rate = 0.1


def resnet20_stabilizing(config: ConfigDict, variants: set[str]) -> None:
    """Set ResNet-20 on CIFAR-10, as Frankle et al. (2019) train and prune it."""
    cifar(config, variants)
    config.data.validation = 5_000
    config.model.name = "resnet20"
    config.model.init = "glorot_normal"
    config.model.options = {"width": 16}
    config.optim.milestones = ("20000it", "25000it")
    config.train.length = "30000it"
    config.prune.exclude = ("^fc/", "/shortcut/")


def correlation(config: ConfigDict, variants: set[str]) -> None:
    """Set the grid of Liu et al. (2021), Sections 4 and 5, and the controls it lacks.

    Everything but the network and the data. Variants `standard` and `low` train one of
    the learning rates, which leaves no other for masks to cross over to.
    """
    config.replicates = 5
    config.data.batch_size = 128
    _momentum(config)
    config.optim.milestones = ("80ep", "120ep")
    config.train.length = "150ep"
    config.sweep.learning_rate = (0.01, 0.1)
    config.rewind.steps = ("0it",)
    config.prune.scope = "layer"
    config.prune.densities = (0.7, 0.61, 0.5, 0.38, 0.3, 0.2, 0.15)
    config.prune.exclude = ("^conv1/", "^fc/")
    config.branches = (
        *("ticket", "random_reinit", "fine_tune"),  # the paper's
        *("long", "fine_tune_small", "shuffled_mask", "cross_lr"),  # its controls
    )
    config.dense_branches = ("long",)
    config.studies = ("correlation",)
    if variants & {"standard", "low"}:
        config.sweep.learning_rate = (0.01,) if "low" in variants else (0.1,)
        config.branches = tuple(b for b in config.branches if b != "cross_lr")


def variations(config: ConfigDict, variants: set[str]) -> None:
    """Set what `decay`, `rewind` and ways to prune change, of any protocol."""
    if "decay" in variants:
        decay = config.optim.weight_decay or 1e-4
        config.sweep.weight_decay = (0.0, decay, 5 * decay)
    if "rewind" in variants:  # Liu et al. (2021), Appendix G
        config.rewind.steps = ("0it", "10ep")
        config.rewind.fresh = ("opt_state", "step")
    if variants & {"one_shot", "admm", "snip"}:
        config.prune.schedule = "one_shot"
    for method in variants & {"admm", "snip"}:
        config.prune.method = method


def compare_copies(config: ConfigDict, copies: int, *studies: str) -> None:
    """Compare data orders of every network at the last level (Frankle et al.)."""
    config.copies = copies
    config.studies = studies
    config.dense_branches = ("dense",)
    config.branch_levels = (len(config.prune.densities) or config.prune.levels,)


def stability_sweep(config: ConfigDict, *steps: int) -> None:
    """Compare networks by rewind step (Frankle et al., 2019, Figures 4 and 11)."""
    config.rewind.steps = tuple(f"{k}it" for k in steps)
    compare_copies(config, 4, "stability")
    config.branches = ("ticket", "shuffled_mask")


def dense_alone(config: ConfigDict, copies: int, *studies: str) -> None:
    """Compare data orders of dense networks, and prune none."""
    config.prune.levels, config.prune.densities = 0, ()
    compare_copies(config, copies, *studies)
    config.branch_levels = ()


def mode_connectivity(
    config: ConfigDict, variants: set[str], levels: int, *steps: int
) -> None:
    """Set what the figures of Frankle et al. (2020) on CIFAR-10 change.

    Args:
        config: of the network and its training.
        variants: `instability` (Figures 2, 3 and 5 to 7), `travel` (with Appendix B),
            `restart` (Figure 4) or `sparsities` (Figure 8).
        levels: of `sparsities`.
        steps: the rewind steps k.
    """
    if variants & {"instability", "travel", "restart", "sparsities"}:
        config.rewind.steps = tuple(f"{k}it" for k in steps)
    if "instability" in variants:
        compare_copies(config, 3, "instability")
    if "travel" in variants:
        compare_copies(config, 3, "instability", "stability", "travel")
    if "restart" in variants:  # the network that goes on at k is none of the three
        dense_alone(config, 4, "instability")
        config.rewind.fresh = ("opt_state", "step")
    if "sparsities" in variants:
        config.prune.levels = levels
        config.copies, config.studies = 3, ("instability",)
        config.branches = ("ticket", "shuffled_mask")


def resnet20_smoke(config: ConfigDict) -> None:
    """Shrink a config of ResNet-20, of any paper, to seconds."""
    config.replicates = 1
    config.data.batch_size = 16
    config.model.options = {"width": 4}
    config.train.length = "4it"
    config.rewind.steps = ("2it",)
    config.prune.levels = min(1, config.prune.levels)
    config.prune.densities = ()
    config.prune.admm.rho = (1e-2,)
    config.prune.admm.updates = 2
    config.prune.admm.interval = "1it"
    config.branch_levels = ()
    config.study.points = 3
    config.study.examples = 16
    config.study.batch_stats = "recompute_mean"  # of 1 batch, not 50
    config.measures = ()


def _momentum(config: ConfigDict) -> None:
    config.optim.name = "sgd"
    config.optim.options = {"momentum": 0.9, "nesterov": False}
    config.optim.weight_decay = 1e-4
    config.optim.schedule = "step"
