"""Rows of `asset_log` for tests, as `intake` would write them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from beat_actors.media.urls import identity

INSERT = """
INSERT INTO asset_log (platform, entity, entity_key, field, owner, url, status, account_id, class, identity, observed_at, expires_at, deadline,
    parent_kind, parent_key)
SELECT 'instagram', 'instagram_account', x->>'key', 'profile_pic_url', '', x->>'url', 'PENDING', x->>'account', (x->>'class')::smallint,
    decode(x->>'identity', 'hex'), clock_timestamp(), clock_timestamp() + make_interval(secs => (x->>'expires')::float8),
    clock_timestamp() + make_interval(secs => (x->>'deadline')::float8), 'profile', x->>'parent'
FROM jsonb_array_elements(%s::jsonb) x
"""
DAY = 86_400.0


def asset(
    key: str,
    of_class: int = 0,
    *,
    url: str | None = None,
    deadline: float | None = DAY,
    expires: float | None = None,
    account: str = "",
    parent: str | None = None,
) -> dict[str, Any]:
    """A row. `deadline`, `expires`: seconds from now."""
    found = url or f"https://cdn.example.com/{key}.jpg"
    return {
        "key": key, "class": of_class, "url": found, "deadline": deadline, "expires": expires, "account": account, "identity": identity(found).hex(),
        "parent": parent or key,
    }  # fmt: skip


def insert(database_url: str, assets: Iterable[dict[str, Any]]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(INSERT, [psycopg.types.json.Jsonb(list(assets))])


def all_of(database_url: str, columns: str = "entity_key, status", where: str = "true") -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return connection.execute(f"SELECT {columns} FROM asset_log WHERE {where} ORDER BY id").fetchall()


def run(database_url: str, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        cursor = connection.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - rows and other processes tell nobody
            await asyncio.sleep(0.03)
