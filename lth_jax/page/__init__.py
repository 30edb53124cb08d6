"""Page: HTML of what others draw and write; knows nothing of rows."""

from lth_jax.page.document import Card as Card
from lth_jax.page.document import Group as Group
from lth_jax.page.document import details as details
from lth_jax.page.document import document as document
from lth_jax.page.document import table as table
from lth_jax.page.document import words as words
