"""New: a config of one's own, in which every field stands with its comment."""

import argparse
import sys
import textwrap
from pathlib import Path

from lth_jax.config import described
from lth_jax.errors import ConfigError
from lth_jax.paths import local

_FIRST = ("replicates", "data.name", "data.batch_size", "model.name", "optim.name")
_FIRST += ("optim.learning_rate", "train.length", "prune.fraction", "prune.levels")
_FIRST += ("rewind.steps", "branches")
_TEXT = '''"""My experiment.

    lth-jax run --config={name} --workdir=runs/{stem}

Variants: `smoke` (seconds).
"""

from lth_jax import config as config_lib


def get_config(variant: str = ""):
    """Return the config: what stands behind a `#` is as it is by default."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
{fields}

    if "smoke" in variants:
        config.replicates = 1
        config.train.length = "20it"
        config.prune.levels = 1
    return config.lock()
'''


def write(file: Path | str) -> Path:
    """Write a config that can be changed at once, with all fields at their defaults.

    Raises:
        ConfigError: the file is there, or its name does not end in .py.
    """
    path = local(file)
    if path.suffix != ".py":
        raise ConfigError(f"{file}: a config is a Python file; call it {file}.py")
    lines = []
    for heading, its in described.groups():
        lines += ["", *textwrap.wrap(f"# {heading}", 80)]
        for name, field in its:
            said = described.comment(field)
            lines += textwrap.wrap(
                said, 78, initial_indent="#   ", subsequent_indent="#   "
            )
            value = repr(field.default).replace("'", '"')
            lines.append(f"{'' if name in _FIRST else '# '}config.{name} = {value}")
    fields = textwrap.indent("\n".join(lines), "    ")
    try:
        with path.open("x") as opened:
            opened.write(_TEXT.format(name=file, stem=path.stem, fields=fields))
    except FileExistsError as error:
        raise ConfigError(f"{file}: is there already; choose another name") from error
    return path


def main(arguments: list[str] | None = None) -> None:
    """Write a config of one's own, with every field and its comment."""
    parser = argparse.ArgumentParser("lth-jax new", description=main.__doc__)
    parser.add_argument("file", help="as my_config.py")
    file = parser.parse_args(arguments).file
    try:
        write(file)
    except (ConfigError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"to try it: lth-jax run --config={file}:smoke --workdir=runs/{Path(file).stem}"
    )
