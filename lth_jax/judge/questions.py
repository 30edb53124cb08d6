"""Questions: what is asked of masks, and of which branches."""

from typing import NamedTuple


class Question(NamedTuple):
    """What is asked of masks."""

    claim: str  # what is said, as "beats its own shuffle"
    shown: str  # what follows
    refuted: str  # what follows where it does not hold
    other: str  # the trial that it is compared with
    better: bool  # said to be better, or else as good


QUESTIONS = {
    "dense": Question(
        "matches dense",
        "as good as the dense network: a matching ticket",
        "worse than the dense network: no matching ticket",
        "dense",
        False,
    ),
    "positions": Question(
        "beats its own shuffle",
        "which weights of a layer are kept matters, not how many alone",
        "as many weights of each layer do as well, wherever they are",
        "shuffled",
        True,
    ),
    "weights": Question(
        "beats its own reinitialisation",
        "the weights under the masks matter",
        "new weights under the masks do as well",
        "reinit",
        True,
    ),
    "random": Question(
        "beats a random mask",
        "better than as many weights anywhere",
        "as many weights anywhere do as well",
        "random",
        True,
    ),
    "seed": Question(
        "beats another seed's mask",
        "the masks belong to their own seeds",
        "another seed's masks do as well",
        "sibling",
        True,
    ),
    "found": Question(
        "comes near magnitude pruning after training",
        "as good as what magnitude pruning and rewinding find here",
        "magnitude pruning and rewinding find better ones here",
        "found",
        False,
    ),
}
# By the branch that is judged: the branches that are its trials.
TRIALS: dict[str, dict[str, str]] = {
    "given": {
        "dense": "dense",
        "shuffled": "given_shuffled",
        "reinit": "given_reinit",
        "random": "given_random",
        "sibling": "given_sibling",
        "found": "ticket",
    },
    "ticket": {
        "dense": "dense",
        "shuffled": "shuffled_mask",
        "reinit": "random_reinit",
        "random": "random_mask",
        "sibling": "sibling_mask",
    },
}
