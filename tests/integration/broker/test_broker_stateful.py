"""The broker against a model, on a real PostgreSQL, through submit → turn → retrieve, with the database's clock in our hands.

After every step: no credential beyond a limit in any window of the calls that were made; no call with a credential that was out;
no cooldown shortened but by a probe's success; one probe at a time; and the counts agree: calls made = trace_log = credential_usage.
"""

import asyncio
import contextlib
import random
import uuid
from collections import defaultdict

import psycopg
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from beat_actors.broker.turn import turn
from beat_actors.credentials import upkeep
from beat_actors.errors import BadInput
from beat_actors.pipeline.upkeep import look_after
from beat_actors.requests import intake, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.databases import copy_database
from tests.extent import cases
from tests.ledgers import assert_within_limits
from tests.stages import retrieve
from tests.worlds import TOY, MovableClock, ScriptedClient, answer, engine_with, registered

SOURCES = list(TOY.sources)
ANSWERS = {
    "ok": answer(),
    "rate_limited": answer(429, retry_after=90),
    "rate_limited_silently": answer(429),
    "quota": answer(402),
    "dead": answer(401),
    "denied": answer(403),
    "missing": answer(404),
    "down": answer(500),
}
MOSTLY_FINE = ["ok"] * 8 + ["rate_limited", "rate_limited_silently", "quota", "denied", "missing", "down", "down"]


