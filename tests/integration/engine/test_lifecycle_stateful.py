"""Requests, fetches and leases against a model, on a real PostgreSQL: whatever order messages, clocks, sweeps and deaths come in.

Messages lie in a bag: they are delivered in any order, twice, or never. A worker may stop before any of its transactions, and wake
up or die at any later time, whoever has done its work meanwhile. After every step: P1, a request that has not ended has work that
has not; P2, nothing is there twice; P4, no provider saw more than it allows. In the end, with the faults over, everything ends.
"""

import asyncio
import os
import random
import uuid
from collections import defaultdict
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.turn import turn
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.retrieve import retrieve
from beat_actors.platforms.interface import Endpoint, Entity, FetchSpec, Flow, Parsed, Platform, Record
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest, Priority
from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.ledgers import assert_within_limits
from tests.worlds import First, MovableClock, Script, ScriptedClient, Second, Third, answer, registered

STAGES = {"retrieve": retrieve, "ingest": ingest, "process": process}
STEPS = int(os.environ.get("BEAT_TEST_STEPS", "2000"))
"""Five times as many in CI. Of a hundred planned steps of an example, some are not possible and are not counted; more examples follow."""
PLANNED = 100
# What is drawn may not depend on how far the engine got, which time has a hand in: one of those that are there, whichever that is.
ANY = st.integers(0, 2**16)


class Thing(Record, frozen=True, kw_only=True):
    thing_id: str
    size: int


class Walk(msgspec.Struct, forbid_unknown_fields=True):
    """A first page that leads to `branches` lists of `pages` pages each."""

    name: str
    branches: int = 1
    pages: int = 1


def _parse(body: bytes, spec: FetchSpec) -> Parsed:
    """Two things a page; a body that is no JSON cannot be read."""
    msgspec.json.decode(body)
    name, page = spec.params["name"], spec.page
    return Parsed([Thing(thing_id=f"{name}-{page}-{n}", size=n) for n in range(2)], next_cursor=f"c{page + 1}")


def _next(spec: FetchSpec, params, parsed: Parsed, _items: int):
    name = params["name"]
    if spec.params["name"] == name:
        return [FetchSpec("look", {"name": f"{name}.{branch}"}) for branch in range(params["branches"])]
    if spec.page >= params["pages"]:
        return ()
    return (FetchSpec("look", spec.params, cursor=parsed.next_cursor, page=spec.page + 1),)


class _First(First):
    endpoints = {"look": Endpoint(First.endpoints["look"].build, _parse)}


class _Second(Second):
    endpoints = _First.endpoints


class _Third(Third):
    endpoints = _First.endpoints


WALK = Platform(
    name="toy",
    sources={source.name: source for source in (_First(), _Second(), _Third())},
    chains={"look": ("toy-first", "toy-second", "toy-third")},
    flows={"walk": Flow("walk", Walk, lambda params: FetchSpec("look", {"name": params.name}), _next)},
    entities=(Entity(Thing, "things", "toy_thing", "post_log", "thing_id", frozenset({"size"})),),
)
SOURCES = list(WALK.sources)
ANSWERS = {
    "ok": answer(),
    "rate_limited": answer(429, retry_after=20),
    "missing": answer(404),
    "down": answer(500),
    "unreadable": answer(body=b"<html>"),
}
MIXED = ["ok"] * 12 + ["rate_limited", "missing", "down", "unreadable"]

