"""Config: every field with its default, and what can be wrong with it."""

from lth_jax.config.fields import field, known, options
from lth_jax.config.schema import (
    AUGMENTATIONS,
    check,
    default,
    flatten,
    from_json,
    lengths,
    load,
    located,
    names,
    variants,
)
from lth_jax.errors import ConfigError

__all__ = [
    "AUGMENTATIONS",
    "ConfigError",
    "check",
    "default",
    "field",
    "flatten",
    "from_json",
    "known",
    "lengths",
    "load",
    "located",
    "names",
    "options",
    "variants",
]
