"""Uploads beside what else the database is there for: a backlog that hangs holds up no request, and a pooler that is restarted loses no picture."""

import os
import shutil
from dataclasses import replace

import pytest
from pydantic import PostgresDsn

from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import running
from beat_actors.local.service import Service
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.conftest import Servers
from tests.integration.assets.origins import Pictures
from tests.integration.assets.rows import asset, eventually, insert, run
from tests.integration.assets.world import check_all, until, uploading
from tests.pgbouncer import PgBouncer
from tests.stages import retrieve
from tests.strict_s3 import StrictS3
from tests.worlds import TOY, ScriptedClient, answer, toy_engine

POOL = 3


class BesidePostgres(PgBouncer):
    """Started after PostgreSQL, in a home of its own."""

    def service(self) -> Service:
        return replace(super().service(), depends_on=())


@pytest.mark.slow
async def test_s7_8_requests_end_while_every_upload_of_a_long_backlog_hangs(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    insert(database_url, [asset(f"a{n}", n % 4, url=f"https://cdn.example.com/p/{n}.jpg") for n in range(20_000)])
    origin.holds.clear()
    client = ScriptedClient(lambda source, call: answer())
    async with (
        uploading(upload_settings, database, slots=200) as uploader,
        toy_engine(upload_settings, client, "ab") as engine,
    ):
        await eventually(lambda: origin.under_way == 200)
        accepted = await intake.accept(
            engine.database, [NewRequest("toy", "look", {"name": f"n{n}"}) for n in range(6)]
        )
        leased = (await turn(engine.database, TOY)).leased
        assert len(leased) == len(accepted) == 6
        retrieved = await retrieve(engine, leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
        assert run(database_url, "SELECT status, count(*)::int FROM scrape_request_log GROUP BY 1") == [("COMPLETE", 6)]
        assert uploader.in_flight == origin.under_way == 200
        origin.holds.set()


@pytest.mark.slow
async def test_s7_5_uploads_go_on_when_the_pooler_is_restarted(
    upload_settings: Settings, servers: Servers, process_url: str, database_url: str, bucket: StrictS3, origin: Pictures
) -> None:
    binary = os.environ.get("BEAT_TEST_PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin")
    if binary is None:
        pytest.skip("there is no pgbouncer on this machine")
    insert(database_url, [asset(f"a{n}", n % 4, url=f"https://cdn.example.com/p/{n}.jpg") for n in range(300)])
    with temporary_home() as home:
        pooler = BesidePostgres.at(home, servers.postgres, binary, pool=POOL)
        through = {"database_url": PostgresDsn(pooler.url_of(process_url)), "database_prepared_statements": False}
        database = Database(upload_settings.model_copy(update=through), name="pooled")
        with running(home, pooler):
            origin.holds.clear()
            uploads = uploading(upload_settings, database, slots=64)
            uploader = await uploads.__aenter__()
            await eventually(lambda: origin.under_way == 64)
        # While nobody listens, pictures come and cannot be committed.
        origin.holds.set()
        await eventually(lambda: bucket.objects.counts.stored >= 1 or uploader.in_flight == 64)
        with running(home, pooler):
            await until(database_url, "status = 'COMPLETE'")
            await uploads.__aexit__(None, None, None)
            await database.close()
    assert Settings.model_fields["database_pool_recycle"].default == 500
    assert len(bucket.objects.stored) == 300
    check_all(database_url, bucket)