TABLE = """
CREATE TABLE toy_thing (thing_id text PRIMARY KEY, size bigint, changed_at timestamptz, source text NOT NULL, parser_version integer NOT NULL,
                        request_id bigint NOT NULL, observed_at timestamptz NOT NULL)
"""
FORGET = """
TRUNCATE scrape_request_log, scrape_fetch, lane, settlement, breaker, credential, credential_usage, credential_event, raw_payload,
         trace_log, post_log, broker_decision, outbox_event, asset_log, quarantine, toy_thing
"""
OPEN = "stage NOT IN ('DONE', 'FAILED', 'CANCELLED')"
P1 = f"""
SELECT r.id, r.status, r.open_fetches, count(f.id) AS fetches
FROM scrape_request_log r LEFT JOIN scrape_fetch f ON f.request_id = r.id AND f.{OPEN}
WHERE r.status IN ('PENDING', 'PROCESSING', 'COMPLETE') GROUP BY r.id
HAVING r.open_fetches <> count(f.id) OR (r.status = 'COMPLETE') <> (count(f.id) = 0)
"""
P2 = """
SELECT 'effect' AS what, fetch_id::text || post_id AS of FROM post_log GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'follow-up', request_id || ' ' || params || ' page ' || page FROM scrape_fetch GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'payload', fetch_id || ' try ' || attempt FROM raw_payload GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'trace', fetch_id || ' try ' || attempt FROM trace_log GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'end', subject FROM outbox_event GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'items', r.id::text FROM scrape_request_log r WHERE r.items <> (SELECT count(*) FROM post_log p WHERE p.request_id = r.id)
    AND r.status = 'COMPLETE'
UNION ALL SELECT 'key', idempotency_key FROM scrape_request_log WHERE idempotency_key IS NOT NULL GROUP BY 2 HAVING count(*) > 1
"""
# What is claimed and not traced may have called.
BOOKS = """
SELECT (SELECT count(*) FROM trace_log) AS traced, (SELECT count(*) FROM scrape_fetch WHERE stage = 'LEASED' AND lease_until IS NOT NULL) AS claimed,
       (SELECT count(*) FROM trace_log WHERE outcome <> 'unknown') AS known,
       (SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT coalesce(sum(calls), 0)::bigint FROM settlement WHERE outcome <> 'unused' AND credential_id > 0) AS unsettled
"""

gate: ContextVar["Gate | None"] = ContextVar("gate", default=None)


