"""Files: configs by name, their variants, and how they are written down."""

import contextlib
import difflib
import itertools
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lth_jax.config.fields import default, known
from lth_jax.errors import ConfigError
from lth_jax.paths import local

# Groups of fields that every config has had: without one of them it is none.
_ALWAYS = {"data", "model", "optim", "prune", "rewind", "train"}
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

    A `config.json` that a run has written is a config, too. Modules beside a file can
    be imported there.

    Raises:
        ConfigError: there is no such file, it has no config, or a variant is not known.

    Example:
        >>> load("configs/resnet20.py:low,smoke").optim.learning_rate
        0.01
    """
    file, _, variant = name.partition(":")
    path = Path(located(file)).absolute()
    if not path.is_file():
        raise ConfigError(f"config: {_missing(file)}")
    if path.suffix == ".json":
        if variant:
            raise ConfigError(f"config: {file} has no variants")
        return _written(file, path)
    with _importable(path.parent):
        # Not a module by name: what is defined there is sent to workers as it is.
        get_config = runpy.run_path(str(path)).get("get_config")
        if not callable(get_config):
            raise ConfigError(f"config: {file} has no get_config")
        config = get_config(variant) if variant else get_config()
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"config: get_config of {file} returns no ConfigDict")
    return config


def _missing(file: str) -> str:
    """Say that a file is not there, and what may be meant."""
    close = difflib.get_close_matches(Path(file).stem, names())
    meant = [f"configs/{name}.py" for name in close]
    if Path(file, "config.json").is_file():
        meant = [f"{file.rstrip('/')}/config.json"]
    there = f"the package has configs/NAME.py of {', '.join(names())}"
    if meant:
        there = f"did you mean {' or '.join(meant)}? T{there[1:]}"
    return (
        f"{file} {'is a folder' if Path(file).is_dir() else 'does not exist'}; {there}"
    )


def _written(file: str, path: Path) -> ConfigDict:
    """Return the config that a run has written."""
    try:
        return from_json(dict(json.loads(path.read_text())))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config: {file} is no config ({error})") from error


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Look for modules in a folder first; later, and in workers, after all others."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


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


def from_json(tree: dict[str, Any]) -> ConfigDict:
    """Return the config that was written as JSON, with its tuples.

    Fields, and groups of them, that were not there yet have their defaults; what every
    config has had stays missing.
    """

    def one(value: Any, like: Any) -> Any:
        if isinstance(value, dict):
            like = like if isinstance(like, dict) else {}
            return like | {n: one(x, like.get(n)) for n, x in value.items()}
        return tuple(value) if isinstance(value, list) else value

    like = {n: x for n, x in default().to_dict().items() if n not in _ALWAYS - {*tree}}
    return ConfigDict(one(tree, like))
