"""Real kills of real runs: five by SIGKILL, five by SIGTERM; `kill.py` does more."""

import signal

import kill
import pytest


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_loses_nothing(number, tmp_path):
    found = kill.attack(tmp_path, 5, number)
    assert found.kills == 5
    assert found.runs >= 1
    assert bool(found.seconds) == (number == signal.SIGTERM)
    assert all(seconds < 30 for seconds in found.seconds)