class Gate:
    """Stops its worker before the `at`-th transaction, until it is opened."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await self.opened.wait()


class GatedDatabase(Database):
    @asynccontextmanager
    async def transaction(self):
        own = gate.get()
        if own is not None:
            await own.passed()
        async with super().transaction() as transaction:
            yield transaction


class LifecycleMachine(RuleBasedStateMachine):
    url: str
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(FORGET)
            connection.execute("UPDATE travel.by SET seconds = 0")
        self.runner = asyncio.Runner()
        self.rng = random.Random(0)
        self.mood = "ok"
        self.made: defaultdict[str, list[float]] = defaultdict(list)
        self.messages: list[tuple[str, list[int]]] = []
        self.stalled: list[tuple[asyncio.Task, Gate]] = []
        self.engine = self.runner.run(self._start(self._answer))

    async def _start(self, script: Script) -> Engine:
        settings = Settings(
            database_url=self.url,
            redis_url="redis://unused",
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
            broker_batch=8,
            broker_in_flight=16,
        )
        database, vault = GatedDatabase(settings, name="machine"), Vault(settings)
        return Engine(settings, database, vault, CredentialManager(database, vault), ScriptedClient(script))

    def _answer(self, _source, call):
        self.made[call.secret_query["key"]].append(self.clock.now())
        return ANSWERS[self.rng.choice(MIXED) if self.mood == "mixed" else self.mood]

    def rows(self, sql, *params):
        async def ask():
            async with self.engine.database.transaction() as transaction:
                return await transaction.rows(sql, params)

        return self.runner.run(ask())

    # Requests come and are given up.

    @initialize()
    def have_credentials(self):
        for n in range(3):
            for source in SOURCES:
                self.runner.run(self.engine.credentials.add(source, {"key": f"{source}-{n}"}))

    @rule(
        count=st.integers(1, 4),
        branches=st.integers(0, 3),
        pages=st.integers(1, 2),
        priority=st.sampled_from(list(Priority)),
        expires=st.sampled_from([None, None, None, 20, 200]),
        key=st.sampled_from([None, None, "again", "and again"]),
    )
    def submit(self, count, branches, pages, priority, expires, key):
        deadline = None
        if expires is not None:
            deadline = datetime.fromtimestamp(self.clock.now(), UTC) + timedelta(seconds=expires)
        if key is not None:
            wanted = [NewRequest("toy", "walk", {"name": key, "branches": 2}, idempotency_key=key)]
        else:
            names = [uuid.UUID(int=self.rng.getrandbits(128)).hex for _ in range(count)]
            params = {"branches": branches, "pages": pages}
            wanted = [NewRequest("toy", "walk", {"name": n, **params}, priority, expires_at=deadline) for n in names]
        self.runner.run(intake.accept(self.engine.database, wanted))

    # The engine works.

    @rule()
    def take_a_turn(self):
        result = self.runner.run(turn(self.engine.database, WALK, seed=self.rng.getrandbits(32)))
        self._sent("retrieve", result.leased)

    @rule(which=ANY, again=st.booleans())
    def deliver(self, which, again):
        """A message comes; `again`: and stays, to come once more."""
        if not self._possible(self.messages):
            return
        message = self.messages[which % len(self.messages)]
        if not again:
            self.messages.remove(message)
        self._work(message)

    @rule(which=ANY, at=st.integers(1, 3))
    def stall(self, which, at):
        """A message comes to a worker that is stopped before one of its transactions."""
        if self._possible(self.messages):
            self.stall_with(which, at)

    @rule()
    def work_for_a_while(self):
        """Undisturbed, so that what comes next meets work in every stage."""
        for _ in range(2):
            self.take_a_turn()
            for message in list(self.messages):
                self.messages.remove(message)
                self._work(message)

    @rule(which=ANY, at=st.integers(1, 3), dies=st.booleans())
    def be_overtaken(self, which, at, dies):
        """A worker is stopped, its lease runs out, others do its work; only then does it wake up, or die."""
        if not self._possible(self.messages):
            return
        self.stall_with(which, at)
        self.clock.advance(35)
        for _ in range(3):
            self.sweep("unsent")
            self.sweep("orphaned")
            self.work_for_a_while()
            self.clock.advance(6)
        if self.stalled:
            task, own = self.stalled.pop()
            if dies:
                task.cancel()
            own.opened.set()
            self._finished(self.runner.run(_outcome(task)))

    def stall_with(self, which, at):
        self._work(self.messages.pop(which % len(self.messages)), stop_at=at)

    @rule(which=ANY)
    def wake_up(self, which):
        if not self._possible(self.stalled):
            return
        task, own = self.stalled.pop(which % len(self.stalled))
        own.opened.set()
        self._finished(self.runner.run(_outcome(task)))

    @rule(which=ANY)
    def die(self, which):
        if not self._possible(self.stalled):
            return
        task, _ = self.stalled.pop(which % len(self.stalled))
        task.cancel()
        self.runner.run(_outcome(task))

    @rule()
    def lose_all_messages(self):
        self.messages.clear()

    # Time passes, and the scheduler looks for what was forgotten.

    @rule(seconds=st.sampled_from([1.0, 6.0, 12.0, 35.0, 70.0]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(name=st.sampled_from(["unsent", "orphaned", "expired", "stuck_probes"]))
    def sweep(self, name):
        grace = {"grace": 5.0} if name == "unsent" else {}
        swept = self.runner.run(getattr(sweeps, name)(self.engine.database, **grace))
        for stage, ids in swept.send:
            self._sent(stage, ids)

    @rule(mood=st.sampled_from(["ok", "ok", "ok", "mixed", "mixed", "mixed", "down", "rate_limited", "unreadable"]))
    def providers_change_their_mood(self, mood):
        self.mood = mood

    def _possible(self, there):
        """Whether there is one; a step that is not possible does not count."""
        type(self).steps -= not there
        return bool(there)

    def _work(self, message, *, stop_at=None):
        self._finished(self.runner.run(self._run(message, stop_at)))

    async def _run(self, message, stop_at):
        stage, ids = message
        own = Gate(stop_at) if stop_at else None

        async def worker():
            gate.set(own)
            return stage, await STAGES[stage](self.engine, ids)

        task = asyncio.create_task(worker())
        if own is not None:
            waiting = asyncio.create_task(own.reached.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                self.stalled.append((task, own))
                return None
        return await task

    def _finished(self, ended):
        if ended is not None:
            stage, result = ended
            following = {"retrieve": "ingest", "ingest": "process"}.get(stage)
            if following is not None:
                self._sent(following, result.next)

    def _sent(self, stage, ids):
        if ids:
            self.messages.append((stage, list(ids)))

    # What holds after every step.

    @invariant()
    def p1_what_has_not_ended_has_work(self):
        type(self).steps += 1
        assert self.rows(P1) == []

    @invariant()
    def p2_nothing_is_there_twice(self):
        assert self.rows(P2) == []

    @invariant()
    def p4_no_provider_saw_more_than_it_allows(self):
        assert_within_limits(WALK, self.made)
        (books,) = self.rows(BOOKS)
        assert books.charged + books.unsettled == books.traced
        assert books.known <= sum(map(len, self.made.values())) <= books.traced + books.claimed

    def teardown(self):
        try:
            self._drain()
        finally:
            for task, _ in self.stalled:
                task.cancel()
                self.runner.run(_outcome(task))
            self.runner.run(self.engine.close())
            self.runner.close()

    def _drain(self):
        """With the faults over, and those who were stopped awake, everything ends."""
        self.mood = "ok"
        while self.stalled:
            task, own = self.stalled.pop()
            own.opened.set()
            self._finished(self.runner.run(_outcome(task)))
        left = None
        for _ in range(400):
            self.sweep("unsent")
            self.sweep("orphaned")
            self.sweep("expired")
            self.sweep("stuck_probes")
            self.take_a_turn()
            while self.messages:
                self._work(self.messages.pop())
            (row,) = self.rows("SELECT count(*) AS n FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')")
            left = row.n
            if not left:
                break
            self.clock.advance(700)
        assert left == 0
        for _ in range(20):  # calls that were out when their request ended still come back
            self.clock.advance(40)
            self.sweep("orphaned")
            self.take_a_turn()
            while self.messages:
                self._work(self.messages.pop())
        self.p1_what_has_not_ended_has_work()
        self.p2_nothing_is_there_twice()
        self.p4_no_provider_saw_more_than_it_allows()
        short = self.rows(
            "SELECT r.id FROM scrape_request_log r WHERE r.status = 'COMPLETE' AND r.items <> 2 + 2 * (r.params->>'branches')::integer * (r.params->>'pages')::integer"
        )
        assert short == [] or self.soft(short)

    def soft(self, short):
        """A later page that did not exist leaves its request complete with what it has."""
        partial = {row.id for row in self.rows("SELECT id FROM scrape_request_log WHERE data ? 'partial'")}
        return {row.id for row in short} <= partial


async def _outcome(task):
    """What a worker came to; nothing, where it died."""
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, asyncio.CancelledError):
        return None
    if isinstance(ended, BaseException):
        raise ended
    return ended


@pytest.mark.timeout(400)
def test_p1_p2_p4_hold_whatever_order_things_come_in(servers, template):
    name = f"machine_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    LifecycleMachine.url = servers.postgres.url_of(name)
    with psycopg.connect(LifecycleMachine.url, autocommit=True) as connection:
        connection.execute(TABLE)
    LifecycleMachine.clock = MovableClock(LifecycleMachine.url)
    LifecycleMachine.steps = 0
    try:
        with registered(WALK):
            while (left := STEPS - LifecycleMachine.steps) > 0:
                run_state_machine_as_test(
                    LifecycleMachine,
                    settings=hypothesis_settings(
                        max_examples=-(-left // PLANNED),
                        stateful_step_count=PLANNED,
                        deadline=None,
                        suppress_health_check=list(HealthCheck),
                        phases=(
                            Phase.explicit,
                            Phase.reuse,
                            Phase.generate,
                        ),  # to shrink a hundred steps takes longer than CI waits
                    ),
                )
    finally:
        LifecycleMachine.clock.close()
        with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
