"""Initial values of kernels and of normalisation scales, by name.

"Normal" means untruncated, as in PyTorch. Kernels of convolutions are stored as
[height, width, in / groups, out], so fan_in counts the inputs of one output.
"""

from flax.linen.initializers import ones, uniform, variance_scaling

INITIALIZERS = {
    # He et al. 2015, Delving Deep into Rectifiers (arXiv 1502.01852), equation 10.
    "kaiming_normal": variance_scaling(2.0, "fan_in", "normal"),
    # The same, equation 14: keeps the variance of gradients, not of activations.
    "kaiming_normal_fan_out": variance_scaling(2.0, "fan_out", "normal"),
    # Glorot & Bengio 2010, equation 12: variance 2 / (fan_in + fan_out).
    "glorot_normal": variance_scaling(1.0, "fan_avg", "normal"),
    # TensorFlow's VarianceScaling with its default arguments.
    "variance_scaling": variance_scaling(1.0, "fan_in", "truncated_normal"),
}

NORM_SCALES = {"ones": ones, "uniform": uniform(1.0)}  # U(0, 1): open_lth draws it
