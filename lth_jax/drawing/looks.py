"""Looks: how branches and runs are drawn, the same in all figures."""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib

STYLES = {
    "dense": ("#000000", "", "--"),
    "ticket": ("#0072B2", "o", "-"),
    "random_reinit": ("#D55E00", "s", "-"),
    "shuffled_mask": ("#009E73", "^", "-"),
    "random_mask": ("#CC79A7", "v", "-"),
    "rewind_0": ("#E69F00", "D", "-"),
    "fine_tune": ("#56B4E9", "P", "-"),
    "fine_tune_small": ("#56B4E9", "X", ":"),
    "long": ("#8C564B", "<", "-"),
    "cross_lr": ("#7F7F7F", ">", "-"),
    "dense_equal_bill": ("#6A3D9A", "s", ":"),
    "uniform_mask": ("#999933", "s", ":"),
    "erk_mask": ("#999933", "o", "-"),
    "table_mask": ("#999933", "^", "-."),
    "set": ("#AA3377", "^", "-"),
    "rigl": ("#AA3377", "o", "-"),
    "rigl_3": ("#AA3377", "D", ":"),
    "gmp": ("#332288", "o", "-"),
    "inverted_mask": ("#882255", "v", "-"),
    "sibling_mask": ("#882255", "o", "-"),
    "transported": ("#882255", "D", "-."),
    "union_mask": ("#882255", "^", ":"),
    "intersection_mask": ("#882255", "s", ":"),
    "signs": ("#117733", "o", "-"),
    "magnitudes": ("#117733", "^", ":"),
    "permuted": ("#117733", "v", ":"),
    "noise_0.5": ("#117733", "s", "-."),
    "noise_1": ("#117733", "D", "-."),
    "noise_2": ("#117733", "P", "-."),
}
_COLORS = ("#AA3377", "#999933", "#332288", "#882255")
_OTHERS = [(color, marker, "-") for marker in "*hpd8" for color in _COLORS]
RUNS = [*zip(2 * ("-", "--", ":", "-.", (0, (5, 1))), "os^DvPX<>*")]
_PAGE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.facecolor": "none",
    "figure.labelsize": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
}


@contextlib.contextmanager
def looks() -> Iterator[None]:
    """Draw as on the page, whatever a matplotlibrc or a notebook has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_PAGE)
        yield


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """Take no text for a formula: names may have dollars."""
    with matplotlib.rc_context({"text.parse_math": False}):
        yield


def style(branch: str, own: Iterable[str] = ()) -> dict[str, Any]:
    """Return how a branch is drawn: the same in all figures, unlike others of `own`."""
    looks = dict(STYLES)
    for name in sorted({branch, *own} - STYLES.keys()):
        first = zlib.crc32(name.encode()) % len(_OTHERS)
        places = [*_OTHERS[first:], *_OTHERS[:first]]
        looks[name] = next((p for p in places if p not in looks.values()), places[0])
    return dict(zip(("color", "marker", "linestyle"), looks[branch]))
