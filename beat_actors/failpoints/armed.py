"""The actions of failpoints, and how they are armed. Belongs to the `rehearsal` extra; loaded only in a rehearsal with `BEAT_FAILPOINTS` set.

The variable holds `point=action` pairs, separated by commas:

    retrieve.after_http=kill@3                   the third time that this process comes by
    ingest.parse~lama+creator_000007=kill        each time, where these words stand in what is at hand
    process.after_claim=pause:10@1               SIGSTOP, and SIGCONT after ten seconds

or `@FILE`, a file of such pairs, one a line, that is read again at each hit. All processes with the same file count together, so
`@1` is once among them, whatever is started anew meanwhile; and what fired stands in `FILE.fired`, a JSON object a line.
"""

import fcntl
import logging
import os
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from beat_actors.errors import BadSettings
from beat_actors.failpoints import POINTS, VARIABLE, Register

SPEC = re.compile(
    r"(?P<point>[a-z]+\.[a-z_]+)(~(?P<words>[^=\s]+))?=(?P<action>kill|raise|pause:(?P<seconds>[0-9.]+))(@(?P<nth>[0-9]+))?"
)


class FailpointHit(RuntimeError):
    """A failpoint was armed with `raise`."""


@dataclass(frozen=True, slots=True)
class Armed:
    """One `point=action`. `nth`: only that time, counted from 1; else each time. `words`: only where all stand in the subject."""

    text: str
    point: str
    action: str
    seconds: float = 0.0
    nth: int | None = None
    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Armed":
        """Raises `BadSettings` for what is not a failpoint."""
        found = SPEC.fullmatch(text)
        if found is None or found["point"] not in POINTS:
            raise BadSettings(f"{VARIABLE}: {text!r} is not point=action[@n]; the points are {', '.join(POINTS)}")
        words = tuple(found["words"].split("+")) if found["words"] else ()
        nth, seconds = found["nth"], found["seconds"]
        action = found["action"].partition(":")[0]
        return cls(text, found["point"], action, float(seconds or 0), int(nth) if nth else None, words)

    def matches(self, point: str, subject: object) -> bool:
        if self.point != point:
            return False
        return all(re.search(rf"\b{re.escape(word)}\b", str(subject)) for word in self.words)

    def carry_out(self) -> None:
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "pause":
            # Somebody else has to wake us, and must live on if our process group is ended meanwhile.
            wake = f"sleep {self.seconds}; kill -CONT {os.getpid()}"
            subprocess.Popen(  # noqa: S603 - numbers alone
                ("/bin/sh", "-c", wake), start_new_session=True, stdout=subprocess.DEVNULL
            )
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.1)  # another thread may take the signal, and this one would go on until then
        else:
            raise FailpointHit(f"the failpoint {self.point} was armed to raise")


class Fired(msgspec.Struct, frozen=True):
    """A line of the register's record: the `nth` hit of `armed`. `at` is this machine's clock in epoch seconds."""

    armed: str
    point: str
    nth: int
    fired: bool
    at: float
    pid: int
    subject: str


class OwnRegister:
    """Armed for the life of this process, which counts for itself."""

    def __init__(self, text: str) -> None:
        self._armed = [Armed.parse(part.strip()) for part in text.split(",") if part.strip()]
        self._hits: Counter[Armed] = Counter()

    def hit(self, point: str, subject: object) -> None:
        for armed in self._armed:
            if armed.matches(point, subject):
                self._hits[armed] += 1
                if armed.nth in (None, self._hits[armed]):
                    armed.carry_out()


class SharedRegister:
    """Armed by a file, and counted in another beside it, by all processes together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = path.with_name(f"{path.name}.fired")

    def arm(self, *texts: str) -> None:
        """Replace what is armed, and forget what fired. Raises `BadSettings`."""
        for text in texts:
            Armed.parse(text)
        self._record.write_bytes(b"")
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_text("".join(f"{text}\n" for text in texts))
        fresh.replace(self._path)

    def hits(self) -> list[Fired]:
        """The hits of what is armed, in order. Where only the nth one counts, no later one is written down."""
        try:
            return [msgspec.json.decode(line, type=Fired) for line in self._record.read_bytes().splitlines()]
        except FileNotFoundError:
            return []

    def hit(self, point: str, subject: object) -> None:
        try:
            texts = self._path.read_text().splitlines()
        except FileNotFoundError:
            return
        due = [armed for armed in map(Armed.parse, texts) if armed.matches(point, subject)]
        for armed in due:
            if self._count(armed, subject):
                armed.carry_out()

    def _count(self, armed: Armed, subject: object) -> bool:
        """Write the hit down, unless the one that counts is past; whether it is that one."""
        with self._record.open("ab") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            nth = 1 + sum(1 for hit in self.hits() if hit.armed == armed.text)
            if armed.nth is not None and nth > armed.nth:
                return False
            fired = armed.nth in (None, nth)
            line = Fired(armed.text, armed.point, nth, fired, time.time(), os.getpid(), str(subject))
            record.write(msgspec.json.encode(line) + b"\n")
        return fired


def register(text: str) -> Register:
    """What the value of `BEAT_FAILPOINTS` arms. Raises `BadSettings`."""
    # Before the logs are set up: this is read at import.
    logging.getLogger(__name__).warning("failpoints are armed: %s=%s", VARIABLE, text)
    return SharedRegister(Path(text[1:])) if text.startswith("@") else OwnRegister(text)
