"""Tensorboard: python -m lth_jax.tensorboard W is lth_jax.track W --to=tensorboard."""

import sys

from lth_jax import console
from lth_jax.track.__main__ import main

if __name__ == "__main__":
    console.prepare()
    main([*sys.argv[1:], "--to=tensorboard"])
