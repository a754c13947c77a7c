"""Events into a file, one CloudEvent as JSON a line (NDJSON): `file:///var/lib/beat/events.ndjson`.

Options: `max_bytes` (default 100 MB) is the size from which a file is renamed to `<name>.<number>` and a new one begun; `keep` (default 10) is how many of
those are kept. **The oldest are deleted, whether or not somebody has read them.** The numbers rise and are never used again while a file is there.

A batch is appended with one write and fsync, and its events count as stored after that. A batch that does not fit on the disk is cut off again. A line
that a crash left without its end is removed when the file is opened, and the relay sends its event again. So an event may have two lines with the same
id, in case of a crash after the write, and no line is torn. Replays are lines with the attribute `replay`.

Another program may rename or remove the file at any time: the sink then begins a new one. Only one process writes to it, which a lock ensures.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from beat_actors.errors import BadSettings
from beat_actors.events.envelope import structured
from beat_actors.events.sink import Event, Place, Refusal, SinkUnavailable, Trouble
from beat_actors.events.sinks.holding import Holding
from beat_actors.events.sinks.options import Options

Result = TypeVar("Result")
MAX_BYTES, LEAST, KEEP = 100_000_000, 10_000, 10
TIMEOUT = 10.0
"""Seconds for a write with its fsync."""
BLOCK, LONGEST = 1 << 16, 1 << 24
"""Bytes that are read at once in search of the last whole line, and those of the longest line: a file without a line end in them is none of ours."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
CLOSED = "the file is closed"


class NdjsonFile:
    """All that touches the file runs in one thread, so calls are written in their order and the event loop waits for no disk."""

    in_order = True

    def __init__(self, place: Place) -> None:
        options = Options(place, ("max_bytes", "keep"))
        if options.parts.hostname or not options.parts.path.startswith("/") or options.parts.path.endswith("/"):
            raise BadSettings("the URL is not of the form file:///folder/name with an absolute path")
        self._place = place
        self._path = Path(unquote(options.parts.path))
        self._max_bytes = options.size("max_bytes", least=LEAST) or MAX_BYTES
        self._keep = options.number("keep", KEEP, least=0, most=10_000)
        self._file = self._new_file()
        self._thread: ThreadPoolExecutor | None = None
        self._turn = asyncio.Lock()
        self._holding = Holding()

    async def open(self, position: int = 0) -> None:  # noqa: ARG002
        await self.close()
        # A thread that waits for a broken disk keeps its own file, and the lock of it.
        self._file = self._new_file()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-file")
        try:
            await self._run(self._file.open)
        except BaseException:
            await self.close()
            raise

    def _new_file(self) -> "RotatedFile":
        return RotatedFile(self._path, max_bytes=self._max_bytes, keep=self._keep)

    async def publish(self, events: Sequence[Event]) -> Mapping[int, Refusal]:
        refused: dict[int, Refusal] = {}
        lines: list[bytes] = []
        for number, event in enumerate(events):
            try:
                # A line end can only stand between two tokens of JSON.
                lines.append(structured(event, self._place).replace(b"\n", b" ") + b"\n")
            except ValueError as error:
                refused[number] = Refusal(Trouble.INVALID, str(error))
        if not lines:
            return refused
        thread, first = self._thread, min((event.seq for event in events if not event.replay), default=0)
        async with self._turn:
            if thread is not self._thread:
                raise SinkUnavailable(Trouble.UNREACHABLE, CLOSED)
            full = self._holding.refusal(first) if first else None
            if full is None and not await self._run(partial(self._file.append, b"".join(lines))):
                full = Refusal(Trouble.FULL, f"there is no room on the disk for {self._path}")
                if first:
                    self._holding.hold(first, full)
        if full is not None:
            refused = {number: refused.get(number, full) for number in range(len(events))}
        return refused

    def trouble(self) -> Refusal | None:
        return None

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.get_running_loop().run_in_executor(thread, self._file.close)
            thread.shutdown(wait=False)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(asyncio.shield(closing), 1)

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Raises `SinkUnavailable` for a disk that does not answer, and for any error of the file."""
        thread = self._thread
        if thread is None:
            raise SinkUnavailable(Trouble.UNREACHABLE, CLOSED)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await asyncio.get_running_loop().run_in_executor(thread, work)
        except TimeoutError:
            found = SinkUnavailable(Trouble.NO_CONFIRM, f"the disk of {self._path} does not answer")
        except OSError as error:
            found = _unavailable(error, self._path)
        if thread is self._thread:  # it was not opened again meanwhile
            await self.close()
        raise found


class RotatedFile:
    """A file that is appended to in whole lines. Its methods block, and raise `OSError` and `SinkUnavailable`."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> None:
        """Open or create the file, lock it, and cut off a line without an end."""
        self.close()
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SinkUnavailable(Trouble.UNREACHABLE, f"{self.path} is no file")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_at_path(descriptor):
                    self._size = _cut(descriptor, self.path)
                    self._descriptor = descriptor
            finally:
                if self._descriptor is None:  # an error, or it was renamed before it was locked
                    os.close(descriptor)
        _sync_folder(self.path.parent)

    def append(self, lines: bytes) -> bool:
        """Write whole lines and wait until the disk has them. False if there was no room: then nothing of them is there."""
        if self._descriptor is None or not self._is_at_path(self._descriptor):
            self.open()
        if self._size and self._size + len(lines) > self._max_bytes:
            self._rotate()
        assert self._descriptor is not None
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            if error.errno in NO_ROOM:
                return False
            raise
        self._size += len(lines)
        return True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_at_path(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def _rotate(self) -> None:
        """Rename the file, begin a new one, and delete those above `keep`."""
        form = re.compile(re.escape(self.path.name) + r"\.(\d{6,})")
        found = {int(match[1]): entry for entry in self.path.parent.iterdir() if (match := form.fullmatch(entry.name))}
        number = max(found, default=0) + 1
        found[number] = self.path.with_name(f"{self.path.name}.{number:06}")
        self.path.rename(found[number])
        self.open()
        for old in sorted(found)[: max(0, len(found) - self._keep)]:
            found[old].unlink(missing_ok=True)


def _cut(descriptor: int, path: Path) -> int:
    """Remove what stands behind the last line end; the size that is left."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
        if size - end > LONGEST:
            raise SinkUnavailable(Trouble.UNREACHABLE, f"{path} holds something else than lines of JSON")
    if end < size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return end


def _sync_folder(folder: Path) -> None:
    """Make the names in it last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: OSError, path: Path) -> SinkUnavailable:
    said = os.strerror(error.errno) if error.errno else type(error).__name__
    if isinstance(error, BlockingIOError):
        return SinkUnavailable(Trouble.BLOCKED, f"another process writes to {path}")
    if error.errno in NO_ROOM:
        return SinkUnavailable(Trouble.FULL, f"there is no room on the disk for {path}: {said}")
    if error.errno in FORBIDDEN:
        return SinkUnavailable(Trouble.AUTH, f"this process may not write to {path}: {said}")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SinkUnavailable(Trouble.UNREACHABLE, f"the folder {path.parent} does not exist; create it")
    return SinkUnavailable(Trouble.UNREACHABLE, f"{path} cannot be written to: {said}")
