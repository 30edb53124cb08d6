"""Checkpoint: numbered pytrees on disk, through Orbax."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from jaxtyping import PyTree

Tree = TypeVar("Tree", bound=PyTree)


@dataclasses.dataclass(frozen=True)
class Series:
    """Checkpoints of one kind: dense states by step, or levels by number.

    A checkpoint appears at once and whole, or not at all. Booleans take one bit. With
    each goes the size of the records when it was saved: whatever was recorded later is
    done again by a run that continues from it.

    Attributes:
        directory: where; each checkpoint is a folder named by its number.
    """

    directory: Path

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints, in order."""
        if not self.directory.exists():
            return []
        with self._manager() as manager:
            return sorted(manager.all_steps())

    def save(self, number: int, tree: PyTree, *, records: int) -> None:
        """Save a pytree of arrays, and the size of the records in bytes."""
        with self._manager() as manager:
            manager.save(
                number,
                args=ocp.args.Composite(
                    tree=ocp.args.StandardSave(jax.tree.map(_pack, tree)),
                    records=ocp.args.JsonSave({"bytes": records}),
                ),
            )

    def restore(self, number: int, like: Tree) -> Tree:
        """Return a saved pytree.

        Args:
            number: of the checkpoint.
            like: a pytree of arrays of the same structure, shapes and types.
        """
        where = SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
            jax.eval_shape(partial(jax.tree.map, _pack), like),
        )
        with self._manager() as manager:
            saved = manager.restore(
                number, args=ocp.args.Composite(tree=ocp.args.StandardRestore(wanted))
            )
        return jax.tree.map(_unpack, saved.tree, like)

    def records(self, number: int) -> int:
        """Return the size of the records, in bytes, when a checkpoint was saved."""
        with self._manager() as manager:
            saved = manager.restore(
                number, args=ocp.args.Composite(records=ocp.args.JsonRestore())
            )
        return saved.records["bytes"]

    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
        return ocp.CheckpointManager(
            self.directory.absolute(),
            options=options,
            item_names=("tree", "records"),
        )


def _pack(x: jax.Array) -> jax.Array:
    return jnp.packbits(x.ravel()) if x.dtype == bool else x


def _unpack(saved: jax.Array, like: jax.Array) -> jax.Array:
    if like.dtype != bool:
        return saved
    return jnp.unpackbits(saved, count=like.size).astype(bool).reshape(like.shape)
