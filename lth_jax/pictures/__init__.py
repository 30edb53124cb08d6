"""Pictures: tickets themselves, as images.

    python -m lth_jax.pictures WORKDIR

In a notebook, also while the run is on its way:

    seen = pictures.see("runs/digits")
    pictures.inputs(seen)                       # matplotlib
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lth_jax import drawing
from lth_jax.paths import local
from lth_jax.pictures.draw import PICTURES as PICTURES
from lth_jax.pictures.draw import dead as dead
from lth_jax.pictures.draw import flipped as flipped
from lth_jax.pictures.draw import inputs as inputs
from lth_jax.pictures.draw import shared as shared
from lth_jax.pictures.draw import times_chance as times_chance
from lth_jax.pictures.draw import weights as weights
from lth_jax.pictures.reading import see as see
from lth_jax.pictures.seen import Seen as Seen


def write(workdir: Path | str, **which: Any) -> list[Path]:
    """Write all pictures of a run's tickets as PNG and SVG; return the SVGs' paths.

    They go to `pictures` in the run's folder, where `report.write` finds them.

    Args:
        workdir: folder of the run.
        which: as of `see`.

    Raises:
        ExportError, CheckpointError: as of `see`.
    """
    seen, found = see(workdir, **which), {}
    directory = local(workdir) / "pictures"
    directory.mkdir(exist_ok=True)
    with drawing.looks():
        for draw, title in PICTURES.items():
            if isinstance(figure := draw(seen), Figure):
                drawing.save(figure, directory / draw.__name__)
                found[draw.__name__] = f"{title}, {seen.name}" if seen.name else title
    (directory / "titles.json").write_text(json.dumps(found, indent=2))
    return [directory / f"{name}.svg" for name in found]
