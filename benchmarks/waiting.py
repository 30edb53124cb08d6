"""Waiting: how long an accelerator has nothing to do, by a trace of JAX's profiler."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# What a device does stands in these rows; others say of which program it is part.
_AT_WORK = ("Stream", "XLA Ops")

Spans = Iterable[tuple[float, float]]


def share(folder: Path) -> float | None:
    """Return the share of a trace's time in which its device waits.

    From the first to the last thing that the device does; None if the trace shows no
    device, as on a CPU.

    Args:
        folder: that `jax.profiler.trace` was given, with one trace.
    """
    (file,) = folder.rglob("*.trace.json.gz")
    with gzip.open(file) as trace:
        spans = sorted(at_work(json.load(trace)["traceEvents"]))
    if not spans:
        return None
    begin, end = spans[0][0], max(stop for _, stop in spans)
    return 1 - covered(spans) / (end - begin)


def at_work(events: list[dict[str, Any]]) -> Spans:
    """Yield (begin, end) of all that devices do, in microseconds."""
    named = {"process_name": {}, "thread_name": {}}
    for event in events:
        if (names := named.get(event.get("name", ""))) is not None:
            names[event["pid"], event.get("tid")] = event["args"]["name"]
    devices = {
        pid
        for (pid, _), name in named["process_name"].items()
        if name.startswith("/device:") and not name.startswith("/device:CPU")
    }
    for event in events:
        row = named["thread_name"].get((event.get("pid"), event.get("tid")), "")
        if event.get("pid") in devices and row.startswith(_AT_WORK) and "dur" in event:
            yield event["ts"], event["ts"] + event["dur"]


def covered(spans: Spans) -> float:
    """Return how long at least one of some spans lasts, in order of their begin.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    4
    """
    total, until = 0, float("-inf")
    for begin, end in spans:
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total
