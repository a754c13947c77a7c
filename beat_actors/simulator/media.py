"""`/_cdn/…`: the simulated hosts of pictures and films, for simulators whose media URLs point at themselves, and for BEAT_ASSET_ORIGIN.

What is served depends on the path alone: `/_cdn/HOST/PATH` and `/_cdn/PATH` are the same picture. URLs are signed as far as their expiry goes.
"""

import asyncio
import re
from collections import Counter, defaultdict
from functools import lru_cache
from hashlib import blake2b
from typing import TypedDict

from aiohttp import web

from beat_actors.simulator import hostile, pictures
from beat_actors.simulator.damage import PAGE
from beat_actors.simulator.expiry import MediaClock
from beat_actors.simulator.faults import Fault, FaultBoard, FaultKind
from beat_actors.simulator.provider import HTML, Reply

PREFIX = "/_cdn"
SOURCE = "media"
"""What faults call these hosts."""
OPERATIONS = ("avatar", "picture", "video")
EXPIRED = "URL signature expired"
TEXT = "text/plain"
SIDES = re.compile(r"(?<!\d)(\d{2,4})x(\d{2,4})(?!\d)")
# YouTube's names of sizes. A video may have no largest one; then its host answers 404 with a small grey picture.
NAMED = {
    "default": (120, 90),
    "mqdefault": (320, 180),
    "hqdefault": (480, 360),
    "sddefault": (640, 480),
    "maxresdefault": (1280, 720),
}
LARGEST = 1280
BYTES = ((150, 6_000), (320, 14_000), (480, 20_000), (720, 40_000), (LARGEST, 60_000))
"""Up to which side a picture has about so many bytes."""


class MediaReport(TypedDict):
    """`fetches`: requests in all; `pictures`: different ones; `most`: requests for one of them. `faults`: by picture, the kinds of faults that hit requests
    for it. `life`, `ahead`: of the `MediaClock`."""

    fetches: int
    pictures: int
    most: int
    statuses: dict[str, int]
    by_picture: dict[str, int]
    faults: dict[str, list[str]]
    life: float
    ahead: float


class Media:
    """The hosts of one simulator, and what was asked of them."""

    def __init__(self, clock: MediaClock, faults: FaultBoard) -> None:
        self.clock = clock
        self._faults = faults
        self._fetches: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._hit: defaultdict[str, set[str]] = defaultdict(set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = identity(request.path)
        operation = operation_of(name)
        self._fetches[name] += 1
        reply = self._reply(name, request)
        hit = self._faults.hit(SOURCE, operation, "none")
        if hit is None:
            return self._said(reply)
        kind, fault = hit
        self._hit[name].add(kind.value)
        if kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay)
        elif kind is FaultKind.TRUNCATED and fault.body == "cut":
            self._statuses["none"] += 1
            return await hostile.cut(request, reply)
        elif kind is FaultKind.REDIRECT:
            status = hostile.redirect_status(fault)
            self._statuses[str(status)] += 1
            return web.Response(status=status, headers={"Location": _target(request, loop=fault.body == "loop")})
        elif kind in hostile.ON_THE_WIRE:
            self._statuses["none" if kind in hostile.NO_ANSWER else str(reply.status)] += 1
            return await hostile.on_the_wire(request, kind, fault, reply)
        return self._said(_damaged(kind, fault, reply))

    def report(self, *, pictures_too: bool = False) -> MediaReport:
        return MediaReport(
            fetches=self._fetches.total(),
            pictures=len(self._fetches),
            most=max(self._fetches.values(), default=0),
            statuses=dict(self._statuses),
            by_picture=dict(self._fetches) if pictures_too else {},
            faults={name: sorted(kinds) for name, kinds in self._hit.items()} if pictures_too else {},
            life=self.clock.life,
            ahead=self.clock.ahead,
        )

    def reset(self) -> None:
        """Forget what was asked."""
        self._fetches.clear()
        self._statuses.clear()
        self._hit.clear()

    def _said(self, reply: Reply) -> web.Response:
        self._statuses[str(reply.status)] += 1
        return web.Response(
            body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers}
        )

    def _reply(self, name: str, request: web.Request) -> Reply:
        query = request.query
        try:
            end = int(query["oe"], 16) if "oe" in query else int(query.get("x-expires", "0"))
        except ValueError:
            return Reply(403, b"Bad URL timestamp/date param", TEXT)
        if end and end <= self.clock.now():
            return Reply(403, EXPIRED.encode(), TEXT)
        return file_of(name)


