"""Lengths of training: in epochs and steps."""

import re
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config.table import FIELDS
from lth_jax.errors import ConfigError


def steps(text: str, steps_per_epoch: int) -> int:
    """Return a length in steps: '160ep', '500it' or '5ep3it'.

    Raises:
        ValueError: not of that form.

    Example:
        >>> steps("5ep3it", steps_per_epoch=100)
        503
    """
    match = re.fullmatch(r"(?:(\d+)ep)?(?:(\d+)it)?", text)
    if not text or not match:
        raise ValueError(f"{text!r} is not a length like '160ep', '500it' or '5ep3it'")
    epochs, iterations = (int(group or 0) for group in match.groups())
    return epochs * steps_per_epoch + iterations


def lengths(config: ConfigDict, steps_per_epoch: int) -> dict[str, Any]:
    """Return the config's lengths in steps, by field, without those left empty.

    Raises:
        ConfigError: a length is malformed.
    """
    found: dict[str, Any] = {}
    for name in (name for name, field in FIELDS.items() if field.length):
        value: Any = config
        for part in name.split("."):
            value = value[part]
        try:
            if not isinstance(value, str):
                found[name] = tuple(steps(str(v), steps_per_epoch) for v in value)
            elif value or FIELDS[name].default:
                found[name] = steps(value, steps_per_epoch)
        except ValueError as error:
            raise ConfigError(f"config.{name}: {error}") from error
    return found
