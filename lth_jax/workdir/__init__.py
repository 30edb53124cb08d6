"""Workdir: what a run leaves in its folder."""

from lth_jax.workdir.folder import Workdir
from lth_jax.workdir.identity import read
from lth_jax.workdir.member import Member, Networks, Training

__all__ = ["Member", "Networks", "Training", "Workdir", "read"]
