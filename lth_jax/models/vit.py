"""ViT: a transformer of the patches of an image."""

import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.classifier import Classifier, Images, Logits, Sequences
from lth_jax.models.transformer import bound_block


class ViT(Classifier):
    """Vision transformer (Dosovitskiy et al. 2021, section 3.1), of a size for CIFAR.

    By default the ViT of Lee et al. 2021 (Vision Transformer for Small-Size Datasets,
    section 4.1): patches of 4, 2.7M parameters. Classified is what becomes of a learned
    token beside the patches.

    Layers are `patches`, `positions`, `block1`, `block2`, ... (as of `Transformer`),
    `norm` and `fc`. Pruned are the kernels of attention (`query`, `key`, `value`,
    `out`, of rank 3), of `patches` and of all `fc`, and the positions; LayerNorm,
    biases and the token are not. Only `norm_epsilon` and `norm_scale` reach LayerNorm.

    >>> import jax, jax.numpy as jnp
    >>> network = ViT(num_classes=10, depth=1)
    >>> image = jnp.ones((1, 32, 32, 3))
    >>> start = lambda: network.init_with_output(jax.random.key(0), image, train=False)
    >>> logits, _ = jax.eval_shape(start)
    >>> logits.shape
    (1, 10)
    """

    patch: int = 4  # pixels, height and width
    width: int = 192  # of a token
    depth: int = 9  # blocks
    heads: int = 12  # they share the width
    hidden: int = 384  # units of a block's MLP
    dropout: float = 0.0  # share of the embeddings and of what each layer adds

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        x = self.bound_dense()(self.width, name="patches")(cut(x, self.patch))
        token = self.param("token", nn.initializers.zeros, (self.width,))
        token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([token, x], axis=1)
        init = nn.initializers.normal(0.02)
        x += self.param("positions", init, x.shape[1:])[None].astype(x.dtype)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        block = bound_block(
            self, heads=self.heads, hidden=self.hidden, dropout=self.dropout
        )
        for layer in range(1, self.depth + 1):
            x = block(name=f"block{layer}")(x, None, train)
        return self.classify(self.bound_layer_norm()(name="norm")(x[:, 0]))


def cut(images: Images, patch: int) -> Sequences:
    """Cut images into square patches, row by row, each flattened.

    A matrix product of these is the convolution of stride `patch`, and on a CPU its
    gradient is fast in a loop. Raises ValueError if they do not fit.

    >>> cut(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, 1]
    Array([2., 3., 6., 7.], dtype=float32)
    """
    batch, height, width, channels = images.shape
    if height % patch or width % patch:
        raise ValueError(f"patches of {patch} do not fill {height} x {width} pixels")
    rows, columns = height // patch, width // patch
    x = images.reshape(batch, rows, patch, columns, patch, channels)
    return x.swapaxes(2, 3).reshape(batch, rows * columns, -1)
