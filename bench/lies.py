"""What origins send in place of a clean picture, and what must become of it; `bench.pictures` uploads each of them.

`python -m bench.lies` serves them: `n` in the query is the number of one. It prints its port and their names and URLs, and runs until it is ended.
Who measures memory lets it make them, since their making takes a lot.
"""

import asyncio
import gzip
import io
import json
import sys
from typing import NamedTuple, cast

import uvloop
from PIL import Image

from tests import pictures, videos

JPEG = "image/jpeg"
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
CHUNK = bytes(1 << 16)
ENDLESS = b"\xff\xd8\xff\xe0"
"""How the body begins that never ends."""


class Lie(NamedTuple):
    """`stored`: as which media type; None: it must not be stored. `endless`: the body goes on for ever. `said`: headers besides the length. `cut`: bytes
    that are announced and do not come."""

    body: bytes
    stored: str | None = None
    endless: bool = False
    said: str = f"Content-Type: {JPEG}"
    host: str = "cdn.example.com"
    path: str = "p.jpg"
    cut: int = 0


def lies() -> dict[str, Lie]:
    drawn = pictures.drawn(640, 480)
    clean = {form: pictures.encoded(drawn, form) for form in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF")}
    jpeg = clean["JPEG"]
    return {
        "clean JPEG": Lie(jpeg, JPEG),
        "PNG of 20,000 x 20,000": Lie(pictures.png_bomb(20_000)),
        "PNG of 12,000 x 12,000": Lie(pictures.png_bomb(12_000)),
        "PNG with a colour profile of 200 MB": Lie(pictures.profile_bomb(), "image/png"),
        "GIF of 10,000 frames": Lie(pictures.gif_of(10_000)),
        "GIF of 100 frames of 7,000 x 7,000": Lie(pictures.gif_of(100, side=7_000)),
        "SVG": Lie(SVG),
        "SVG that is called a JPEG": Lie(SVG, said="Content-Type: image/svg+xml"),
        "HTML with 200": Lie(HTML),
        "truncated JPEG": Lie(jpeg[: len(jpeg) // 2]),
        "truncated PNG": Lie(clean["PNG"][: len(clean["PNG"]) // 2]),
        "fewer bytes than announced": Lie(jpeg, cut=1000),
        "JPEG that is called a HEIC": Lie(jpeg, JPEG, said="Content-Type: image/heic", path="p.heic"),
        "PNG that is called a JPEG": Lie(clean["PNG"], "image/png"),
        "WebP that is called a JPEG": Lie(clean["WEBP"], "image/webp"),
        "real HEIC": Lie(clean["HEIF"], JPEG, said="Content-Type: image/heic"),
        "HEIC with GPS": Lie(pictures.exposing("HEIF", 6), JPEG),
        "real AVIF": Lie(clean["AVIF"], "image/avif"),
        "JPEG with HTML behind its end": Lie(jpeg + HTML + pictures.SECRET, JPEG),
        "PNG with a JPEG behind its end": Lie(clean["PNG"] + jpeg + pictures.SECRET, "image/png"),
        **{f"{form} with metadata and GPS": Lie(pictures.exposing(form), f"image/{form.lower()}") for form in ("JPEG", "PNG", "WEBP", "GIF", "AVIF")},
        "no bytes": Lie(b""),
        "zeros": Lie(bytes(100_000)),
        "endless": Lie(ENDLESS, endless=True),
        "19 MB of fill bytes": Lie(b"\xff\xd8" + b"\xff" * 19_000_000),
        "a picture that is packed": Lie(gzip.compress(jpeg), said="Content-Encoding: gzip"),
        "a page that is packed": Lie(gzip.compress(bytes(200_000_000))),
        "MP4 that is called a JPEG": Lie(videos.video(), "video/mp4"),
        "the grey picture of a video site": Lie(pictures.encoded(Image.new("RGB", (120, 90), "grey"), "JPEG"), host="i.ytimg.com", path="vi/abc/hqdefault.jpg"),
    }  # fmt: skip


class Connection(asyncio.Protocol):
    def __init__(self, served: dict[str, Lie]) -> None:
        self._served = list(served.values())
        self._rest = b""
        self._open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in whole:
            number = int(request.split(b" ")[1].split(b"?n=")[1])
            lie = self._served[number]
            length = "" if lie.endless else f"Content-Length: {len(lie.body) + lie.cut}\r\n"
            self._transport.write(f"HTTP/1.1 200 OK\r\n{lie.said}\r\n{length}\r\n".encode() + lie.body)
            if lie.endless:
                self._more()
            elif lie.cut:
                self._transport.close()

    def _more(self) -> None:
        if self._open:
            if self._transport.get_write_buffer_size() < len(CHUNK):
                self._transport.write(CHUNK)
            asyncio.get_running_loop().call_later(0.001, self._more)


def wrong(lie: Lie, media_type: str, body: bytes) -> str | None:
    """What is wrong with an object that was stored."""
    if lie.stored is None:
        return "it must not be stored"
    if media_type != lie.stored:
        return f"it is stored as {media_type}"
    if pictures.SECRET in body or videos.SECRET in body or HTML in body:
        return "it holds what must not be stored"
    if media_type == "video/mp4":
        return None
    with Image.open(io.BytesIO(body)) as opened:
        if opened.get_format_mimetype() != media_type:
            return f"its bytes are {opened.get_format_mimetype()}"
        return "it has metadata" if {tag for tag in opened.getexif() if tag != 0x0112} else None


async def main() -> None:
    served = lies()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(served), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1])
    urls = [(name, f"https://{lie.host}/{lie.path}?n={n}") for n, (name, lie) in enumerate(served.items())]
    print(json.dumps(urls), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
