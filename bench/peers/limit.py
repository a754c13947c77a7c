"""The limit: the same loop in as many processes as there are cores, writing a hundred scrapes at a time, and nothing else."""

import asyncio
import multiprocessing
import os

import aiohttp
import uvloop
from psycopg_pool import AsyncConnectionPool

from bench.peers.batches import Scraped, write_batch
from bench.peers.loop import CONCURRENCY, PAGE, Queue, connections, feed, fetch, http_session
from bench.peers.profile import parse

BATCH = 100
CONNECTIONS = 4


def main() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=one, args=(number, cores)) for number in range(cores)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def one(share: int, of: int) -> None:
    uvloop.run(loop(share, of))


async def loop(share: int, of: int) -> None:
    queue, batch = Queue(PAGE), list[Scraped]()
    async with connections(CONNECTIONS) as pool, http_session() as http:
        await pool.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed(pool, queue, share=share, of=of))
            for _ in range(CONCURRENCY):
                tasks.create_task(work(pool, http, queue, batch))
        await flush(pool, batch)


async def work(pool: AsyncConnectionPool, http: aiohttp.ClientSession, queue: Queue, batch: list[Scraped]) -> None:
    """Whoever fills the batch writes it, while the others go on."""
    while item := await queue.get():
        scrape, handle = item
        call, body = await fetch(http, handle)
        batch.append(Scraped(scrape, call, *parse(body, handle)))
        if len(batch) >= BATCH:
            await flush(pool, batch)


async def flush(pool: AsyncConnectionPool, batch: list[Scraped]) -> None:
    full, batch[:] = batch[:], ()
    async with pool.connection() as connection:
        await write_batch(connection, full)


if __name__ == "__main__":
    main()
