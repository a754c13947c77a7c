"""Answers of production, exported without personal data, are read in another installation as they were."""

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.errors import BadInput, Conflict
from beat_actors.snapshots.exporting import export
from beat_actors.snapshots.importing import import_
from tests.conformance.recordings import Recording, of_platforms
from tests.conftest import Servers, settings_over
from tests.integration.parsers.conftest import Deploy, Stored, deploy, each

__all__ = ["deploy"]
NOW = datetime.now(UTC)
GOOD: list[Recording] = [recording for _, table in of_platforms() for recording in table.GOOD]
TIKTOK = ("api23", "posts_by_id")
POSTS = next(one for one in GOOD if (one.source, one.operation) == TIKTOK)


@pytest.fixture
async def stored(database: Database, database_url: str) -> AsyncIterator[Stored]:
    with psycopg.connect(database_url, autocommit=True) as admin:
        (now,) = admin.execute("SELECT clock_timestamp() - interval '1 hour'").fetchone() or ()
        yield Stored(database, admin, now)


@pytest.fixture
async def staging(servers: Servers, template: str) -> AsyncIterator[Stored]:
    """Another installation, which was just migrated."""
    with servers.databases.database("staging_snapshot") as url, psycopg.connect(url, autocommit=True) as admin:
        database = Database(settings_over(servers, url), name="test")
        yield Stored(database, admin, NOW)
        await database.close()


async def test_s8_10_a_snapshot_without_personal_data_is_imported_and_parsers_are_compared_on_it(
    stored: Stored, staging: Stored, deploy: Deploy, tmp_path: Path
) -> None:
    path = tmp_path / "answers.gz"
    for _ in range(3):
        await stored.keep(*TIKTOK, POSTS.body(), POSTS.params)
    (found,) = await export(stored.database, path, last=2, now=NOW)
    assert (found.source, found.operation, found.answers, found.left_out) == (*TIKTOK, 2, 0)
    written = await import_(staging.database, path)
    assert (written.answers, written.records, written.unknown) == (2, 2 * POSTS.records, 0)
    same = await staging.diff(*TIKTOK)
    assert (same.payloads, same.changed, same.lost, same.gained, same.unreadable) == (2, 0, 0, 0, 0)
    deploy(*TIKTOK, each(lambda post: msgspec.structs.replace(post, likes=post.likes * 1000)))
    assert (await staging.diff(*TIKTOK)).changed == 2 * POSTS.records


async def test_s8_10_no_word_of_a_person_is_in_the_file(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "answers.gz"
    for recording in GOOD:
        await stored.keep(recording.source, recording.operation, recording.body(), recording.params)
    exported = await export(stored.database, path, last=1000, now=NOW)
    text = gzip.decompress(path.read_bytes()).decode()
    personal = personal_values(stored)
    assert len(personal) > 50
    assert [word for word in sorted(personal) if word in text] == []
    # Most recordings are read without their words too; what is not is left out, and nothing else goes into the file.
    assert sum(one.answers for one in exported) > sum(one.left_out for one in exported)


def personal_values(stored: Stored) -> set[str]:
    """Handles, names, ids and texts of people in the entities, of some length, as they would stand in JSON."""
    found: set[str] = set()
    for table, fields in (
        ("instagram_account", ("profile_id", "handle", "full_name", "biography")),
        ("instagram_post", ("post_id", "caption")),
        ("tiktok_account", ("profile_id", "handle", "full_name", "biography")),
        ("tiktok_post", ("post_id", "caption")),
        ("youtube_account", ("profile_id", "handle", "full_name")),
    ):
        for field in fields:
            for (value,) in stored.admin.execute(f"SELECT {field} FROM {table} WHERE length({field}) >= 9").fetchall():  # type: ignore[arg-type]
                found.add(msgspec.json.encode(value).decode().strip('"'))
    return found


async def test_a_filled_installation_a_damaged_file_and_a_file_that_exists_are_refused(
    stored: Stored, staging: Stored, tmp_path: Path
) -> None:
    path: Path = tmp_path / "answers.gz"
    await stored.keep(*TIKTOK, POSTS.body(), POSTS.params)
    await export(stored.database, path, last=2, now=NOW)
    with pytest.raises(BadInput, match="exists"):
        await export(stored.database, path, last=2, now=NOW)
    with pytest.raises(Conflict):
        await import_(stored.database, path)
    wrong: Any = tmp_path / "wrong"
    wrong.write_bytes(b"nothing")
    with pytest.raises(BadInput, match="no snapshot"):
        await import_(staging.database, wrong)
