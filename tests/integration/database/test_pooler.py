"""PgBouncer in transaction mode: a request runs through few server sessions, which many transactions share.

CI runs the engine's other tests through it as well."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import PostgresDsn

from beat_actors.broker.turn import turn
from beat_actors.database import durability
from beat_actors.errors import BadSettings
from beat_actors.local.account import unprivileged
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import running
from beat_actors.local.service import Service
from beat_actors.local.supervisor import Supervisor
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.certificates import certificate
from tests.conftest import Servers
from tests.images import ROOT
from tests.integration.local.processes import eventually
from tests.observing import rows
from tests.pgbouncer import PgBouncer
from tests.stages import retrieve
from tests.worlds import TOY, ScriptedClient, answer, engine_with, registered

pytestmark = pytest.mark.slow

CLIENTS = 20
POOL = 2
PAGE = (ROOT / "docs" / "security.md").read_text()
REFUSED = "certificate verify failed"
SSL_REQUEST = struct.pack("!II", 8, 80877103)


class BesidePostgres(PgBouncer):
    """Started after PostgreSQL, in a home of its own."""

    def service(self) -> Service:
        return replace(super().service(), depends_on=())


@pytest.fixture(scope="module")
def binary() -> str:
    found = os.environ.get("BEAT_TEST_PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin")
    if found is None:
        pytest.skip("there is no pgbouncer on this machine")
    return found


@pytest.fixture(scope="module")
def pooler(servers: Servers, binary: str) -> Iterator[PgBouncer]:
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


@asynccontextmanager
async def tls_before(postgres: int, own: Path) -> AsyncIterator[tuple[int, list[bool]]]:
    """PostgreSQL as over TLS, which the embedded one was built without: a port, and for each call of a client whether it began TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    began: list[bool] = []

    async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while sent := await reader.read(1 << 16):
                writer.write(sent)
                await writer.drain()
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            began.append(await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST)
            if began[-1]:
                writer.write(b"S")
                await writer.start_tls(context)
                there, back = await asyncio.open_connection("127.0.0.1", postgres)
                await asyncio.gather(copied(reader, back), copied(there, writer))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], began


@pytest.mark.parametrize("trusted", ["its own", "another's", "none"])
async def test_the_pooler_reaches_postgresql_with_verified_tls_as_documented(
    servers: Servers, binary: str, tmp_path: Path, trusted: str
) -> None:
    own, other = certificate(tmp_path / "own.pem"), certificate(tmp_path / "other.pem")
    async with tls_before(servers.postgres.port, own) as (port, began):
        with temporary_home() as home:
            place = home.place_for(unprivileged())
            documented = {"server_tls_sslmode": "verify-full"}
            if trusted != "none":
                authority = place / "ca.pem"
                shutil.copy(own if trusted == "its own" else other, authority)
                authority.chmod(0o644)
                documented["server_tls_ca_file"] = str(authority)
            assert all(f"`{name}`" in PAGE or f"`{name}={value}`" in PAGE for name, value in documented.items())
            pooler = BesidePostgres.at(home, servers.postgres, binary, behind=port, settings=documented)
            url = pooler.url_of(servers.postgres.url_of("postgres"))
            ready = replace(pooler.service(), ready=lambda: _listens(pooler.port))
            supervisor = Supervisor(home.logs, inherit=(home.lock(),))
            try:
                await asyncio.to_thread(supervisor.start, ready)
                asked = asyncio.create_task(asyncio.to_thread(_asked, url))
                log = home.logs / "pgbouncer.log"
                assert await asyncio.to_thread(eventually, lambda: asked.done() or REFUSED in log.read_text())
            finally:
                await asyncio.to_thread(supervisor.stop)
            if trusted == "its own":
                assert await asked == 1
            else:
                with pytest.raises(psycopg.OperationalError):
                    await asked
        assert began
        assert all(began)


def _asked(url: str) -> int:
    with psycopg.connect(f"{url}", prepare_threshold=None) as connection:
        (one,) = connection.execute("SELECT 1").fetchone() or (0,)
    return int(one)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
