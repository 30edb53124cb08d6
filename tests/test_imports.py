"""The structure of the package: imports point downward only, by short ways."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import lth_jax

ROOT = Path(lth_jax.__file__).parent
PURE = {"masks", "stacked", "_lowest", "_drop", "scores", "prune", "rewind", "measures"}
PURE |= {"_blocks", "ablate", "densities", "movers", "rule"}
# A layer imports itself and those above it.
LAYERS = [
    PURE,
    {
        *("console", "decode", "errors", "intervals", "jsonl", "machine", "settings"),
        *("evidence", "sparse"),
    },
    {"paths", "drawing", "page"},
    {"devices"},
    {"models", "tasks", "data", "config", "compare", "pool"},
    {"numbers"},
    {"report"},
    {"layers", "optim", "symmetry"},
    {"given", "live"},
    {"named"},
    {"train"},
    {"workdir"},
    {"studies", "correlation", "branches", "branch_masks", "siblings", "bill"},
    {"demands"},
    {"lottery", "export", "pictures"},
    {"advice"},
    {"commandline"},
    {"check", "dry_run", "search", "track"},
    {"sweep", "tensorboard"},
    {"job"},
    {"judge"},
    {"main"},
    {"shell"},
    {"__main__"},
]
# These import no others of the package than these.
ALONE = {
    "console": set(),
    "decode": {"errors"},
    "errors": set(),
    "jsonl": {"errors"},
    "machine": set(),
    "settings": set(),
    "paths": {"errors"},
    "config": {"errors", "paths"},
    "devices": {"errors"},
    "drawing": set(),
    "page": set(),
    "evidence": set(),
    "intervals": set(),
    "numbers": {"errors", "intervals", "jsonl", "paths", "pool"},
    "compare": {"config", "settings"},
    "pool": {"compare", "config", "errors", "jsonl", "paths"},
    "sweep": {"compare", "config", "console", "errors", "jsonl", "paths"},
    "report": {
        *("console", "drawing", "errors", "intervals", "numbers", "page", "paths"),
        "pool",
    },
    "advice": {"errors"},
    "commandline": {"advice", "config", "errors"},
    "main": {"commandline", "config", "console", "errors", "job", "lottery"},
}
LONGEST_CHAIN = 8  # imports, between nine files
LONGEST_FILE, LARGEST_PACKAGE = 300, 1_700


def sources():
    return {path: path.read_text() for path in ROOT.rglob("*.py")}


def room(path):
    """The module of the package, or the package in it, to which a file belongs."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def nodes(text):
    """What a source may run: what is there for type checkers alone is not."""
    waiting = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def imports(text, at_once=False):
    """The full names that a source imports, wherever, or as soon as it is imported."""
    for node in ast.parse(text).body if at_once else nodes(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def graph():
    """What each room imports of others."""
    found = {}
    for path, text in sources().items():
        inner = {name.split(".")[1] for name in imports(text) if "lth_jax." in name}
        found.setdefault(room(path), set()).update(inner - {room(path)})
    del found["__init__"]
    return found


@pytest.fixture(scope="module")
def chains():
    """The longest chain of imports that begins at each file, as names of files."""
    files = {}
    for path in sources():
        *parts, last = path.relative_to(ROOT.parent).with_suffix("").parts
        files[".".join([*parts, last] if last != "__init__" else parts)] = path
    del files["lth_jax"]  # which imports what is asked for

    @functools.cache
    def chain(path):
        names = imports(path.read_text(), at_once=True)
        # `from a.b import c`: the file a/b/c.py, or else what a/b.py calls c.
        found = {files.get(n) or files.get(n.rpartition(".")[0]) for n in names}
        ways = (chain(other) for other in found - {None, path})
        return (path.relative_to(ROOT).as_posix(), *max(ways, key=len, default=()))

    return [chain(path) for path in files.values()]


def importers(library):
    """The files that import a library."""
    return {
        path.relative_to(ROOT).as_posix()
        for path, text in sources().items()
        if any(name.split(".")[0] == library for name in imports(text))
    }


def test_every_module_has_a_layer(graph):
    assert set(graph) == set.union(*LAYERS)


def test_imports_point_downward(graph):
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    upward = {
        (name, other)
        for name, others in graph.items()
        for other in others
        if level[other] > level[name]
    }
    assert upward == set()


@pytest.mark.parametrize("name", ALONE)
def test_some_rooms_stand_on_little(graph, name):
    assert graph[name] - ALONE[name] == set()


def test_no_chain_of_imports_is_long(chains):
    longest = max(chains, key=len)
    assert len(longest) - 1 <= LONGEST_CHAIN, " -> ".join(longest)


def test_files_and_packages_can_be_read_at_once():
    lengths = {path: len(text.splitlines()) for path, text in sources().items()}
    packages = {}
    for path, length in lengths.items():
        if path.parent != ROOT:
            packages[room(path)] = packages.get(room(path), 0) + length
    long = {
        path.relative_to(ROOT).as_posix(): length
        for path, length in lengths.items()
        if length > LONGEST_FILE
    }
    large = {name: n for name, n in packages.items() if n > LARGEST_PACKAGE}
    assert (long, large) == ({}, {})


def test_each_large_library_has_one_importer():
    assert importers("orbax") == {"workdir/checkpoints.py"}
    assert {path.split("/")[0] for path in importers("tensorflow_datasets")} == {"data"}
    assert importers("grain") == {"data/stream.py"}


def test_the_report_needs_no_jax():
    rooms = ("report", "numbers", "drawing", "page")
    assert not {path for path in importers("jax") if path.startswith(rooms)}


def test_pmap_is_called_in_one_place():
    calls = [
        path.name
        for path, text in sources().items()
        for node in nodes(text)
        if isinstance(node, ast.Attribute) and node.attr == "pmap"
    ]
    assert calls == ["layout.py"]


def test_pure_modules_need_only_jax_numpy_and_jaxtyping():
    """In a new process, as a user imports them."""
    code = f"""
import sys
from lth_jax import {", ".join(sorted(PURE))}
print(*{{name.split(".")[0] for name in sys.modules}})
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(shown.stdout.split())
    assert {"jax", "numpy", "jaxtyping"} <= loaded
    heavy = {"flax", "optax", "orbax", "tensorflow_datasets", "tensorflow"}
    assert not loaded & (heavy | {"grain", "ml_collections", "pandas", "absl", "tqdm"})
