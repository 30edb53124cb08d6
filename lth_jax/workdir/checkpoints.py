"""Checkpoint: numbered pytrees on disk, through Orbax, with checksums."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from lth_jax import masks as masks_lib
from lth_jax.devices import processes
from lth_jax.errors import CheckpointError, one_line

Tree = TypeVar("Tree", bound=PyTree)

_CHECKSUMS = "checksums.json"
_PLAIN = re.compile(r"[\w/ .,+=@~-]*")  # what all agree on
_WRITER = ThreadPoolExecutor(1)
_PENDING: dict[Path, Future[None]] = {}  # what it writes, by the series' folder


@dataclasses.dataclass(frozen=True)
class Series:
    """Checkpoints of one kind: dense states by step, or levels by number.

    A checkpoint appears at once and whole, or not at all; it carries the SHA-256 of
    its files, and what does not agree with them is never restored. Booleans take one
    bit.
    """

    directory: Path  # where; each checkpoint is a folder named by its number
    keep: int = 0  # how many of the latest are kept; 0 for all

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints, in order."""
        if not self.directory.exists():
            return []
        return sorted(int(p.name) for p in self.directory.iterdir() if p.name.isdigit())

    def save(
        self, number: int, tree: PyTree, *, wait: bool = True, **about: Any
    ) -> None:
        """Save a pytree of arrays, and what to know about it, as JSON.

        A number that is there already is left as it is. Without waiting, it is written
        while others go on, and `wait` says whether it could be.

        Raises:
            CheckpointError: it, or the one before, cannot be written; what was saved
                before is untouched.
        """
        packed = jax.device_get(_packed(tree))
        self.wait()
        if wait:
            processes.by_first(lambda: self._save(number, packed, about))
        elif processes.is_first():
            _PENDING[self.directory] = _WRITER.submit(self._save, number, packed, about)

    def wait(self) -> None:
        """Wait until what is being saved is on the disk, or raise CheckpointError."""
        task = _PENDING.pop(self.directory, None)  # of the first process alone
        processes.by_first(lambda: task and task.result())

    def _save(self, number: int, packed: PyTree, about: dict[str, Any]) -> None:
        if number in self.numbers():
            return
        unfinished = self.directory / f"{number}.unfinished"
        try:
            self._tidy()
            _write(unfinished, packed, about)
            unfinished.replace(self.directory / str(number))
            _sync(self.directory)
        except Exception as error:  # Orbax passes on whatever its libraries raise
            shutil.rmtree(unfinished, ignore_errors=True)
            raise CheckpointError(
                f"{self.directory / str(number)} cannot be saved ({one_line(error)}); "
                "with that put right, the same command goes on"
            ) from error
        for old in self.numbers()[: -self.keep] if self.keep else ():
            self.remove(old)

    def replace(self, number: int, tree: PyTree, **about: Any) -> None:
        """Save in place of what is there; cut off anywhere, one of both is there."""
        old, new = (
            self.directory / f"{number}{end}" for end in (".old", ".unfinished")
        )
        self.settle()
        _write(new, tree, about)
        if number in self.numbers():
            (self.directory / str(number)).replace(old)
        new.replace(self.directory / str(number))
        _sync(self.directory)
        self.settle()

    def settle(self) -> None:
        """Tidy up where `replace` was cut off."""
        self._tidy()
        for old in self.directory.glob("*.old"):
            if not old.with_suffix("").exists():
                old.replace(old.with_suffix(""))
            shutil.rmtree(old, ignore_errors=True)

    def restore(
        self, number: int, like: Tree, places: Sequence[int] | None = None
    ) -> Tree:
        """Return a saved pytree, like another in structure, shapes and types.

        Of a saved list, only what is at some places, if they are given.

        Raises:
            CheckpointError: it is damaged, or of another network.
        """
        packed, saved = jax.eval_shape(_packed, like), self.raw(number)
        if places is not None:
            saved = [saved[i] for i in places]
        found = dict(masks_lib.leaves(saved))
        there, here = (
            {path: f"{x.dtype}{[*x.shape]}" for path, x in masks_lib.leaves(tree)}
            for tree in (saved, packed)
        )
        for path in sorted(there.keys() | here.keys()):
            was, now = (arrays.get(path, "nothing") for arrays in (there, here))
            if was != now:
                raise CheckpointError(
                    f"{self.directory / str(number)} is whole, but of another network "
                    f"({path}: {was} there, {now} here); go back to the model's code "
                    "and options, and the optimizer's, or start in a new --workdir"
                )
        arranged = jax.tree_util.tree_map_with_path(
            lambda path, _: found[masks_lib.name(path)], packed
        )
        return _unpacked(arranged, like)

    def raw(self, number: int) -> PyTree:
        """Return a saved pytree as it is on disk: dicts, lists and NumPy arrays.

        Booleans are packed into bytes, eight to one, the first into the highest bit.
        """
        self.verify(number)
        folder = self.directory / str(number)
        if not (folder / "tree").exists():
            return []  # of no networks
        try:
            with _checkpointer() as checkpointer, _plainly(folder) as plain:
                return jax.device_get(checkpointer.restore(plain / "tree"))
        except Exception as error:  # Orbax passes on whatever its libraries raise
            raise self._damaged(number, error) from error

    def about(self, number: int) -> dict[str, Any]:
        """Return what was saved about a checkpoint."""
        try:
            return json.loads(_about(self.directory / str(number)).read_text())
        except (OSError, ValueError) as error:
            raise self._damaged(number, error) from error

    def verify(self, number: int) -> None:
        """Raise CheckpointError unless the files are those that were saved."""
        folder = self.directory / str(number)
        try:
            if not (folder / _CHECKSUMS).exists():
                raise ValueError(f"{_CHECKSUMS} is missing")
            saved = json.loads((folder / _CHECKSUMS).read_text())
            found = _checksums(folder)
            for name in sorted(saved.keys() | found.keys()):
                if name not in found:
                    raise ValueError(f"{name} is missing")
                if saved.get(name) != found[name]:
                    raise ValueError(f"{name} is not what was saved")
        except (OSError, ValueError, AttributeError) as error:
            raise self._damaged(number, error) from error

    def remove(self, number: int) -> None:
        """Remove a checkpoint atomically: nobody finds half of it."""
        removed = self.directory / f"{number}.removed"
        (self.directory / str(number)).replace(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def clear(self) -> None:
        """Remove all checkpoints, the latest first."""
        self.wait()
        # All meet once: what others list, the first process may have removed.
        processes.by_first(lambda: [*map(self.remove, reversed(self.numbers()))])

    def _tidy(self) -> None:
        """Make the folder, without what calls that were cut off left in it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if path.suffix in (".unfinished", ".removed"):
                shutil.rmtree(path, ignore_errors=True)

    def _damaged(self, number: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.directory / str(number)} cannot be read ({one_line(error)}); put "
            "it back from a copy, or start in a new --workdir"
        )


def preempted(call: int) -> bool:
    """Say whether the machines are about to be taken away, in all processes at once.

    The number of the call is the same in all processes, from 1.
    """
    return ocp.utils.reached_preemption(call)


def _checkpointer() -> ocp.Checkpointer:
    """Return a checkpointer of NumPy arrays that waits for no other process."""
    mine = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=mine, active_processes={mine}
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _plainly(folder: Path) -> Iterator[Path]:
    """Yield a path to a folder that Orbax, and what it uses, take for no pattern.

    They look for files as `glob` does, and take a backslash for a slash.
    """
    if _PLAIN.fullmatch(str(folder.absolute())):
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory() as somewhere:
        link = Path(somewhere) / "link"
        link.symlink_to(folder.absolute())
        yield link


def _write(folder: Path, tree: PyTree, about: dict[str, Any]) -> None:
    """Write a checkpoint; it is on the disk when this returns."""
    if jax.tree.leaves(tree):  # Orbax takes no empty tree
        folder.mkdir()
        with _checkpointer() as checkpointer, _plainly(folder) as plain:
            checkpointer.save(plain / "tree", ocp.args.StandardSave(tree))
    _about(folder).parent.mkdir(parents=True)
    _about(folder).write_text(json.dumps(about))
    checksums = _checksums(folder)
    (folder / _CHECKSUMS).write_text(json.dumps(checksums, indent=2))
    for name in (*checksums, _CHECKSUMS):
        _sync(folder / name)


def _about(folder: Path) -> Path:
    return folder / "about" / "metadata"


def _checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint, by its path in there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():  # which may lead anywhere
            raise ValueError(f"{path.relative_to(folder)} is a link")
        if path.is_file() and path != folder / _CHECKSUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _packed(tree: PyTree) -> PyTree:
    """Return a tree with its booleans at one bit each."""
    return jax.tree.map(lambda x: masks_lib.pack(x) if x.dtype == bool else x, tree)


def _unpacked(tree: PyTree, like: PyTree) -> PyTree:
    """Return what `_packed` was made of, on the device; `like` may be shapes alone."""

    def one(x: Any, want: Any) -> Any:
        masks = want.dtype == bool
        return masks_lib.unpack(x, _empty(want)) if masks else jax.numpy.asarray(x)

    return jax.tree.map(one, tree, like)


def _empty(like: jax.ShapeDtypeStruct | jax.Array) -> np.ndarray:
    """Return an array of a shape and type that takes no memory."""
    return np.broadcast_to(np.zeros((), like.dtype), like.shape)
