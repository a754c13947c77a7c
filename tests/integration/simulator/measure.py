"""How many answers a second a simulator gives: `python tests/integration/simulator/measure.py URL [SECONDS] [CONNECTIONS]`.

Plain sockets, because a whole HTTP client would be what is measured. Run the simulator with --no-limits.
"""

import asyncio
import itertools
import sys
import time
from urllib.parse import urlsplit

FIELDS = (
    "business_discovery.username(creator_{:06d}){{id,ig_id,name,website,followers_count,follows_count,profile_picture_url,"
    "username,biography,media_count,media.limit(12){{id,caption,comments_count,like_count,media_type,media_product_type,"
    "media_url,thumbnail_url,permalink,timestamp}}}}"
)


async def caller(host: str, port: int, until: float, profiles: int, numbers: "itertools.count[int]") -> tuple[int, int]:
    reader, writer = await asyncio.open_connection(host, port)
    calls = size = 0
    while time.perf_counter() < until:
        fields = FIELDS.format(next(numbers) % profiles).replace("{", "%7B").replace("}", "%7D")
        target = f"/graphapi/v24.0/17841400000000000?fields={fields}&access_token=token"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: simulator\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")):
            raise RuntimeError(head.decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        calls += 1
        size += length
    writer.close()
    return calls, size


async def main(url: str, seconds: float, connections: int, profiles: int) -> None:
    parts = urlsplit(url)
    numbers = itertools.count()
    started = time.perf_counter()
    each = (
        caller(parts.hostname or "127.0.0.1", parts.port or 80, started + seconds, profiles, numbers)
        for _ in range(connections)
    )
    results = await asyncio.gather(*each)
    took = time.perf_counter() - started
    calls, size = sum(r[0] for r in results), sum(r[1] for r in results)
    print(f"{calls / took:,.0f} answers/s, {size / calls / 1000:.1f} kB each, {profiles} profiles")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        main(
            arguments[0],
            float(arguments[1]) if len(arguments) > 1 else 5.0,
            int(arguments[2]) if len(arguments) > 2 else 32,
            int(arguments[3]) if len(arguments) > 3 else 1000,
        )
    )
