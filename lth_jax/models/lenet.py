"""LeNet: the fully connected network of the lottery ticket papers."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from lth_jax.models.classifier import Classifier, Logits


class LeNet(Classifier):
    """LeNet-300-100 (LeCun et al. 1998, section III.C), with ReLU: a perceptron.

    Of images or of the rows of a table, [batch, features], flattened. The hidden layers
    are `fc1`, `fc2`, ... and the last layer is `fc`; all their kernels are pruned. No
    field of convolutions and normalisations has an effect.

    >>> import jax, jax.numpy as jnp
    >>> mlp = LeNet(num_classes=7, widths=(64, 64), dropout=0.1)
    >>> row = jnp.ones((1, 54))
    >>> start = lambda: mlp.init_with_output(jax.random.key(0), row, train=False)
    >>> logits, variables = jax.eval_shape(start)
    >>> logits.shape, sorted(variables["params"])
    ((1, 7), ['fc', 'fc1', 'fc2'])
    """

    widths: Sequence[int] = (300, 100)  # units of each hidden layer
    dropout: float = 0.0  # share of each hidden layer that is dropped in training

    @nn.compact
    def __call__(self, x: Float[Array, "batch *_"], train: bool) -> Logits:
        dense = self.bound_dense()
        x = x.reshape((x.shape[0], -1))
        for layer, width in enumerate(self.widths, start=1):
            x = nn.relu(dense(width, name=f"fc{layer}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return self.classify(x)
