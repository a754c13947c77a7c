"""PostgreSQL or Valkey, stopped or frozen under the API: nothing is promised that is not committed, and nobody is kept waiting."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import falcon.testing
import psutil
import pytest

from actors.mailbox import Mailbox
from api.app import create_app
from api.services import Services
from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database, migrate
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import UNSAFE_BUT_FAST, PostgresServer, ValkeyServer, running
from beat_actors.local.supervisor import Supervisor
from beat_actors.requests import sweeps
from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS, fastest
from tests.databases import Databases
from tests.integration.api.conftest import bearer
from tests.integration.api.promised import Promised

GOOD = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
ROUTE = "/v1/scrape-requests"


@contextmanager
def frozen(supervisor: Supervisor) -> Iterator[None]:
    """The server neither answers nor refuses; nor do the processes that serve its connections, those just starting among them."""
    (status,) = supervisor.status()
    server = psutil.Process(status.pid)
    server.suspend()  # first, so that it starts no other while its children are counted
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@dataclass
class Ours:
    """Servers of this module alone, and the API over a database of the test's own."""

    postgres: Supervisor
    valkey: Supervisor
    database: Database
    api: falcon.testing.ASGIConductor
    services: Services

    async def post(self, handle: str, **headers: str) -> Any:
        return await self.api.simulate_post(ROUTE, json={**GOOD, "params": {"handle": handle}}, headers=headers)

    async def count(self) -> int:
        async with self.database.transaction() as transaction:
            return int(await transaction.value("SELECT count(*) FROM scrape_request_log"))


@dataclass
class Own:
    """Servers that may be frozen and stopped."""

    postgres: PostgresServer
    valkey: ValkeyServer
    databases: Databases
    under: Supervisor
    beside: Supervisor


@contextmanager
def own_servers() -> Iterator[Own]:
    with temporary_home(fastest()) as home:
        postgres, valkey = PostgresServer.at(home, UNSAFE_BUT_FAST), ValkeyServer.at(home)
        with running(home, postgres) as under, running(home, valkey) as beside:
            migrate.upgrade(postgres.owner_url, postgres.process_url)
            databases = Databases(postgres, postgres.database)
            yield Own(postgres, valkey, databases, under, beside)
            databases.close()


@pytest.fixture(scope="module")
def lasting() -> Iterator[Own]:
    """For tests that freeze them, after which all is as before."""
    with own_servers() as own:
        yield own


@asynccontextmanager
async def over(own: Own, name: str) -> AsyncIterator[Ours]:
    """The API over the database of this name."""
    settings = Settings(
        database_url=own.postgres.url_of(name, "beat_process"),
        redis_url=own.valkey.url,
        redis_namespace=name,
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
    )
    database, mailbox = Database(settings, name="test"), Mailbox(settings)
    services: list[Services] = []

    def opened() -> Services:
        services.append(Services(Database(settings, name="api"), mailbox.wake, mailbox.ping, mailbox.close))
        return services[0]

    app = create_app(opened)
    async with database.transaction() as transaction:
        key = await keys.create(transaction, NewKey("test", (Scope.ADMIN,)), actor="test")
    async with Promised(app, headers=bearer(key)) as api:
        yield Ours(own.under, own.beside, database, api, services[0])


@pytest.fixture
async def ours(lasting: Own) -> AsyncIterator[Ours]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with lasting.databases.database(name):
        async with over(lasting, name) as ours:
            yield ours


