"""Layout: how the networks that train together lie on the devices."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from ml_collections import ConfigDict

from lth_jax.devices import processes
from lth_jax.errors import ConfigError

State = TypeVar("State", bound=PyTree)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How members lie on devices.

    In the "fleet" layout every device works on members of its own, without any
    communication. In the "data" layout the devices share the batches of one member.
    Members that do not go at once go in groups, one after another, with the same
    results.
    """

    name: Literal["fleet", "data"]
    devices: tuple[jax.Device, ...]  # of all processes, those of a process together
    members: int = 0  # "fleet": the most on a device at a time; 0 for no limit
    compiler_options: dict[str, str] = dataclasses.field(
        default_factory=dict, hash=False
    )

    @property
    def axis(self) -> str | None:
        """The name of the axis over which devices share a batch, if they do."""
        return "batch" if self.name == "data" else None

    @property
    def parts(self) -> int:
        """The number of devices that share a batch."""
        return len(self.devices) if self.name == "data" else 1

    @property
    def local(self) -> tuple[jax.Device, ...]:
        """The devices of this process."""
        return tuple(self.devices[i] for i in self.positions)

    @property
    def positions(self) -> list[int]:
        """The numbers of this process's devices among all."""
        mine = jax.process_index()
        return [i for i, d in enumerate(self.devices) if d.process_index == mine]

    def spread(
        self, fn: Callable[..., Any], *, axes: Any = None, donate: bool = False
    ) -> "Spread":
        """Return a program of (states as `stack` makes them, shared) on all devices.

        Args:
            fn: of (state, part, shared), the work of one device for one member; `part`
                is its number among `parts`. In "data" all devices have equal results.
            axes: which axes of `shared` are sharded over the devices, a prefix of its
                tree; what is None is the same on every device.
            donate: the program deletes the states it is given.
        """
        together, donated = self.name == "data", 0 if donate else ()
        program = jax.pmap(
            fn if together else partial(_each, fn),
            axis_name="batch",
            in_axes=(None if together else 0, 0, axes),
            out_axes=None if together else 0,
            devices=self.devices if together else self.local,
            donate_argnums=donated,
        )
        if (options := self.compiler_options) and not (
            together and processes.several()
        ):
            # pmap takes none, and jit would want arrays that are of all processes.
            program = jax.jit(program, donate_argnums=donated, compiler_options=options)
        return Spread(program, np.array(self.positions))

    def replicate(self, tree: State) -> State:
        """Copy arrays to every device of this process."""
        # Over several devices `device_put` aliases its input, whatever `may_alias`.
        return jax.device_put(jax.tree.map(jnp.copy, tree), self._sharding())

    def scatter(self, parts: Sequence[State]) -> State:
        """Put the n-th part on this process's n-th device; leaves [devices, ...]."""

        def place(*leaves: np.ndarray) -> jax.Array:
            return jax.make_array_from_single_device_arrays(
                (len(self.local), *leaves[0].shape),
                self._sharding("batch"),
                [jax.device_put(x[None], d) for x, d in zip(leaves, self.local)],
            )

        return jax.tree.map(place, *parts)

    def groups(self, members: Sequence[State]) -> Iterator[Sequence[State]]:
        """Split members into the groups that go at once."""
        size = self._size(len(members))
        return (members[i : i + size] for i in range(0, len(members), size))

    def stack(self, group: Sequence[State], *, of: int) -> State:
        """Copy a group to this process's devices; leaves [devices, members, ...].

        All groups of a fleet `of` so many members have the same shape: the last one is
        filled up with copies of its last member.
        """
        if self.name == "data":
            return self.replicate(group[0])
        each = self.each(of)
        mine = [i * each + j for i in self.positions for j in range(each)]
        filled = [group[min(i, len(group) - 1)] for i in mine]
        stacked = _stack(filled, len(self.local))
        return jax.device_put(stacked, self._sharding("batch"))

    def like(self, member: State, *, of: int) -> State:
        """Return what `stack` makes of a group of members like one, as shapes."""
        shape = () if self.name == "data" else (len(self.local), self.each(of))
        axes = () if self.name == "data" else ("batch",)
        sharding = self._sharding(*axes)

        def stacked(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((*shape, *x.shape), x.dtype, sharding=sharding)

        return jax.tree.map(stacked, member)

    def limited(self, members: int, share: float) -> "Layout":
        """Return a layout in which fewer of a fleet's members go at a time.

        Args:
            members: of the fleet.
            share: of those that go at a time here, rounded down, and at least one.
        """
        fewer = max(1, int(self.each(members) * share))
        return dataclasses.replace(self, members=fewer)

    def each(self, members: int) -> int:
        """Return how many of a fleet's members go on a device at a time."""
        return 1 if self.name == "data" else self._size(members) // len(self.devices)

    def unstack(self, states: State, number: int) -> list[State]:
        """Return the first `number` members, on the first device of every process."""
        if self.name == "fleet" and processes.several():
            states = processes.gather(states)
        states = jax.device_put(states, self.local[0])
        return [states] if self.name == "data" else _unstack(states, number)

    def _size(self, members: int) -> int:
        if self.name == "data":
            return 1
        devices = len(self.devices)
        groups = -(-members // (devices * (self.members or members)))
        return devices * -(-members // (devices * groups))

    def _sharding(self, *axes: str) -> NamedSharding:
        return NamedSharding(
            Mesh(np.array(self.local), ("batch",)), PartitionSpec(*axes)
        )


@dataclasses.dataclass(frozen=True)
class Spread:
    """A program on all devices of a layout, of (states, shared)."""

    program: Callable[..., Any]
    parts: np.ndarray  # which of a batch this process's devices have

    def __call__(self, states: PyTree, shared: PyTree) -> Any:
        return self.program(states, self.parts, shared)

    def needs(self, states: PyTree, shared: PyTree) -> int:
        """Return the bytes that a call takes on a device, beside what is shared.

        As the compiler counts them. States may be shapes, as `Layout.like` has them; a
        call of arrays like these does not compile again.
        """
        lowered = self.program.lower(states, self.parts, shared)  # pyright: ignore
        found = lowered.compile().memory_analysis()
        inside = found.temp_size_in_bytes + found.output_size_in_bytes
        inside += found.argument_size_in_bytes - found.alias_size_in_bytes
        return inside - sum(getattr(x, "nbytes", 0) for x in jax.tree.leaves(shared))


def _each(fn: Callable, states: PyTree, part: Any, shared: Any) -> PyTree:
    """Run one device's members: [members, ...] in and out."""
    del part  # a device has the whole batch of its members
    if len(jax.tree.leaves(states)[0]) > 1:
        return jax.vmap(lambda state: fn(state, 0, shared))(states)
    # One member runs as itself: a vmapped convolution becomes a slower grouped one.
    alone = fn(jax.tree.map(lambda x: x[0], states), 0, shared)
    return jax.tree.map(lambda x: x[None], alone)


@partial(jax.jit, static_argnums=1)
def _stack(members: list[PyTree], devices: int) -> PyTree:
    return jax.tree.map(
        lambda *xs: jnp.stack(xs).reshape(devices, -1, *jnp.shape(xs[0])), *members
    )


@partial(jax.jit, static_argnums=1)
def _unstack(states: PyTree, number: int) -> list[PyTree]:
    leaves, tree = jax.tree.flatten(states)
    members = zip(*(x.reshape(-1, *x.shape[2:])[:number] for x in leaves))
    return [jax.tree.unflatten(tree, member) for member in members]


def choose(config: ConfigDict, together: int | None) -> tuple[jax.Device, ...]:
    """Return the devices of a config, no more than networks that train together.

    Raises:
        ConfigError: there are not so many, or they cannot share a batch.
    """
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    wanted = config.train.devices
    if wanted and processes.several():
        raise ConfigError("config.train.devices: several processes use all devices")
    if wanted > len(devices):
        raise ConfigError(f"config.train.devices: {wanted}, there are {len(devices)}")
    if config.train.layout == "fleet" and together and not processes.several():
        # Others would hold the data, and compute what nobody looks at.
        wanted = min(wanted or len(devices), together)
    devices = tuple(devices[: wanted or None])
    sharing = len(devices) if config.train.layout == "data" else 1
    if config.data.batch_size % sharing:
        raise ConfigError(
            f"config.data.batch_size: {config.data.batch_size} cannot be divided over "
            f"{sharing} devices; change it or config.train.devices"
        )
    examples, parts = config.data.batch_size // sharing, config.train.accumulate
    if examples % parts:
        raise ConfigError(
            f"config.train.accumulate: {parts} microbatches cannot divide the "
            f"{examples} examples of a device"
        )
    if (group := config.model.norm_group) and examples // parts % group:
        raise ConfigError(
            f"config.model.norm_group: {group} cannot divide the {examples // parts} "
            "examples that a device takes at a time"
        )
    return devices


def on_cpu() -> bool:
    """Return whether this process's devices are CPUs."""
    return jax.default_backend() == "cpu"
