"""Fields: what is wrong with a config, in one line that names a field."""

import contextlib
import difflib
import functools
import math
import operator
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config import rates
from lth_jax.config.table import FIELDS, Field
from lth_jax.errors import ConfigError, RunError, one_line

# What is no code of a user's own: this package, Python, what is installed, generated.
_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
_FOLDERS = [str(Path(__file__).parents[1]), *map(sysconfig.get_path, _INSTALLED)]
_MOST = 10**9  # steps: twice as many fit into 32 bits
_LIBRARIES = (*(folder + os.sep for folder in _FOLDERS), "<")


@contextlib.contextmanager
def field(name: str, *others: type[Exception]) -> Iterator[None]:
    """Turn a ValueError, a bad regular expression, or another, into a ConfigError.

    It says where that was raised, if that is in code of a user's own.
    """
    try:
        yield
    except RunError:
        raise
    except (ValueError, re.error, *others) as error:
        kind = isinstance(error, TypeError | ValueError | re.error)
        said = one_line(error) if kind else f"{type(error).__name__}: {one_line(error)}"
        raise ConfigError(f"config.{name}: {said}{_where(error)}") from error


def _where(error: Exception) -> str:
    """Return the innermost place of a user's own code that a `field` has called."""
    called = list(traceback.walk_tb(error.__traceback__))[2:]  # but it and its body
    for frame, line in reversed(called):
        if not frame.f_code.co_filename.startswith(_LIBRARIES):
            return f" ({frame.f_code.co_filename}, line {line})"
    return ""


def known(
    name: str,
    value: str,
    choices: Iterable[str],
    others: Iterable[str] = (),
    called: str = "",
) -> None:
    """Raise ConfigError unless a field's value is one of the known ones.

    `others` are known, too, but too many to list: it is said what they are `called`.
    """
    choices, others = sorted(choices), sorted(others)
    every = [*choices, *others]
    if value not in every:
        listed = ", ".join(choices) + f", or {called}" * bool(others)
        raise ConfigError(
            f"config.{name}: {value!r} is not known; choose from "
            f"{listed}.{_guess(value, every, ' ')}"
        )


def check(config: ConfigDict) -> None:
    """Raise ConfigError for what is wrong whatever the data, devices and registries."""
    tree = config.to_dict()
    _check_names("", tree, _nested())
    for name, wanted in FIELDS.items():
        value = _value(tree, name)
        _check_type(name, value, type(wanted.default))
        several = isinstance(value, tuple | list)
        for element in value if several else (value,):
            if several and wanted.of:
                _check_type(name, element, wanted.of)
            _check_limits(name, element, wanted)
        if wanted.unique and len({*value}) < len(value):
            raise ConfigError(f"config.{name}: {list(value)} names one twice")
        if wanted.some and not value:
            raise ConfigError(f"config.{name}: name at least one")
    _check_relations(config)
    lengths(config, steps_per_epoch=1)


def steps(text: str, steps_per_epoch: int) -> int:
    """Return a length in steps: '160ep', '500it' or '5ep3it'; else ValueError.

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
    """Return the config's lengths in steps, by field, without those left empty."""
    found: dict[str, Any] = {}
    for name in (name for name, wanted in FIELDS.items() if wanted.length):
        value = _value(config, name)
        with field(name):
            if not isinstance(value, str):
                found[name] = tuple(steps(str(v), steps_per_epoch) for v in value)
            elif value or FIELDS[name].default:
                found[name] = steps(value, steps_per_epoch)
    return found


def training_lengths(config: ConfigDict, steps_per_epoch: int) -> dict[str, Any]:
    """Return the config's lengths in steps, as `lengths`, of a training that can be.

    Raises ConfigError where one has no step, or too many, or a rewind step is its end.
    """
    found = lengths(config, steps_per_epoch)
    every = "train.evaluate_every", "prune.admm.interval", "move.every"
    for name in ("train.length", *every):
        if found.get(name, 1) < 1:
            raise ConfigError(f"config.{name}: must be at least one step")
    for name, given in found.items():
        if max(given if isinstance(given, tuple) else (given,), default=0) > _MOST:
            raise ConfigError(f"config.{name}: is more than {_MOST:,} steps")
    length = found["train.length"]
    for text, step in zip(config.rewind.steps, found["rewind.steps"]):
        if step >= length:
            raise ConfigError(
                f"config.rewind.steps: {text!r} is step {step}, but training ends at "
                f"step {length}"
            )
    return found


