"""Held records against a model, on a real PostgreSQL: sources lie, are silent or tell what truly changed, people decide, and workers die.

No two answers have the same number, so each number that is served or logged tells which answer it comes from. After every step: the row of a thing equals
the fold of what was accepted of it; no number that is held or was rejected is served or logged; each held record has one end, which stays, and until then
the thing's row says that one is held. In the end, with the faults over and a person at hand, every held record is decided.
"""

import asyncio
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from beat_actors import failpoints
from beat_actors.broker.turn import turn
from beat_actors.errors import Conflict
from beat_actors.pipeline.deciding import decide, settle_incidents
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.requests import intake, sweeps, witnesses
from beat_actors.requests.intake import NewRequest
from tests.extent import cases
from tests.machines import EngineMachine, play
from tests.promises import LOST
from tests.sizes import LARGE, SIZES, SMALL, TABLE, World
from tests.stages import retrieve
from tests.stalling import Gate, Stalled, gate, outcome_of

SOURCES = list(SIZES.sources)
STEPS = cases(300, 2_000)
PLANNED = 60
THINGS = [f"thing-{n}" for n in range(4)]
ANY = st.integers(0, 2**16)
NAMES = st.sampled_from(THINGS)
STAGES = {"retrieve": retrieve, "ingest": ingest, "process": process}

FORGET = """
TRUNCATE scrape_request_log, scrape_fetch, lane, settlement, breaker, credential, credential_usage, credential_event, raw_payload, trace_log, post_log,
         broker_decision, outbox_event, event, event_pending, event_log, quarantine, held_record, trust_cohort, audit_log, toy_size
"""
HELD = """
SELECT h.id, h.key, h.state, h.decided_at IS NOT NULL AS is_decided, h.next_at IS NOT NULL AS waits, (h.record->>'size')::bigint AS size,
    (SELECT t.held_since IS NOT NULL FROM toy_size t WHERE t.thing_id = h.key) AS is_marked FROM held_record h ORDER BY h.id
"""
MARKED = "SELECT t.thing_id FROM toy_size t WHERE t.held_since IS NOT NULL ORDER BY 1"
SERVED = "SELECT thing_id, size FROM toy_size WHERE size IS NOT NULL ORDER BY 1"
LOGGED = "SELECT post_id AS thing, (metrics->>'size')::bigint AS size FROM post_log WHERE metrics ? 'size'"
# The fold of what was accepted: of each thing the newest observation that tells the number.
FOLDED = """
SELECT DISTINCT ON (post_id) post_id AS thing_id, (metrics->>'size')::bigint AS size FROM post_log WHERE metrics ? 'size'
ORDER BY post_id, observed_at DESC, fetch_id DESC
"""
TWICE = """
SELECT 'effect' AS what, fetch_id::text AS of FROM post_log WHERE metrics ? 'size' GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'payload', fetch_id || ' try ' || attempt FROM raw_payload GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'witness', f.request_id || ' ' || witness_of || ' ' || source FROM scrape_fetch f WHERE witness_of IS NOT NULL AND source <> ''
    GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'event', event_id::text FROM event GROUP BY 2 HAVING count(*) > 1
UNION ALL SELECT 'end', target FROM audit_log WHERE action LIKE 'held.%%' GROUP BY 2 HAVING count(*) > 1
"""
OPEN = "SELECT count(*) AS n FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')"
LEFT = "SELECT id, status, flow, params, open_fetches FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')"


class Dying:
    """A register of failpoints whose worker dies in the middle of a transaction, the first time that it comes by the point."""

    def __init__(self, point: str) -> None:
        self.point, self.fired = point, False

    def hit(self, point: str, _subject: object) -> None:
        if point == self.point and not self.fired:
            self.fired = True
            raise asyncio.CancelledError


