"""Raw payloads of past days go into the bucket, whatever dies meanwhile, and none is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from beat_actors.database import Database
from beat_actors.errors import NotFound, ObjectsUnavailable
from beat_actors.payloads import archive as archiving
from beat_actors.payloads.archive import Archiver, folder, remove
from beat_actors.pipeline.records import pack
from beat_actors.requests import sweeps
from beat_actors.transport import bucket
from beat_actors.transport.objects import ObjectStore
from tests.integration.payloads.conftest import FILL, Archive, text

FETCHES = range(1, 26)


async def test_a_past_day_lies_in_the_bucket_and_each_payload_is_read_by_its_range(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    assert (await archiver.run(archive.database)).count == 25
    assert (archive.days, archive.archived, len(await archive.objects())) == (0, 25, 3)
    assert archive.count("SELECT count(*) FROM raw_payload") == 0
    asked = list[Any]()
    whole = ObjectStore.read

    async def watched(self: ObjectStore, key: str, span: tuple[int, int] | None = None) -> bytes:
        asked.append(span)
        return await whole(self, key, span)

    monkeypatch.setattr(ObjectStore, "read", watched)
    await archive.all_is_read(FETCHES)
    assert len(asked) == 25
    assert all(span is not None and span[1] < 1000 for span in asked)
    assert archive.count("SELECT count(*) FROM archived_payload WHERE next_cursor = 'next'") == 25
    assert (await archiver.run(archive.database)).count == 0
    with pytest.raises(NotFound, match="no payload of fetch 99"):
        await archive.read(99)


async def test_yesterday_lies_in_both_and_is_not_dropped(archive: Archive, archiver: Archiver) -> None:
    archive.fill(1, FETCHES)
    before = archive.count("SELECT count(*) FROM raw_payload")
    await archiver.run(archive.database)
    assert archive.count("SELECT count(*) FROM raw_payload") == before == 25
    await archive.all_is_read(FETCHES)


async def test_an_object_is_bounded_in_bytes_and_takes_one_payload_that_is_larger(archive: Archive) -> None:
    archive.fill(3, FETCHES)
    assert (await Archiver(bytes=1).run(archive.database)).count == 25
    assert len(await archive.objects()) == 25
    await archive.all_is_read(FETCHES)


Step = Callable[[pytest.MonkeyPatch], None]


class Killed(BaseException):
    """Where a process ends, nothing after it is run."""


def _around(name: str, *, before: bool) -> Step:
    """Be killed at the second object, before or after what `name` does."""

    def arm(patch: pytest.MonkeyPatch) -> None:
        owner: Any = ObjectStore if hasattr(ObjectStore, name) else archiving
        real: Callable[..., Awaitable[Any]] = getattr(owner, name)
        calls = list[int]()

        async def killing(*args: Any) -> Any:
            calls.append(1)
            if before and len(calls) == 2:
                raise Killed
            done = await real(*args)
            if len(calls) == 2:
                raise Killed
            return done

        patch.setattr(owner, name, killing)

    return arm


STEPS = {
    "before_put": _around("put", before=True),
    "after_put": _around("put", before=False),
    "before_commit": _around("_register", before=True),
    "after_commit": _around("_register", before=False),
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_kill_at_any_step_loses_nothing_and_leaves_no_object_behind(
    archive: Archive, archiver: Archiver, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(Killed):
            await archiver.run(archive.database)
    assert archive.named() <= await archive.objects()
    await archive.all_is_read(FETCHES)
    monkeypatch.setattr(archiving, "GIVEN_UP", 0.0)
    assert (await Archiver(payloads=10).run(archive.database)).count in (5, 15)
    assert (archive.days, archive.archived) == (0, 25)
    assert archive.named() == await archive.objects()
    assert archive.count("SELECT count(*) FROM payload_object") == 3
    await archive.all_is_read(FETCHES)


async def test_a_kill_before_the_day_is_dropped_or_an_object_deleted_is_made_up_for(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)

    async def killed(*_args: Any, **_named: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Archiver, "_drop", killed)
        with pytest.raises(Killed):
            await archiver.run(archive.database)
    assert (archive.days, archive.archived) == (1, 25)
    archive.admin.execute(
        "INSERT INTO payload_object (key, day, gone_at) VALUES (%s, now(), now())", (await _spare(archive),)
    )
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "delete", killed)
        with pytest.raises(Killed):
            await Archiver().run(archive.database)
    assert (archive.days, len(await archive.objects())) == (0, 4)
    await Archiver().run(archive.database)
    assert archive.named() == await archive.objects()


async def _spare(archive: Archive) -> str:
    key = f"{await folder(archive.database)}2020-01-01/spare"
    assert await archive.store.put(key, b"spare")
    return key


async def test_two_archivers_at_once_archive_each_payload_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await asyncio.gather(*(Archiver(payloads=10).run(archive.database) for _ in range(2)))
    assert (archive.days, archive.archived) == (0, 25)
    assert archive.count("SELECT sum(payloads) FROM payload_object WHERE stored_at IS NOT NULL") == 25
    monkeypatch.setattr(archiving, "GIVEN_UP", 0.0)
    await remove(archive.database, archive.store, await folder(archive.database))
    assert archive.named() == await archive.objects()
    await archive.all_is_read(FETCHES)


async def test_what_is_erased_while_it_is_archived_is_in_no_object(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    real = ObjectStore.put

    async def erasing(self: ObjectStore, key: str, body: bytes) -> bool:
        archive.admin.execute("DELETE FROM raw_payload WHERE fetch_id = 7")
        return await real(self, key, body)

    monkeypatch.setattr(ObjectStore, "put", erasing)
    assert (await archiver.run(archive.database)).count == 24
    assert archive.named() == await archive.objects()
    found = b"".join([await archive.store.read(key) for key in archive.named()])
    assert pack(text(7)) not in found
    assert archive.archived == 24
    assert len(found) == archive.count("SELECT sum(length) FROM archived_payload")
    with pytest.raises(NotFound):
        await archive.read(7)


async def test_a_day_stays_while_a_payload_of_it_is_to_be_read_or_came_late(
    archive: Archive, archiver: Archiver
) -> None:
    day = archive.fill(3, FETCHES)
    with archive.admin.transaction():
        archive.admin.execute("SET LOCAL session_replication_role = replica")
        archive.admin.execute(
            "INSERT INTO scrape_fetch (request_id, platform, operation, params, lane_id, priority, stage, payload_at) "
            "VALUES (1, 'toy', 'look', '{}', 1, 1, 'RETRIEVED', %s::date + interval '12 hours')",
            (day,),
        )
    await archiver.run(archive.database)
    assert (archive.days, archive.archived) == (1, 25)
    archive.admin.execute("UPDATE scrape_fetch SET stage = 'DONE'")
    # Behind the place that the archiver has reached.
    archive.admin.execute(FILL, (f"{day} 13:00+00", [2], [pack(b"late")]))
    await archiver.run(archive.database)
    assert (archive.days, archive.archived) == (1, 25)
    await archiver.run(archive.database)
    assert (archive.days, archive.archived) == (0, 26)


async def test_a_bucket_that_is_away_keeps_everything_in_postgresql(
    archive: Archive, archiver: Archiver, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    gone = archive.database.settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})
    monkeypatch.setattr(archive.database, "settings", gone)
    with pytest.raises(ObjectsUnavailable, match="does not answer"):
        await archiver.run(archive.database)
    await sweeps.partitions(archive.database)
    assert (archive.days, archive.archived, archive.count("SELECT count(*) FROM raw_payload")) == (1, 0, 25)
    await archive.all_is_read(FETCHES)
    back = gone.model_copy(update={"s3_endpoint_url": s3_server.url})
    monkeypatch.setattr(archive.database, "settings", back)
    assert (await archiver.run(archive.database)).count == 25
    assert archive.days == 0


async def test_a_bucket_that_does_not_answer_holds_nobody_up(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    held = list[asyncio.StreamWriter]()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setattr(bucket, "PATIENCE", 0.3)
    monkeypatch.setattr(
        archive.database, "settings", archive.database.settings.model_copy(update={"s3_endpoint_url": url})
    )
    for _ in range(3):
        with pytest.raises(ObjectsUnavailable, match="did not answer within"):
            await archiver.run(archive.database)
    assert await asyncio.to_thread(lambda: 1) == 1
    assert (archive.days, archive.archived) == (1, 0)
    for writer in held:
        writer.close()
    server.close()


async def test_without_a_bucket_or_by_setting_payloads_stay_where_they_are(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    settings = archive.database.settings
    for changed in ({"s3_bucket": None}, {"raw_payload_archive": False}):
        monkeypatch.setattr(archive.database, "settings", settings.model_copy(update=changed))
        assert (await archiver.run(archive.database)).count == 0
        assert (archive.days, archive.archived) == (1, 0)


async def test_past_their_days_objects_go_after_the_index_with_whatever_lies_beside_them(
    archive: Archive, archiver: Archiver, database: Database
) -> None:
    day = archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    archive.admin.execute("SELECT beat_make_partition('archived_payload', %s)", (day,))
    place = await folder(archive.database)
    await archive.store.put(f"{place}{day}/of-nobody", b"an archiver was frozen, and its object came late")
    short = archive.database.settings.model_copy(update={"raw_payload_days": 2})
    for_short = replace(archive)
    for_short.database = Database(short, name="test")
    await archiver.run(for_short.database)
    assert len(await archive.objects()) == 4  # the index still names them
    await sweeps.partitions(for_short.database)
    assert archive.archived == 0
    await archiver.run(for_short.database)
    assert await archive.objects() == set()
    await archiver.run(for_short.database)
    assert archive.count("SELECT count(*) FROM payload_object") == 0
    await for_short.database.close()


async def test_objects_of_a_copy_of_the_database_are_forgotten_and_not_deleted(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.fill(3, FETCHES)
    await archiver.run(archive.database)
    before = await archive.objects()
    archive.admin.execute("UPDATE payload_object SET gone_at = now()")
    await remove(archive.database, archive.store, "another/folder/")
    assert archive.count("SELECT count(*) FROM payload_object") == 0
    assert await archive.objects() == before
