"""Find, train and study lottery tickets in JAX.

The pure modules (`masks`, `scores`, `prune`, `densities`, `movers`, `rewind`,
`measures`) need only jax, numpy and jaxtyping: importing them loads nothing else. What
is named here is imported when it is used.
"""

import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_jax.export.ticket import Ticket as Ticket
    from lth_jax.export.ticket import load_ticket as load_ticket
    from lth_jax.export.ticket import save_ticket as save_ticket
    from lth_jax.sparse import sparse_optimizer as sparse_optimizer

_HOMES = {
    "Ticket": "export.ticket",
    "load_ticket": "export.ticket",
    "save_ticket": "export.ticket",
    "sparse_optimizer": "sparse",
}
_PURE = ("masks", "scores", "prune", "densities", "movers", "rewind", "measures")
_MODULES = (*_PURE, "models", "report")

__all__ = [*_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"lth_jax.{_HOMES[name]}"), name)
    if name == "__version__":
        return importlib.metadata.version("lth_jax")
    if name in _MODULES:
        return importlib.import_module(f"lth_jax.{name}")
    raise AttributeError(f"module 'lth_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
