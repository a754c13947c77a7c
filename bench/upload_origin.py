"""`python -m bench.upload_origin`: pictures of 40 kB, a different one for each number in the path. It prints its port, and runs until it is ended.

`--delay`: seconds until each answer.
"""

import argparse
import asyncio
import re
import struct
import sys
from typing import cast

import uvloop

SIZE = 40_000
SIDE = 640
NUMBER = re.compile(rb"^GET \S*/(\d+)\.jpg")
END = b"\xff\xd9"
_QUANTIZATION = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([16] * 64)
_FRAME = b"\xff\xc0" + struct.pack(">HBHHB3B", 11, 8, SIDE, SIDE, 1, 1, 0x11, 0)
_SCAN = b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 0, 63, 0)
HEAD = b"\xff\xd8" + _QUANTIZATION + _FRAME
TABLES = b"".join(
    b"\xff\xc4" + struct.pack(">HB", 20, kind) + bytes([0, 1, *[0] * 14]) + b"\0" for kind in (0x00, 0x10)
)


def picture(number: int) -> bytes:
    """A JPEG by its structure. Its scan says the number, and decodes to grey."""
    start = HEAD + TABLES + _SCAN
    name = b"%020d" % number
    return start + name + b"\x00" * (SIZE - len(start) - len(name) - len(END)) + END


class Connection(asyncio.Protocol):
    """Answers each request with its picture."""

    def __init__(self, delay: float) -> None:
        self._rest = b""
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in whole:
            found = NUMBER.match(request)
            body = picture(int(found[1])) if found else b""
            status = b"200 OK" if found else b"404 Not Found"
            head = b"HTTP/1.1 %b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, head + body)
            else:
                self._transport.write(head + body)


async def main(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.upload_origin")
    parser.add_argument("--delay", type=float, default=0.0)
    sys.exit(uvloop.run(main(parser.parse_args().delay)))
