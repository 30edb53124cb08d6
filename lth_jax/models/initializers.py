"""Initial values of kernels and of normalisation scales, by name.

"Normal" means untruncated, as in PyTorch. Kernels of convolutions are stored as
[height, width, in / groups, out], so fan_in counts the inputs of one output.
"""

from flax import linen as nn

INITIALIZERS = {
    # He et al. 2015, Delving Deep into Rectifiers (arXiv 1502.01852), equation 10.
    "kaiming_normal": nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    # The same, equation 14: keeps the variance of gradients, not of activations.
    "kaiming_normal_fan_out": nn.initializers.variance_scaling(
        2.0, "fan_out", "normal"
    ),
    # Glorot & Bengio 2010, equation 12: variance 2 / (fan_in + fan_out).
    "glorot_normal": nn.initializers.variance_scaling(1.0, "fan_avg", "normal"),
    # TensorFlow's VarianceScaling with its default arguments.
    "variance_scaling": nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal"
    ),
}

NORM_SCALES = {
    "ones": nn.initializers.ones,
    # U(0, 1), which open_lth draws.
    "uniform": nn.initializers.uniform(1.0),
}
