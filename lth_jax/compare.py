"""Compare: whether two folders' numbers come from one config, code and data set."""

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config.table import FIELDS, flatten
from lth_jax.settings import DIGITS

_PREFIX = {"config": "config.", "data set": "data.", "setting of JAX": "jax_"}
_RUN_ON = ("packages", "python", "platform", "devices", "processes")


def may_differ(config: ConfigDict) -> set[str]:
    """Return the fields that may differ between runs that are one."""
    fields = {name for name, field in FIELDS.items() if field.changes != "numbers"}
    # Each has statistics, and draws, of its own part of a batch.
    return fields - {"train.devices" if config.train.layout == "data" else ""}


def used(config: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the devices that a run takes, where they share batches.

    Args:
        config, environment: as of `config.json` and `environment.json`.
    """
    train = config["train"]
    if train["layout"] != "data" or train["devices"]:
        return config
    return config | {"train": train | {"devices": len(environment["devices"])}}


def differences(here: dict, there: dict) -> dict[str, tuple[Any, Any]]:
    """Return by name what differs: there, and here."""
    before, now = (flatten(ConfigDict(tree)) for tree in (there, here))
    return {
        name: (before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }


def named(what: str, here: dict, there: dict, but: Iterable[str] = ()) -> list[str]:
    """Return what differs of a "config", "data set" or "setting of JAX", by name."""
    return [
        f"{_PREFIX[what]}{name}: {was!r} there, {now!r} here"
        for name, (was, now) in differences(here, there).items()
        if name not in but
    ]


def draws(here: dict[str, Any], there: dict[str, Any]) -> tuple[dict, dict]:
    """Return the settings of JAX on which draws depend, of those in both."""
    both = here.keys() & there.keys() - {*DIGITS}
    first, second = ({name: found[name] for name in both} for found in (here, there))
    return first, second


def changed(before: Any, now: dict[str, str]) -> list[str]:
    """Return the files of `environment.code` that are not the same."""
    before = before if isinstance(before, dict) else {}
    names = sorted(before.keys() | now.keys())
    return [name for name in names if before.get(name) != now.get(name)]


def some(names: list[str]) -> str:
    """Return the first of some names, and how many there are more.

    Example:
        >>> some([*"abcdefg"])
        'a, b, c, d, e and 2 more'
    """
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)


def digits(
    config: dict[str, Any], here: dict[str, Any], written: dict[str, Any], there: Any
) -> list[tuple[str, Any, Any]]:
    """Return (name, there, here) of what differs and changes last digits at most.

    Args:
        config, here: as of `config.json` and `environment.json`, of a run.
        written, there: those of another run, or of the same one before.
    """
    found = [(name, there.get(name), here.get(name)) for name in _RUN_ON]
    for name in DIGITS if "jax" in there and "jax" in here else ():
        found.append((f"jax_{name}", *(x["jax"].get(name) for x in (there, here))))
    for name, (was, now) in differences(config, written).items():
        if name in FIELDS and FIELDS[name].changes == "digits":
            found.append((f"config.{name}", was, now))
    return [(name, was, now) for name, was, now in found if was != now]
