"""Protocols: what the configs of one paper have in common, written once."""

from ml_collections import ConfigDict


def correlation(config: ConfigDict, variants: set[str]) -> None:
    """Set the grid of Liu et al. (2021), Sections 4 and 5, and the controls it lacks.

    Everything but the network and the data. Variants `standard` and `low` train one of
    the learning rates, which leaves no other for masks to cross over to.
    """
    config.replicates = 5
    config.data.batch_size = 128
    config.optim.name = "sgd"
    config.optim.options = {"momentum": 0.9, "nesterov": False}
    config.optim.weight_decay = 1e-4
    config.optim.schedule = "step"
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
    """Set what `decay`, `rewind`, `one_shot` and `admm` change, of any protocol."""
    if "decay" in variants:
        decay = config.optim.weight_decay or 1e-4
        config.sweep.weight_decay = (0.0, decay, 5 * decay)
    if "rewind" in variants:  # Liu et al. (2021), Appendix G
        config.rewind.steps = ("0it", "10ep")
        config.rewind.fresh = ("opt_state", "step")
    if variants & {"one_shot", "admm"}:
        config.prune.schedule = "one_shot"
    if "admm" in variants:
        config.prune.method = "admm"


def compare_copies(config: ConfigDict, copies: int, *studies: str) -> None:
    """Compare data orders of every network, dense ones too, at the last level.

    Frankle et al. (2019), Section 2, and (2020), Section 2.
    """
    config.copies = copies
    config.studies = studies
    config.dense_branches = ("dense",)
    config.branch_levels = (config.prune.levels,)