class HoldsMachine(EngineMachine):
    forget, table, platform = FORGET, TABLE, SIZES
    met: Counter[str] = Counter()
    """What the examples have met, so that they do not pass because nothing happened."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.start(self.world.answer)
        self.ends: dict[int, str] = {}
        self.ever_held: dict[int, int] = {}

    @initialize()
    def know_all_things(self):
        self.world.truth = {name: self.rng.choice((SMALL, LARGE)) for name in THINGS}
        for source in SOURCES:
            self.runner.run(self.engine.credentials.add(source, {"key": source}))
        self.ask(names=THINGS)
        self.work()
        assert len(self.rows(SERVED)) == len(THINGS)

    # The world and its sources.

    @rule(name=NAMES)
    def something_true_happens(self, name):
        self.world.move(name)

    @rule(source=st.sampled_from(SOURCES), lies=st.booleans())
    def a_source_lies(self, source, lies):
        (self.world.liars.add if lies else self.world.liars.discard)(source)

    @rule(source=st.sampled_from(SOURCES), silent=st.booleans())
    def a_source_is_silent(self, source, silent):
        (self.world.silent.add if silent else self.world.silent.discard)(source)

    # Requests, and the work on them.

    @rule(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
    def ask(self, names):
        wanted = [NewRequest("toy", "look", {"name": name}, force=True) for name in names]
        self.runner.run(intake.accept(self.engine.database, wanted))

    @rule(name=NAMES, witness=st.sampled_from(["agrees", "disagrees", "is silent"]))
    def be_told_what_is_suspicious(self, name, witness):
        """The first source tells what is out of range, and the others confirm it, refute it, or do not answer."""
        others = set(SOURCES[1:])
        self.world.liars.clear()
        self.world.silent.clear()
        if witness == "disagrees":
            self.world.liars.add(SOURCES[0])
        else:
            self.world.move(name)
        if witness == "is silent":
            self.world.silent |= others
        self.ask(names=[name])
        self.work()
        self.world.silent -= others
        self.world.liars.discard(SOURCES[0])

    @rule(name=NAMES, lies=st.booleans())
    def be_told_twice_in_one_batch(self, name, lies):
        """What one source says is held, and what another one says decides about it, before the first is stored."""
        self.world.liars.clear()
        self.world.silent.clear()
        if lies:
            self.world.liars.add(SOURCES[0])
        else:
            self.world.move(name)
        for silent in (set(), {SOURCES[0]}):
            self.world.silent |= silent
            self.ask(names=[name])
            for _ in range(2):
                self.take_a_turn()
                for message in [one for one in self.messages if one[0] == "retrieve"]:
                    self.messages.remove(message)
                    self._work(message)
        self.world.silent.clear()
        self.world.liars.clear()
        read = [message for message in self.messages if message[0] == "ingest"]
        self.messages = [message for message in self.messages if message[0] != "ingest"]
        self._sent("ingest", [fetch for _, ids in read for fetch in ids])
        self.work()

    @rule()
    def take_a_turn(self):
        result = self.runner.run(turn(self.engine.database, SIZES, seed=self.rng.getrandbits(32)))
        self._sent("retrieve", result.leased)

    @rule(which=ANY, again=st.booleans())
    def deliver(self, which, again):
        """A message comes; `again`: and stays, to come once more."""
        if self._possible(self.messages):
            message = self.messages[which % len(self.messages)]
            if not again:
                self.messages.remove(message)
            self._work(message)

    @rule()
    def work(self):
        """Undisturbed, until nothing is left that can be done now."""
        for _ in range(12):
            self.take_a_turn()
            if not self.messages:
                return
            while self.messages:
                self._work(self.messages.pop(0))

    @rule(which=ANY, at=st.integers(1, 3))
    def stall(self, which, at):
        """A message comes to a worker that is stopped before one of its transactions."""
        if self._possible(self.messages):
            self._work(self.messages.pop(which % len(self.messages)), stop_at=at)

    @rule(which=ANY, dies=st.booleans())
    def wake_up_or_die(self, which, dies):
        if not self._possible(self.stalled):
            return
        worker = self.stalled.pop(which % len(self.stalled))
        if dies:
            worker.task.cancel()
        worker.gate.opened.set()
        self._finished(self.runner.run(outcome_of(worker.task)))

    @rule(name=NAMES, lies=st.booleans(), point=st.sampled_from(failpoints.pairs("hold")))
    def die_around_a_decision(self, name, lies, point):
        """A suspicious answer comes, and the worker dies as it holds the record, or as it decides after another source has answered. Its lease runs out, and
        others go on."""
        self.world.liars.clear()
        self.world.silent.clear()
        if lies:
            self.world.liars.add(SOURCES[0])
        else:
            self.world.move(name)
        self.ask(names=[name])
        dying = Dying(point)
        before = self.rows(HELD), self.rows(SERVED), self.rows(LOGGED)
        failpoints._register = dying
        try:
            for _ in range(6):
                before = self._until(dying) or before
        finally:
            failpoints._register = None
        self.world.liars.clear()
        if dying.fired:
            type(self).met[f"died at {point}"] += 1
            assert (self.rows(HELD), self.rows(SERVED), self.rows(LOGGED)) == before
        self.recover()

    def _until(self, dying):
        """Go on by single messages until the worker dies: what was there before the message at which it did."""
        self.take_a_turn()
        while self.messages and not dying.fired:
            before = self.rows(HELD), self.rows(SERVED), self.rows(LOGGED)
            self._work(self.messages.pop(0))
            if dying.fired:
                return before
        return None

    @rule()
    def recover(self):
        """The leases of the dead run out, and the scheduler finds what they left."""
        self.clock.advance(35)
        for name in ("unsent", "orphaned", "stuck_probes"):
            self.sweep(name=name)
        self.work()

    @rule()
    def lose_all_messages(self):
        self.messages.clear()

    # Time passes, the scheduler looks, and people decide.

    @rule(seconds=st.sampled_from([1.0, 35.0, 700.0, 3700.0, 25_000.0, 90_000.0]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(name=st.sampled_from(["unsent", "orphaned", "stuck_probes", "unsettled"]))
    def sweep(self, name):
        grace = {"grace": 5.0} if name == "unsent" else {}
        for stage, ids in self.runner.run(getattr(sweeps, name)(self.engine.database, **grace)).send:
            self._sent(stage, ids)

    @rule()
    def sweep_held(self):
        self.runner.run(witnesses.due(self.engine.database))

    @rule()
    def sweep_incidents(self):
        self.runner.run(settle_incidents(self.engine.database))

    @rule(which=ANY, accept=st.booleans())
    def a_person_decides(self, which, accept):
        """At any time, also while a source is being asked; of what is decided already nothing changes."""
        held = self.rows(HELD)
        if not self._possible(held):
            return
        still = [row for row in held if not row.is_decided]
        one = still[which % len(still)] if still and which % 4 else held[which % len(held)]

        async def say():
            async with self.engine.database.transaction() as transaction:
                await decide(transaction, one.id, accept=accept, actor="key/ada", reason="the platform says so")

        if one.is_decided:
            with pytest.raises(Conflict):
                self.runner.run(say())
            return
        self.runner.run(say())
        type(self).met[f"a person {'accepted' if accept else 'rejected'}"] += 1

    def _possible(self, there):
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
                self.stalled.append(Stalled(task, own, {}))
                return None
        return await outcome_of(task)

    # What holds after every step.

    @invariant()
    def the_row_equals_the_fold_of_what_was_accepted(self):
        type(self).steps += 1
        assert self.rows(SERVED) == self.rows(FOLDED)

    @invariant()
    def what_is_held_is_served_only_once_it_is_accepted(self):
        held = self.rows(HELD)
        self.ever_held |= {row.size: row.id for row in held}
        accepted = {row.size for row in held if row.state == "accepted"}
        shown = {row.size for row in (*self.rows(LOGGED), *self.rows(SERVED))}
        assert shown & self.ever_held.keys() <= accepted
        assert accepted <= shown

    @invariant()
    def each_held_record_has_one_end(self):
        held = self.rows(HELD)
        for row in held:
            assert row.is_decided == (row.state in ("accepted", "rejected"))
            assert row.is_decided or row.waits or row.state == "person"
            if row.id not in self.ends and row.is_decided:
                self.ends[row.id] = row.state
                type(self).met[row.state] += 1
            assert self.ends.get(row.id, row.state) == row.state
        assert self.ends.keys() <= {row.id for row in held}
        still = [row.key for row in held if not row.is_decided]
        assert len(set(still)) == len(still)
        assert [row.thing_id for row in self.rows(MARKED)] == sorted(still)

    @invariant()
    def nothing_is_lost_or_there_twice(self):
        assert self.rows(LOST) == []
        assert self.rows(TWICE) == []

    def _drain(self):
        """With honest sources and everybody awake, each held record is decided, by a person where no source could."""
        self.world.liars.clear()
        self.world.silent.clear()
        while self.stalled:
            self.wake_up_or_die(which=0, dies=False)
        for _ in range(8):
            self.recover()
            self.sweep_held()
            self.sweep_incidents()
            self.clock.advance(90_000)
        while still := [row for row in self.rows(HELD) if not row.is_decided]:
            assert {row.state for row in still} <= {"person", "waiting"}
            self.a_person_decides(which=1, accept=self.rng.random() < 0.5)
        for _ in range(20):  # what asked about a record that a person has decided meanwhile still ends
            self.recover()
            if not self.rows(OPEN)[0].n:
                break
            for name in ("expired", "check_and_cancel_long_running_tasks"):
                self.sweep(name=name)
            self.clock.advance(700)
        for check in (
            self.the_row_equals_the_fold_of_what_was_accepted,
            self.what_is_held_is_served_only_once_it_is_accepted,
            self.each_held_record_has_one_end,
            self.nothing_is_lost_or_there_twice,
        ):
            check()
        assert self.rows(LEFT) == []


@pytest.mark.slow
@pytest.mark.scaled
@pytest.mark.timeout(1200)
def test_s6_5_and_s8_4_no_held_number_is_served_before_its_one_end_whatever_happens(servers, template):
    HoldsMachine.met = Counter()
    play(HoldsMachine, servers, template, steps=STEPS, planned=PLANNED)
    assert {"accepted", "rejected"} <= HoldsMachine.met.keys()
    if STEPS > 1000:
        died = {f"died at {point}" for point in failpoints.pairs("hold")}
        assert died | {"a person accepted", "a person rejected"} <= HoldsMachine.met.keys()
