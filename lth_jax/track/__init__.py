"""Track: the rows of a run in a tracker, each once, whatever is interrupted.

    python -m lth_jax.track WORKDIR --to=wandb --follow

It reads what the run writes: start it whenever the run is to be watched, before, during
or after it, on any machine that sees the folder. Started again, it goes on in the same
run of the tracker, whose name is kept in WORKDIR/track.
"""

from lth_jax.track.feed import TRACKERS, track

__all__ = ["TRACKERS", "track"]
