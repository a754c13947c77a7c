"""A hand-written loop: one process, 50 scrapes at a time, one transaction for each. No queue, no credentials, no recovery.

A statement a table from one JSON array, as `batches` has it, makes no difference for a single scrape.
"""

import asyncio

import aiohttp
import uvloop
from psycopg_pool import AsyncConnectionPool

from bench.peers.loop import CONCURRENCY, PAGE, Queue, connections, feed, fetch, http_session
from bench.peers.profile import parse
from bench.peers.store import everything, write_async

CONNECTIONS = 16


async def main() -> None:
    queue = Queue(PAGE)
    async with connections(CONNECTIONS) as pool, http_session() as http, asyncio.TaskGroup() as tasks:
        await pool.wait()
        tasks.create_task(feed(pool, queue))
        for _ in range(CONCURRENCY):
            tasks.create_task(work(pool, http, queue))


async def work(pool: AsyncConnectionPool, http: aiohttp.ClientSession, queue: Queue) -> None:
    while item := await queue.get():
        scrape, handle = item
        call, body = await fetch(http, handle)
        account, posts = parse(body, handle)
        async with pool.connection() as connection:
            await write_async(connection, everything(scrape, call, account, posts))


if __name__ == "__main__":
    uvloop.run(main())
