"""The guard: a tiny process that ends the supervisor's children when the supervisor itself is killed.

A killed supervisor cannot stop anything, and orphaned workers would go on consuming. The guard sits at the end of a pipe, knows every
process group that runs, and acts when the pipe closes. It needs no kernel feature, so it also works where PR_SET_PDEATHSIG does not exist,
and it reaches grandchildren. It is run as a plain script, so this file imports the standard library only.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

GRACE = 8.0
"""Seconds that the orphans of one depth have after their stop signal, before they are killed."""


class Guard:
    """The supervisor's end: tells the guard process which groups run."""

    def __init__(self, *, inherit: tuple[int, ...] = ()) -> None:
        """`inherit`: file descriptors that stay open until the last orphan is gone, such as a lock."""
        self._inherit = inherit
        self._groups: dict[int, tuple[int, int]] = {}
        self._process = self._spawn()

    def watch(self, group: int, stop_signal: int, depth: int) -> None:
        """From now on, send `stop_signal` to the process group `group` if the supervisor dies; the deepest first."""
        self._groups[group] = (stop_signal, depth)
        self._say(f"+ {group} {stop_signal} {depth}\n")

    def forget(self, group: int) -> None:
        """The group is gone; its number may soon belong to somebody else."""
        if self._groups.pop(group, None) is not None:
            self._say(f"- {group}\n")

    def restart_if_dead(self) -> None:
        """If somebody killed the guard process, start another one that knows the same groups."""
        if self._process.poll() is not None:
            self._process = self._spawn()
            self._say("".join(f"+ {group} {number} {depth}\n" for group, (number, depth) in self._groups.items()))

    def close(self) -> None:
        """Let the guard go. Groups that it still watches are stopped."""
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._inherit,
            cwd="/",
        )

    def _say(self, lines: str) -> None:
        # To a dead guard nothing can be said; `restart_if_dead` tells its successor.
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(lines.encode())
            self._process.stdin.flush()


def _signal(send: Callable[[int, int], None], target: int, number: int) -> bool:
    """Whether the target still exists."""
    try:
        send(target, number)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


def _end(groups: dict[int, tuple[int, int]]) -> None:
    # Workers before what they work on, or they would spend their last seconds asking for it.
    for depth in sorted({depth for _, depth in groups.values()}, reverse=True):
        ending = {group: number for group, (number, own) in groups.items() if own == depth}
        # The leader is told, and ends its own in order; what outlives it is killed.
        for leader, stop_signal in ending.items():
            _signal(os.kill, leader, stop_signal)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and any(_signal(os.kill, leader, 0) for leader in ending):
            time.sleep(0.05)
        for group in ending:
            _signal(os.killpg, group, signal.SIGKILL)


def main(supervisor: int) -> None:
    """Read `+ group signal depth` and `- group` lines until the supervisor (a process id) is gone, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, tuple[int, int]] = {}
    rest = b""
    orphaned = False
    while True:
        # A child that was forked without exec may hold the pipe open, so the parent's id is looked at as well. What was said before the end is
        # still in the pipe, and is read first.
        orphaned = orphaned or os.getppid() != supervisor
        if not select.select([0], [], [], 0 if orphaned else 0.5)[0]:
            if orphaned:
                break
            continue
        chunk = os.read(0, 4096)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            sign, *numbers = line.split()
            if sign == b"+":
                groups[int(numbers[0])] = (int(numbers[1]), int(numbers[2]))
            else:
                groups.pop(int(numbers[0]), None)
    _end(groups)


if __name__ == "__main__":
    main(int(sys.argv[1]))
