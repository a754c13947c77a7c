"""Celery: one task for each scrape, through the Redis broker, in eight prefork processes that keep their connections.

`send` puts the tasks on the queue; `celery -A bench.peers.celery_app worker` does them.
"""

import sys
import time
from functools import cache

import psycopg
import requests
from celery import Celery
from celery.signals import worker_process_init

from bench.peers.environment import DATABASE_URL, HEADERS, REDIS_URL, url
from bench.peers.profile import parse
from bench.peers.store import Call, everything, write

app = Celery("peers", broker=REDIS_URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=8, worker_send_task_events=False)


@cache
def http() -> requests.Session:
    session = requests.Session()
    session.headers.update(HEADERS)
    return session


@cache
def database() -> psycopg.Connection:
    return psycopg.connect(DATABASE_URL, autocommit=True)


@worker_process_init.connect
def connect(**_: object) -> None:
    """Before the first task, not with it."""
    http()
    database()


@app.task(name="scrape")
def scrape(number: int, handle: str) -> None:
    started = time.time()
    response = http().get(url(handle), timeout=20)
    response.raise_for_status()
    call = Call.ended(url(handle), started, response.status_code, response.content)
    account, posts = parse(response.content, handle)
    write(database(), everything(number, call, account, posts))


def send() -> None:
    with app.producer_pool.acquire() as producer:
        for number, handle in database().execute("SELECT id, handle FROM scrape ORDER BY id"):
            scrape.apply_async((number, handle), producer=producer)


if __name__ == "__main__" and sys.argv[1:] == ["send"]:
    send()
