"""Networks: two pure functions, of any framework, or by name."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from lth_jax.models.classifier import Classifier
from lth_jax.models.frameworks import equinox, haiku, nnx
from lth_jax.models.gru import GRU
from lth_jax.models.inception import InceptionV3
from lth_jax.models.initializers import INITIALIZERS, NORM_SCALES
from lth_jax.models.lenet import LeNet
from lth_jax.models.mobilenet import MobileNetV2
from lth_jax.models.network import Functions, Network, as_network, linen
from lth_jax.models.resnet import BasicBlock, Bottleneck, CifarResNet, ResNet
from lth_jax.models.squeezenet import SqueezeNet
from lth_jax.models.token_mlp import TokenMLP
from lth_jax.models.transformer import Transformer
from lth_jax.models.vgg import VGG
from lth_jax.models.vit import ViT

__all__ = [
    "INITIALIZERS",
    "MODELS",
    "NORM_SCALES",
    "Classifier",
    "Functions",
    "Network",
    "as_network",
    "create",
    "equinox",
    "haiku",
    "linen",
    "nnx",
]

# Whatever returns a Linen module or a `Network`. What is bound here is what the name
# means: `create` gives and takes only the other fields.
MODELS: dict[str, Callable[..., nn.Module | Network]] = {
    "lenet": partial(LeNet),
    "mlp": partial(LeNet),  # by the name that is looked for where data are a table
    "token_mlp": partial(TokenMLP),
    "gru": partial(GRU),
    "transformer": partial(Transformer),
    "vit": partial(ViT),
    "cifar_resnet": partial(CifarResNet),
    **{f"resnet{n}": partial(CifarResNet, depth=n) for n in (8, 20, 32, 44, 56, 110)},
    "vgg11": partial(VGG, stage_sizes=(1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, stage_sizes=(2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, stage_sizes=(2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, stage_sizes=(2, 2, 4, 4, 4)),
    "mobilenet_v2": partial(
        MobileNetV2, strides=(1, 1, 1, 2, 2, 1, 2, 1), project_all=True
    ),
    "mobilenet_v2_imagenet": partial(
        MobileNetV2, strides=(2, 1, 2, 2, 2, 1, 2, 1), project_all=False
    ),
    "resnet18": partial(ResNet, stage_sizes=(2, 2, 2, 2), block=BasicBlock),
    "resnet34": partial(ResNet, stage_sizes=(3, 4, 6, 3), block=BasicBlock),
    "resnet50": partial(ResNet, stage_sizes=(3, 4, 6, 3), block=Bottleneck),
    "resnet101": partial(ResNet, stage_sizes=(3, 4, 23, 3), block=Bottleneck),
    "resnet152": partial(ResNet, stage_sizes=(3, 8, 36, 3), block=Bottleneck),
    "inception_v3": partial(InceptionV3),
    "squeezenet": partial(SqueezeNet),
}
_FUNCTIONS = {"kernel_init", "scale_init", "conv", "norm"}  # among common fields


def create(
    name: str,
    *,
    num_classes: int,
    init: str = "kaiming_normal",
    norm_scale: str = "ones",
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
    conv: Any = nn.Conv,
    norm: Any = nn.BatchNorm,
    norm_momentum: float = 0.9,
    norm_epsilon: float = 1e-5,
    norm_group: int = 0,
    **fields: Any,
) -> Network:
    """Create a network by name.

    Args:
      name: key of `MODELS`.
      init: key of `INITIALIZERS`, for all kernels.
      norm_scale: key of `NORM_SCALES`, for the scales of all normalisations.
      num_classes, dtype, axis_name, conv, norm, norm_momentum, norm_epsilon,
        norm_group: fields of `Classifier`.
      **fields: the architecture's own fields, as `widths` of LeNet.

    A model that does not take all fields of `Classifier` is given those that it takes;
    functions (as `norm`) not where its own field is a name. Raises ValueError, which
    lists the known ones, for an unknown name or field, and if a model does not take
    what is not at its default.

    >>> import jax
    >>> lenet = create("lenet", num_classes=10, widths=(30, 10))
    >>> params, _ = lenet.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
    >>> sorted(params)
    ['fc', 'fc1', 'fc2']
    """
    _check_known("model", name, MODELS)
    _check_known("init", init, INITIALIZERS)
    _check_known("norm_scale", norm_scale, NORM_SCALES)
    model = MODELS[name]
    common = {
        "num_classes": num_classes,
        "kernel_init": INITIALIZERS[init],
        "scale_init": NORM_SCALES[norm_scale],
        "dtype": dtype,
        "axis_name": axis_name,
        "conv": conv,
        "norm": norm,
        "norm_momentum": norm_momentum,
        "norm_epsilon": norm_epsilon,
        "norm_group": norm_group,
    }
    taken = inspect.signature(model).parameters
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in taken.values()):
        bound = getattr(model, "keywords", {})
        own = {n: found.default for n, found in taken.items() if n not in bound}
        for field in fields:
            known = own.keys() - inspect.signature(Classifier).parameters.keys()
            _check_known(f"field of {name}", field, known)
        for field, value in [*common.items()]:
            is_name = field in _FUNCTIONS and isinstance(own.get(field), str | int)
            if field in own and not (is_name and callable(value)):
                continue
            del common[field]
            usual = (getattr(Classifier, field, value), "float32")  # a config's name
            layer = field in ("conv", "norm") and callable(value)
            if not (layer or field == "axis_name" or value in usual):
                raise ValueError(f"{name} takes no {field!r}, and keeps its own")
    return as_network(model(**common, **fields))


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(
            f"unknown {what} {name!r}; known: {', '.join(sorted(known)) or 'none'}"
        )
