"""Report: from results.jsonl to tables, figures and a page.

    python -m lth_jax.report WORKDIR [WORKDIR ...]

Needs neither JAX nor the run to be finished. In a notebook:

    rows = report.load("runs/digits")
    report.frame(rows, "test_accuracy")         # pandas, one row a replicate
    report.figures.by_density(rows)             # matplotlib
"""

from lth_jax.report import figures
from lth_jax.report.frames import differences, frame, load, matching, summary, table
from lth_jax.report.page import write

__all__ = [
    "differences",
    "figures",
    "frame",
    "load",
    "matching",
    "summary",
    "table",
    "write",
]
