"""Interruptions: heard at the next pause; who asks twice does not wait for one."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import orbax.checkpoint as ocp
import pytest

from lth_jax.workdir.pauses import Interrupted, Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_at_the_next_pause(number):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    settled = []
    said = pytest.raises(Interrupted, match=f"^{number.name}: saved")
    with said, Interruption(0.0) as interruption:
        assert not interruption.due()
        os.kill(os.getpid(), number)
        assert interruption.due()
        interruption.handle(lambda: settled.append(number))
    assert settled == [number]
    assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]


def test_in_another_thread_signals_stay_with_whoever_heard_them():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]

    def work():
        with Interruption(0.0) as interruption:
            within = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
            return within, interruption.due()

    with ThreadPoolExecutor() as threads:
        assert threads.submit(work).result() == (before, False)
    assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]


def test_a_handler_that_python_did_not_set_is_no_error(monkeypatch):
    given = []
    monkeypatch.setattr(signal, "signal", lambda *given_: given.append(given_))
    with Interruption(0.0):
        pass
    assert given[2:] == [(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGINT)]


def test_a_preemption_is_heard_as_a_signal_is(monkeypatch):
    calls = []
    monkeypatch.setattr(
        ocp.utils, "reached_preemption", lambda n: calls.append(n) or n == 2
    )
    said = pytest.raises(Interrupted, match="^preemption: saved")
    with said, Interruption(0.0) as interruption:
        assert not interruption.due()
        assert interruption.due()
        assert interruption.due()  # the notice comes once
        interruption.handle(lambda: None)
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_last_pause_is_not_lost(number):
    with pytest.raises(Interrupted, match=f"^{number.name}: "), Interruption(0.0):
        os.kill(os.getpid(), number)


def test_an_error_is_not_hidden_by_a_signal():
    with pytest.raises(KeyError), Interruption(0.0):
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError


def test_a_pause_is_due_when_its_time_has_come():
    with Interruption(1e-9) as interruption:
        assert interruption.due()
        interruption.handle(lambda: pytest.fail("nobody leaves"))
    with Interruption(3600.0) as interruption:
        assert not interruption.due()


ENDLESS = """
from lth_jax.workdir.pauses import Interruption
with Interruption(0.0) as interruption:
    print("begun", flush=True)
    while not interruption.due():
        pass
    print("heard", flush=True)
    while True:
        pass
"""


def test_a_second_sigint_ends_the_process_at_once():
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, stdout=-1, stderr=-1) as process:
        for said in (b"begun\n", b"heard\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
        assert process.stderr.read() == b""
