"""The same rows as `store` writes, for many scrapes at once: one statement a table, its rows in one JSON array."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from bench.peers.profile import ACCOUNT_METRICS, POST_METRICS, Account, Post
from bench.peers.store import Call


class Scraped(msgspec.Struct):
    """One scrape that has its answer."""

    id: int
    call: Call
    account: Account
    posts: Sequence[Post]


def _entities(table: str, record: type[msgspec.Struct], metrics: tuple[str, ...]) -> str:
    """Upserts and snapshots of one kind. The first column is the key; each object carries `scrape_id` besides the columns."""
    names = record.__struct_fields__
    columns = ", ".join(names)
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*names[1:], "observed_at"))
    measured = ", ".join(f"'{name}', {name}" for name in metrics)
    apart = ", ".join(f"'{name}'" for name in ("scrape_id", *metrics))
    return f"""
    WITH given AS MATERIALIZED (
        SELECT object, record.* FROM jsonb_array_elements(%s::jsonb) AS object, jsonb_populate_record(NULL::{table}, object) AS record
    ), current AS (
        INSERT INTO {table} ({columns}) SELECT {columns} FROM given ON CONFLICT ({names[0]}) DO UPDATE SET {updates}
    )
    INSERT INTO {table}_snapshot ({names[0]}, scrape_id, dimensions, metrics)
    SELECT {names[0]}, (object ->> 'scrape_id')::bigint, jsonb_strip_nulls(object - ARRAY[{apart}]),
        jsonb_strip_nulls(jsonb_build_object({measured})) FROM given
    """


ACCOUNTS = _entities("account", Account, ACCOUNT_METRICS)
POSTS = _entities("post", Post, POST_METRICS)
AUDITS = """
INSERT INTO audit (started_at, scrape_id, method, url, status, ms, bytes, outcome)
SELECT to_timestamp(started), scrape_id, 'GET', url, status, ms, size, 'ok' FROM jsonb_to_recordset(%s::jsonb)
    AS calls(started float8, scrape_id bigint, url text, status integer, ms real, size integer)
"""
EVENTS = """
INSERT INTO event (type, subject, data)
SELECT 'profile_refreshed', subject, jsonb_build_object('scrape', scrape, 'posts', posts)
FROM unnest(%s::text[], %s::bigint[], %s::integer[]) AS n(subject, scrape, posts)
"""
COMPLETE = "UPDATE scrape SET status = 'COMPLETE', done_at = clock_timestamp() WHERE id = ANY(%s)"


async def write_batch(connection: psycopg.AsyncConnection, batch: Sequence[Scraped]) -> None:
    """One transaction for all; no account may be in it twice."""
    ids = [each.id for each in batch]
    async with connection.transaction(), connection.pipeline():
        await connection.execute(AUDITS, (_json([{**_of(each.call), "scrape_id": each.id} for each in batch]),))
        await connection.execute(ACCOUNTS, (_json([{**_of(each.account), "scrape_id": each.id} for each in batch]),))
        posts = [{**_of(post), "scrape_id": each.id} for each in batch for post in each.posts]
        await connection.execute(POSTS, (_json(posts),))
        subjects, counts = [each.account.profile_id for each in batch], [len(each.posts) for each in batch]
        await connection.execute(EVENTS, (subjects, ids, counts))
        await connection.execute(COMPLETE, (ids,))


def _of(record: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(record)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
