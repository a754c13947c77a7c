"""A server as a process of its own that a test kills and starts again."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Process:
    """`ready` returns whether it answers. Its output goes to the file `log`."""

    def __init__(self, argv: Sequence[str], ready: Callable[[], bool], *, log: Path, cwd: Path | None = None) -> None:
        self._argv = argv
        self._ready = ready
        self._log = log
        self._cwd = cwd
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers; nothing if it runs."""
        if self._running is not None:
            return
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._cwd
            )
        until = time.monotonic() + 60
        while not self._ready():
            assert self._running.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < until, self._log.read_text()[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """As a crash; nothing if it does not run."""
        if self._running is not None:
            self._running.kill()
            self._running.wait(30)
            self._running = None
