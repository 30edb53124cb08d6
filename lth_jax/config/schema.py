"""Config: every field with its default, and what can be wrong with it."""

import itertools
import json
import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config.fields import conform, field, flat, known
from lth_jax.data import memory, stream
from lth_jax.errors import ConfigError

# Where they are in a wheel, and in a checkout.
_CONFIGS = [Path(__file__).parents[up] / "configs" for up in (1, 2)]

AUGMENTATIONS = {
    "memory": memory.AUGMENTATIONS,
    "stream": stream.AUGMENTATIONS,
}

# What is in the tuples; lengths are answered by what reads them.
_ELEMENTS = {
    "data.stream.area": float,
    "data.stream.aspect": float,
    "data.stream.mean": float,
    "data.stream.std": float,
    "prune.densities": float,
    "prune.exclude": str,
    "prune.admm.rho": float,
    "rewind.fresh": str,
    "sweep.learning_rate": float,
    "sweep.weight_decay": float,
    "branches": str,
    "dense_branches": str,
    "copied_branches": str,
    "branch_levels": int,
    "measures": str,
    "studies": str,
    "study.top": float,
}


# The least numbers that make sense.
_LEAST = {
    "replicates": 1,
    "copies": 1,
    "data.batch_size": 1,
    "data.stream.image_size": 1,
    "data.stream.workers": -1,
    "prune.levels": 1,
    "prune.admm.updates": 1,
    "prune.admm.rho": 0,
    "study.examples": 1,
    "study.points": 2,
    "train.devices": 0,
    "train.accumulate": 1,
    "train.members": 0,
    "train.checkpoint_minutes": 0,
    "optim.weight_decay": 0,
    "optim.gamma": 0,
    "optim.aux_weight": 0,
    "optim.end_value": 0,
    "sweep.weight_decay": 0,
    "branch_levels": 1,
}
# Tuples that say what there is: once.
_UNIQUE = (
    "branches",
    "dense_branches",
    "copied_branches",
    "measures",
    "studies",
    "sweep.learning_rate",
    "sweep.weight_decay",
)


