"""Named: what a config names, which may be a user's own, and how it gets its name."""

from typing import Any

from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import models
from lth_jax.data import augment, sources
from lth_jax.given import GIVEN, Given
from lth_jax.optim import optimizers, schedules
from lth_jax.tasks import TASKS


def give(
    config: ConfigDict,
    *,
    network: Any = None,
    data: Any = None,
    task: Any = None,
    given: Given | None = None,
) -> ConfigDict:
    """Return a config that names objects, which are registered by these names.

    Args:
        config: what is trained otherwise.
        network: what `models.as_network` takes, or what returns it, of `num_classes`
            and those fields of `models.create` that it takes. All of `config.model` is
            as by default then.
        data: likewise, a data set, as `data.from_arrays` returns it, or what returns
            one.
        task: likewise, or the name of one.
        given: masks from elsewhere, of branches that take them.
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        if network is not None:
            make = network if _is_maker(network) else lambda: network
            config.model = config_lib.default().model
            config.model.name = _named("network", network, models.MODELS, make)
        if data is not None:
            make = data if callable(data) else lambda: data
            config.data.name = _named("data", data, sources.SOURCES, make)
        if isinstance(task, str):
            config.task.name = task
        elif task is not None:
            make = task if isinstance(task, type) else lambda: task
            config.task.name = _named("task", task, TASKS, make)
        if given is not None:
            config.given = given.name
            GIVEN[given.name] = given
    return config


def _is_maker(network: Any) -> bool:
    """Return whether it is a class or a function that returns a network."""
    return callable(network) and not (
        hasattr(network, "init") and not isinstance(network, type)
    )


def _named(kind: str, given: Any, registry: dict[str, Any], make: Any) -> str:
    """Register what returns an object, and return under which name."""
    own = getattr(given, "name", None) if kind == "network" else None
    name = own or getattr(given, "__name__", None) or type(given).__name__
    if name in _PACKAGE[kind]:
        name = f"own_{name}"
    registry[name] = make
    return name


def own(config: ConfigDict) -> dict[str, object]:
    """Return what a config names, by what it is: its code may be the user's own."""
    named = _names(config)
    return {what: r[name] for what, (r, name) in named.items() if name in r}


def given(config: ConfigDict) -> dict[str, object]:
    """Return what may be a user's own and made with values that no file tells.

    Data are known by what they are.
    """
    names = {what: name for what, (_, name) in _names(config).items()}
    there = own(config).items()
    return {
        **{w: x for w, x in there if w != "data" and names[w] not in _PACKAGE[w]},
        "optimizer": optimizers.named(config.optim.name),
        "schedule": schedules.named(config.optim.schedule),
    }


def _names(config: ConfigDict) -> dict[str, tuple[dict[str, Any], str]]:
    return {
        "network": (models.MODELS, config.model.name),
        "initialiser": (models.INITIALIZERS, config.model.init),
        "task": (TASKS, config.task.name),
        "data": (sources.SOURCES, config.data.name),
        "augmentation": (augment.AUGMENTATIONS, config.data.augmentation),
    }


# Of each what is registered before a user adds to it.
_PACKAGE = {w: {*r} for w, (r, _) in _names(config_lib.default()).items()}
