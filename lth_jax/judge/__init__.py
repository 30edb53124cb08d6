"""Judge: whether masks are a winning ticket, and how sure one can be.

    python -m lth_jax.judge MASKS --config=configs/lenet.py --workdir=runs/judged

The masks may come from any tool. They are trained beside what else the same number of
weights could be: shuffled, with new weights, at random, another seed's, and what
magnitude pruning finds after training. Every claim is decided by paired tests, for all
claims together.
"""

from typing import Any

from lth_jax.judge import claims
from lth_jax.judge.claims import Finding as Finding
from lth_jax.judge.claims import Verdict as Verdict

verdict = claims.judge


def __getattr__(name: str) -> Any:
    import importlib  # what trains is imported when it is used

    if name == "judge":
        return importlib.import_module("lth_jax.judge.trials").judge
    if name == "planted":
        return importlib.import_module("lth_jax.judge.planted")
    raise AttributeError(f"module 'lth_jax.judge' has no attribute {name!r}")
