"""LeNet: the fully connected network of the lottery ticket papers."""

from collections.abc import Sequence

from flax import linen as nn

from lth_jax.models.classifier import Classifier, Images, Logits


class LeNet(Classifier):
    """LeNet-300-100 (LeCun et al. 1998, section III.C), with ReLU.

    The hidden layers are `fc1`, `fc2`, ... and the last layer is `fc`. No field of
    convolutions and normalisations has an effect.
    """

    widths: Sequence[int] = (300, 100)  # units of each hidden layer

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Logits:
        dense = self.bound_dense()
        x = x.reshape((x.shape[0], -1))
        for layer, width in enumerate(self.widths, start=1):
            x = nn.relu(dense(width, name=f"fc{layer}")(x))
        return self.classify(x)
