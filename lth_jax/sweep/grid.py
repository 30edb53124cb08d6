"""Grid: into which runs the fields of a sweep divide."""

import ast
import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lth_jax import compare
from lth_jax.config import fields, files, rates
from lth_jax.config.table import FIELDS, flatten
from lth_jax.errors import ConfigError, one_line

# What members of a fleet may differ in, and where a config says so.
_TOGETHER = {
    f"optim.{name}": f"sweep.{name}" for name in ("learning_rate", "weight_decay")
}
_BOOLEANS: dict[str, bool] = dict.fromkeys(("true", "t", "1"), True)
_BOOLEANS |= dict.fromkeys(("false", "f", "0"), False)
_SHARE = ("first_replicate", "replicates")


class Share(NamedTuple):
    """One run of a sweep: some replicates of one setting."""

    setting: str  # fields in which settings differ; "" where there is one setting
    name: str  # of its folder, in the sweep's
    flags: tuple[str, ...]  # of `lth_jax.main`
    config: str  # checksum of all fields, of those in its file, too


def divide(config: str, given: dict[str, str], each: int | None) -> list[Share]:
    """Return the runs of a sweep, each checked as its command will check it.

    Args:
        config: file and variants, as the command line names them.
        given: values of fields as text: of a number or a word several, by commas.
        each: how many replicates a run has at most; None: all.

    Raises:
        ConfigError: a field is not known, or a value not of its type or limits.

    Example:
        >>> given = {"optim.learning_rate": "0.1,0.2", "replicates": "4"}
        >>> for share in divide("configs/digits.py:smoke", given, 2):
        ...     print(share.name, *share.flags[1:])
        replicates_0_to_1 --config.sweep.learning_rate=(0.1,0.2,) \
--config.first_replicate=0 --config.replicates=2
        replicates_2_to_3 --config.sweep.learning_rate=(0.1,0.2,) \
--config.first_replicate=2 --config.replicates=2
    """
    if each is not None and each < 1:
        raise ConfigError("--replicates_each: is below 1")
    fixed, swept = _parsed(given)
    if "," in (several := given.get("optim.learning_rate", "")):
        fixed, swept = _apart(config, fixed, swept, several.split(","))
    found = []
    for values in itertools.product(*swept.values()):
        chosen = dict(zip(swept, values))
        setting = ",".join(f"{name}={value}" for name, value in chosen.items())
        these = fixed | chosen
        whole = _resolved(config, these)
        fields.check(whole)
        own = {name: text for name, text in these.items() if name not in _SHARE}
        for first, number in _shares(whole, each):
            share = own | dict(zip(_SHARE, (str(first), str(number))))
            resolved = _resolved(config, share)
            fields.check(resolved)
            last = first + number - 1
            name = (
                f"replicates_{first}_to_{last}" if number > 1 else f"replicate_{first}"
            )
            folder = re.sub(r"[^\w.,=+-]", "_", setting)
            flags = (f"--config.{field}={text}" for field, text in share.items())
            where = str(Path(folder) / name)
            all_flags = (f"--config={config}", *flags)
            found.append(Share(setting, where, all_flags, _checksum(resolved)))
    if len({share.name for share in found}) < len(found):
        raise ConfigError("config: two settings of the sweep are the same")
    return found


def _parsed(given: dict[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return fields with one value, and those with several in runs of their own."""
    fixed, swept = {}, {}
    for name, text in given.items():
        options = (n for n, field in FIELDS.items() if field.default == {})
        if name not in FIELDS and not name.startswith(tuple(f"{n}." for n in options)):
            close = difflib.get_close_matches(name, FIELDS, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"config.{name}: there is no such field{meant}")
        several = name in FIELDS and isinstance(FIELDS[name].default, tuple | dict)
        values = [text] if several or name not in FIELDS else text.split(",")
        if len(values) == 1:
            fixed[name] = text
        elif name in _TOGETHER:
            fixed[_TOGETHER[name]] = f"({text},)"
        elif name in (*_SHARE, "seed"):
            raise ConfigError(
                f"config.{name}: replicates have seeds of their own; give one number, "
                "and --replicates_each"
            )
        else:
            swept[name] = values
    return fixed, swept


def _apart(
    config: str, fixed: dict[str, str], swept: dict[str, list[str]], several: list[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the same, with rates in runs of their own if a fleet cannot have them."""
    for values in itertools.product(*swept.values()):
        whole = _resolved(config, fixed | dict(zip(swept, values)))
        if rates.sets_rates(whole.optim):
            fixed = {n: x for n, x in fixed.items() if n != "sweep.learning_rate"}
            return fixed, swept | {"optim.learning_rate": several}
    return fixed, swept


def _resolved(config: str, given: dict[str, str]) -> ConfigDict:
    """Return a config with the values of some fields."""
    found = files.load(config).copy_and_resolve_references()
    found.lock()
    for name, text in given.items():
        try:
            found.update_from_flattened_dict({name: _value(name, text)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"config.{name}: {text!r}: {one_line(error)}") from error
    rates.check_set(found, given)
    return found


def _value(name: str, text: str) -> Any:
    """Return a field's value from its text, as `lth_jax.main` reads it."""
    default = FIELDS[name].default if name in FIELDS else None
    if isinstance(default, str):
        return text
    if isinstance(default, bool) and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    is_one = isinstance(default, tuple) and not isinstance(value, tuple | list)
    return (value,) if is_one else value


def _checksum(config: ConfigDict) -> str:
    fields = flatten(config)
    own = {n: x for n, x in fields.items() if n not in compare.may_differ(config)}
    text = json.dumps(own, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _shares(config: ConfigDict, each: int | None) -> Iterator[tuple[int, int]]:
    """Yield the first replicate of every share, and how many it has."""
    first, number = config.first_replicate, config.replicates
    each = each or number
    for start in range(first, first + number, each):
        yield start, min(each, first + number - start)
