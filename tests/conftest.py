"""Two CPU devices, no silent broadcasting, and shapes checked as they are annotated."""

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

hypothesis.settings.register_profile("machines are busy", deadline=None)
hypothesis.settings.load_profile("machines are busy")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("lth_jax", "beartype.beartype")


@pytest.fixture(autouse=True)
def _forgotten(request):
    """Forget the programs of a slow test: those of all together take gigabytes."""
    yield
    if request.node.get_closest_marker("slow"):
        jax.clear_caches()
