"""What a run costs: the CPU and the memory of every process that was started after the meter, the servers being older."""

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import psutil

EVERY = 0.2
"""Seconds between two looks. A process that ends in between counts with what it had used at the last one."""


class Meter:
    """Use it in a `with` block around a run, in the process that starts what is to be measured."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._before = {child.pid for child in self._me.children()}
        self._used: dict[psutil.Process, float] = {}
        self._samples: list[tuple[float, float]] = [(time.time(), 0.0)]
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def cpu(self, started: float, ended: float) -> float:
        """Seconds of user and system time between two times (seconds since the epoch)."""
        return self._at(ended) - self._at(started)

    @property
    def peak(self) -> int:
        """Bytes: the highest sum of the processes' resident sets; pages that they share count in each."""
        return self._peak

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            resident = 0
            for process in self._family():
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    self._used[process] = times.user + times.system
                    resident += process.memory_info().rss
            self._samples.append((time.time(), sum(self._used.values())))
            self._peak = max(self._peak, resident)

    def _family(self) -> Iterator[psutil.Process]:
        for child in self._me.children():
            if child.pid not in self._before:
                yield child
                with contextlib.suppress(psutil.Error):
                    yield from child.children(recursive=True)

    def _at(self, moment: float) -> float:
        """CPU seconds used until then, in a straight line between two looks."""
        place = bisect_left(self._samples, (moment, 0.0))
        if place == 0 or place == len(self._samples):
            return self._samples[min(place, len(self._samples) - 1)][1]
        (before, low), (after, high) = self._samples[place - 1 : place + 1]
        return low + (high - low) * (moment - before) / (after - before)
