"""The machine, as far as it says what it is."""

import os

from lth_jax import machine


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    assert machine.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert machine.cores() == os.cpu_count()
