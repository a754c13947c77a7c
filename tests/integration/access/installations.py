"""Installations of Beat in one process: each with a database of its own, the API as it is served, and the stages."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import falcon.testing
import psycopg
from falcon.testing import Result

from api.app import create_app
from api.services import Services
from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.broker.turn import turn
from beat_actors.database import Database
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.settings import Settings
from beat_actors.webhooks import deliveries
from tests.integration.access.bazaar import BAZAAR, Provider
from tests.stages import retrieve
from tests.worlds import ScriptedClient, engine_with

KEPT = ("alembic_version", "webhook_position", "database_cluster", "event_sequence")
"""Tables that an example leaves as they are."""
TABLES = """
SELECT string_agg(format('%%I', relname), ', ') FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> ALL (%s)
"""
# What waits for a time waits no longer.
OVER = """
UPDATE scrape_fetch SET not_before = clock_timestamp() WHERE not_before IS NOT NULL;
UPDATE lane SET blocked_until = clock_timestamp() WHERE blocked_until IS NOT NULL
"""
BUSY = "SELECT count(*) FROM scrape_fetch WHERE owner = %s AND stage NOT IN ('DONE', 'FAILED', 'CANCELLED')"
OBSERVED = ("bazaar_profile", "bazaar_store", "bazaar_order", "bazaar_insight", "profile_log", "event")
NEXT_STAGE = {"retrieve": "ingest", "ingest": "process"}
STAGES = {"retrieve": retrieve, "ingest": ingest, "process": process}
OPERATIONS = ("profile", "card", "discover", "orders", "insights", "own")
ONE_MS = 0.001


def answered(lease: Any, _started: float) -> float:
    """The time of a lease's answer. Calls of a batch run side by side, so which of two answers about one profile is the newer would be
    up to chance, and not the same in all installations: here it is up to the operation, then to the fetch."""
    installation = Installation.stepping
    nth = lease.id - installation.fetches_before
    return installation.marks[-1] + ONE_MS * (OPERATIONS.index(lease.operation) + min((nth + 1) / 1000, 1))


async def _rung(_platform: str = "") -> bool:
    return True


class Installation:
    """`accounts`: those that exist in it. `sent`: what each of them was sent to its webhooks, in order. `stepping`: the one that
    makes a step now; steps are made one at a time."""

    stepping: ClassVar["Installation"]

    def __init__(self, url: str, settings: Settings, provider: Provider, accounts: Sequence[str]) -> None:
        self.url, self.settings, self.accounts = url, settings, accounts
        self.engine = engine_with(settings, ScriptedClient(provider))
        self._opened = AsyncExitStack()
        self._keys: dict[str, dict[str, str]] = {}
        self.begin()

    def begin(self) -> None:
        self.marks: list[float] = []
        self.messages: dict[str, list[int]] = {"retrieve": [], "ingest": [], "process": []}
        self.credentials: dict[str, int] = {}
        self.sent: dict[str, list[Any]] = {account: [] for account in self.accounts}

    async def open(self) -> None:
        def services() -> Services:
            return Services(Database(self.settings, name="api"), _rung, _rung)

        self.api = await self._opened.enter_async_context(falcon.testing.ASGIConductor(create_app(services)))

    async def _key(self, name: str, scopes: tuple[Scope, ...], account: str | None) -> None:
        async with self.engine.database.transaction() as transaction:
            made = await keys.create(
                transaction, NewKey(name, scopes, account_id=account, rate_limit=1_000_000), actor="test"
            )
        self._keys[name] = {"Authorization": f"Bearer {made.minted.text}"}

    async def close(self) -> None:
        await self._opened.aclose()
        await self.engine.close()

    def mark(self) -> None:
        """A step begins."""
        self.marks.append(time.time())
        Installation.stepping = self

    async def forget(self) -> None:
        """All that happened. Keys are new, so that each of them has its whole rate."""
        self.begin()
        with psycopg.connect(self.url, autocommit=True) as connection:
            (tables,) = connection.execute(TABLES, (list(KEPT),)).fetchone() or ("",)
            connection.execute(f"TRUNCATE {tables}")
            (self.fetches_before,) = connection.execute("SELECT last_value FROM scrape_fetch_id_seq").fetchone() or (0,)
        await self._key("operator", (Scope.OPERATE,), None)
        for account in self.accounts:
            await self._key(account, (Scope.SUBMIT, Scope.READ), account)
            await self._key(f"{account}/reads", (Scope.READ,), account)
        await self.engine.credentials.add("bazaar-open", {"key": "open"})
        await self.engine.credentials.add("bazaar-spare", {"key": "spare"})

    async def call(
        self, who: str, method: str, path: str, *, headers: dict[str, str] | None = None, **said: Any
    ) -> Result:
        """As the holder of a key calls the API."""
        return await self.api.simulate_request(method, path, headers=self._keys[who] | (headers or {}), **said)

    async def connect(self, store: str, account: str | None = None) -> None:
        """Have a credential of this store; `account`: and grant the store to it."""
        secret = {"key": f"token of {store}", "store": store}
        number, _ = await self.engine.credentials.add("bazaar-owned", secret, account_id=account, shared=False)
        self.credentials[store] = number

    async def disconnect(self, store: str, *, at_once: bool) -> None:
        """As if the store had never been connected. `at_once`: whatever is still fetched from it."""
        async with self.engine.database.transaction() as transaction:
            if not at_once and await transaction.value(BUSY, (store,)):
                return
            if await transaction.run("DELETE FROM credential WHERE owner = %s AND NOT shared", (store,)):
                del self.credentials[store]
            for table in OBSERVED if at_once else ():
                await transaction.run(f"DELETE FROM {table} WHERE owner = %s", (store,))

    async def turn(self) -> None:
        self.messages["retrieve"] += (await turn(self.engine.database, BAZAAR, seed=0)).leased

    async def stage(self, name: str) -> None:
        """Work through all that waits for this stage."""
        waiting, self.messages[name] = self.messages[name], []
        if waiting:
            result = await STAGES[name](self.engine, waiting)
            if name in NEXT_STAGE:
                self.messages[NEXT_STAGE[name]] += result.next
            await asyncio.sleep(max(0.0, self.marks[-1] + len(OPERATIONS) * ONE_MS - time.time()))

    async def deliver(self) -> None:
        """What is due to webhooks is sent, and arrives."""
        database = self.engine.database
        await deliveries.fan_out(database)
        while claimed := await deliveries.claim(database, 100):
            async with database.transaction() as transaction:
                rows = await transaction.rows("SELECT id, account_id FROM webhook_endpoint")
            account_of = {row.id: row.account_id for row in rows}
            for one in sorted(claimed, key=lambda one: one.id):
                self.sent[account_of[one.endpoint_id]].append({"type": one.type, "data": one.data, "url": one.url})
            outcomes = [
                deliveries.Outcome(one.id, one.attempt, one.endpoint_id, True, 0.0, status=204) for one in claimed
            ]
            await deliveries.settle(database, outcomes)

    async def stop_waiting(self) -> None:
        async with self.engine.database.transaction() as transaction:
            for statement in OVER.split(";"):
                await transaction.run(statement)
