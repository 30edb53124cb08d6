"""Machine: what this process may use of it."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")  # of the file system


def cores() -> int:
    """Return the number of cores that this process may keep busy.

    A container's share of them is rounded up: 1.5 cores are the time of two that rest
    now and then, and none would be left over.
    """
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:  # macOS
        found = os.cpu_count() or 1
    return math.ceil(min([found, *_shares()]))


def _shares() -> Iterator[float]:
    """Yield how many cores' time Linux gives this control group and those around."""
    try:
        groups = (_ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, place = group.split(":", 2)
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")  # of version 1
        if not controllers:
            files = ("cpu.max",)  # of version 2
        elif "cpu" not in controllers.split(","):
            continue
        top = _ROOT / "sys/fs/cgroup" / controllers
        here = top / place.lstrip("/")
        for folder in (here, *here.parents):
            # Some are not there, and some say "max", or -1.
            with contextlib.suppress(OSError, ValueError):
                texts = ((folder / name).read_text() for name in files)
                quota, period = map(int, " ".join(texts).split())
                if quota > 0:
                    yield quota / period
            if folder == top:
                break
