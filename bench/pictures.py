"""What becomes of hostile and misleading pictures, what memory they take, and what it costs to examine a clean one: `make pictures`.

Each is uploaded by what uploads in production, from an origin into a strict S3. What was stored is read back and compared. The command fails if
anything is stored that must not be, or a good picture is not stored, or one of them takes too much memory of the process that uploads.
"""

import asyncio
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psutil
from PIL import Image

from beat_actors.assets.claims import Claimed
from beat_actors.assets.commits import End, State
from beat_actors.assets.origin import Origin
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.storing import Storing
from beat_actors.assets.upload import Upload
from beat_actors.media.content import examined
from beat_actors.media.conversion import Converters
from beat_actors.media.picture import Picture
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from bench import lies
from bench.uploads import process

OCTETS = 40_000
PICTURES = 200
ROUNDS = 25
BUCKET = "bench-lies"
MOST_MEMORY, MOST_MICROSECONDS = 64_000_000, 50.0


def jpeg(octets: int = OCTETS) -> bytes:
    """A noisy JPEG with EXIF of about that many bytes: of all pictures of its size it has the most bytes FF."""
    data = Image.Exif()
    data[0x010E] = "a description"
    data.get_ifd(0x8825)[2] = (49.0, 16.0, 57.0)
    side = round((octets / 0.44) ** 0.5)  # at this quality, noise takes 0.44 bytes a pixel
    into = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(into, "JPEG", quality=50, exif=data.tobytes())
    return into.getvalue()


def cleaning(data: bytes) -> float:
    """Microseconds of CPU for one picture: the median of some rounds."""
    assert isinstance(examined(data), Picture)
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(PICTURES):
            examined(data)
        taken.append((time.process_time() - began) / PICTURES * 1e6)
    return statistics.median(taken)


class Peak:
    """The most memory that this process has resident while the block runs, beyond what it had before."""

    def __enter__(self) -> "Peak":
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = _resident("VmRSS")
        return self

    def __exit__(self, *_error: object) -> None:
        self.bytes = _resident("VmHWM") - self._before


def _resident(what: str, pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:")), 0)


def decoder() -> int:
    """The most memory that a process which decodes has had."""
    children = [one for one in psutil.Process().children() if "beat_actors.media.decoding" in one.cmdline()]
    return max((_resident("VmHWM", one.pid) for one in children), default=0)


async def nothing_known(_contents: Sequence[bytes]) -> set[bytes]:
    return set()


def claimed(number: int, url: str) -> Claimed:
    key = ("instagram", "instagram_account", str(number), "profile_pic_url", "", "")
    return Claimed(UUID(int=number), 1, *key, 0, url, None, None, 9, False, False)


class Found(NamedTuple):
    """How the upload of one kind ended, what was stored, and the memory that it took."""

    name: str
    end: End
    body: bytes
    memory: int


async def uploaded(origin_url: str, endpoint: str, urls: Sequence[tuple[str, str]]) -> tuple[list[Found], int]:
    """What became of each, and the most memory of a process that decodes."""
    settings = Settings(
        environment="rehearsal",
        database_url="postgresql://nowhere.invalid/x",  # type: ignore[arg-type]
        redis_url="redis://nowhere.invalid",  # type: ignore[arg-type]
        asset_origin=origin_url,
    )
    store, converters, found = ObjectStore(BUCKET, endpoint_url=endpoint), Converters(), list[Found]()
    async with Origin(settings) as origin:
        upload = Upload(origin, converters.picture, Storing(store, nothing_known))
        for number, (name, url) in enumerate(
            [urls[0], *urls]
        ):  # the first one twice: connections and modules are there then
            with Peak() as peak:
                end = await upload(claimed(number, url))
            body = await store.read(key_of(end.stored.content)) if end.stored else b""
            found.append(Found(name, end, body, peak.bytes))
    decodes = decoder()
    await converters.close()
    await store.close()
    return found[1:], decodes


def told(found: Found, lie: lies.Lie) -> bool:
    """Print it; whether something is wrong."""
    end = found.end
    if end.stored is not None:
        said = lies.wrong(lie, end.stored.media_type, found.body)
    else:
        said = None if lie.stored is None and end.state in (State.FAILED, State.WAITING) else "it must be stored"
    became = f"stored as {end.stored.media_type}" if end.stored else f"{end.state.lower()}, {end.failure}"
    print(f"{found.name:38} {found.memory / 1e6:+6.1f} MB  {f'WRONG, {said}: ' if said else ''}{became[:80]}")
    return said is not None


def main() -> None:
    with (
        process("bench.lies", lines=2) as (_, (port, urls)),
        process("tests.strict_s3", "--bucket", BUCKET, lines=5) as (_, lines),
    ):
        known = dict(line.split("=", 1) for line in lines)
        os.environ.update(known)
        found, decodes = asyncio.run(
            uploaded(f"http://127.0.0.1:{port}", known["BEAT_S3_ENDPOINT_URL"], json.loads(urls))
        )
    wrong = sum(told(one, lie) for one, lie in zip(found, lies.lies().values(), strict=True))
    most = max(one.memory for one in found)
    data = jpeg()
    cost = cleaning(data)
    print(
        f"of {len(found)} kinds {wrong} were stored wrongly; at most {most / 1e6:.0f} MB more in the process that uploads; one that decodes "
        f"had {decodes / 1e6:.0f} MB at most"
    )
    print(f"cleaning a JPEG of {len(data) / 1000:.0f} kB with EXIF: {cost:.0f} µs of CPU")
    if wrong or most > MOST_MEMORY or cost > MOST_MICROSECONDS:
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
