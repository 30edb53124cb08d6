"""Two CPU devices, no silent broadcasting, and shapes checked as they are annotated."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("lth_jax", "beartype.beartype")
