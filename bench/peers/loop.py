"""What the peers on asyncio share: handles from the work table, and the upstream call."""

import asyncio
import time

import aiohttp
from psycopg_pool import AsyncConnectionPool

from bench.peers.environment import DATABASE_URL, HEADERS, url
from bench.peers.store import Call

CONCURRENCY = 50
PAGE = 500
WAITING = "SELECT id, handle FROM scrape WHERE status = 'PENDING' AND id > %s AND id %% %s = %s ORDER BY id LIMIT %s"

Queue = asyncio.Queue[tuple[int, str] | None]


def connections(number: int) -> AsyncConnectionPool:
    return AsyncConnectionPool(DATABASE_URL, min_size=number, max_size=number, open=False)


def http_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=CONCURRENCY))


async def feed(pool: AsyncConnectionPool, queue: Queue, *, share: int = 0, of: int = 1) -> None:
    """Put every scrape of this share on the queue, then `None` for each of `CONCURRENCY` workers."""
    last = 0
    while True:
        async with pool.connection() as connection:
            rows = await (await connection.execute(WAITING, (last, of, share, PAGE))).fetchall()
        for last, handle in rows:
            await queue.put((last, handle))
        if not rows:
            break
    for _ in range(CONCURRENCY):
        await queue.put(None)


async def fetch(http: aiohttp.ClientSession, handle: str) -> tuple[Call, bytes]:
    started = time.time()
    async with http.get(url(handle)) as response:
        response.raise_for_status()
        body = await response.read()
        return Call.ended(url(handle), started, response.status, body), body
