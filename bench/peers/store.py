"""The SQL that all peers share. One scrape is one transaction of prepared statements, sent as a pipeline, each with many rows where it can."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from bench.peers.profile import ACCOUNT_METRICS, POST_METRICS, Account, Post

Statement = tuple[str, list[tuple[Any, ...]]]
"""A statement and its rows of parameters."""


class Call(msgspec.Struct):
    """What the audit keeps of an upstream call. `started`: seconds since the epoch."""

    url: str
    started: float
    status: int
    ms: float
    size: int

    @classmethod
    def ended(cls, url: str, started: float, status: int, body: bytes) -> "Call":
        return cls(url, started, status, (time.time() - started) * 1000, len(body))


def _upsert(table: str, record: type[msgspec.Struct]) -> str:
    key, *others = record.__struct_fields__
    columns, marks = ", ".join((key, *others)), ", ".join(["%s"] * (1 + len(others)))
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*others, "observed_at"))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {updates}"


UPSERT_ACCOUNT = _upsert("account", Account)
UPSERT_POST = _upsert("post", Post)
SNAPSHOT_ACCOUNT = "INSERT INTO account_snapshot (profile_id, scrape_id, dimensions, metrics) VALUES (%s, %s, %s, %s)"
SNAPSHOT_POST = "INSERT INTO post_snapshot (shortcode, scrape_id, dimensions, metrics) VALUES (%s, %s, %s, %s)"
AUDIT = "INSERT INTO audit (started_at, scrape_id, method, url, status, ms, bytes, outcome) VALUES (to_timestamp(%s), %s, 'GET', %s, %s, %s, %s, 'ok')"
EVENT = "INSERT INTO event (type, subject, data) VALUES ('profile_refreshed', %s, %s)"
COMPLETE = "UPDATE scrape SET status = 'COMPLETE', done_at = clock_timestamp() WHERE id = %s"


def audit(scrape: int, call: Call) -> list[Statement]:
    return [(AUDIT, [(call.started, scrape, call.url, call.status, call.ms, call.size)])]


def entities(scrape: int, account: Account, posts: Sequence[Post]) -> list[Statement]:
    return [
        (UPSERT_ACCOUNT, [msgspec.structs.astuple(account)]),
        (UPSERT_POST, [msgspec.structs.astuple(post) for post in posts]),
        (SNAPSHOT_ACCOUNT, [(account.profile_id, scrape, *_parts(account, ACCOUNT_METRICS))]),
        (SNAPSHOT_POST, [(post.shortcode, scrape, *_parts(post, POST_METRICS)) for post in posts]),
    ]


def end(scrape: int, profile_id: str, posts: int) -> list[Statement]:
    return [(EVENT, [(profile_id, _json({"scrape": scrape, "posts": posts}))]), (COMPLETE, [(scrape,)])]


def everything(scrape: int, call: Call, account: Account, posts: Sequence[Post]) -> list[Statement]:
    return [*audit(scrape, call), *entities(scrape, account, posts), *end(scrape, account.profile_id, len(posts))]


def write(connection: psycopg.Connection, statements: list[Statement]) -> None:
    with connection.transaction(), connection.pipeline(), connection.cursor() as cursor:
        for sql, rows in statements:
            cursor.executemany(sql, rows)


async def write_async(connection: psycopg.AsyncConnection, statements: list[Statement]) -> None:
    async with connection.transaction(), connection.pipeline(), connection.cursor() as cursor:
        for sql, rows in statements:
            await cursor.executemany(sql, rows)


def _parts(record: Account | Post, metrics: tuple[str, ...]) -> tuple[str, str]:
    """A record's dimensions and its metrics, as JSON; what is unknown is left out."""
    known = {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}
    measured = {name: known.pop(name) for name in metrics if name in known}
    return _json(known), _json(measured)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
