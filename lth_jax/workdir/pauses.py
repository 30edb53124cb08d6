"""Interruption: when a training pauses to save, and when it gives way."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from lth_jax.devices import processes
from lth_jax.errors import Told
from lth_jax.workdir import checkpoints as checkpoint


class Interrupted(Told):
    """The process was asked to end. Everything is saved; the same command goes on."""

    def _render_traceback_(self) -> list[str]:
        return [f"{self}: run the cell again"]


class Interruption:
    """Within it, SIGTERM and the first SIGINT are heard at the next pause.

    So is the notice that a cluster's machines are about to be taken away, where Orbax
    knows of one. A pause is also due when some time has passed since the last one. A
    second SIGINT ends the process at once. Python hears signals in the main thread
    alone: in another one, they stay with whoever handled them before.

    Between pauses there are so many seconds; 0 for none but those of signals.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds or float("inf")
        self._since = time.monotonic()
        self._signal: signal.Signals | None = None
        self._asked = 0
        self._preempted = False
        self._handlers = {}

    def __enter__(self) -> "Interruption":
        main = threading.current_thread() is threading.main_thread()
        for number in (signal.SIGTERM, signal.SIGINT) if main else ():
            self._handlers[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._handlers.items():
            # None: it was not set by Python, and cannot be set by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if kind is None:  # a signal after the last pause
            self.handle(lambda: None)

    def due(self) -> bool:
        """Say whether it is time to pause, by any process."""
        late = time.monotonic() - self._since > self._seconds
        self._asked += 1
        self._preempted |= checkpoint.preempted(self._asked)
        return processes.agree(self._called or late)

    def handle(self, settle: Callable[[], None]) -> None:
        """Go on after a pause, or settle and raise Interrupted if a signal asked to."""
        if processes.agree(self._called):
            settle()
            notice = "preemption" if self._preempted else "another process's signal"
            name = self._signal.name if self._signal else notice
            raise Interrupted(f"{name}: saved; the same command goes on")
        self._since = time.monotonic()

    @property
    def _called(self) -> bool:
        """Whether this process was asked to end."""
        return bool(self._signal) or self._preempted

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = signal.Signals(number)
        # The system's own way of ending, which waits for nothing.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
