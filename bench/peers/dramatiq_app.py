"""Dramatiq, the obvious way: four stages, and one message for each scrape and stage.

Messages carry ids; what a stage leaves for the next is in Redis. `send` puts the first messages on the queue;
`dramatiq bench.peers.dramatiq_app` does the work.
"""

import sys
import threading
import time

import dramatiq
import msgspec
import psycopg
import redis
import requests
from dramatiq.brokers.redis import RedisBroker
from psycopg_pool import ConnectionPool

from bench.peers import profile, store
from bench.peers.environment import DATABASE_URL, HEADERS, REDIS_URL, url

THREADS = 8
KEPT = 3600
"""Seconds that what lies between two stages is kept."""

broker = RedisBroker(url=REDIS_URL)
dramatiq.set_broker(broker)
kept = redis.Redis.from_url(REDIS_URL)
pool = ConnectionPool(DATABASE_URL, min_size=1, max_size=THREADS, kwargs={"autocommit": True}, open=False)
local = threading.local()


class Records(msgspec.Struct):
    account: profile.Account
    posts: list[profile.Post]


pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Records).decode


def http() -> requests.Session:
    if not hasattr(local, "http"):
        local.http = requests.Session()
        local.http.headers.update(HEADERS)
    return local.http


def write(statements: list[store.Statement]) -> None:
    pool.open()
    with pool.connection() as connection:
        store.write(connection, statements)


@dramatiq.actor
def retrieve(scrape: int, handle: str) -> None:
    started = time.time()
    response = http().get(url(handle), timeout=20)
    response.raise_for_status()
    call = store.Call.ended(url(handle), started, response.status_code, response.content)
    write(store.audit(scrape, call))
    kept.set(f"payload:{scrape}", response.content, ex=KEPT)
    ingest.send(scrape, handle)


@dramatiq.actor
def ingest(scrape: int, handle: str) -> None:
    body = kept.get(f"payload:{scrape}")
    account, posts = profile.parse(body, handle)
    kept.set(f"records:{scrape}", pack(Records(account, posts)), ex=KEPT)
    process.send(scrape)


@dramatiq.actor
def process(scrape: int) -> None:
    records = unpack(kept.get(f"records:{scrape}"))
    write(store.entities(scrape, records.account, records.posts))
    publish.send(scrape, records.account.profile_id, len(records.posts))


@dramatiq.actor
def publish(scrape: int, profile_id: str, posts: int) -> None:
    write(store.end(scrape, profile_id, posts))
    kept.delete(f"payload:{scrape}", f"records:{scrape}")


def send() -> None:
    with psycopg.connect(DATABASE_URL) as connection:
        for scrape, handle in connection.execute("SELECT id, handle FROM scrape ORDER BY id"):
            retrieve.send(scrape, handle)


if __name__ == "__main__" and sys.argv[1:] == ["send"]:
    send()
