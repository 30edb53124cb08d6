"""Table: every field of a config on one line: default, comment, type and limits."""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from ml_collections import ConfigDict

LAYOUTS = ("fleet", "data")
WAYS = ("in_turn", "vmapped", "products")
PRECISIONS = ("default", "highest", "float32", "tensorfloat32", "bfloat16")
PARTS = ("params", "batch_stats", "opt_state", "step")


class Field(NamedTuple):
    """What a field is and may be; its type is that of the default.

    Limits and choices are those of each element, where it is a tuple.
    """

    default: Any  # `{}` takes any options
    comment: str = ""  # what it means
    of: type | None = None  # type of the elements of a tuple
    least: float | None = None  # limits that a number may reach
    most: float | None = None
    above: float | None = None  # limits that it may not reach
    below: float | None = None
    choices: tuple[str, ...] = ()
    unique: bool = False  # a tuple names nothing twice
    some: bool = False  # a tuple is not empty
    length: bool = (
        False  # of training, as '160ep', '500it' or '5ep3it', or some of those
    )
    # What another value changes when a run goes on: only numbers make it another run.
    changes: Literal["numbers", "digits", "nothing"] = "numbers"


# fmt: off
FIELDS: dict[str, Field] = {
    "seed": Field(0, "of everything that is drawn"),
    "replicates": Field(3, "networks with seeds of their own", least=1),
    "first_replicate": Field(0, "number of the first; others have other seeds", least=0),
    "data.name": Field("digits", "a set of TFDS, a file, or a key of data.SOURCES"),
    "data.dir": Field("", "TFDS's data folder; empty for its default", changes="nothing"),
    "data.train_split": Field("train"),
    "data.test_split": Field("test"),
    "data.validation": Field(0, "training examples held out"),
    "data.batch_size": Field(60, "over all devices that share it", least=1),
    "data.last": Field("drop", "an epoch's partial batch: 'drop' or 'wrap' around"),
    "data.window": Field(128, "bytes of an example of a text", least=1),
    "data.standardise": Field(True, "images, by channel; else the pixels, from 0 to 1"),
    "data.unit_norm": Field(False, "then each image is divided by its L2 norm"),
    "data.augmentation": Field("none", "or 'flip_crop'; of a stream 'resized_crop'"),
    "data.feed": Field("memory", "or 'stream': decoded and resized on the way"),
    "data.stream.image_size": Field(224, "pixels, height and width", least=1),
    "data.stream.resize": Field(256, "evaluation: shorter side, before a centre crop"),
    "data.stream.area": Field((0.08, 1.0), "'resized_crop': share of the image, and", of=float),
    "data.stream.aspect": Field((3 / 4, 4 / 3), "width / height", of=float),
    "data.stream.mean": Field((0.485, 0.456, 0.406), "by channel, on the 0 to 1 scale", of=float),
    "data.stream.std": Field((0.229, 0.224, 0.225), "likewise", of=float, above=0),
    "data.stream.corrupt": Field("error", "or 'skip': the next image in its place", changes="nothing"),
    "data.stream.workers": Field(-1, "processes that decode: 0 none, -1 one per core", least=-1, changes="nothing"),
    "task.name": Field("classification", "what is learnt: also 'regression', 'sequence'"),
    "task.options": Field({}, "the task's own fields"),
    "model.name": Field("lenet", "a key of models.MODELS"),
    "model.init": Field("kaiming_normal", "of all kernels"),
    "model.norm_scale": Field("ones", "initial batch-norm scales, or 'uniform'"),
    "model.norm_momentum": Field(0.9, "what batch-norm's running statistics keep a step", least=0, below=1),
    "model.norm_epsilon": Field(1e-5, "added to the variances of batch-norm", above=0),
    "model.norm_group": Field(0, "examples that share its statistics in training; 0: all of a device", least=0),
    "model.dtype": Field("float32", "of the computation", choices=("float32", "bfloat16")),
    "model.options": Field({}, "the architecture's own fields"),
    "optim.name": Field("sgd", "any optimizer of optax or optax.contrib; a key of optim.optimizers.OPTIMIZERS"),
    "optim.options": Field({}, "its own arguments: momentum, nesterov, ..."),
    "optim.learning_rate": Field(0.1, "the initial, highest one", above=0),
    "optim.weight_decay": Field(0.0, "L2, added to the gradient; or the decay of an optimizer that has one (adamw, lion)", least=0),
    "optim.decay_everything": Field(True, "biases and batch-norm decay too"),
    "optim.schedule": Field("constant", "of the learning rate: a key of optim.schedules.SCHEDULES, or optax's, as 'sgdr_schedule'"),
    "optim.schedule_options": Field({}, "arguments of a schedule of optax, beside learning rate, length and end_value"),
    "optim.milestones": Field((), "where schedule 'step' falls", length=True),
    "optim.gamma": Field(0.1, "the factor by which it falls", least=0),
    "optim.end_value": Field(0.0, "of schedules 'linear', 'cosine' and 'exponential'", least=0),
    "optim.warm_up": Field("0it", "the rate rises linearly from 0", length=True),
    "optim.label_smoothing": Field(0.0, "mass spread over all classes", least=0, below=1),
    "optim.aux_weight": Field(0.4, "of the losses of auxiliary heads (Inception-v3)", least=0),
    "train.length": Field("10ep", "'160ep', '500it' or '5ep3it'", length=True),
    "train.evaluate_every": Field("", "a length; empty for the end only", length=True),
    "train.layout": Field("fleet", "or 'data': the devices share a batch", choices=LAYOUTS),
    "train.devices": Field(0, "0 for all", least=0, changes="digits"),
    "train.members": Field(0, "most members a device at a time; 0 chooses", least=0, changes="digits"),
    "train.way": Field("auto", "members of a device go 'in_turn', 'vmapped' or as 'products'; 'auto' finds the fastest", choices=("auto", *WAYS), changes="digits"),
    "train.precision": Field("default", "of products of float32: the platform's, or 'highest', ..", choices=PRECISIONS),
    "train.checkpoint_minutes": Field(10.0, "0 saves only when a level is done", least=0, changes="nothing"),
    "train.sync_batch_stats": Field(True, "in layout 'data'"),
    "train.average": Field(0.0, "decay of a moving average of weights, to evaluate; 0: none", least=0, below=1),
    "train.accumulate": Field(1, "microbatches, one after another, of a device's batch", least=1),
    "prune.method": Field("magnitude", "how masks are made"),
    "prune.schedule": Field("iterative", "or 'one_shot'", choices=("iterative", "one_shot")),
    "prune.scope": Field("global", "or 'layer'; or as '2:4': of every 4 weights along the input axis, 2 (dense and convolutional kernels alone)"),
    "prune.fraction": Field(0.2, "of what remains, each level", above=0, below=1),
    "prune.levels": Field(10, "pruning rounds; 0: dense networks alone", least=0, most=1000),
    "prune.densities": Field((), "of each level, in place of fraction and levels", of=float),
    "prune.exclude": Field((), "regular expressions for paths never to be pruned", of=str),
    "prune.stacked": Field((), "likewise, of leaves whose first axis are layers (nn.scan): scope 'layer' takes each by itself", of=str),
    "prune.include": Field((), "likewise, to be pruned too: biases, scales, complex kernels", of=str),
    "prune.keep": Field((), "likewise, but the density counts them: their masks keep all", of=str),
    "prune.admm.rho": Field((1e-4, 1e-3, 1e-2, 1e-1), "strength, stage by stage", of=float, least=0, some=True),
    "prune.admm.updates": Field(5, "Z- and U-steps a stage", least=1),
    "prune.admm.interval": Field("3ep", "training between them", length=True),
    "prune.admm.learning_rate": Field(0.01, "falls to a tenth within a stage", above=0),
    "prune.at": Field("", "scored are weights of step '0', 'k' or the 'end'; empty: as the method has it", choices=("", "0", "k", "end")),
    "prune.rounds": Field(0, "rounds of scoring at '0' or 'k'; 0: as the method has it", least=0),
    "prune.table": Field((), "of masks 'table', densities of layers: 'pattern=0.1'", of=str),
    "move.every": Field("100it", "between two moves of masks, of branches whose masks move", length=True),
    "move.fraction": Field(0.3, "of a layer's weights, that are replaced at first; it falls by a cosine", above=0, most=1),
    "move.until": Field(0.75, "share of the training, after which masks stay", above=0, most=1),
    "rewind.steps": Field(("0it",), "each step k has tickets of its own", length=True, some=True),
    "rewind.fresh": Field((), "not rewound but as at step 0", of=str, choices=PARTS),
    "rewind.reorder": Field(False, "every level trains in data orders of its own"),
    "rewind.weights": Field("k", "or 'trained': those of the level before, pruned on", choices=("k", "trained")),
    "rewind.clock": Field("k", "or 'end': as many steps, at the rate of the last", choices=("k", "end")),
    "sweep.learning_rate": Field((), "every combination is trained;", of=float, above=0, unique=True),
    "sweep.weight_decay": Field((), "empty: the value of optim", of=float, least=0, unique=True),
    "branches": Field(("ticket", "random_reinit", "shuffled_mask"), "of every level", of=str, unique=True),
    "given": Field("", "masks of branches that have given ones: passed from Python, or judged"),
    "dense_branches": Field((), "of the dense networks: 'dense' (copies), 'long'", of=str, unique=True),
    "copies": Field(1, "data orders per branch", least=1),
    "copied_branches": Field((), "those that have copies; empty: all", of=str, unique=True),
    "branch_levels": Field((), "where there are more than tickets; empty: everywhere", of=int, least=1),
    "measures": Field(("test",), "of every network: all of a split, or as 'test_loss'", of=str, unique=True),
    "studies": Field((), "'stability', 'instability', 'travel', 'connectivity', 'correlation', 'last_weights', 'onset', 'supermask', 'alignment', 'mask_overlap'", of=str, unique=True),
    "study.tensors": Field("masked", "what is compared: surviving weights, or 'all'", choices=("masked", "all")),
    "study.points": Field(30, "on a path, ends included", least=2),
    "study.top": Field((0.1, 0.2, 0.3, 0.4, 0.5), "shares p of the largest weights", of=float, above=0, below=1),
    "study.onset": Field(0.95, "the error on the test that study 'onset' waits for"),
    "study.batch_stats": Field("recompute", "on a path: decaying, or the mean; or 'interpolate'", choices=("recompute", "recompute_mean", "interpolate")),
    "study.examples": Field(10_000, "most of a split on a path, drawn by lot; and to recompute: 50 batches at least, but for the mean", least=1),
}
# fmt: on


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Return {field: value} with dotted names and JSON values.

    Example:
        >>> flatten(ConfigDict({"data": {"name": "digits"}}))
        {'data.name': 'digits'}
    """

    def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            if isinstance(value, dict) and value:
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(flat(json.loads(json.dumps(config.to_dict()))))
