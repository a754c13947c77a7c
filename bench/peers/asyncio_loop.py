"""A hand-written loop: one process, 50 scrapes at a time, one transaction for each. No queue, no credentials, no recovery."""

import asyncio
import time

import aiohttp
import uvloop
from psycopg_pool import AsyncConnectionPool

from bench.peers.environment import DATABASE_URL, HEADERS, url
from bench.peers.profile import parse
from bench.peers.store import Call, everything, write_async

CONCURRENCY = 50
CONNECTIONS = 16
PAGE = 500
Queue = asyncio.Queue[tuple[int, str] | None]
WAITING = "SELECT id, handle FROM scrape WHERE status = 'PENDING' AND id > %s ORDER BY id LIMIT %s"


async def main() -> None:
    queue: Queue = asyncio.Queue(PAGE)
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with (
        AsyncConnectionPool(DATABASE_URL, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        aiohttp.ClientSession(headers=HEADERS, connector=connector) as http,
    ):
        await pool.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed(pool, queue))
            for _ in range(CONCURRENCY):
                tasks.create_task(work(pool, http, queue))


async def feed(pool: AsyncConnectionPool, queue: Queue) -> None:
    last = 0
    while True:
        async with pool.connection() as connection:
            rows = await (await connection.execute(WAITING, (last, PAGE))).fetchall()
        for last, handle in rows:
            await queue.put((last, handle))
        if not rows:
            for _ in range(CONCURRENCY):
                await queue.put(None)
            return


async def work(pool: AsyncConnectionPool, http: aiohttp.ClientSession, queue: Queue) -> None:
    while item := await queue.get():
        scrape, handle = item
        started = time.time()
        async with http.get(url(handle)) as response:
            body = await response.read()
            call = Call.ended(url(handle), started, response.status, body)
        account, posts = parse(body, handle)
        async with pool.connection() as connection:
            await write_async(connection, everything(scrape, call, account, posts))


if __name__ == "__main__":
    uvloop.run(main())
