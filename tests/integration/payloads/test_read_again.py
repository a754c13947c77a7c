"""What stands in quarantine is read anew from the bucket as from PostgreSQL, and nobody is asked for what was paid for."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from beat_actors import quarantine
from beat_actors.errors import Malformed, ObjectMissing
from beat_actors.payloads.archive import Archiver
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Endpoint, Parsed
from beat_actors.requests import replay
from beat_actors.settings import Settings
from tests.integration.payloads.conftest import Archive
from tests.integration.requests.conftest import World
from tests.worlds import TOY, First, ScriptedClient, answer, engine_with, registered

OLDER = """
UPDATE {} SET {} = {} - interval '3 days'
"""


class Parser:
    """Cannot read anything until it is fixed."""

    broken = True

    def __call__(self, body: bytes, _spec: Any) -> Parsed:
        if self.broken:
            raise Malformed("id is missing", path="$.id")
        assert body == b"{}"
        return Parsed(())


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Parser:
    parser = Parser()
    monkeypatch.setitem(First.endpoints, "look", Endpoint(First.endpoints["look"].build, parser))
    return parser


@pytest.fixture
async def world(with_bucket: Settings) -> AsyncIterator[World]:
    with registered(TOY):
        engine = engine_with(with_bucket, ScriptedClient(lambda *_: answer()))
        for source in TOY.sources:
            await engine.credentials.add(source, {"key": source})
        yield World(engine)
        await engine.close()


async def archived(world: World, archive: Archive) -> None:
    """Three days go by, and what was answered lies in the bucket alone."""
    with psycopg.connect(archive.admin.info.dsn, password=archive.admin.info.password, autocommit=True) as admin:
        for table, column in (
            ("raw_payload", "created_at"),
            ("scrape_fetch", "payload_at"),
            ("quarantine", "payload_at"),
        ):
            admin.execute(OLDER.format(table, column, column))
        admin.execute("SELECT beat_make_partition('raw_payload', current_date - 3)")
    await Archiver().run(world.engine.database)
    assert archive.count("SELECT count(*) FROM raw_payload") == 0
    assert archive.archived > 0


async def read_again(world: World) -> list[str | None]:
    """Ask for the newest entry to be read anew, sweep once, and do what it sends; the outcome of each entry."""
    await world.rows(
        "UPDATE quarantine SET replay_at = clock_timestamp() WHERE id = (SELECT max(id) FROM quarantine) RETURNING 1"
    )
    swept = await replay.due(world.engine.database)
    for _, ids in swept.send:
        await process(world.engine, (await ingest(world.engine, ids)).next)
    await world.run()
    return [row.outcome for row in await world.rows("SELECT outcome FROM quarantine ORDER BY id")]


async def failed(world: World, archive: Archive) -> int:
    asked = await world.ask()
    await world.run()
    assert (await world.statuses())[asked.id] == "FAILED"
    await archived(world, archive)
    return asked.id


async def test_s6_8_what_lies_in_the_bucket_is_read_by_the_fixed_parser_and_nobody_is_asked(
    world: World, parser: Parser, archive: Archive
) -> None:
    asked = await failed(world, archive)
    parser.broken = False
    assert await read_again(world) == [None, None, "reparsed"]
    assert await world.statuses() == {asked: "COMPLETE"}
    assert len(world.client.calls) == 3
    # Workers found it where it was brought back to, which is for a day.
    assert archive.count("SELECT count(*) FROM restored_payload") == 1
    archive.admin.execute("UPDATE restored_payload SET restored_at = now() - interval '2 days'")
    await Archiver().run(world.engine.database)
    assert archive.count("SELECT count(*) FROM restored_payload") == 0


async def test_while_the_bucket_is_away_it_is_put_off_and_neither_lost_nor_asked_for(
    world: World, parser: Parser, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await failed(world, archive)
    parser.broken = False
    settings = world.engine.database.settings
    gone = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})
    monkeypatch.setattr(world.engine.database, "settings", gone)
    assert await read_again(world) == [None, None, None]
    assert archive.count("SELECT count(*) FROM quarantine WHERE replay_at > clock_timestamp()") == 1
    assert await world.statuses() == {asked: "FAILED"}
    monkeypatch.setattr(world.engine.database, "settings", settings)
    assert await read_again(world) == [None, None, "reparsed"]
    assert len(world.client.calls) == 3


async def test_what_the_bucket_has_lost_is_asked_for_again(world: World, parser: Parser, archive: Archive) -> None:
    asked = await failed(world, archive)
    parser.broken = False
    await archive.store.delete(sorted(archive.named()))
    assert (await read_again(world))[-1] == "refetched"
    assert await world.statuses() == {asked: "COMPLETE"}
    assert len(world.client.calls) == 4


async def test_an_entry_is_shown_with_what_was_answered(world: World, parser: Parser, archive: Archive) -> None:
    await failed(world, archive)
    (newest,) = await world.rows("SELECT max(id) AS id FROM quarantine")
    assert (await quarantine.payload(world.engine.database, newest.id)).text == "{}"
    await archive.store.delete(sorted(archive.named()))
    with pytest.raises(ObjectMissing, match="has no object"):
        await quarantine.payload(world.engine.database, newest.id)
