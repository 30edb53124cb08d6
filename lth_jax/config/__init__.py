"""Config: every field with its default, and what can be wrong with it."""

from lth_jax.config.described import text
from lth_jax.config.fields import check, default, field, known, lengths
from lth_jax.config.files import from_json, load, located, names, variants
from lth_jax.config.table import flatten
from lth_jax.errors import ConfigError

__all__ = [
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
    "text",
    "variants",
]
