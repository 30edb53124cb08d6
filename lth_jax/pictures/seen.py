"""Seen: small arrays of a run's tickets."""

import dataclasses

import numpy as np
import pandas as pd


@dataclasses.dataclass(frozen=True)
class Seen:
    """What there is to see of the tickets of one rewind step and setting.

    Frames have a line a layer, in the order of the network, and a column a level: the
    share of the weights that remain, in %. Means over replicates, in %.

    Attributes:
        name: which tickets, in words.
        kept: of every layer's weights, those that remain.
        flipped: of kept weights, those with another sign in W_T than in W_k.
        dead: of a layer's units, those without a kept connection to what is before.
        shared: by level, the overlap of two replicates' masks, and by chance.
        times_chance: of every layer, that overlap over that by chance, in %.
        inputs: by level, kept connections of every input pixel, or of every position
            of the first kernel; {} where the first layer has none.
        weights: by layer, (edges of bins, counts in W_k, counts in W_T) of the weights
            that the last level keeps, of all replicates.
    """

    name: str
    kept: pd.DataFrame
    flipped: pd.DataFrame
    dead: pd.DataFrame
    shared: pd.DataFrame
    times_chance: pd.DataFrame
    inputs: dict[float, np.ndarray]
    weights: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