def default() -> ConfigDict:
    """Return the defaults: configs change what differs, and no field is added."""
    return ConfigDict(
        {
            "seed": 0,
            "replicates": 3,  # networks with seeds of their own
            "data": {
                "name": "digits",  # any TFDS image classification set
                "dir": "",  # TFDS's data folder; empty for its default
                "train_split": "train",
                "test_split": "test",
                "validation": 0,  # training examples held out
                "batch_size": 60,  # over all devices that share it
                "last": "drop",  # an epoch's partial batch: "drop" or "wrap" around
                "standardise": True,  # by channel; else the pixels, from 0 to 1
                "augmentation": "none",  # or "flip_crop"; of a stream "resized_crop"
                "feed": "memory",  # or "stream": decoded and resized on the way
                "stream": {
                    "image_size": 224,  # pixels, height and width
                    "resize": 256,  # evaluation: shorter side, before a centre crop
                    "area": (0.08, 1.0),  # "resized_crop": share of the image, and
                    "aspect": (3 / 4, 4 / 3),  # width / height
                    "mean": (0.485, 0.456, 0.406),  # by channel, on the 0 to 1 scale
                    "std": (0.229, 0.224, 0.225),
                    "corrupt": "error",  # or "skip": the next image in its place
                    "workers": -1,  # processes that decode: 0 none, -1 one per core
                },
            },
            "model": {
                "name": "lenet",
                "init": "kaiming_normal",
                "norm_scale": "ones",  # initial batch-norm scales, or "uniform"
                "dtype": "float32",  # of the computation
                "options": {},  # the architecture's own fields
            },
            "optim": {
                "name": "sgd",
                "options": {},  # of the optax optimizer: momentum, nesterov, ...
                "learning_rate": 0.1,
                "weight_decay": 0.0,  # L2, added to the gradient
                "decay_everything": True,  # biases and batch-norm decay too
                "schedule": "constant",
                "milestones": (),  # lengths, as '80ep', of schedule "step"
                "gamma": 0.1,
                "end_value": 0.0,  # of schedules "linear" and "exponential"
                "warm_up": "0it",
                "label_smoothing": 0.0,
                "aux_weight": 0.4,  # of the losses of auxiliary heads (Inception-v3)
            },
            "train": {
                "length": "10ep",  # '160ep', '500it' or '5ep3it'
                "evaluate_every": "",  # a length; empty for the end only
                "layout": "fleet",  # or "data": the devices share a batch
                "devices": 0,  # 0 for all
                "members": 0,  # most members a device at a time; 0 chooses
                "checkpoint_minutes": 10.0,  # 0 saves only when a level is done
                "sync_batch_stats": True,  # in layout "data"
                "accumulate": 1,  # microbatches, one after another, of a device's batch
            },
            "prune": {
                "method": "magnitude",
                "schedule": "iterative",  # or "one_shot"
                "scope": "global",  # or "layer"
                "fraction": 0.2,  # of what remains, each level
                "levels": 10,
                "densities": (),  # of each level, in place of fraction and levels
                "exclude": (),  # regular expressions for paths never to be pruned
                "admm": {
                    "rho": (1e-4, 1e-3, 1e-2, 1e-1),  # strength, stage by stage
                    "updates": 5,  # Z- and U-steps a stage
                    "interval": "3ep",  # training between them
                    "learning_rate": 0.01,  # falls to a tenth within a stage
                },
            },
            "rewind": {
                "steps": ("0it",),  # lengths: each k has tickets of its own
                "fresh": (),  # not rewound but as at step 0: "opt_state", ...
            },
            "sweep": {  # every combination is trained; empty: the values of optim
                "learning_rate": (),
                "weight_decay": (),
            },
            "branches": ("ticket", "random_reinit", "shuffled_mask"),
            "dense_branches": (),  # of the dense networks: "dense" (copies), "long"
            "copies": 1,  # data orders per branch
            "copied_branches": (),  # those that have copies; empty: all
            "branch_levels": (),  # where there are more than tickets; empty: everywhere
            "measures": ("test_accuracy", "test_loss"),
            "studies": (),  # of networks: "stability", "instability", "correlation"
            "study": {
                "tensors": "masked",  # what is compared: surviving weights, or "all"
                "points": 30,  # on a path, ends included
                "top": (0.1, 0.2, 0.3, 0.4, 0.5),  # shares p of the largest weights
                "batch_stats": "recompute",  # on a path, or "interpolate"
                "examples": 10_000,  # most of a split on a path; and to recompute
            },
        }
    ).lock()


def variants(text: str, *choices: str | tuple[str, ...]) -> set[str]:
    """Return the variants of a config that stand after its colon, joined by commas.

    Args:
        text: what stands after the colon.
        choices: variants; in a tuple, those of which there can only be one.

    Raises:
        ConfigError: one is not among the choices, or two exclude each other.

    Example:
        >>> sorted(variants("low,smoke", ("low", "warmup"), "smoke"))
        ['low', 'smoke']
    """
    groups = [(choice,) if isinstance(choice, str) else choice for choice in choices]
    names = [name for name in text.split(",") if name]
    for name in names:
        known("(variant)", name, itertools.chain(*groups))
    for group in groups:
        found = sorted({*group} & {*names})
        if len(found) > 1:
            raise ConfigError(
                f"config.(variant): {' and '.join(map(repr, found))} exclude each "
                "other; choose one"
            )
    return set(names)


def load(name: str) -> ConfigDict:
    """Return a config by what the command line calls it.

    Args:
        name: file, and after a colon the variants, joined by commas. Of
            `configs/NAME.py`, where that is no file, the package's own.

    Raises:
        ConfigError: there is no such file, or a variant is not known.

    Example:
        >>> load("configs/resnet20.py:low,smoke").optim.learning_rate
        0.01
    """
    file, _, variant = name.partition(":")
    path = located(file)
    if not Path(path).is_file():
        own = ", ".join(names())
        raise ConfigError(
            f"config: {file} does not exist; the package has configs/NAME.py of {own}"
        )
    get_config = runpy.run_path(path)["get_config"]
    return get_config(variant) if variant else get_config()


