"""TokenMLP: the perceptron of modular addition."""

import jax.numpy as jnp
from flax import linen as nn

from lth_jax.models.classifier import Classifier, Logits, Tokens


class TokenMLP(Classifier):
    """The MLP of grokked tickets (Minegishi et al. 2025, equation 1), without biases.

    Tokens are embedded, added up whatever their order, and go through one hidden layer
    of ReLU and two linear layers. Layers are `embed`, `fc1`, `fc2` and `fc`; all that
    they have is pruned. Embeddings start at a variance of 1 / vocabulary, as in the
    authors' code. No field of convolutions and normalisations has an effect.

    >>> import jax
    >>> network = TokenMLP(num_classes=67)
    >>> pairs = jnp.array([[3, 5]])
    >>> start = lambda: network.init_with_output(jax.random.key(0), pairs, train=False)
    >>> logits, _ = jax.eval_shape(start)
    >>> logits.shape
    (1, 67)
    """

    vocabulary: int = 0  # how many tokens there are; 0: as many as classes
    embedding: int = 500  # width of an embedded token, and of what `fc` is given
    width: int = 48  # units of the hidden layer

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Logits:
        del train  # nothing is dropped
        tokens = self.vocabulary or self.num_classes
        init = nn.initializers.normal(tokens**-0.5)
        embed = nn.Embed(
            tokens,
            self.embedding,
            embedding_init=init,
            dtype=self.dtype,
            name="embed",
        )
        dense = self.bound_dense(use_bias=False)
        x = nn.relu(dense(self.width, name="fc1")(embed(x).sum(1)))
        x = dense(self.embedding, name="fc2")(x)
        return dense(self.num_classes, name="fc")(x).astype(jnp.float32)
