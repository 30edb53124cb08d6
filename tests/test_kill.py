"""Real kills of real runs; `kill.py` does more."""

import signal

import kill
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "kills"), [(signal.SIGKILL, 50), (signal.SIGTERM, 5)]
)
def test_a_run_that_is_killed_loses_nothing(number, kills, tmp_path):
    found = kill.attack(tmp_path, kills, number)
    assert found.kills == kills
    assert found.runs >= 1
    assert bool(found.seconds) == (number == signal.SIGTERM)
    assert all(seconds < 30 for seconds in found.seconds)


@pytest.mark.slow
def test_a_run_whose_masks_move_loses_nothing(tmp_path):
    found = kill.attack(tmp_path, 20, signal.SIGKILL, seed=1, overrides=kill.MOVING)
    assert found.kills == 20
    assert found.runs >= 1
