"""Described: every field in words, for help, completion and configs of one's own."""

import itertools
from collections.abc import Iterator

from lth_jax.config.table import FIELDS, Field

_GROUPS = {
    "": "of the whole run",
    "data": "what is trained on",
    "task": "what is learnt",
    "model": "the network",
    "optim": "the optimizer",
    "train": "how long, and on what",
    "prune": "how masks are made",
    "move": "how masks move",
    "rewind": "where tickets start",
    "sweep": "what members of a fleet differ in",
    "study": "what studies measure",
}


def groups() -> Iterator[tuple[str, list[tuple[str, Field]]]]:
    """Yield the groups of fields, each with a heading.

    Example:
        >>> heading, fields = next(groups())
        >>> heading, fields[0][0]
        ('config: of the whole run', 'seed')
    """
    fields = sorted(FIELDS.items(), key=lambda item: [*_GROUPS].index(_group(item[0])))
    for name, its in itertools.groupby(fields, lambda item: _group(item[0])):
        yield f"config{'.' * bool(name)}{name}: {_GROUPS[name]}", [*its]


def text() -> str:
    """Return every field with its default and comment, in groups."""
    lines = []
    for heading, its in groups():
        lines += ["", heading]
        for name, field in its:
            lines.append(f"  --config.{name}={field.default!r}".rstrip())
            if said := comment(field):
                lines.append(f"      {said}")
    return "\n".join(lines[1:])


def comment(field: Field) -> str:
    """Return what a field means and may be, on one line."""
    known = f"one of {', '.join(filter(None, field.choices))}" if field.choices else ""
    return "; ".join(filter(None, [field.comment, known]))


def _group(name: str) -> str:
    return name.rpartition(".")[0] and name.split(".")[0]
