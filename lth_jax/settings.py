"""Settings of JAX on which numbers depend: what is drawn, and last digits."""

DRAWS = ("default_prng_impl", "random_seed_offset", "threefry_partitionable")
DIGITS = ("default_matmul_precision", "disable_jit", "disable_most_optimizations")
DIGITS += ("optimization_level", "softmax_custom_jvp")
