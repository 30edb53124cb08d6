"""Console: what a command prints stops no run, wherever it goes."""

import io
import logging
import os
import sys
from typing import Any


class _Lasting(io.FileIO):
    """A file that may go away: what is written from then on is lost."""

    def write(self, data: Any, /) -> int | None:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError:  # nobody reads the pipe, the terminal is gone, the disk is full
            return len(data)


def prepare() -> None:
    """Make standard streams that are there, take any text, and never fail.

    A stream that was closed leads to nowhere; what an encoding lacks is escaped.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # or else the next file that is opened would be what C code writes to
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, io.TextIOWrapper):
            continue  # not the system's
        there = number if stream else os.open(os.devnull, os.O_WRONLY)
        file = _Lasting(there, "w", closefd=False)
        by_line = number == 2 or file.isatty() or bool(stream and stream.write_through)
        text = io.TextIOWrapper(
            io.BufferedWriter(file),
            stream.encoding if stream else "utf-8",
            errors="backslashreplace",
            line_buffering=by_line,
        )
        setattr(sys, name, text)
    # Orbax, as it is imported, adds a handler; absl's own, added next, says all again.
    logging.root.handlers.clear()
