"""Files: configs by name, their variants, and how they are written down."""

import itertools
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config.fields import known
from lth_jax.errors import ConfigError
from lth_jax.paths import local

# Where they are in a wheel, and in a checkout.
_CONFIGS = [Path(__file__).parents[up] / "configs" for up in (1, 2)]


def variants(text: str, *choices: str | tuple[str, ...]) -> set[str]:
    """Return the variants of a config that stand after its colon, joined by commas.

    Args:
        text: what stands after the colon.
        choices: variants; in a tuple, those of which there can only be one.

    Raises:
        ConfigError: one is not among the choices, or two exclude each other.

    Example:
        >>> sorted(variants("low,smoke", ("low", "warmup"), "smoke"))
        ['low', 'smoke']
    """
    groups = [(choice,) if isinstance(choice, str) else choice for choice in choices]
    names = [name for name in text.split(",") if name]
    for name in names:
        known("(variant)", name, itertools.chain(*groups))
    for group in groups:
        found = sorted({*group} & {*names})
        if len(found) > 1:
            raise ConfigError(
                f"config.(variant): {' and '.join(map(repr, found))} exclude each "
                "other; choose one"
            )
    return set(names)


def load(name: str) -> ConfigDict:
    """Return a config by what the command line calls it.

    That is a file (of `configs/NAME.py`, where that is none, the package's own) and,
    after a colon, its variants, joined by commas.

    Raises:
        ConfigError: there is no such file, or a variant is not known.

    Example:
        >>> load("configs/resnet20.py:low,smoke").optim.learning_rate
        0.01
    """
    file, _, variant = name.partition(":")
    path = located(file)
    if not Path(path).is_file():
        own = ", ".join(names())
        raise ConfigError(
            f"config: {file} does not exist; the package has configs/NAME.py of {own}"
        )
    get_config = runpy.run_path(path)["get_config"]
    return get_config(variant) if variant else get_config()


def located(file: str) -> str:
    """Return the path of a config: the package's, if `configs/NAME.py` is not there."""
    folder, _, own = file.partition("/")
    if folder != "configs" or Path(file).exists():
        return str(local(file, "config"))
    ours = (path / own for path in _CONFIGS)
    return str(next(filter(Path.is_file, ours), file))


def names() -> list[str]:
    """Return the names of the configs that come with the package."""
    return sorted({path.stem for folder in _CONFIGS for path in folder.glob("*.py")})


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Return {field: value} with dotted names and JSON values.

    Example:
        >>> flatten(ConfigDict({"data": {"name": "digits"}}))
        {'data.name': 'digits'}
    """

    def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            if isinstance(value, dict) and value:
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(flat(json.loads(json.dumps(config.to_dict()))))


def from_json(tree: dict[str, Any]) -> ConfigDict:
    """Return the config that was written as JSON, with its tuples."""

    def one(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: one(content) for name, content in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(one(tree))