@pytest.mark.slow
async def test_a_frozen_postgres_is_not_waited_for(ours: Ours) -> None:
    """The answers come while it is frozen; without a limit they would come when it thaws, which is after them."""
    assert (await ours.post("before")).status_code == 202
    with frozen(ours.postgres):
        for _ in range(3):
            answer = await ours.post("during", **{"Idempotency-Key": "k"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert "not known" in answer.json["detail"]
    accepted = await ours.post("during", **{"Idempotency-Key": "k"})
    assert accepted.status_code == 202
    assert await ours.count() == 2


@pytest.mark.slow
async def test_what_was_accepted_stays_so_when_postgres_freezes_while_its_caller_waits(ours: Ours) -> None:
    waits = asyncio.create_task(ours.api.simulate_post(ROUTE, json=GOOD, params={"wait": "2"}))
    while not await ours.count():
        pass
    with frozen(ours.postgres):
        answer = await waits
        assert answer.status_code == 202
        assert answer.headers["retry-after"]
    assert await ours.count() == 1


async def test_with_a_frozen_valkey_a_post_is_202_and_the_scheduler_finds_the_work(ours: Ours) -> None:
    with frozen(ours.valkey):
        answers = [await ours.post(f"a{n}") for n in range(5)]
    assert {answer.status_code for answer in answers} == {202}
    assert await ours.count() == 5
    assert (await sweeps.waiting(ours.database)).wake == {"instagram"}


async def test_without_valkey_a_post_is_202_and_without_postgres_503() -> None:
    """The scheduler finds the work that no message announces. Where nothing is accepted, the answer says when to come back."""
    with own_servers() as own:
        async with over(own, own.postgres.database) as ours:
            ours.valkey.stop()
            answers = [await ours.post(f"a{n}") for n in range(5)]
            assert {answer.status_code for answer in answers} == {202}
            assert await ours.count() == 5
            assert (await sweeps.waiting(ours.database)).wake == {"instagram"}
            ours.postgres.stop()
            for method, path, body in (
                ("POST", ROUTE, GOOD),
                ("GET", f"{ROUTE}/1", None),
                ("POST", f"{ROUTE}/1/cancel", None),
            ):
                answer = await ours.api.simulate_request(method, path, **({} if body is None else {"json": body}))
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
                assert answer.json["type"] == "urn:beat:problem:storage_unavailable"
                assert "nothing was accepted" in answer.json["detail"]


FREEZE = 8.0
"""Seconds: what waits for the thaw, or for the driver to give up, does not answer before."""
FAMILIES = (
    ("GET", "/readyz", None),
    ("POST", ROUTE, GOOD),
    ("GET", ROUTE, None),
    ("GET", f"{ROUTE}/1", None),
    ("GET", f"{ROUTE}/1/explain", None),
    ("POST", f"{ROUTE}/1/cancel", {}),
    ("POST", f"{ROUTE}/retry", {}),
    ("GET", "/v1/profiles/instagram/creator", None),
    ("GET", "/v1/profiles/instagram/creator/posts", None),
    ("GET", "/v1/profiles/instagram/creator/history", None),
    ("GET", "/v1/changes", None),
    ("POST", "/v1/profiles/instagram/creator/refresh", {}),
    ("GET", "/v1/keys", None),
    ("GET", "/v1/webhooks", None),
    ("POST", "/v1/webhooks", {"url": "https://example.com/hooks", "account_id": "acme"}),
    ("GET", "/v1/credentials", None),
    ("GET", "/v1/sources", None),
    ("GET", "/v1/flows", None),
    ("GET", "/v1/quarantine", None),
    ("GET", "/v1/alerts", None),
    ("GET", "/v1/audit", None),
    ("POST", "/v1/queues/ingest/purge", {"state": "dead", "reason": "test"}),
)


async def everything(ours: Ours) -> list[Any]:
    """One route of each family, all at once, within the freeze."""
    async with asyncio.timeout(FREEZE):
        return await asyncio.gather(
            *(
                ours.api.simulate_request(method, path, **({} if body is None else {"json": body}))
                for method, path, body in FAMILIES
            )
        )


async def recovered(ours: Ours) -> bool:
    """It serves, and has every connection back."""
    await asyncio.sleep(0.1)
    ready = (await ours.api.simulate_get("/readyz")).status_code == 200
    return ready and (await ours.post("after")).status_code == 202 and not ours.services.database.pool()[0]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("both", [pytest.param(False, marks=pytest.mark.exhaustive), True])
async def test_no_route_waits_for_a_frozen_postgres(ours: Ours, known: bool, both: bool) -> None:
    """Nor where Redis is frozen with it, nor where not even the key can be looked up. After the thaw all is as before."""
    if known:
        assert (await ours.post("before")).status_code == 202
    with ExitStack() as stack:
        stack.enter_context(frozen(ours.postgres))
        if both:
            stack.enter_context(frozen(ours.valkey))
        for _ in range(2):
            for (method, path, _), answer in zip(FAMILIES, await everything(ours), strict=True):
                assert (answer.status_code, "retry-after" in answer.headers) == (503, True), (method, path, answer.text)
    async with asyncio.timeout(30):
        while not await recovered(ours):
            pass
    for (method, path, _), answer in zip(FAMILIES, await everything(ours), strict=True):
        # Redis may be left alone a little longer than the database.
        assert answer.status_code < 500 or both, (method, path, answer.text)


@pytest.mark.slow
async def test_waiting_for_the_end_of_a_request_takes_nothing_of_a_calls_time(ours: Ours) -> None:
    answer = await ours.api.simulate_post(ROUTE, json=GOOD, params={"wait": "3"})
    assert (answer.status_code, answer.json["accepted_as"]) == (202, "new")
    again = await ours.api.simulate_get(answer.json["location"], params={"wait": "2"})
    assert (again.status_code, again.json["status"]) == (202, "PENDING")
