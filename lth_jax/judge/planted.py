"""Planted: networks with a ticket that is known, to judge the judge by.

A teacher with few weights is planted in the random weights of a larger network, as
Fischer & Burkholz (2022, Section 3) do with tickets of tasks: at units drawn for each
seed, whose kept weights are the teacher's. The labels are the teacher's, some of them
redrawn; so the true ticket is as good as can be from the start, and other masks of as
many weights are not.
"""

from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import data as data_lib
from lth_jax.given import Given

# What is given: the planted ticket; its mask shuffled within layers; its mask on new
# weights; its mask with half of its places moved; and a mask at random.
KINDS = ("true", "shuffled", "redrawn", "half", "random")
_INPUTS, _HIDDEN, _CLASSES = 12, 32, 2  # of the network
_UNITS, _FAN_IN = 4, 3  # of the teacher
_EXAMPLES, _REDRAWN = 500, 0.1  # of a split, and the share whose labels are redrawn


class Planted(NamedTuple):
    """Masks that are known to be a ticket, or not, and how to judge them.

    Attributes:
        given: masks and weights, one for each seed.
        config: a training of seconds; `replicates` is the number of seeds.
        data: for `judge(..., data=...)`.
    """

    given: Given
    config: ConfigDict
    data: Any


def planted(kind: str = "true", seeds: int = 5, seed: int = 0) -> Planted:
    """Return a planted ticket, or what has been made of it.

    Args:
        kind: one of KINDS.
        seeds: number of networks, each with the teacher at other units.
        seed: of all that is drawn.

    Raises ValueError for another kind.

    >>> found = planted("true", seeds=2)
    >>> masks = found.given.masks[0]
    >>> {path: int(mask["kernel"].sum()) for path, mask in masks.items()}
    {'fc1': 12, 'fc': 8}
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    draw = np.random.default_rng(seed)
    teacher = _teacher(draw)
    splits = [_split(draw, *teacher) for _ in range(2)]
    networks = [_plant(draw, *teacher) for _ in range(seeds)]
    masks = [_changed(kind, draw, mask) for _, mask in networks]
    params = [_weights(draw) if kind == "redrawn" else w for w, _ in networks]
    config = config_lib.default()
    config.replicates = seeds
    config.model.name, config.model.options = "lenet", {"widths": (_HIDDEN,)}
    config.data.batch_size, config.train.length = 50, "100it"
    config.optim.learning_rate = 0.1
    config.prune.schedule = "one_shot"
    data = data_lib.from_arrays(*splits, num_classes=_CLASSES)
    return Planted(Given(masks, params), config, data)


def _teacher(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the teacher's weights: of its units, and of its difference of logits."""
    hidden = np.zeros((_INPUTS, _UNITS), np.float32)
    for unit in range(_UNITS):
        inputs = draw.choice(_INPUTS, _FAN_IN, replace=False)
        hidden[inputs, unit] = draw.choice([-1, 1], _FAN_IN) * draw.uniform(
            0.8, 1.2, _FAN_IN
        )
    signs = np.where(np.arange(_UNITS) % 2, -1, 1)
    return hidden, (signs * draw.uniform(0.8, 1.2, _UNITS)).astype(np.float32)


def _split(
    draw: np.random.Generator, hidden: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x = draw.standard_normal((_EXAMPLES, _INPUTS)).astype(np.float32)
    labels = (np.maximum(x @ hidden, 0) @ out > 0).astype(np.int32)
    again = draw.random(_EXAMPLES) < _REDRAWN
    return x, np.where(again, draw.integers(0, _CLASSES, _EXAMPLES), labels)


def _weights(draw: np.random.Generator) -> dict[str, Any]:
    """Return random weights of the network (He et al., 2015)."""
    sizes, found = {"fc1": (_INPUTS, _HIDDEN), "fc": (_HIDDEN, _CLASSES)}, {}
    for layer, (before, units) in sizes.items():
        kernel = draw.standard_normal((before, units)) * np.sqrt(2 / before)
        found[layer] = {
            "kernel": kernel.astype(np.float32),
            "bias": np.zeros(units, np.float32),
        }
    return found


def _plant(
    draw: np.random.Generator, hidden: np.ndarray, out: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return weights with the teacher in them, and the masks that keep it alone."""
    weights, units = _weights(draw), draw.choice(_HIDDEN, _UNITS, replace=False)
    first = np.zeros((_INPUTS, _HIDDEN), bool)
    last = np.zeros((_HIDDEN, _CLASSES), bool)
    first[:, units], last[units] = hidden != 0, True
    logits = np.stack([-out / 2, out / 2], axis=1)
    kernel = weights["fc1"]["kernel"]
    kernel[:, units] = np.where(hidden != 0, hidden, kernel[:, units])
    weights["fc"]["kernel"][units] = logits
    masks = {
        layer: {"kernel": mask, "bias": None}
        for layer, mask in (("fc1", first), ("fc", last))
    }
    return weights, masks


def _changed(
    kind: str, draw: np.random.Generator, masks: dict[str, Any]
) -> dict[str, Any]:
    """Return other masks of as many weights."""
    flat = {layer: mask["kernel"].ravel() for layer, mask in masks.items()}
    if kind == "shuffled":
        flat = {layer: draw.permutation(mask) for layer, mask in flat.items()}
    elif kind == "half":
        flat = {layer: _moved(draw, mask) for layer, mask in flat.items()}
    elif kind == "random":
        whole = draw.permutation(np.concatenate([*flat.values()]))
        ends = np.cumsum([mask.size for mask in flat.values()])[:-1]
        flat = dict(zip(flat, np.split(whole, ends)))
    shapes = {layer: mask["kernel"].shape for layer, mask in masks.items()}
    return {
        layer: {"kernel": mask.reshape(shapes[layer]), "bias": None}
        for layer, mask in flat.items()
    }


def _moved(draw: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Return a mask of which every second place is another one."""
    kept, free = np.flatnonzero(mask), np.flatnonzero(~mask)
    moved = draw.choice(kept, kept.size // 2, replace=False)
    mask = mask.copy()
    mask[moved] = False
    mask[draw.choice(free, moved.size, replace=False)] = True
    return mask
