"""Environment: what a run's numbers may depend on besides its config."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import itertools
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any

import jax
import numpy as np

from lth_jax.errors import ConfigError
from lth_jax.settings import DIGITS, DRAWS

# Modules and packages that change no number of a run.
HARMLESS = ("check", "configs", "dry_run", "export", "main", "report")
HARMLESS += ("advice", "commandline", "console", "job", "judge", "paths", "tensorboard")
HARMLESS += ("drawing", "intervals", "numbers", "page", "pictures")
HARMLESS += ("compare", "live", "pool", "__main__", "shell", "sweep", "track")
_GUARDS = ("", "_host_to_device", "_device_to_host", "_device_to_device")
# Those with which nothing can be trained.
REFUSED: dict[str, Any] = {"enable_x64": True, "numpy_dtype_promotion": "strict"}
REFUSED |= {f"transfer_guard{way}": "disallow" for way in _GUARDS}
REFUSED |= {f"error_checking_behavior_{x}": "raise" for x in ("nan", "divide", "oob")}
_DEEP, _MANY = 6, 1000  # how far into objects values are looked for, and how many
_PACKAGES = ("lth_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
_PACKAGES += ("tensorflow-datasets", "numpy", "opencv-python-headless")


def environment(
    own: Iterable[object] = (), given: Mapping[str, object] = MappingProxyType({})
) -> dict[str, Any]:
    """Return what a run's numbers may depend on besides its config.

    Args:
        own: what the config names: its network, branches, method, studies, ...
        given: those of them, by what they are, whose values no file tells.
    """
    return {
        "command": sys.argv,
        "git_commit": _git_commit(),
        "code": code(own) | values(given),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "jax": {n: x for n in (*DRAWS, *DIGITS) if (x := _setting(n)) is not None},
    }


def check_settings() -> None:
    """Raise ConfigError if JAX is set to what nothing here can be trained with."""
    for name, refused in REFUSED.items():
        if str(_setting(name)).startswith(str(refused)):
            raise ConfigError(
                f"jax_{name}: nothing can be trained with {_setting(name)!r}; unset "
                f"JAX_{name.upper()}, or use jax.config.update"
            )


def _setting(name: str) -> Any:
    """Return what a setting of JAX is; None where it has no such setting."""
    return getattr(jax.config, f"jax_{name}", None)


def code(own: Iterable[object] = ()) -> dict[str, str]:
    """Return {file: SHA-256} of the code that may change a number.

    The package's, but for the modules in HARMLESS; and of what a user has written
    himself the files where that stands, with the modules beside them.
    """
    root = _root()
    found = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.removesuffix(".py").split("/")[0] not in HARMLESS:
            found[f"lth_jax/{name}"] = _digest(path.read_bytes())
    for name, digest in sorted(_own_code(own)):
        found[name] = found.get(name, "") + digest  # of all files of one name
    return found


def values(given: Mapping[str, object]) -> dict[str, str]:
    """Return {where: value} of the plain values that objects were made with.

    Fields of dataclasses that are not as by default, arguments of partials, what
    functions close over, and attributes of instances that their class takes by these
    names; of long ones the SHA-256. Arrays are not among them.

    >>> import functools
    >>> values({"task": functools.partial(round, ndigits=3)})
    {'value of task': 'round', 'value of task.ndigits': '3'}
    """
    there = {where: x for where, x in given.items() if x is not None}
    found = {n: x for where in there for n, x in _values(where, there[where], {})}
    short = {n: x if len(x) <= 60 else _digest(x.encode()) for n, x in found.items()}
    return {f"value of {name}": short[name] for name in sorted(short)}


def _values(
    where: str, x: object, seen: dict[int, object]
) -> Iterator[tuple[str, str]]:
    if _is_plain(x):
        yield where, repr(x)
    elif id(x) not in seen and where.count(".") <= _DEEP:
        seen[id(x)] = x
        if isinstance(name := getattr(x, "__name__", None), str):
            yield where, name
        for name, value in _made_with(x).items():
            if name or value is not None:
                yield from _values(f"{where}.{name}".rstrip("."), value, seen)


def _made_with(x: Any) -> dict[str, Any]:
    """Return the objects that one was made with, by name."""
    if isinstance(x, functools.partial):
        return {"": x.func} | {str(i): a for i, a in enumerate(x.args)} | x.keywords
    if isinstance(x, MethodType):
        return {"": x.__func__, "self": x.__self__}
    if isinstance(x, FunctionType):
        return _closed_over(x)
    if isinstance(getattr(x, "__name__", None), str):
        return {"": getattr(x, "__wrapped__", None)}
    if isinstance(x, Mapping):
        return {str(name): value for name, value in x.items()}
    if isinstance(x, tuple | list):
        return {str(i): item for i, item in enumerate(x[:_MANY])}
    there, own = getattr(x, "__dict__", {}), {}
    if dataclasses.is_dataclass(x):
        fields = {f.name: f.default for f in dataclasses.fields(x) if f.name in there}
        fields.pop("parent", None)  # of a Linen module
        own = {n: there[n] for n, d in fields.items() if not _is_same(there[n], d)}
    elif _is_followed(type(x)):
        with contextlib.suppress(TypeError, ValueError):  # it has no signature
            names = inspect.signature(type(x)).parameters
            own = {n: there[n] for n in names if n in there}
    else:
        return {}
    return {"": type(x)} | own


def _closed_over(x: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(x.__code__.co_freevars, x.__closure__ or ()):
        with contextlib.suppress(ValueError):  # it is empty
            found[name] = cell.cell_contents
    return found


def _is_same(x: object, default: object) -> bool:
    return x is default or (_is_plain(x) and x == default)


def _is_plain(x: object, deep: int = 3) -> bool:
    if isinstance(x, tuple | list):
        return deep > 0 and all(_is_plain(item, deep - 1) for item in x)
    return x is None or isinstance(x, str | bytes | int | float | complex | np.generic)


@functools.cache
def _is_followed(kind: type) -> bool:
    """Return whether a class is the package's or a user's own, and not installed."""
    module = sys.modules.get(kind.__module__)  # gone, of a config's file
    path = Path(getattr(module, "__file__", None) or "")
    is_built_in = kind.__module__ in sys.stdlib_module_names
    return path.is_relative_to(_root()) or (not is_built_in and _is_own(path))


@functools.cache
def _installed() -> list[Path]:
    return [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")]


def _is_own(path: Path) -> bool:
    """Return whether a file is a user's own: neither of this package nor installed."""
    if {"site-packages", "dist-packages"} & {*path.parts}:  # of whatever prefix
        return False
    return not any(map(path.absolute().is_relative_to, [_root(), *_installed()]))