def _value(tree: Any, name: str) -> Any:
    return functools.reduce(operator.getitem, name.split("."), tree)


def default() -> ConfigDict:
    """Return the defaults: configs change what differs, and no field is added."""
    return ConfigDict(_nested()).lock()


def _nested() -> dict[str, Any]:
    """Return the defaults as nested dicts."""
    tree: dict[str, Any] = {}
    for name, wanted in FIELDS.items():
        *parents, last = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = dict(wanted.default) if wanted.default == {} else wanted.default
    return tree


def _check_names(prefix: str, tree: Any, like: dict[str, Any]) -> None:
    """Raise ConfigError unless a tree has all fields of another, and no others."""
    for name in like:
        if not isinstance(tree, dict) or name not in tree:
            raise ConfigError(f"config.{prefix}{name}: is missing")
        if like[name] and isinstance(like[name], dict):
            _check_names(f"{prefix}{name}.", tree[name], like[name])
    for name in tree:
        if name not in like:
            guess = _guess(str(name), like, ". ").removesuffix(" ")
            raise ConfigError(
                f"config.{prefix}{one_line(name)}: there is no such field{guess}"
            )


def _guess(value: object, choices: Iterable[str], before: str) -> str:
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"{before}Did you mean {close[0]!r}?" if close else ""


def _check_type(name: str, value: Any, wanted: type) -> None:
    fits = isinstance(value, wanted)
    if wanted in (int, float):
        fits = isinstance(value, int | wanted) and not isinstance(value, bool)
        if fits and not abs(value) < math.inf:
            raise ConfigError(f"config.{name}: {value} is not a finite number")
    elif wanted is tuple:
        fits = isinstance(value, tuple | list)
    elif wanted is dict:
        fits = fits and _is_plain(value)
    if not fits:
        shown = one_line(repr(value))[:100]
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


def _check_limits(name: str, value: Any, wanted: Field) -> None:
    if wanted.choices:
        known(name, value, wanted.choices)
    low, high = wanted.above, wanted.below
    if low is not None and high is not None and not low < value < high:
        raise ConfigError(f"config.{name}: {value} is not between {low} and {high}")
    if low is not None and not value > low:
        raise ConfigError(f"config.{name}: {value} is not above {low}")
    if high is not None and not value < high:
        raise ConfigError(f"config.{name}: {value} is not below {high}")
    if wanted.least is not None and value < wanted.least:
        raise ConfigError(f"config.{name}: {value} is below {wanted.least}")
    if wanted.most is not None and value > wanted.most:
        raise ConfigError(f"config.{name}: {value} is above {wanted.most}")


def _check_scope(prune: ConfigDict) -> None:
    block = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", prune.scope)
    if not block:
        known("prune.scope", prune.scope, ("global", "layer"), ("2:4",), "as '2:4'")
        return
    n, m = map(int, block.groups())
    if n > m:
        raise ConfigError(f"config.prune.scope: {n} of every {m} weights are not there")
    if tuple(prune.densities) != (n / m,):
        raise ConfigError(
            f"config.prune.densities: scope {prune.scope!r} needs ({n / m},), and no "
            "other level"
        )


def _check_relations(config: ConfigDict) -> None:
    """Raise ConfigError where fields do not go together."""
    rates.check(config)
    _check_scope(config.prune)
    above = 1.0
    for density in config.prune.densities:
        if not 0 < density <= above:
            raise ConfigError(
                f"config.prune.densities: {density!r} after {above}: densities are "
                "above 0, at most 1, and never grow"
            )
        above = density
    levels = len(config.prune.densities) or config.prune.levels
    for level in config.branch_levels:
        if level > levels:
            raise ConfigError(
                f"config.branch_levels: {level} is beyond the last level, {levels}"
            )
    for p in config.study.top:
        if round(p, 4) != p:
            raise ConfigError(f"config.study.top: {p} has more than 4 decimals")
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
    for name, most in (("area", 1), ("aspect", math.inf)):
        limits = tuple(options[name])
        if not (len(limits) == 2 and 0 < limits[0] <= limits[1] <= most):
            raise ConfigError(
                f"config.data.stream.{name}: {limits} is not a rising pair above 0"
                + " up to 1" * (most == 1)
            )
    for name in ("mean", "std"):
        if len(options[name]) != 3:
            raise ConfigError(
                f"config.data.stream.{name}: {tuple(options[name])} are not three "
                "numbers, one a channel"
            )
