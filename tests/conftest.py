"""Two CPU devices, no silent broadcasting, and shapes checked as they are annotated."""

import hypothesis
import jax
from jaxtyping import install_import_hook

hypothesis.settings.register_profile("machines are busy", deadline=None)
hypothesis.settings.load_profile("machines are busy")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("lth_jax", "beartype.beartype")