def located(file: str) -> str:
    """Return the path of a config: the package's, if `configs/NAME.py` is not there.

    Example:
        >>> located("configs/digits.py").endswith("configs/digits.py")
        True
    """
    folder, _, own = file.partition("/")
    if folder != "configs" or Path(file).exists():
        return file
    ours = (path / own for path in _CONFIGS)
    return str(next(filter(Path.is_file, ours), file))


def names() -> list[str]:
    """Return the names of the configs that come with the package."""
    return sorted({path.stem for folder in _CONFIGS for path in folder.glob("*.py")})


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Return {field: value} with dotted names and JSON values.

    Example:
        >>> flatten(ConfigDict({"data": {"name": "digits"}}))
        {'data.name': 'digits'}
    """

    return dict(flat(json.loads(json.dumps(config.to_dict()))))


def from_json(tree: dict[str, Any]) -> ConfigDict:
    """Return the config that was written as JSON, with its tuples.

    Example:
        >>> from_json({"rewind": {"steps": ["0it"]}}).rewind.steps
        ('0it',)
    """

    def one(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: one(content) for name, content in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(one(tree))


def check(config: ConfigDict) -> None:
    """Raise ConfigError for what is wrong whatever the data and the devices."""
    from lth_jax import models
    from lth_jax.lottery.branches import BRANCHES
    from lth_jax.lottery.methods import METHODS
    from lth_jax.lottery.plan import Plan
    from lth_jax.lottery.studies import STUDIES
    from lth_jax.train import optimizers as optim

    conform(config.to_dict(), default().to_dict(), _ELEMENTS)
    for name, least in _LEAST.items():
        value = _get(config, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if number < least:
                raise ConfigError(f"config.{name}: {number} is below {least}")
    for name in (
        "optim.learning_rate",
        "sweep.learning_rate",
        "prune.admm.learning_rate",
    ):
        value = _get(config, name)
        rates = value if isinstance(value, tuple | list) else (value,)
        if not all(rate > 0 for rate in rates):
            raise ConfigError(f"config.{name}: must be above 0")
    for name in _UNIQUE:
        value = list(_get(config, name))
        if len({*value}) < len(value):
            raise ConfigError(f"config.{name}: {value} names one twice")
    if config.prune.levels > 1000:
        raise ConfigError("config.prune.levels: more than 1000 is not a lottery")
    if not 0 <= config.optim.label_smoothing < 1:
        raise ConfigError("config.optim.label_smoothing: must be from 0 to below 1")
    if config.optim.schedule == "exponential" and not config.optim.end_value > 0:
        raise ConfigError("config.optim.end_value: 'exponential' needs it above 0")

    known("model.name", config.model.name, models.MODELS)
    known("model.init", config.model.init, models.INITIALIZERS)
    known("model.norm_scale", config.model.norm_scale, models.NORM_SCALES)
    known("model.dtype", config.model.dtype, ("float32", "bfloat16"))
    known("data.last", config.data.last, ("drop", "wrap"))
    known("data.feed", config.data.feed, AUGMENTATIONS)
    known(
        "data.augmentation", config.data.augmentation, AUGMENTATIONS[config.data.feed]
    )
    known("data.stream.corrupt", config.data.stream.corrupt, ("error", "skip"))
    known("optim.name", config.optim.name, optim.OPTIMIZERS)
    known("optim.schedule", config.optim.schedule, optim.SCHEDULES)
    known("train.layout", config.train.layout, ("fleet", "data"))
    known("prune.method", config.prune.method, METHODS)
    known("prune.schedule", config.prune.schedule, ("iterative", "one_shot"))
    known("prune.scope", config.prune.scope, ("global", "layer"))
    for part in config.rewind.fresh:
        known("rewind.fresh", part, ("params", "batch_stats", "opt_state", "step"))
    for branch in config.branches:
        known("branches", branch, BRANCHES.keys() - {"dense"})
    for branch in config.dense_branches:
        known("dense_branches", branch, ("dense", "long"))
    for branch in config.copied_branches:
        known("copied_branches", branch, (*config.branches, *config.dense_branches))
    for study in config.studies:
        known("studies", study, STUDIES)
    known("study.tensors", config.study.tensors, ("masked", "all"))
    known("study.batch_stats", config.study.batch_stats, ("recompute", "interpolate"))
    splits = ("test", "validation") if config.data.validation else ("test",)
    for measure in config.measures:
        numbers = ("accuracy", "loss")
        known("measures", measure, [f"{s}_{n}" for s in splits for n in numbers])

    if "ticket" not in config.branches:
        raise ConfigError("config.branches: 'ticket' is what is pruned, add it")
    if "cross_lr" in config.branches and len(config.sweep.learning_rate) != 2:
        raise ConfigError("config.branches: 'cross_lr' needs two sweep.learning_rate")
    levels = Plan(config).levels
    for level in config.branch_levels:
        if level > levels:
            raise ConfigError(
                f"config.branch_levels: {level} is beyond the last level, {levels}"
            )
    if not config.prune.admm.rho:
        raise ConfigError("config.prune.admm.rho: name at least one strength")
    if not config.rewind.steps:
        raise ConfigError("config.rewind.steps: name at least one step, as '0it'")
    for p in config.study.top:
        if not (0 < p < 1 and round(p, 4) == p):
            raise ConfigError(
                f"config.study.top: {p} is not between 0 and 1 with at most 4 decimals"
            )
    _check_densities(config)
    _check_stream(config)
    lengths(config, steps_per_epoch=1)


def lengths(config: ConfigDict, steps_per_epoch: int) -> dict[str, Any]:
    """Return the config's lengths in steps, by field.

    Raises:
        ConfigError: a length is malformed.
    """
    from lth_jax.train import optimizers as optim

    found: dict[str, Any] = {}
    lists = ("optim.milestones", "rewind.steps")
    names = ("train.length", "train.evaluate_every", "optim.warm_up")
    for name in (*names, *lists, "prune.admm.interval"):
        value = _get(config, name)
        with field(name):
            if not isinstance(value, str):
                found[name] = tuple(optim.steps(str(v), steps_per_epoch) for v in value)
            elif value or name != "train.evaluate_every":
                found[name] = optim.steps(value, steps_per_epoch)
    return found


def _check_densities(config: ConfigDict) -> None:
    if not 0 < config.prune.fraction < 1:
        raise ConfigError(
            f"config.prune.fraction: {config.prune.fraction} is not between 0 and 1"
        )
    above = 1.0
    for density in config.prune.densities:
        if not isinstance(density, int | float) or not 0 < density <= above:
            raise ConfigError(
                f"config.prune.densities: {density!r} after {above}: densities are "
                "above 0, at most 1, and never grow"
            )
        above = density


def _check_stream(config: ConfigDict) -> None:
    """Raise ConfigError for a stream that cannot be."""
    options = config.data.stream
    if config.data.feed == "stream" and config.train.layout != "data":
        raise ConfigError(
            "config.train.layout: a stream has one batch for all devices; use 'data'"
        )
    if options.resize < options.image_size:
        raise ConfigError(
            f"config.data.stream.resize: {options.resize} is below image_size, "
            f"{options.image_size}"
        )
    for name, most in (("area", 1), ("aspect", float("inf"))):
        limits = options[name]
        if not (len(limits) == 2 and 0 < limits[0] <= limits[1] <= most):
            raise ConfigError(
                f"config.data.stream.{name}: {tuple(limits)} is not a rising pair "
                "above 0" + " up to 1" * (most == 1)
            )
    for name in ("mean", "std"):
        if len(options[name]) != 3:
            raise ConfigError(
                f"config.data.stream.{name}: {tuple(options[name])} are not three "
                "numbers, one a channel"
            )
    if min(options.std) <= 0:
        raise ConfigError("config.data.stream.std: must be above 0")


def _get(config: ConfigDict, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config
