"""Report: from results.jsonl to tables, figures and a page, without JAX.

    python -m lth_jax.report WORKDIR [WORKDIR ...]

In a notebook, also while the run is on its way:

    rows = report.load("runs/digits")
    report.frame(rows, "test_accuracy")         # pandas, one row a replicate
    report.figures.by_density(rows)             # matplotlib
"""

from lth_jax.numbers import answers as answers
from lth_jax.numbers import bill as bill
from lth_jax.numbers import differences as differences
from lth_jax.numbers import frame as frame
from lth_jax.numbers import load as load
from lth_jax.numbers import matching as matching
from lth_jax.numbers import summary as summary
from lth_jax.numbers import table as table
from lth_jax.numbers import tidy as tidy
from lth_jax.report import figures as figures
from lth_jax.report.page import write as write
from lth_jax.report.results import Results as Results
