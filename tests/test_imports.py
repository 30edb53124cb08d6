"""The structure of the package: imports point downward only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lth_jax

ROOT = Path(lth_jax.__file__).parent
PURE = {"masks", "_lowest", "scores", "prune", "rewind", "measures"}
# A layer imports itself and what stands above it.
LAYERS = [
    PURE,
    {"machine", "data", "models", "sparse", "errors"},
    {"config", "report", "train", "workdir", "lottery", "export"},
    {"check", "dry_run", "tensorboard"},
    {"main"},
]


def sources():
    return {path: path.read_text() for path in ROOT.rglob("*.py")}


def room(path):
    """The module of the package, or the package in it, to which a file belongs."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(text):
    """The full names that a source imports, wherever it does."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def graph():
    found = {}
    for path, text in sources().items():
        inner = {name.split(".")[1] for name in imports(text) if "lth_jax." in name}
        found.setdefault(room(path), set()).update(inner - {room(path)})
    del found["__init__"]
    return found


def importers(library):
    """The files that import a library."""
    return {
        path.relative_to(ROOT).as_posix()
        for path, text in sources().items()
        if any(name.split(".")[0] == library for name in imports(text))
    }


def test_every_module_has_a_layer(graph):
    assert set(graph) == set.union(*LAYERS) - {"errors"}


def test_imports_point_downward(graph):
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    upward = {
        (name, other)
        for name, others in graph.items()
        for other in others
        if level[other] > level[name]
    }
    assert upward == set()


def test_each_large_library_has_one_importer():
    assert importers("orbax") == {"workdir/checkpoints.py"}
    assert {path.split("/")[0] for path in importers("tensorflow_datasets")} == {"data"}
    assert importers("grain") == {"data/stream.py"}


def test_the_report_needs_no_jax():
    assert not {path for path in importers("jax") if path.startswith("report")}


def test_pmap_is_called_in_one_place():
    calls = [
        path.name
        for path, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr == "pmap"
    ]
    assert calls == ["devices.py"]


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
