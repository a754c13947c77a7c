"""The bounded buffer between the loggers and the stream. Its own thread writes, so that a full disk or a slow reader stops no work."""

import contextlib
import os
import select
import threading
import time
from collections import deque

MOST_BYTES = 4 << 20
"""Of lines that wait to be written. A line that finds no room is lost, and counted."""
WRITER = "logs"
"""The name of the thread that writes."""
TOLD_FOR = 600.0
"""Seconds after the last loss for which the process reports it."""


class LogBuffer:
    """Takes lines for the file descriptor `fd`; any thread may write. The thread starts with the first line, in each process anew after a fork."""

    def __init__(self, fd: int, *, most: int = MOST_BYTES) -> None:
        self._fd = fd
        self._most = most
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # The lines that wait are the parent's, and its thread is not in the child.
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._lost_at = 0.0

    @property
    def lost(self) -> int:
        """Lines of this process that were not written."""
        return self._lost

    def said(self) -> str | None:
        """A sentence on the lines that were lost, while the last loss is recent."""
        with self._changed:
            if not self._lost or time.monotonic() - self._lost_at > TOLD_FOR:
                return None
            return f"{self._lost} lines of its log could not be written: the device is full, or the reader of the pipe is slow or gone"

    def write(self, text: str) -> None:
        """Take a line. Never waits for the stream, and raises nothing on its behalf."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            if self._size + len(line) > self._most:
                self._lose()
                return
            try:
                self._run()
            except RuntimeError:  # no thread is to be had, now
                self._lose()
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """What a stream has to have; its writer does not wait."""

    def drain(self, seconds: float) -> None:
        """Wait until all lines are written, for some seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, seconds)

    def _run(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._write_for_ever, name=WRITER, daemon=True)
            thread.start()
            self._thread = thread

    def _lose(self) -> None:
        self._lost += 1
        self._lost_at = time.monotonic()

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines[0]
            written = self._put(line)
            with self._changed:
                self._lines.popleft()
                self._size -= len(line)
                if not written:
                    self._lose()
                self._changed.notify_all()

    def _put(self, line: bytes) -> bool:
        """Whether the whole line was written."""
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:
                with contextlib.suppress(OSError):
                    select.select([], [self._fd], [], 1.0)
            except (OSError, ValueError):
                return False
        return True
