"""Completion: what bash and zsh need to know of the commands, as a script.

source <(lth-jax completion bash)      # in ~/.bashrc; or zsh, in ~/.zshrc
"""

import argparse
import contextlib
import functools
import importlib
import io
import re
import shlex
from typing import NamedTuple

from lth_jax import config
from lth_jax.config.table import FIELDS

_BASH = """\
_lth_jax() {{
    local line=${{COMP_LINE:0:COMP_POINT}} words="" values=""
    local current=${{line##* }}
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    ((COMP_CWORD == 1)) && words="{commands}"
    [[ $current == *=* ]] && words=$values
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ ${{COMPREPLY[0]}} ]]; then  # to bash, = and : end words
        COMPREPLY=("${{COMPREPLY[@]#"${{current%"${{current##*[=:]}}"}}"}}")
    else
        COMPREPLY=($(compgen -f -- "${{current##*=}}"))
    fi
}}
complete -o nospace -F _lth_jax lth-jax
"""
_ZSH = """\
_lth_jax() {{
    local -a there values
    case ${{words[2]}} in
{cases}
    esac
    ((CURRENT == 2)) && there=({commands})
    [[ $PREFIX == *=* ]] && there=($values)
    compadd -S '' -- $there && return
    compset -P '*='
    _files
}}
(( $+functions[compdef] )) || {{ autoload -U compinit && compinit }}
compdef _lth_jax lth-jax
"""
_FLAG = r"\[?(--[\w.]+)(?: ([A-Z{][^\s\]]*))?"


class Known(NamedTuple):
    """What may follow a command."""

    flags: list[str]  # with an = where a value follows
    values: list[str]  # flags with values that are known


def known(module: str) -> Known:
    """Return what may follow the command of a module, as its own help has it."""
    flags, values = [], []
    for flag, value in re.findall(_FLAG, _usage(module)):
        if flag.endswith((".FIELD", ".OPTION")):
            continue
        flags.append(flag + "=" * bool(value))
        choices = value.strip("{}").split(",") if value.startswith("{") else []
        values += [f"{flag}={choice}" for choice in choices]
    if "--config=" in flags:
        flags += [f"--config.{name}=" for name in FIELDS]
        values += _values()
    return Known(flags, values)


def _usage(module: str) -> str:
    main = importlib.import_module(module)
    if hasattr(main, "known_flags"):  # its flags are absl's
        flags = main.known_flags().items()
        return " ".join(f"--{name}{' X' * takes}" for name, takes in flags)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main.main(["--help"])
    return shown.getvalue().partition("\n\n")[0]


@functools.cache
def _values() -> list[str]:
    """Return fields with the values that they can have, and the package's configs."""
    from lth_jax import job

    found = {name: list(field.choices) for name, field in FIELDS.items()}
    found |= {f: [x for x in its if " " not in x] for f, its in job.names().items()}
    fields = [f"--config.{name}={x}" for name, its in found.items() for x in its if x]
    return [f"--config=configs/{name}.py" for name in config.names()] + fields


def script(shell: str) -> str:
    """Return what completes lth-jax in "bash" or "zsh"."""
    from lth_jax.shell import COMMANDS

    cases = []
    for command, (module, _) in COMMANDS.items():
        flags, values = map(shlex.join, known(module))
        if command == "completion":
            flags = "bash zsh"
        if shell == "bash":  # no name has a character that it would expand
            said = f'words="{flags}" values="{values}"'.replace("'", "")
        else:
            said = f"there=({flags}); values=({values})"
        cases.append(f"        {command}) {said} ;;")
    text = {"bash": _BASH, "zsh": _ZSH}[shell]
    return text.format(cases="\n".join(cases), commands=" ".join(COMMANDS))


def main(arguments: list[str] | None = None) -> None:
    """Print what completes commands: source <(lth-jax completion bash)"""
    parser = argparse.ArgumentParser("lth-jax completion", description=main.__doc__)
    parser.add_argument("shell", choices=["bash", "zsh"])
    print(script(parser.parse_args(arguments).shell), end="")
