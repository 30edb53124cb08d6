"""Export: tickets to take away."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("ExportError", "find", "write", "main"):
        from lth_jax.export import command

        return getattr(command, name)
    raise AttributeError(f"module 'lth_jax.export' has no attribute {name!r}")
