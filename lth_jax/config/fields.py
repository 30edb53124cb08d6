"""Fields: what is wrong with a config's fields, in one line that names one."""

import contextlib
import difflib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lth_jax.errors import ConfigError


@contextlib.contextmanager
def field(name: str) -> Iterator[None]:
    """Turn a ValueError, or a bad regular expression, into an error about a field."""
    try:
        yield
    except (ValueError, re.error) as error:
        raise ConfigError(f"config.{name}: {error}") from error


@contextlib.contextmanager
def options(name: str) -> Iterator[None]:
    """Turn whatever a library makes of its own options into an error about a field."""
    try:
        yield
    except Exception as error:
        said = str(error)
        if not isinstance(error, TypeError | ValueError):
            said = f"{type(error).__name__}: {said}"
        problem = " ".join(said.split())[:300]
        raise ConfigError(f"config.{name}: {problem}") from error


def known(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ConfigError unless a field's value is one of the known ones."""
    choices = sorted(choices)
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"config.{name}: {value!r} is not known; choose from "
            f"{', '.join(choices)}.{guess}"
        )


def conform(tree: Any, like: dict[str, Any], elements: dict[str, type]) -> None:
    """Raise ConfigError unless a tree has the fields of another, with their types.

    A number may stand for a float if it is finite. What `like` has as `{}` takes any
    options.

    Args:
        tree: fields, nested dicts.
        like: defaults of all fields.
        elements: the types of what is in the tuples, by field.

    Example:
        >>> conform({"data": {"size": 1.5}}, {"data": {"size": 60}}, {})
        Traceback (most recent call last):
        lth_jax.config.fields.ConfigError: config.data.size: 1.5 is not of type int
    """
    for name, value in flat(like):
        found = tree
        *parents, last = name.split(".")
        for parent in parents:
            found = found.get(parent) if isinstance(found, dict) else None
        if not isinstance(found, dict) or last not in found:
            raise ConfigError(f"config.{name}: is missing")
        _check_type(name, found[last], type(value))
        for element in found[last] if name in elements else ():
            _check_type(name, element, elements[name])
    _check_no_more("", tree, like)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of what nested dicts hold."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_no_more(prefix: str, tree: dict[str, Any], like: dict[str, Any]) -> None:
    for name, value in tree.items():
        if name not in like:
            close = difflib.get_close_matches(str(name), like, n=1)
            guess = f". Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"config.{prefix}{name}: there is no such field{guess}")
        if isinstance(value, dict) and like[name]:
            _check_no_more(f"{prefix}{name}.", value, like[name])


def _check_type(name: str, value: Any, wanted: type) -> None:
    if wanted is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits and not abs(value) < math.inf:
            raise ConfigError(f"config.{name}: {value} is not a finite number")
    elif wanted is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif wanted is tuple:
        fits = isinstance(value, tuple | list)
    else:
        fits = isinstance(value, wanted)
    if wanted is dict:
        fits = fits and _is_plain(value)
    if not fits:
        shown = " ".join(repr(value).split())[:100]
        raise ConfigError(f"config.{name}: {shown} is not of type {wanted.__name__}")
    if isinstance(value, int) and abs(value) >= 2**32:
        raise ConfigError(f"config.{name}: {value} is above 2**32")


def _is_plain(value: Any) -> bool:
    """Return whether a value can be written down as JSON."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(x) for k, x in value.items())
    return value is None or isinstance(value, bool | int | float | str)
