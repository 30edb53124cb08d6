"""Words: what the names on a page mean, of those that are on it."""

import pandas as pd

_BRANCHES = {
    "dense": "the network that is not pruned",
    "ticket": "the masks on the weights that they are trained from, as said above",
    "random_reinit": "new random weights under the ticket's masks",
    "shuffled_mask": "the ticket's weights under random masks, as many in every layer",
    "random_mask": "the ticket's weights under random masks of the same density",
    "rewind_0": "the ticket's masks on the weights of step 0, with all steps",
    "fine_tune": "the trained weights under the ticket's masks, all steps once more",
    "fine_tune_small": "the same at the last learning rate",
    "long": "trained on, for as many steps in all as fine-tuned weights had",
    "uniform_mask": "random masks of one density in all layers, from step 0",
    "erk_mask": "random masks that are denser in small layers (ERK), from step 0",
    "set": "sparse from step 0; masks move, to random weights (SET)",
    "rigl": "sparse from step 0; masks move, to where gradients are large (RigL)",
    "rigl_3": "RigL in three times as many steps",
    "gmp": "pruned by and by while it trains (gradual magnitude pruning)",
    "dense_equal_bill": "dense, in the ticket's share of weights of the steps",
}


def words(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line a word: the branches of rows, and what rows are made of.

    Args:
        rows: tidy, as of `numbers.rows.load`.

    >>> rows = {"branch": ["dense", "mine"], "rewind_step": [0, 0], "pair": None}
    >>> [*words(pd.DataFrame(rows))["word"]]
    ['dense', 'replicate', 'bill']
    """
    there = dict.fromkeys(rows["branch"])
    found = {name: _BRANCHES[name] for name in _BRANCHES if name in there}
    if rows["rewind_step"].nunique() > 1:
        found["rewind step"] = "the step of the dense network from which tickets start"
    pairs = {*rows["pair"].dropna()} if "pair" in rows else set()
    if "copies" in pairs:
        found["copies"] = "one start, trained twice in different orders of the data"
        found["instability"] = (
            "by how much the error rises on the straight way between two copies"
        )
    if "start_to_end" in pairs:
        found["start, end"] = "weights before and after training"
    found["replicate"] = "a seed: of the initialisation, and of the order of the data"
    found["bill"] = "multiply-adds to find a network, and to train it"
    lines = [(name.replace("_", " "), text) for name, text in found.items()]
    return pd.DataFrame(lines, columns=["word", "meaning"])