def _own_code(own: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Yield (file, SHA-256) of what is neither this package's nor installed."""
    functions: dict[Path, list[FunctionType]] = {}
    for function in _functions(own, set()):
        path = Path(function.__code__.co_filename).absolute()
        if _is_own(path):
            functions.setdefault(path, []).append(function)
    modules = _modules(itertools.chain(*functions.values()))
    for path in functions.keys() | modules:
        if path.is_file():
            yield path.name, _digest(path.read_bytes())
            continue
        # Of a notebook. What decorators generate has names in brackets, as `python -c`
        # has; its source is there at times, and another one in the next process.
        generated = path.name.startswith("<") and "<ipython" not in path.name
        for function in () if generated else functions[path]:
            with contextlib.suppress(OSError):
                source = inspect.getsource(function)
                yield function.__qualname__, _digest(source.encode())


def _modules(functions: Iterable[FunctionType]) -> set[Path]:
    """Return the user's own files that functions see, and those that these import."""
    found: set[Path] = set()
    spaces = [function.__globals__ for function in functions]
    while spaces:
        for x in [*spaces.pop().values()]:  # modules, and what was taken from them
            of = sys.modules.get(str(getattr(x, "__module__", "")))
            module: Any = x if inspect.ismodule(x) else of
            path = Path(getattr(module, "__file__", None) or _root()).absolute()
            if path not in found and _is_own(path):
                found.add(path)
                spaces.append(vars(module))
    return found


def _functions(found: Iterable[object], seen: set[int]) -> Iterator[FunctionType]:
    """Yield the functions that objects are made of, and that these call by name."""
    for x in found:
        made_of = isinstance(x, tuple | list) or dataclasses.is_dataclass(x)
        if id(x) in seen or not (callable(x) or made_of):
            continue
        seen.add(id(x))
        inner = [getattr(x, "__wrapped__", None), getattr(x, "__func__", None)]
        if isinstance(x, FunctionType):
            yield x
            inner += [*_closed_over(x).values(), *_called(x)]
        elif isinstance(x, functools.partial):
            inner += [x.func, *x.args, *x.keywords.values()]
        elif isinstance(x, tuple | list):
            inner += x
        elif hasattr(x, "__dict__"):
            inner += [*vars(x).values(), None if isinstance(x, type) else type(x)]
        yield from _functions(inner, seen)


def _called(x: FunctionType) -> Iterator[object]:
    """Yield what a user's own function finds by name, in his own modules, too."""
    if not _is_own(Path(x.__code__.co_filename)):
        return
    names, spaces = {*_names(x.__code__)}, [x.__globals__]
    for name in names & x.__globals__.keys():
        module = x.__globals__[name]
        if inspect.ismodule(module) and _is_own(Path(module.__file__ or _root())):
            spaces.append(vars(module))
    for space in spaces:
        for one in (space[name] for name in names & space.keys()):
            file = ""  # of a notebook
            if isinstance(one, FunctionType):
                file = one.__code__.co_filename
            elif isinstance(one, type) and one.__module__ != "__main__":
                of = sys.modules.get(one.__module__)
                file = getattr(of, "__file__", None) or ""
            if _is_own(Path(file)):
                yield one


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _root() -> Path:
    return Path(__file__).parents[1]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_commit() -> str | None:
    """Return the commit of this source tree, marked if it has been changed."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=_root(),
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
