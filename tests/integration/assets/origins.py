"""An origin of pictures: as many different ones as are asked for, made of one JPEG with the number behind it, and its troubles."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.pictures import drawn, encoded

PICTURE = re.compile(r"/p/(\d+)\.jpg")
Answer = tuple[int, bytes]


@dataclass
class Pictures:
    """`asked`: how often, by path, the host of the URL included. `says`: answers of a path that come in place of a picture's. `held`: whether the
    answer of a path waits for `holds`."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    says: Callable[[str], Answer | None] = lambda _path: None
    held: Callable[[str], bool] = lambda _path: True
    holds: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.holds.set()


def picture(number: int) -> bytes:
    """A clean JPEG of its own for each number: the number is in its quantization of a comment-free scan, so nothing is stripped."""
    made = _MADE.get(number)
    if made is None:
        image = drawn(64, 48)
        for bit in range(16):
            shade = 255 if number >> bit & 1 else 0
            for x in range(4):
                for y in range(8):
                    image.putpixel((bit * 4 + x, 40 + y), (shade, shade, shade))
        made = _MADE[number] = encoded(image, "JPEG", quality=90)
    return made


_MADE: dict[int, bytes] = {}


@asynccontextmanager
async def pictures() -> AsyncIterator[Pictures]:
    made = Pictures()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                path = line.split()[1].decode()
                while (await reader.readline()).strip():
                    pass
                made.asked[path] += 1
                made.under_way += 1
                made.most = max(made.most, made.under_way)
                try:
                    if made.held(path):
                        await made.holds.wait()
                    status, body = _answer(made, path)
                finally:
                    made.under_way -= 1
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.holds.set()
        server.close()


def _answer(made: Pictures, path: str) -> Answer:
    if (said := made.says(path)) is not None:
        return said
    found = PICTURE.search(path)
    return (200, picture(int(found[1]))) if found else (404, b"no such picture")