class BrokerMachine(RuleBasedStateMachine):
    servers = None

    def __init__(self) -> None:
        super().__init__()
        self.name = f"machine_{uuid.uuid4().hex[:10]}"
        with psycopg.connect(self.servers.postgres.url_of("postgres"), autocommit=True) as admin:
            copy_database(admin, self.name, "beat_template")
        url = self.servers.postgres.url_of(self.name)
        self.clock = MovableClock(url)
        self.settings = Settings(
            database_url=self.servers.process_url(url),
            redis_url=self.servers.valkey.url,
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
            broker_batch=20,
            broker_in_flight=30,
        )
        self.runner = asyncio.Runner()
        self.mood = "ok"
        self.rng = random.Random(0)
        self.client = ScriptedClient(self._answer)
        self.engine = self.runner.run(self._start())
        self.registration = registered(TOY)
        self.registration.__enter__()
        self.leased: list[int] = []
        self.keys: dict[str, int] = {}
        self.made: defaultdict[str, list[float]] = defaultdict(list)
        self.cooldowns: dict[int, float] = {}
        self.recovered: set[int] = set()

    async def _start(self):
        return engine_with(self.settings, self.client)

    def _answer(self, source, call):
        self.made[call.secret_query["key"]].append(self.clock.now())
        said = self.rng.choice(MOSTLY_FINE) if self.mood == "mixed" else self.mood
        if said == "dead" and self.rng.random() < 0.7:
            said = "ok"
        return ANSWERS[said]

    def rows(self, sql, *params):
        async def ask():
            async with self.engine.database.transaction() as transaction:
                return await transaction.rows(sql, params)

        return self.runner.run(ask())

    def turn(self):
        result = self.runner.run(turn(self.engine.database, TOY, seed=self.rng.getrandbits(32)))
        self.leased += result.leased
        leases = self.rows(
            "SELECT c.id, c.enabled, c.dead_at, c.disabled_till > f.use_until - interval '10 s' AS cools_down, f.source = ANY(f.excluded || f.unreadable) AS excluded "
            "FROM scrape_fetch f JOIN credential c ON c.id = f.credential_id WHERE f.id = ANY(%s)",
            result.leased,
        )
        for lease in leases:
            assert lease.enabled
            assert lease.dead_at is None
            assert not lease.cools_down
            assert not lease.excluded
        return result

    @rule(source=st.sampled_from(SOURCES), weight=st.integers(1, 5))
    def add_credential(self, source, weight):
        if len(self.keys) < 6:
            key = f"{source}-{len(self.keys)}"
            added, new = self.runner.run(self.engine.credentials.add(source, {"key": key}, weight=weight))
            assert new
            self.keys[key] = added

    @rule(count=st.integers(1, 25), priority=st.sampled_from(list(Priority)))
    def submit(self, count, priority):
        wanted = [NewRequest("toy", "look", {"name": f"n{i}"}, priority) for i in range(count)]
        self.runner.run(intake.accept(self.engine.database, wanted))

    @rule()
    def take_a_turn(self):
        self.turn()

    @rule(mood=st.sampled_from(["ok", "mixed", "mixed", "down", "rate_limited", "dead"]))
    def work(self, mood):
        self.mood = mood
        self.turn()
        self.retrieve()
        self.turn()

    @rule()
    def retrieve(self):
        ids, self.leased = self.leased, []
        if ids:
            before = self.rows("SELECT id FROM credential WHERE probing")
            self.runner.run(retrieve(self.engine, ids))
            self.recovered |= {row.id for row in before}

    @rule()
    def look_after_credentials(self):
        """Checks are calls as any other. One that goes after a cooldown is its probe."""
        due = [one for _, ids in self.runner.run(upkeep.due(self.engine.database)).send for one in ids]
        before = self.rows("SELECT id FROM credential WHERE disabled_till IS NOT NULL AND id = ANY(%s)", due)
        self.runner.run(look_after(self.engine, due))
        self.recovered |= {row.id for row in before}

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0, 35.0, 400.0, 1900.0]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(data=st.data())
    def disable_or_enable(self, data):
        if self.keys:
            credential = data.draw(st.sampled_from(sorted(self.keys.values())))
            change = data.draw(st.sampled_from(["disable", "enable", "reset"]))
            dead = self.runner.run(self.engine.credentials.info(credential)).state == "dead"
            with pytest.raises(BadInput) if change == "reset" and dead else contextlib.nullcontext():
                self.runner.run(getattr(self.engine.credentials, change)(credential, reason="by the test"))
                if change != "disable":
                    self.cooldowns.pop(credential, None)

    @invariant()
    def no_window_holds_more_than_its_limit(self):
        assert_within_limits(TOY, self.made)

    @invariant()
    def a_cooldown_is_shortened_by_nothing_but_a_probes_success(self):
        now = {
            row.id: row.till
            for row in self.rows("SELECT id, extract(epoch FROM disabled_till)::float8 AS till FROM credential")
        }
        for credential, till in self.cooldowns.items():
            if now[credential] is None:
                assert credential in self.recovered
            else:
                assert now[credential] >= till
        self.cooldowns = {credential: till for credential, till in now.items() if till is not None}
        self.recovered &= self.cooldowns.keys()

    @invariant()
    def one_probe_at_a_time(self):
        rows = self.rows(
            "SELECT f.credential_id, count(*) AS probes FROM scrape_fetch f JOIN credential c ON c.id = f.credential_id "
            "WHERE f.stage = 'LEASED' AND f.probe AND c.disabled_till IS NOT NULL GROUP BY 1"
        )
        assert all(row.probes == 1 for row in rows)

    @invariant()
    def the_books_agree(self):
        made = sum(len(times) for times in self.made.values())
        (traced,) = self.rows("SELECT count(*) AS n FROM trace_log")
        (charged,) = self.rows(
            "SELECT coalesce(sum(calls), 0)::bigint AS n FROM credential_usage WHERE limit_name = 'total'"
        )
        (unsettled,) = self.rows(
            "SELECT coalesce(sum(calls), 0)::bigint AS n FROM settlement WHERE outcome NOT IN ('unused', 'unreached')"
        )
        assert traced.n == made
        assert charged.n + unsettled.n == made

    def teardown(self):
        try:
            self._drain()
        finally:
            self.registration.__exit__(None, None, None)
            self.runner.run(self.engine.close())
            self.runner.close()
            self.clock.close()
            with psycopg.connect(self.servers.postgres.url_of("postgres"), autocommit=True) as admin:
                admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    def _drain(self):
        """Nobody starves: with healthy credentials everything that waits is called in the end."""
        self.mood = "ok"
        for source in SOURCES:
            self.keys.setdefault(
                f"{source}-last", self.runner.run(self.engine.credentials.add(source, {"key": f"{source}-last"}))[0]
            )
        waiting = None
        for _ in range(300):
            self.runner.run(sweeps.orphaned(self.engine.database))
            self.look_after_credentials()
            self.turn()
            self.retrieve()
            (row,) = self.rows(
                "SELECT count(*) AS n FROM scrape_fetch WHERE stage IN ('WAITING', 'LEASED', 'SETTLING')"
            )
            waiting = row.n
            if not waiting:
                break
            self.clock.advance(2000)
        self.no_window_holds_more_than_its_limit()
        self.the_books_agree()
        assert waiting == 0


@pytest.mark.scaled
@pytest.mark.timeout(300)
def test_p4_nothing_is_over_issued_whatever_happens(servers, template):
    BrokerMachine.servers = servers
    run_state_machine_as_test(
        BrokerMachine,
        settings=hypothesis_settings(
            max_examples=cases(6, 40),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )
