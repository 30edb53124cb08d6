"""Advice: what is wrong with a command line, and what to write instead, in one line."""

import ast
import re
from typing import Any

from absl import flags

from lth_jax.errors import RunError, one_line


def reason(error: BaseException, argv: list[str], loaded: Any) -> str:
    """Return what is wrong with the flags, or what the config's file raised, alone.

    Args:
        error: what parsing them raised.
        argv: the command line.
        loaded: the config, if its file was read.
    """
    chain = [error]
    while context := chain[-1].__context__:
        chain.append(context)
    if own := [one for one in chain if isinstance(one, RunError)]:
        return re.sub("^config: ", "--config: ", str(own[-1]))
    if isinstance(error, flags.Error):
        said = str(error).splitlines()[-1]
        found = re.match(r"flag (--config\.[\w.]*)=.* string: (.*) as tuple", said)
        return as_tuple(found[1], found[2]) if found else said
    if isinstance(error, OSError):
        return f"--config: {one_line(error)}"
    of = error if isinstance(error, KeyError) else error.__context__ or error
    said = str(of.args[0])  # of a KeyError unquoted
    way = _option(argv, said, loaded)
    return f"--config: no such field: {' '.join(said.split())}{way}"


def as_tuple(flag: str, text: str) -> str:
    """Return how to write a tuple."""
    parts = [part.strip(" '\"") for part in text.strip("()[]").split(",")]
    return f'{flag}: write {flag}="{tuple(filter(None, parts))}"'


def _option(argv: list[str], said: str, loaded: Any) -> str:
    """Return how to set an option that is new: all options of their field together."""
    for argument in argv:
        found = re.fullmatch(r"--config\.(.*options)\.(\w+)=(.*)", argument)
        if found and repr(found[2]) == said.split()[0]:
            options: Any = loaded
            for name in found[1].split("."):
                options = options[name]
            try:
                value = ast.literal_eval(found[3])
            except (SyntaxError, ValueError):
                value = found[3]
            both = options.to_dict() | {found[2]: value}
            return (
                f'; a new option is set with the others: --config.{found[1]}="{both}"'
            )
    return ""
