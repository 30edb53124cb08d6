"""Memory: the feed of a data set that fits on the device, which makes the batches."""

import dataclasses

import jax
from jax import lax
from jaxtyping import Array

from lth_jax.data import augment, keys, order
from lth_jax.data.augment import Channels
from lth_jax.data.dataset import Split
from lth_jax.data.keys import Count

AUGMENTATIONS = ("none", "flip_crop")


@dataclasses.dataclass(eq=False)
class Memory:
    """Batches of a split as a pure function of data seed and step.

    The augmentation `flip_crop` mirrors half of the images, pads them by 4 pixels of 0
    and crops them at random (He et al., 2016, section 4.2). Raises ValueError for an
    unknown `last` or `augmentation`, or if there is no step.
    """

    split: Split
    mean: Channels  # on the scale 0 to 1
    std: Channels
    batch_size: int  # examples a step, over all devices that share it
    last: str = "drop"  # an epoch's partial batch, or "wrap" around
    augmentation: str = "none"  # or "flip_crop"
    unit_norm: bool = False  # as of `augment.normalise`

    divided = False  # every device holds all of `arrays`

    def __post_init__(self):
        order.check("augmentation", self.augmentation, AUGMENTATIONS)
        n, size = len(self.split), self.batch_size
        self.steps_per_epoch = order.steps_per_epoch(n, size, self.last)
        self.shape = self.split.images.shape[1:]
        # What `batch` needs on every device: to be put there once.
        self.arrays = {"images": self.split.images, "labels": self.split.labels}

    def batch(
        self,
        arrays: dict[str, Array],
        data_seed: Count,
        step: Count,
        part: Count = 0,
        parts: int = 1,
    ) -> dict[str, Array]:
        """Return one of `parts` equal, contiguous parts of a step's batch.

        Whatever `parts`, all parts together are the same batch. Pure and jittable; all
        but `parts` may be traced (`part` may be a device's `lax.axis_index`). `image`
        is normalised, float32 [batch_size / parts, h, w, c], and `label` int32. Raises
        ValueError if `parts` does not divide the batch size.
        """
        size, rest = divmod(self.batch_size, parts)
        if rest:
            reason = f"{self.batch_size} cannot be divided over {parts} devices"
            raise ValueError(f"batch_size: {reason}")

        def share(whole: Array) -> Array:
            return lax.dynamic_slice_in_dim(whole, part * size, size)

        epoch = {"n": len(self.split), "batch_size": self.batch_size, "last": self.last}
        indices = share(order.batch_indices(data_seed, step, **epoch))
        if self.augmentation == "flip_crop":
            key = keys.derive(data_seed, keys.AUGMENTATION, step)
            # Drawn for all devices by each, whatever their number.
            views = jax.tree.map(share, augment.draw_views(key, self.batch_size))
            images = augment.crop_flip(arrays["images"], indices, views)
        else:
            images = arrays["images"][indices]
        return {
            "image": augment.normalise(images, self.mean, self.std, self.unit_norm),
            "label": arrays["labels"][indices],
        }
