"""Checkpoint: numbered pytrees on disk, through Orbax."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import LatestN

Tree = TypeVar("Tree", bound=PyTree)


@dataclasses.dataclass(frozen=True)
class Series:
    """Checkpoints of one kind: dense states by step, or levels by number.

    A checkpoint appears at once and whole, or not at all. Booleans take one bit.

    Attributes:
        directory: where; each checkpoint is a folder named by its number.
        keep: how many of the latest are kept; 0 for all.
    """

    directory: Path
    keep: int = 0

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints, in order."""
        if not self.directory.exists():
            return []
        with self._manager() as manager:
            return sorted(manager.all_steps())

    def save(self, number: int, tree: PyTree, **about: Any) -> None:
        """Save a pytree of arrays, and what to know about it."""
        with self._manager() as manager:
            manager.save(
                number,
                args=ocp.args.Composite(
                    tree=ocp.args.StandardSave(jax.tree.map(_pack, tree)),
                    about=ocp.args.JsonSave(about),
                ),
            )

    def restore(self, number: int, like: Tree) -> Tree:
        """Return a saved pytree.

        Args:
            number: of the checkpoint.
            like: a pytree of arrays of the same structure, shapes and types.
        """
        wanted = _on_one_device(jax.eval_shape(partial(jax.tree.map, _pack), like))
        with self._manager() as manager:
            saved = manager.restore(
                number, args=ocp.args.Composite(tree=ocp.args.StandardRestore(wanted))
            )
        return jax.tree.map(_unpack, saved.tree, like)

    def read(self, number: int) -> PyTree:
        """Return a saved pytree as plain lists and dicts; booleans packed, in bytes."""
        with self._manager() as manager:
            saved = manager.item_metadata(number).tree
            wanted = _on_one_device(getattr(saved, "tree", saved))
            args = ocp.args.Composite(tree=ocp.args.StandardRestore(wanted))
            return manager.restore(number, args=args).tree

    def clear(self) -> None:
        """Remove all checkpoints, at once: nobody finds half of one."""
        removed = self.directory.with_suffix(".removed")
        shutil.rmtree(removed, ignore_errors=True)  # of a call that was cut off
        if self.directory.exists():
            self.directory.replace(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def about(self, number: int) -> dict[str, Any]:
        """Return what was saved about a checkpoint."""
        with self._manager() as manager:
            saved = manager.restore(
                number, args=ocp.args.Composite(about=ocp.args.JsonRestore())
            )
        return saved.about

    def _manager(self) -> ocp.CheckpointManager:
        keep = LatestN(self.keep) if self.keep else None
        options = ocp.CheckpointManagerOptions(
            enable_async_checkpointing=False, preservation_policy=keep
        )
        return ocp.CheckpointManager(
            self.directory.absolute(),
            options=options,
            item_handlers={
                "tree": ocp.StandardCheckpointHandler(),
                "about": ocp.JsonCheckpointHandler(),
            },
        )


def _on_one_device(tree: PyTree) -> PyTree:
    where = SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
    )


def _pack(x: jax.Array) -> jax.Array:
    return jnp.packbits(x.ravel()) if x.dtype == bool else x


def _unpack(saved: jax.Array, like: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    if like.dtype != bool:
        return saved
    return jnp.unpackbits(saved, count=like.size).astype(bool).reshape(like.shape)