def identity(path: str) -> str:
    """What is served, whatever its host, signature and expiry."""
    rest = path.removeprefix(PREFIX).lstrip("/")
    host, slash, behind = rest.partition("/")
    return behind if slash and "." in host else rest


def _target(request: web.Request, *, loop: bool) -> str:
    """Where a redirect leads: to the same picture, of the same host or of one that does not exist.

    With BEAT_ASSET_ORIGIN a caller did not ask for `/_cdn/HOST`, so the target must not contain it."""
    if loop:
        return f"./{request.rel_url.raw_name}{'?' if request.rel_url.raw_query_string else ''}{request.rel_url.raw_query_string}"
    path, mark, query = request.raw_path.partition("?")
    return f"https://elsewhere.invalid/{identity(path)}{mark}{query}"


def operation_of(name: str) -> str:
    """A fault of the simulator may hit one of `OPERATIONS`."""
    if name.endswith(".mp4"):
        return "video"
    is_avatar = "t51.2885-19/" in name or "~avatar" in name or name.startswith(("a/", "ytc/"))
    return "avatar" if is_avatar else "picture"


@lru_cache(maxsize=512)
def file_of(name: str) -> Reply:
    """Some pictures are WebP or PNG, whatever their name ends with."""
    seed = blake2b(name.encode(), digest_size=8).digest()
    headers = {"Cache-Control": "max-age=1209600, no-transform", "ETag": f'"{seed.hex()}"'}
    if operation_of(name) == "video":
        return Reply(200, pictures.mp4(seed, 1 + seed[0] % 4), "video/mp4", headers)
    stem = name.rpartition("/")[2].partition(".")[0]
    width, height = _sides(name, stem)
    if stem == "maxresdefault" and seed[0] < 30:  # about 12 percent
        return Reply(404, pictures.jpeg(bytes(8), 120, 90, 1_000), "image/jpeg")
    if operation_of(name) == "picture" and seed[7] % 20 < 3:
        if seed[7] % 20 == 0:
            return Reply(200, pictures.png(seed, 200, 200), "image/png", headers)
        return Reply(200, pictures.webp(seed, 200, 200), "image/webp", headers)
    size = next(count for side, count in BYTES if max(width, height) <= side)
    return Reply(200, pictures.jpeg(seed, width, height, size), "image/jpeg", headers)


def _sides(name: str, stem: str) -> tuple[int, int]:
    if stem in NAMED:
        return NAMED[stem]
    found = SIDES.search(name)
    width, height = (int(found[1]), int(found[2])) if found else (640, 640)
    return min(width, LARGEST), min(height, LARGEST)


def _damaged(kind: FaultKind, fault: Fault, whole: Reply) -> Reply:
    """Kinds that are not about pictures leave it as it is."""
    if kind is FaultKind.OUTAGE:
        return Reply(fault.status or 503, PAGE, HTML)
    if kind in (FaultKind.RATE_LIMIT, FaultKind.QUOTA):
        wait = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        return Reply(fault.status or 429, b"", TEXT, wait)
    if kind is FaultKind.REVOKED:
        return Reply(fault.status or 403, EXPIRED.encode(), TEXT)
    if kind is FaultKind.HTML:
        return Reply(200, PAGE, HTML)
    if kind is FaultKind.TRUNCATED:
        return Reply(whole.status, whole.body[: len(whole.body) // 2], whole.content_type, whole.headers)
    return whole
