"""Workdir: what a run leaves in its folder."""

from lth_jax.workdir.folder import Fleet, Workdir, read

__all__ = ["Fleet", "Workdir", "read"]
