"""Check: python -m lth_jax.check WORKDIR verifies what a run has left.

It needs neither the data, nor an accelerator, nor code of the user's own; it changes
nothing, and may look on while the run goes on. Exit status 0: all is well; 1: each line
says what is not.
"""

from lth_jax.check.run import problems

__all__ = ["problems"]
