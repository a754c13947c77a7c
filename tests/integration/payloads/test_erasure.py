"""What is erased is in no table and in no object, and what lay beside it is read as before."""

from typing import Any

import pytest

from beat_actors.errors import NotFound, ObjectMissing, ObjectsUnavailable
from beat_actors.payloads import archive as archiving
from beat_actors.payloads import erasure
from beat_actors.payloads.archive import Archiver, folder, remove
from beat_actors.payloads.erasure import erase
from beat_actors.payloads.reading import bring_back
from beat_actors.pipeline.records import pack
from beat_actors.transport.objects import ObjectStore
from tests.integration.payloads.conftest import Archive, text

FETCHES = range(1, 26)


async def all_bytes(archive: Archive) -> bytes:
    """All that the bucket holds of this database."""
    return b"".join([await archive.store.read(key) for key in await archive.objects()])


async def test_an_object_is_written_again_without_what_is_erased(archive: Archive, archiver: Archiver) -> None:
    archive.fill(3, FETCHES)
    archive.fill(1, range(101, 104))
    await archiver.run(archive.database)
    before = await archive.objects()
    erased = await erase(archive.database, [3, 25, 101, 999])
    assert (erased.payloads, erased.objects, erased.left) == (3, 3, [])
    for fetch_id in (3, 25, 101):
        with pytest.raises(NotFound):
            await archive.read(fetch_id)
        assert pack(text(fetch_id)) not in await all_bytes(archive)
    await archive.all_is_read(range(4, 25))
    await archive.all_is_read(range(102, 104))
    assert archive.named() == await archive.objects()
    assert len(before & await archive.objects()) == 1
    assert (await erase(archive.database, [3])).payloads == 0


async def test_an_object_of_which_nothing_is_left_is_deleted(archive: Archive, archiver: Archiver) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    assert (await erase(archive.database, FETCHES)).payloads == 25
    assert await archive.objects() == set()
    assert archive.count("SELECT count(*) FROM payload_object") == archive.archived == 0


class Killed(BaseException):
    """Where a process ends, nothing after it is run."""


@pytest.mark.parametrize(("owner", "name"), [(ObjectStore, "put"), (erasure, "delete"), (ObjectStore, "read")])
async def test_erasure_that_is_broken_off_is_done_by_the_next(
    archive: Archive, archiver: Archiver, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    real = getattr(owner, name)

    async def killed(*args: Any) -> Any:
        await real(*args) if owner is ObjectStore else None
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(Killed):
            await erase(archive.database, [3])
    await archive.all_is_read(range(4, 25))
    await erase(archive.database, [3])
    monkeypatch.setattr(archiving, "GIVEN_UP", 0.0)
    await remove(archive.database, archive.store, await folder(archive.database))
    assert archive.named() == await archive.objects()
    assert pack(text(3)) not in await all_bytes(archive)
    await archive.all_is_read(range(4, 25))


async def test_what_was_erased_is_not_brought_back(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    (key,) = archive.admin.execute("SELECT fetch_id, created_at FROM archived_payload WHERE fetch_id = 3").fetchall()
    assert await bring_back(archive.database, [key], within=10) == set()
    assert archive.count("SELECT count(*) FROM restored_payload") == 1
    await erase(archive.database, [3])
    assert archive.count("SELECT count(*) FROM restored_payload") == 0
    (key,) = archive.admin.execute("SELECT fetch_id, created_at FROM archived_payload WHERE fetch_id = 4").fetchall()
    real = ObjectStore.read

    async def erasing(self: ObjectStore, *args: Any) -> bytes:
        body = await real(self, *args)
        monkeypatch.setattr(ObjectStore, "read", real)
        await erase(archive.database, [4])
        return body

    monkeypatch.setattr(ObjectStore, "read", erasing)
    await bring_back(archive.database, [key], within=10)
    assert archive.count("SELECT count(*) FROM restored_payload") == 0


async def test_a_reader_whose_object_is_replaced_meanwhile_finds_it_in_the_other(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    real, calls = ObjectStore.read, list[str]()

    async def late(self: ObjectStore, key: str, span: tuple[int, int] | None = None) -> bytes:
        if not calls:
            calls.append(key)
            await erase(archive.database, [3])
        return await real(self, key, span)

    monkeypatch.setattr(ObjectStore, "read", late)
    assert await archive.read(4) == text(4)


async def test_without_the_bucket_erasure_says_what_is_missing(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    settings = archive.database.settings
    monkeypatch.setattr(archive.database, "settings", settings.model_copy(update={"s3_bucket": None}))
    with pytest.raises(ObjectsUnavailable, match="BEAT_S3_BUCKET is not set"):
        await erase(archive.database, [3])
    with pytest.raises(ObjectsUnavailable, match="BEAT_S3_BUCKET is not set"):
        await archive.read(3)
    monkeypatch.setattr(archive.database, "settings", settings)
    await erase(archive.database, [3])
    with pytest.raises(NotFound):
        await archive.read(3)


async def test_a_damaged_range_is_never_taken_for_a_payload(archive: Archive, archiver: Archiver) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    archive.admin.execute("UPDATE archived_payload SET position = position + 1 WHERE fetch_id IN (3, 25)")
    for fetch_id, said in ((3, "damaged"), (25, r"shorter|ends before")):
        with pytest.raises(ObjectMissing, match=said):
            await archive.read(fetch_id)
