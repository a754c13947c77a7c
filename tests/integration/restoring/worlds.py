"""Profiles that were observed well, then badly by a parser with a bug, and some of them well again; and what is true of them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from beat_actors.database import Database
from beat_actors.pipeline.writing import write_entities
from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.registry import platform
from beat_actors.restoring.selection import Selection

GOOD, BUGGY, FIXED = 7, 8, 9
LOGGED = (
    "handle", "full_name", "biography", "category", "account_type", "is_private", "is_verified", "followers", "following", "media_count", "external_url",
    "graph_id",
)  # fmt: skip
ROWS = 'SELECT to_jsonb(t) FROM "instagram_account" t ORDER BY profile_id, account_id, owner'
BATCH = 500


def profile(number: int, **changes: Any) -> InstagramAccount:
    known = {
        "profile_id": f"{number:06d}",
        "handle": f"creator_{number:06d}",
        "full_name": f"Creator {number}",
        "biography": f"words of {number} ☕",
        "followers": 1000 + number * 7,
        "following": 10 + number,
        "media_count": 5 + number,
        "is_verified": number % 2 == 0,
        "profile_pic_url": f"https://cdn.example.com/{number}.jpg?sig=a",
    }
    return InstagramAccount(**{**known, **changes})


def corrupted(number: int) -> InstagramAccount:
    """What the bug makes of it: thousands for units, somebody else's words, and a field that nobody has told before."""
    return profile(
        number,
        followers=(1000 + number * 7) * 1000,
        biography=f"words of {number + 1} ☕",
        category="bug",
        profile_pic_url=f"https://cdn.example.com/{number}.jpg?sig=b",
    )


class World:
    """`start`: the time of the first observations. `truth`: by key, what the good observations say, with the time and parser of the newest."""

    def __init__(self, database: Database, days: float = 3) -> None:
        self.database = database
        self.start = datetime.now(UTC).replace(microsecond=123456) - timedelta(days=days)
        self.truth: dict[str, dict[str, Any]] = {}
        self.fetch = 0

    async def observe(
        self,
        records: Sequence[InstagramAccount],
        version: int,
        hours: float,
        *,
        good: bool = True,
        source: str = "lama",
        account: str = "",
    ) -> None:
        """One answer for each record, an hour's answers spread over it."""
        at = self.start + timedelta(hours=hours)
        entity = platform("instagram").entity_in("instagram_account")
        for first in range(0, len(records), BATCH):
            some = records[first : first + BATCH]
            times = [at + timedelta(milliseconds=first + n) for n in range(len(some))]
            fetches = list(range(self.fetch + 1, self.fetch + 1 + len(some)))
            self.fetch += len(some)
            async with self.database.transaction() as transaction:
                await write_entities(
                    transaction,
                    "instagram",
                    entity,
                    {
                        "fetches": fetches,
                        "requests": fetches,
                        "accounts": [account] * len(some),
                        "owners": [""] * len(some),
                        "observed": times,
                        "sources": [source] * len(some),
                        "versions": [version] * len(some),
                        "builds": [None] * len(some),
                        "records": [msgspec.json.encode([one]).decode() for one in some],
                    },
                )
            if good and not account:
                for one, when in zip(some, times, strict=True):
                    self._learn(one, version, when, source)

    def _learn(self, one: InstagramAccount, version: int, at: datetime, source: str) -> None:
        known = self.truth.setdefault(one.profile_id, dict.fromkeys(LOGGED))
        known |= {name: value for name in LOGGED if (value := getattr(one, name)) is not None}
        known |= {"observed_at": at, "source": source, "parser_version": version}

    async def bug(self, entities: int, *, again: int = 0, new: int = 0) -> Selection:
        """Good observations of all, then bad ones; `again` of them are observed well afterwards, in a part of their fields. `new`: entities that
        only the bug has ever observed. What is to be restored."""
        await self.observe([profile(n) for n in range(entities)], GOOD, 0)
        await self.observe([profile(n, followers=1001 + n * 7) for n in range(0, entities, 3)], GOOD, 12)
        await self.observe([profile(n) for n in range(entities, entities + 20)], GOOD, 20)
        await self.observe([corrupted(n) for n in range(entities)], BUGGY, 24, good=False)
        await self.observe([corrupted(900_000 + n) for n in range(new)], BUGGY, 25, good=False)
        part = [InstagramAccount(profile_id=f"{n:06d}", handle=f"creator_{n:06d}", followers=77) for n in range(again)]
        await self.observe(part, FIXED, 30, source="arraybobo")
        return Selection(since=self.start + timedelta(hours=23), parser_version=BUGGY, source="lama")

    async def rows(self) -> list[dict[str, Any]]:
        async with self.database.transaction() as transaction:
            return [row[0] for row in await transaction.rows(ROWS)]

    async def differences(self) -> list[str]:
        """Where the rows are not what is true: of each the key, the field, what it is and what it should be."""
        found = []
        rows = {row["profile_id"]: row for row in await self.rows() if not row["account_id"]}
        for key in sorted(rows.keys() | self.truth.keys()):
            row, true = rows.get(key), self.truth.get(key)
            if row is None or true is None:
                found.append(f"{key} {'missing' if row is None else 'unknown'}")
                continue
            now = {**row, "observed_at": datetime.fromisoformat(row["observed_at"])}
            found += [f"{key}.{name} {now[name]!r} {true[name]!r}" for name in true if now[name] != true[name]]
        return found

    async def bits(self) -> str:
        """A digest of every column of every row."""
        return hashlib.sha256(msgspec.json.encode(await self.rows())).hexdigest()
