"""Workers that poll a table: 150 coroutines, each of which claims one row, does it, and sleeps for a second."""

import asyncio
import random

import aiohttp
import uvloop
from psycopg_pool import AsyncConnectionPool

from bench.peers.loop import connections, fetch, http_session
from bench.peers.profile import parse
from bench.peers.store import everything, write_async

WORKERS = 150
PAUSE = 1.0
CONNECTIONS = 16
CLAIM = """
UPDATE scrape SET status = 'PROCESSING'
WHERE id = (SELECT id FROM scrape WHERE status = 'PENDING' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, handle
"""


async def main() -> None:
    async with connections(CONNECTIONS) as pool, http_session() as http:
        await pool.wait()
        await asyncio.gather(*(work(pool, http) for _ in range(WORKERS)))


async def work(pool: AsyncConnectionPool, http: aiohttp.ClientSession) -> None:
    await asyncio.sleep(random.uniform(0, PAUSE))
    while True:
        async with pool.connection() as connection:
            claimed = await (await connection.execute(CLAIM)).fetchone()
        if claimed:
            scrape, handle = claimed
            call, body = await fetch(http, handle)
            account, posts = parse(body, handle)
            async with pool.connection() as connection:
                await write_async(connection, everything(scrape, call, account, posts))
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    uvloop.run(main())
