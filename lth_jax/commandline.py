"""Command line: a config's file, with fields set on top, as commands are given it."""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from lth_jax import advice, config
from lth_jax.config import rates
from lth_jax.errors import RunError


class _Configs(flags.ArgumentParser):
    """Loads what --config names, as `config.load` does everywhere."""

    loaded: ConfigDict | None = None

    def parse(self, argument: str) -> ConfigDict:
        self.loaded = None
        self.loaded = config.load(argument).lock()
        return self.loaded


def define(
    others: Mapping[str, tuple[Any, ...]], values: flags.FlagValues = flags.FLAGS
) -> flags.FlagHolder:
    """Define --config, which is required, --config.any.field, and other flags.

    Args:
        others: by name what defines a flag, and its arguments: default, text, ...
        values: where they are defined.

    Returns the holder of --config.
    """
    text = "Config file; after a colon its variants, joined by commas."
    found = config_flags.DEFINE_config_file("config", None, text, flag_values=values)
    values["config"].parser = _Configs()
    flags.mark_flag_as_required("config", values)
    for name, (defines, *options) in others.items():
        defines(name, *options, flag_values=values)
    return found


def known_flags(others: Mapping[str, tuple[Any, ...]]) -> dict[str, bool]:
    """Return the flags of `define`, and whether a value follows."""
    return {"config": True} | {name: x[1] is not False for name, x in others.items()}


def texts(names: Iterable[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Return a line of help for every flag."""
    return ["Flags:", *(f"  --{name:<18} {values[name].help}" for name in names)]


def parse(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parse the flags, and return what else there is.

    Exits with a line on a mistake in them, or in the config's file.
    """
    loads: Any = values["config"].parser
    if "--config" in argv[:-1]:
        i = argv.index("--config")
        argv = [*argv[:i], f"--config={argv[i + 1]}", *argv[i + 2 :]]
    try:
        rest = values(argv)
    except (flags.Error, AttributeError, KeyError, OSError, RunError) as error:
        if isinstance(error, KeyError) and not loads.loaded:
            raise  # of the config's file
        sys.exit(f"error: {advice.reason(error, argv, loads.loaded)}")
    overrides = config_flags.get_override_values(values["config"])
    for field, value in overrides.items():
        for text in value if isinstance(value, tuple) else ():
            if re.fullmatch(r"[(\[]?\w+(,\s*\w*)+[)\]]?", str(text)):
                sys.exit(f"error: {advice.as_tuple(f'--config.{field}', text)}")
    if loads.loaded:
        try:
            rates.check_set(values["config"].value, overrides)
        except RunError as error:
            sys.exit(f"error: {error}")
    return rest
