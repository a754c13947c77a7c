"""Scrapy: a spider over the work table, and an item pipeline that writes one transaction for each item.

The pipeline is a coroutine on Scrapy's asyncio reactor (uvloop's), so that the database does not hold the reactor up.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response

from bench.peers.environment import HEADERS, url
from bench.peers.loop import CONCURRENCY, PAGE, WAITING, connections
from bench.peers.profile import Account, Post, parse
from bench.peers.store import Call, everything, write_async

CONNECTIONS = 16
SETTINGS = {
    "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    "CONCURRENT_ITEMS": 100,
    "CONCURRENT_REQUESTS": CONCURRENCY,
    "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
    "COOKIES_ENABLED": False,
    "DEFAULT_REQUEST_HEADERS": HEADERS,
    "DOWNLOAD_DELAY": 0,
    "ITEM_PIPELINES": {"bench.peers.scrapy_spider.Store": 1},
    "LOG_LEVEL": "WARNING",
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
}


class Profile(scrapy.Item):
    scrape: int = scrapy.Field()
    call: Call = scrapy.Field()
    account: Account = scrapy.Field()
    posts: list[Post] = scrapy.Field()


class Profiles(scrapy.Spider):
    name = "profiles"

    async def start(self) -> AsyncIterator[scrapy.Request]:
        last = 0
        async with connections(1) as pool:
            while True:
                async with pool.connection() as connection:
                    rows = await (await connection.execute(WAITING, (last, 1, 0, PAGE))).fetchall()
                if not rows:
                    return
                for last, handle in rows:
                    yield scrapy.Request(url(handle), cb_kwargs={"scrape": last, "handle": handle}, dont_filter=True)

    def parse(self, response: Response, scrape: int, handle: str) -> Profile:
        latency = response.meta["download_latency"]
        call = Call(response.url, time.time() - latency, response.status, latency * 1000, len(response.body))
        account, posts = parse(response.body, handle)
        return Profile(scrape=scrape, call=call, account=account, posts=posts)


class Store:
    async def open_spider(self) -> None:
        self.pool = connections(CONNECTIONS)
        await self.pool.open(wait=True)

    async def close_spider(self) -> None:
        await self.pool.close()

    async def process_item(self, item: Any) -> Any:
        async with self.pool.connection() as connection:
            await write_async(connection, everything(item["scrape"], item["call"], item["account"], item["posts"]))
        return item


if __name__ == "__main__":
    process = AsyncCrawlerProcess(SETTINGS)
    process.crawl(Profiles)
    process.start()
