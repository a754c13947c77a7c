"""A file in a folder that is moved away, as a disk that is unmounted, and limited, as a disk that is full."""

import resource
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from beat_actors.events.sink import Place
from beat_actors.events.sinks.conformance import Arrived, Stand
from beat_actors.events.sinks.registry import make_sink


@dataclass(frozen=True)
class FileStand:
    folder: Path
    place: Place
    secrets: Sequence[str] = ()
    once: bool = False
    make = staticmethod(make_sink)

    @property
    def path(self) -> Path:
        return self.folder / "events.ndjson"

    async def arrived(self) -> Sequence[Arrived]:
        return [read(line) for line in self.path.read_bytes().splitlines(keepends=True)] if self.path.exists() else []

    def stop(self) -> None:
        if self.folder.exists():
            self.folder.rename(self.folder.with_suffix(".away"))

    def start(self) -> None:
        if not self.folder.exists():
            self.folder.with_suffix(".away").rename(self.folder)

    def fill(self) -> bool:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.path.stat().st_size + 700, most))
        return True

    def drain(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def wrong_login(self) -> None:
        return None


def read(line: bytes) -> Arrived:
    assert line.endswith(b"\n")
    whole = msgspec.json.decode(line)
    data = msgspec.json.encode(whole["data"]).decode()
    return Arrived.of(whole, data)


@contextmanager
def stands(folder: Path) -> Iterator[Callable[[], Stand]]:
    def stand() -> Stand:
        own = folder / uuid.uuid4().hex
        own.mkdir()
        return FileStand(own, Place("test", f"file://{own}/events.ndjson"))

    yield stand
