"""How long a call takes beside callers who mean harm, each kind by itself: a part of `make serve`, which fails where it is too long.

The hostile callers are a process of their own, `python -m bench.hostile KIND URL AUTHORIZATION`, which runs until it is ended.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp

CONNECTIONS = 1100
CALLERS = 8
PAUSE = 8.0
"""Seconds between two heavy bodies of one caller."""
SLOW = 200
RATE = 50
"""Calls a second that are timed."""
MIB = 1 << 20
WANTED = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator_1"}}
JSON = {"Content-Type": "application/json"}


async def measure(api: str, header: dict[str, str], another: dict[str, str], seconds: float) -> float:
    """How many times as long the slowest hundredth takes beside the worst of them. `another`: the key of the hostile callers."""
    async with aiohttp.ClientSession(headers=header) as http:
        await _p99(http, api, 1.0)  # warm
        quiet = await _p99(http, api, seconds)
        print(f"quiet: p99 {quiet * 1000:.1f} ms", flush=True)
        worst = 0.0
        for kind in KINDS:
            command = [sys.executable, "-m", "bench.hostile", kind, api, another["Authorization"]]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220 - nothing else runs
                try:
                    assert process.stdout is not None
                    await asyncio.to_thread(process.stdout.readline)  # it has begun
                    under = await _p99(http, api, seconds)
                finally:
                    process.kill()
            worst = max(worst, under / quiet)
            print(f"beside {kind}: p99 {under * 1000:.1f} ms, {under / quiet:.1f} times", flush=True)
    return worst


async def _p99(http: aiohttp.ClientSession, api: str, seconds: float) -> float:
    """Seconds. A call is sent when it is due, whether the one before has been answered or not."""
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        async with http.get(f"{api}/v1/profiles/instagram/creator_{number % 1000 + 1}") as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        took.append(time.perf_counter() - began)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(RATE * seconds)):
            await asyncio.sleep(max(0.0, begin + number / RATE - time.perf_counter()))
            group.create_task(one(number))
    return sorted(took)[int(len(took) * 0.99)]


async def silent(url: str, _header: dict[str, str], begun: Callable[[], None]) -> None:
    """Connections that send nothing, opened anew when they are closed."""
    at = urlsplit(url)

    async def one() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(at.hostname, at.port)
                await reader.read()
                writer.close()

    await _many(one, CONNECTIONS, begun)


async def waits(url: str, header: dict[str, str], begun: Callable[[], None]) -> None:
    """Calls of one key that wait, each again as soon as it may."""
    async with aiohttp.ClientSession(headers=header, connector=aiohttp.TCPConnector(limit=0)) as http:
        async with http.post(f"{url}/v1/scrape-requests", json=WANTED) as accepted:
            location = (await accepted.json())["location"]

        async def one() -> None:
            while True:
                with suppress(aiohttp.ClientError):
                    async with http.get(f"{url}{location}", params={"wait": "60"}) as answer:
                        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

        await _many(one, CONNECTIONS, begun)


async def heavy(url: str, header: dict[str, str], begun: Callable[[], None]) -> None:
    """Bodies that are small to send and large to read, of no shape and of the right one."""
    bodies = [
        b"[" + b"[]," * (MIB // 3 - 2) + b"0]",
        b"[" + b"0," * (MIB // 2 - 2) + b"0]",
        b'{"requests":[' + b"{}," * 9_000 + b"0]}",
        json.dumps({"requests": [{**WANTED, "flow": "none", "tags": {"why": "x" * 500}}] * 1000}).encode(),
    ]
    turn = iter(range(10**9))
    async with aiohttp.ClientSession(headers=header | JSON) as http:

        async def one() -> None:
            while True:
                with suppress(aiohttp.ClientError):
                    async with http.post(f"{url}/v1/scrape-requests", data=bodies[next(turn) % len(bodies)]) as answer:
                        await answer.read()
                await asyncio.sleep(PAUSE)

        await _many(one, CALLERS, begun)


async def slow(url: str, header: dict[str, str], begun: Callable[[], None]) -> None:
    """Bodies that come a byte a second."""
    at = urlsplit(url)
    head = f"POST /v1/scrape-requests HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: {header['Authorization']}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"

    async def one() -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(at.hostname, at.port)
                writer.write(head.encode())
                for _ in range(15):
                    if writer.is_closing():
                        break
                    writer.write(b" ")
                    await asyncio.sleep(1)
                writer.close()

    await _many(one, SLOW, begun)


async def _many(one: Callable[[], Awaitable[None]], count: int, begun: Callable[[], None]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one())  # type: ignore[arg-type]
            if number % 50 == 0:
                await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        begun()


KINDS: dict[str, Callable[[str, dict[str, str], Callable[[], None]], Awaitable[None]]] = {
    "silent connections": silent,
    "waits": waits,
    "heavy bodies": heavy,
    "slow bodies": slow,
}

if __name__ == "__main__":
    kind, url, authorization = sys.argv[1:]
    asyncio.run(KINDS[kind](url, {"Authorization": authorization}, lambda: print("begun", flush=True)))  # type: ignore[arg-type]
