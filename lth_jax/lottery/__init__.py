"""Lottery: fit, prune, rewind."""

from typing import Any

__all__ = ["build", "run"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'lth_jax.lottery' has no attribute {name!r}")
    from lth_jax.lottery import loop  # when it is used: it imports all of the engine

    return getattr(loop, name)
