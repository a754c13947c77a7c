"""`/_cdn/…`: media files, for simulators whose media URLs point at themselves. Each URL has bytes of its own, always the same."""

from hashlib import blake2b

from aiohttp import web

PREFIX = "/_cdn"
# The smallest picture that every decoder takes; what follows the end marker is ignored by all of them.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300080606070605080707070909080a0c140d0c0b0b0c1912130f141d1a1f1e1d1a1c1c20"
    "242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffc0000b080001000101011100ffc4001400010000000000000000000000000000"
    "0009ffc40014100100000000000000000000000000000000ffda0008010100003f0054dfffd9"
)
MP4 = bytes.fromhex("0000001c667479706d703432000000006d70343269736f6d")


async def media(request: web.Request) -> web.Response:
    path = request.path
    seed = blake2b(path.encode(), digest_size=32).digest()
    film = path.endswith(".mp4")
    body = (MP4 + seed * 2048) if film else (JPEG + seed * 512)
    return web.Response(body=body, content_type="video/mp4" if film else "image/jpeg")
