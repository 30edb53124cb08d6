"""Given: masks, and the weights that they belong to, which come from elsewhere."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lth_jax import masks as masks_lib
from lth_jax.masks import Masks, Params


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Masks of some seeds, and their weights, for branches whose masks are given.

    Attributes:
        masks: one for every seed; replicates beyond them begin with the first again.
        params: likewise, the weights of step k, whole or under the masks (then controls
            have the dense networks' own beside them); none for the dense networks' own.
        batch_stats: that belong to them; none for those of step 0.
    """

    masks: Sequence[Masks]
    params: Sequence[Params] = ()
    batch_stats: Sequence[PyTree] = ()

    def of(self, replicate: int, part: str = "masks") -> PyTree | None:
        """Return a replicate's masks, "params" or "batch_stats"; None if none is given.

        >>> first, second = {"w": np.array([True])}, {"w": np.array([False])}
        >>> found = Given([first, second])
        >>> found.of(2), found.of(0, "params")
        ({'w': array([ True])}, None)
        """
        found = getattr(self, part)
        return found[replicate % len(found)] if found else None

    def whole(self, replicate: int, others: Params) -> Params | None:
        """Return a replicate's weights, and `others` where they are not known.

        A layer whose pruned weights are all 0 was saved under its mask: its controls,
        which keep other weights, would begin with zeros.

        >>> masks, weights = {"w": np.array([True, False])}, {"w": np.array([3.0, 0.0])}
        >>> Given([masks], [weights]).whole(0, {"w": np.array([1.0, 2.0])})["w"]
        Array([3., 2.], dtype=float32)
        """

        def fill(w: Any, mask: Any, other: Any) -> Any:
            if mask is None:
                return w
            is_known = mask | jnp.any(~mask & (w != 0))
            return jnp.where(is_known, w, other)

        params = self.of(replicate, "params")
        if params is None:
            return None
        return jax.tree.map(fill, params, self.of(replicate), others)

    @property
    def name(self) -> str:
        """What runs call it: other masks and weights have another name."""
        digest = hashlib.sha256()
        for field in dataclasses.fields(self):
            for path, x in masks_lib.leaves(list(getattr(self, field.name))):
                x = np.asarray(jax.device_get(x))
                digest.update(f"{field.name} {path} {x.dtype} {x.shape} ".encode())
                digest.update(np.ascontiguousarray(x).tobytes())
        return f"{len(self.masks)} masks {digest.hexdigest()[:16]}"


GIVEN: dict[str, Given] = {}  # by its name in the config: what a process was given


def check(given: Given, params: Params, batch_stats: PyTree) -> None:
    """Raise ValueError, naming the path, unless all of it fits a network.

    Args:
        given: masks are `None` where nothing is prunable.
        params, batch_stats: of the network, or their shapes.
    """
    if not given.masks:
        raise ValueError("there are no masks")
    for part in ("params", "batch_stats"):
        if (n := len(getattr(given, part))) not in (0, len(given.masks)):
            raise ValueError(f"{len(given.masks)} masks have {n} {part}")
    for masks in given.masks:
        masks_lib.check(params, masks)
    for part, like in (("params", params), ("batch_stats", batch_stats)):
        shapes = {path: x.shape for path, x in masks_lib.leaves(like)}
        for one in getattr(given, part):
            found = {path: np.shape(x) for path, x in masks_lib.leaves(one)}
            for path in sorted(shapes.keys() | found.keys()):
                there, wanted = found.get(path, "nothing"), shapes.get(path, "nothing")
                if there != wanted:
                    what = f"{part}: {path} is {there}, and should be {wanted}"
                    raise ValueError(what)
