"""GRU: a recurrent network of sequences."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.classifier import (
    Classifier,
    EachLogits,
    Images,
    Logits,
    Sequences,
    Tokens,
)


class GRU(Classifier):
    """Gated recurrent units (Cho et al. 2014, section 2.3), as cuDNN's and Flax's.

    Of integers, which are embedded, of vectors, or of images row by row. Layers are
    `embed` (of integers alone), `gru1`, `gru2`, ... and `fc`. Pruned are the embeddings
    and the kernels, six of a cell: `ir`, `iz` and `in` of its input, `hr`, `hz` and
    `hn` of its state, which start orthogonal. Biases are not. No field of convolutions
    and normalisations has an effect.

    >>> import jax
    >>> rows = jnp.ones((1, 28, 28))
    >>> network = GRU(num_classes=10, width=16)
    >>> start = lambda: network.init_with_output(jax.random.key(0), rows, train=False)
    >>> logits, _ = jax.eval_shape(start)
    >>> logits.shape
    (1, 10)
    """

    vocabulary: int = 0  # how many tokens there are; 0: as many as classes
    embedding: int = 128  # width of an embedded token
    width: int = 256  # of the state
    depth: int = 1  # cells, each given the states of the one before
    dropout: float = 0.0  # share of each cell's states that the next layer is not given
    per_token: bool = False  # logits of every position, else of the last alone

    @nn.compact
    def __call__(
        self, x: Tokens | Sequences | Images, train: bool
    ) -> Logits | EachLogits:
        if x.ndim == 4:  # images, row by row
            x = x.reshape(*x.shape[:2], -1)
        if jnp.issubdtype(x.dtype, jnp.integer):
            tokens = self.vocabulary or self.num_classes
            x = nn.Embed(tokens, self.embedding, dtype=self.dtype, name="embed")(x)
        for layer in range(1, self.depth + 1):
            cell = nn.GRUCell(
                self.width,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
                name=f"gru{layer}",
            )
            states: Any = nn.RNN(cell)(x)
            x = nn.Dropout(self.dropout, deterministic=not train)(states)
        return self.classify(x if self.per_token else x[:, -1])
