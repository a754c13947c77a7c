"""Assets that are stored: their rows, and their objects in a bucket."""

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg

from beat_actors.assets.serving.places import key_of
from beat_actors.database import Database
from beat_actors.transport.objects import ObjectStore

BUCKET = "pictures"
"""One for all tests of a process, because the server sets room aside for each."""
ACCOUNT = """
INSERT INTO instagram_account (profile_id, handle, account_id, owner, source, parser_version, request_id, observed_at)
VALUES (%s, %s, '', '', 'lama', 1, 1, now())
"""
POST = """
INSERT INTO instagram_post (shortcode, profile_id, account_id, owner, source, parser_version, request_id, observed_at)
VALUES (%s, %s, '', '', 'lama', 1, 1, now())
"""
ASSET = """
INSERT INTO asset_log (platform, entity, entity_key, field, url, class, status, content, content_identity, stored_at, parent_kind, parent_key)
VALUES ('instagram', %s, %s, %s, 'https://cdn.example.com/x', 1, 'COMPLETE', %s, '\\x00', now(), 'profiles', 'p')
RETURNING public_id
"""
OBJECT = """
INSERT INTO asset_object (content, bytes, media_type, created_at, checked_at) VALUES (%s, %s, 'image/png', now() - interval '1 hour', now() - interval '1 hour')
ON CONFLICT DO NOTHING
"""
VARIANT = """
INSERT INTO asset_variant (content, width, media_type, variant, bytes, created_at) VALUES (%s, %s, 'image/webp', %s, %s, now() - interval '1 hour')
"""


def content_of(picture: bytes) -> bytes:
    return hashlib.sha256(picture).digest()


async def emptied(store: ObjectStore) -> None:
    """Make the bucket, or take out what other tests have left."""
    await store.put("first", b"it makes the bucket")
    async for page in store.pages(""):
        await store.delete([one.key for one in page.objects])


@dataclass(frozen=True)
class Stored:
    """`database`: of a process; `rows`: a connection beside it."""

    database: Database
    store: ObjectStore
    rows: psycopg.Connection[Any]

    def profile(self, key: str, handle: str, posts: int) -> None:
        """A profile and its posts, which are called KEY-post-N."""
        self.rows.execute(ACCOUNT, (key, handle))
        with self.rows.cursor() as cursor:
            cursor.executemany(POST, [(f"{key}-post-{n}", key) for n in range(posts)])

    async def put(self, picture: bytes) -> bytes:
        """An object alone; its content."""
        await self.store.put(key_of(content_of(picture)), picture)
        return content_of(picture)

    async def asset(self, entity: str, key: str, picture: bytes, field: str = "thumbnail_url") -> bytes:
        """An asset with its object; the content."""
        content = await self.put(picture)
        self.rows.execute(OBJECT, (content, len(picture)))
        self.rows.execute(ASSET, (entity, key, field, content))
        return content

    async def variant(self, content: bytes, picture: bytes, width: int = 160) -> bytes:
        """A smaller picture of an object; its content."""
        variant = await self.put(picture)
        self.rows.execute(OBJECT, (variant, len(picture)))
        self.rows.execute(VARIANT, (content, width, variant, len(picture)))
        return variant

    async def keys(self) -> set[str]:
        """All keys of the bucket."""
        return {one.key async for page in self.store.pages("") for one in page.objects}

    def one(self, sql: str, *params: object) -> Any:
        row = self.rows.execute(sql, params).fetchone()
        return None if row is None else row[0]
