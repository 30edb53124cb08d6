"""Numbers: results.jsonl as frames, tables and answers, without JAX or matplotlib."""

from lth_jax.numbers.answers import answers as answers
from lth_jax.numbers.frames import bill as bill
from lth_jax.numbers.frames import differences as differences
from lth_jax.numbers.frames import frame as frame
from lth_jax.numbers.frames import matching as matching
from lth_jax.numbers.frames import summary as summary
from lth_jax.numbers.rows import load as load
from lth_jax.numbers.rows import tidy as tidy
from lth_jax.numbers.tables import table as table
