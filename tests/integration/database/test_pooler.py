"""PgBouncer in transaction mode: a request runs through few server sessions, which many transactions share.

CI runs the engine's other tests through it as well."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pydantic import PostgresDsn

from beat_actors.broker.turn import turn
from beat_actors.database import durability
from beat_actors.errors import BadSettings
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import running
from beat_actors.local.service import Service
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.conftest import Servers
from tests.observing import rows
from tests.pgbouncer import PgBouncer
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

CLIENTS = 20
POOL = 2


class BesidePostgres(PgBouncer):
    """Started after PostgreSQL, in a home of its own."""

    def service(self) -> Service:
        return replace(super().service(), depends_on=())


@pytest.fixture(scope="module")
def pooler(servers: Servers) -> Iterator[PgBouncer]:
    binary = os.environ.get("BEAT_TEST_PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin")
    if binary is None:
        pytest.skip("there is no pgbouncer on this machine")
    with temporary_home() as home:
        pooler = BesidePostgres.at(home, servers.postgres, binary, pool=POOL)
        with running(home, pooler):
            yield pooler


@pytest.fixture
def pooled(settings: Settings, process_url: str, pooler: PgBouncer) -> Settings:
    through = {"database_url": PostgresDsn(pooler.url_of(process_url)), "database_prepared_statements": False}
    return settings.model_copy(update={**through, "database_pool_size": CLIENTS, "broker_in_flight_per_source": 100})


async def test_s2_11_requests_end_through_a_pooler_with_fewer_sessions_than_clients(
    pooled: Settings, database_url: str
) -> None:
    engine = engine_with(pooled, ScriptedClient(lambda source, call: answer()), name="pooled")
    try:
        with registered(TOY):
            for n in range(CLIENTS):
                await engine.credentials.add("toy-first", {"key": f"key-{n}"})
            await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{n}"}) for n in range(CLIENTS)])
            leased = (await turn(engine.database, TOY)).leased
            assert len(leased) == CLIENTS

            async def work(fetch: int) -> None:
                retrieved = await retrieve(engine, [fetch])
                await process(engine, (await ingest(engine, retrieved.next)).next)

            await asyncio.gather(*(work(fetch) for fetch in leased))
        ended = "SELECT status, count(*)::int FROM scrape_request_log GROUP BY 1"
        assert [tuple(row) for row in await rows(engine.database, ended)] == [("COMPLETE", CLIENTS)]
        with psycopg.connect(database_url) as straight:
            (sessions,) = straight.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone() or (0,)
        assert 0 < sessions <= POOL
    finally:
        await engine.close()


@pytest.mark.parametrize("default", ["off", pytest.param("local", marks=pytest.mark.exhaustive)])
async def test_a_default_that_loses_commits_is_refused_where_sessions_are_shared(
    pooled: Settings, database_url: str, process_url: str, default: str
) -> None:
    """A connection of one's own sets it right. Behind the pooler a transaction may run in a session that nobody has set right."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET synchronous_commit = '{default}'")
    assert await durability.unsafe(process_url) == ["fsync = off", "full_page_writes = off"]
    shared = await durability.unsafe(str(pooled.database_url))
    assert shared == ["fsync = off", "full_page_writes = off", f"synchronous_commit = {default}"]
    with pytest.raises(
        BadSettings, match=f"synchronous_commit = {default}: .*ALTER DATABASE ... SET synchronous_commit"
    ):
        await asyncio.to_thread(durability.refuse_unsafe, pooled.model_copy(update={"environment": "production"}))
