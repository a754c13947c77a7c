"""Requests, fetches and leases against a model, on a real PostgreSQL: whatever order messages, clocks, sweeps, people and deaths come in.

Messages lie in a bag: they are delivered in any order, twice, or never. A worker may stop before any of its transactions, and wake
up or die at any later time, whoever has done its work meanwhile. Consumers cancel, ask for the same again, retry, and have what could
not be read read anew, at any stage of anything. After every step: P1, what has not ended has work that has not, and is wanted by
somebody; P2, nothing is there twice, and each end is told once; P4, no provider saw more than it allows. No fetch and no request moves
otherwise than the tables of their stages and states say. In the end, with the faults over, everything ends and nothing is left.
"""

import asyncio
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from beat_actors import quarantine
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import Conflict, KeyReused
from beat_actors.pipeline import isolation
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.stage import StageResult
from beat_actors.requests import intake, lifecycle, replay, retry, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from tests.extent import cases
from tests.ledgers import assert_within_limits
from tests.machines import EngineMachine, play
from tests.promises import COUNTS, LEFT, LOST, OPEN, REQUESTS, TWICE, Ledger
from tests.stages import retrieve
from tests.stalling import Gate, Stalled, gate, outcome_of
from tests.walks import ANSWERS, MIXED, READER, TABLE, TIME_LIMIT, WALK, Walk

SOURCES = list(WALK.sources)
STEPS = cases(300, 2_000)
"""Of a hundred planned steps of an example, some are not possible and are not counted; more examples follow."""
PLANNED = 100
# What is drawn may not depend on how far the engine got, which time has a hand in: one of those that are there, whichever that is.
ANY = st.integers(0, 2**16)
PRIORITIES = st.sampled_from(list(Priority))
DEADLINES = st.sampled_from([None, None, None, 20, 200])
RECENT = 8
"""What consumers change is among the last that were asked for, most of which are under way."""

FORGET = """
TRUNCATE scrape_request_log, scrape_fetch, lane, settlement, breaker, credential, credential_usage, credential_event, raw_payload,
         trace_log, post_log, broker_decision, outbox_event, event, event_pending, event_log, asset_log, quarantine, absence, toy_thing
"""
# What a stopped worker holds, and what of it was taken from it meanwhile.
HELD = "SELECT id, fence FROM scrape_fetch WHERE id = ANY(%s)"
TAKEN = """
SELECT f.* FROM scrape_fetch f JOIN unnest(%s::bigint[], %s::integer[]) AS held(id, fence) USING (id) WHERE f.fence <> held.fence ORDER BY f.id
"""
ALIKE = """
SELECT coalesce(bool_or(live AND NOT apart), false) AS flies, coalesce(bool_or(status = 'COMPLETE'), false) AS stored,
    EXISTS (SELECT FROM absence WHERE key = beat_absence('toy', 'walk', %s::jsonb, '') AND ask_at > clock_timestamp()) AS remembered
FROM scrape_request_log WHERE params = %s::jsonb
"""
OVERDUE = """
SELECT id FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND lease_until > clock_timestamp()
    AND claimed_at < clock_timestamp() - make_interval(secs => %s)
"""


async def suspects(engine: Engine, fetch_ids: list[int]) -> StageResult:
    """Each by itself, as in the process that is kept for them."""
    result = StageResult()
    for fetch_id in fetch_ids:
        async with engine.database.statements() as statements:
            stage = await statements.value(isolation.STAGE, {"id": fetch_id})
        if stage in isolation.STAGES:
            tried = await isolation.STAGES[stage](engine, [fetch_id], isolated=True)
            result.next += tried.next
    return result


STAGES = {"retrieve": retrieve, "ingest": ingest, "process": process, "suspects": suspects}


class LifecycleMachine(EngineMachine):
    forget, table, platform = FORGET, TABLE, WALK
    completed = 0
    """Requests over all examples: where nothing could be written, no promise would be broken either."""

    def __init__(self) -> None:
        super().__init__()
        self.mood = "ok"
        self.made: defaultdict[str, list[float]] = defaultdict(list)
        self.through = True
        self.ledger = Ledger()
        READER.fixed = False
        self.start(self._answer)

    def _answer(self, _source, call):
        self.made[call.secret_query["key"]].append(self.clock.now())
        if self.mood == "lists unreadable":
            return ANSWERS["unreadable" if "." in call.query["of"] else "ok"]
        return ANSWERS[self.rng.choice(MIXED) if self.mood == "mixed" else self.mood]

    # Consumers ask, ask again, and give up.

    @initialize()
    def have_credentials(self):
        for n in range(3):
            for source in SOURCES:
                self.runner.run(self.engine.credentials.add(source, {"key": f"{source}-{n}"}))

    @rule(
        count=st.integers(1, 4),
        branches=st.integers(0, 3),
        pages=st.integers(1, 2),
        priority=PRIORITIES,
        expires=DEADLINES,
    )
    def submit(self, count, branches, pages, priority, expires):
        walks = [Walk(self._name(), branches, pages) for _ in range(count)]
        accepted = self._ask(walks, priority=priority, expires_at=self._deadline(expires))
        assert [one.accepted_as for one in accepted] == ["new"] * count

    @rule(
        which=ANY,
        count=st.integers(1, 2),
        priority=PRIORITIES,
        expires=DEADLINES,
        max_age=st.sampled_from([0, 0, 86_400]),
        force=st.sampled_from([False, False, False, True]),
    )
    def ask_for_the_same(self, which, count, priority, expires, max_age, force):
        """What somebody has asked for before is followed, answered from what is stored, or fetched again."""
        if not self._possible(self.ledger.asked):
            return
        walk = self.ledger.asked[self._under_way(which)]
        said = msgspec.json.encode(walk).decode()
        (alike,) = self.rows(ALIKE, said, said)
        ways = {"max_age": max_age, "force": force}
        accepted = self._ask([walk] * count, priority=priority, expires_at=self._deadline(expires), **ways)
        if force:
            expected = ["new"] * count
        elif max_age and alike.stored:
            expected = ["stored"] * count
        elif alike.remembered and not alike.flies:
            expected = ["remembered"] * count
        else:
            expected = ["joined" if alike.flies else "new", "joined"][:count]
        assert [one.accepted_as for one in accepted] == expected

    @rule(key=st.sampled_from(["key", "other key"]), branches=st.integers(1, 2))
    def ask_with_a_key(self, key, branches):
        """Once, however often it is sent; for something else it is refused, and so is what is sent along."""
        walk, neighbour = Walk(key, branches), Walk(self._name())
        wanted = [self._request(neighbour), self._request(walk, idempotency_key=key)]
        known, said = self.ledger.keys.get(key, (None, walk))
        if said != walk:
            with pytest.raises(KeyReused):
                self.runner.run(intake.accept(self.engine.database, wanted))
            return
        beside, keyed = self.runner.run(intake.accept(self.engine.database, wanted))
        self.ledger.ask(beside.id, neighbour)
        assert keyed.created == (known is None)
        if known is None:
            self.ledger.ask(keyed.id, walk)
            self.ledger.keys[key] = (keyed.id, walk)
        else:
            assert keyed.id == known

    @rule(which=ANY, count=st.integers(1, 3))
    def cancel(self, which, count):
        """At any stage; what has ended stays as it is, and what others wait for goes on for them."""
        if not self._possible(self.ledger.asked):
            return
        self._cancel({self._recent(which + n) for n in range(count)})

    def _cancel(self, wanted):
        before = self._requests()

        async def cancel():
            async with self.engine.database.transaction() as transaction:
                return await lifecycle.cancel(transaction, wanted, reason="no longer wanted")

        ended = self.runner.run(cancel())
        assert ended == sorted(one for one in wanted if before[one].status in OPEN)
        self.ledger.cancel(ended)

    @rule(which=ANY)
    def run_again(self, which):
        """What failed or was cancelled runs again, unless its fetches go on for others; nothing else does."""
        if not self._possible(self.ledger.asked):
            return
        failed = [row.id for row in self._requests().values() if row.status in retry.RETRYABLE]
        self._retry(failed[which % len(failed)] if failed else self._recent(which))

    @rule(which=ANY, stages=st.integers(0, 2))
    def change_ones_mind(self, which, stages):
        """Cancelled in the middle, and run again while what was on its way still is."""
        self.submit(count=2, branches=2, pages=1, priority=Priority.CUSTOMER, expires=None)
        self.work_for_a_while(stages)
        one = self._recent(which)
        self._cancel({one})
        self._retry(one)

    def _retry(self, wanted):
        before = self._requests()
        again = before[wanted].status in retry.RETRYABLE and not before[wanted].live
        (outcome,) = self.runner.run(retry.retry_all(self.engine.database, [wanted]))
        assert outcome.error is None if again else isinstance(outcome.error, Conflict)
        if again:
            self.ledger.run_again(wanted)

    @rule(fixed=st.sampled_from([True, True, False]))
    def read_anew(self, fixed):
        """What could not be read is due once more, the parser having been fixed, or not."""
        READER.fixed = fixed

        async def replay_all():
            async with self.engine.database.transaction() as transaction:
                for kind in quarantine.REPLAYABLE:
                    said = {"actor": "machine", "reason": "the parser was corrected"}
                    everything = quarantine.Selection(kind=kind, newest=2**62)
                    await quarantine.replay(transaction, everything, rate=quarantine.MOST_A_SECOND, **said)

        self.runner.run(replay_all())

    def _name(self):
        return uuid.UUID(int=self.rng.getrandbits(128)).hex

    def _deadline(self, seconds):
        return None if seconds is None else datetime.fromtimestamp(self.clock.now(), UTC) + timedelta(seconds=seconds)

    def _request(self, walk, **ways):
        return NewRequest("toy", "walk", msgspec.to_builtins(walk), **ways)

    def _ask(self, walks, **ways):
        wanted = [self._request(walk, **ways) for walk in walks]
        accepted = self.runner.run(intake.accept(self.engine.database, wanted))
        for one, walk in zip(accepted, walks, strict=True):
            self.ledger.ask(one.id, walk, dated=ways.get("expires_at") is not None)
        return accepted

    def _under_way(self, which):
        """One that has not ended, two times of three, where there is any."""
        under_way = [one for one in self.ledger.asked if not self.ledger.has_ended(one)] if which % 3 else []
        return under_way[which % len(under_way)] if under_way else self._recent(which)

    def _recent(self, which):
        recent = list(self.ledger.asked)[-RECENT:]
        return recent[which % len(recent)]

    def _requests(self):
        return {row.id: row for row in self.rows(REQUESTS)}

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
            self._work(self.messages.pop(which % len(self.messages)), stop_at=at)

    @rule(stages=st.integers(1, 3))
    def work_for_a_while(self, stages=3):
        """Undisturbed, in the first of the stages only, so that what comes next meets work in every stage."""
        for _ in range(2):
            self.take_a_turn()
            for message in list(self.messages):
                if message[0] in list(STAGES)[:stages]:
                    self.messages.remove(message)
                    self._work(message)

    @rule(
        stage=st.sampled_from(["retrieve", "ingest", "process"]),
        at=st.sampled_from([1, 2, 2, 3]),
        overdue=st.booleans(),
        dies=st.booleans(),
    )
    def be_overtaken(self, stage, at, overdue, dies):
        """A worker is stopped, its lease runs out or is `overdue`, others do its work; only then does it wake up, or die."""
        self.work_for_a_while(list(STAGES).index(stage))
        waiting = [message for message in self.messages if message[0] == stage]
        if not self._possible(waiting):
            return
        self.messages.remove(waiting[-1])
        self._work(waiting[-1], stop_at=at)
        self.clock.advance(TIME_LIMIT + 5 if overdue else 35)
        for _ in range(3):
            self.sweep("check_and_cancel_long_running_tasks")
            self.sweep("unsent")
            self.sweep("orphaned")
            self.work_for_a_while()
            self.clock.advance(6)
        if self.stalled:
            worker = self.stalled.pop()
            if dies:
                worker.task.cancel()
            self._wake(worker)

    @rule(through=st.booleans())
    def go_the_ordinary_way(self, through):
        """From now on, whether ingest writes what it reads, or leaves that to `process`."""
        self.through = through

    @rule(mood=st.sampled_from(["unreadable", "lists unreadable", "lists unreadable", "missing", "down"]))
    def work_in_a_bad_time(self, mood):
        """Long enough for requests to fail of it."""
        self.mood, READER.fixed = mood, False
        for _ in range(4):
            self.work_for_a_while()
            self.clock.advance(35)
        self.mood = "ok"

    @rule(which=ANY)
    def wake_up(self, which):
        if self._possible(self.stalled):
            self._wake(self.stalled.pop(which % len(self.stalled)))

    @rule(which=ANY)
    def die(self, which):
        if not self._possible(self.stalled):
            return
        worker = self.stalled.pop(which % len(self.stalled))
        worker.task.cancel()
        self.runner.run(outcome_of(worker.task))

    def _wake(self, worker):
        """What was taken from it meanwhile it leaves as it is."""
        held = list(worker.fences), list(worker.fences.values())
        taken = self.rows(TAKEN, *held)
        worker.gate.opened.set()
        self._finished(self.runner.run(outcome_of(worker.task)))
        after = {row.id: row for row in self.rows(TAKEN, *held)}
        assert [after.get(row.id) for row in taken] == taken

    @rule()
    def lose_all_messages(self):
        self.messages.clear()

    # Time passes, and the scheduler looks for what was forgotten.

    @rule(seconds=st.sampled_from([1.0, 6.0, 12.0, 35.0, 70.0]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(
        name=st.sampled_from(
            ["unsent", "orphaned", "expired", "stuck_probes", "check_and_cancel_long_running_tasks", "unsettled"]
        )
    )
    def sweep(self, name):
        grace = {"grace": 5.0} if name == "unsent" else {}
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        swept = self.runner.run(getattr(sweeps, name)(self.engine.database, **grace))
        for stage, ids in swept.send:
            self._sent(stage, ids)
        if name == "expired":
            late = "SELECT id FROM scrape_request_log WHERE status = ANY(%s) AND expires_at <= %s"
            assert self.rows(late, list(OPEN), now) == []
        elif name == "check_and_cancel_long_running_tasks":
            assert self.rows(OVERDUE, TIME_LIMIT + 1) == []
        elif name == "unsettled":
            assert swept.count == 0

    @rule()
    def sweep_quarantine(self):
        """What is due is read anew, and only what failed runs again for it."""
        before = self._requests()
        swept = self.runner.run(replay.due(self.engine.database))
        for stage, ids in swept.send:
            self._sent(stage, ids)
        for row in self._requests().values():
            if row.retry_count > before[row.id].retry_count:
                assert before[row.id].status == "FAILED"
                self.ledger.run_again(row.id)

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
        own = Gate(stop_at) if stop_at and stage != "suspects" else None

        async def worker():
            gate.set(own)
            how = {"go_on": self.through} if stage == "ingest" else {}
            return stage, await STAGES[stage](self.engine, ids, **how)

        task = asyncio.create_task(worker())
        if own is not None:
            waiting = asyncio.create_task(own.reached.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                self.stalled.append(Stalled(task, own, await self._fences(ids) if stop_at > 1 else {}))
                return None
        return await task

    async def _fences(self, ids):
        async with self.engine.database.statements() as statements:
            return {row.id: row.fence for row in await statements.rows(HELD, (ids,))}

    # What holds after every step.

    @invariant()
    def p1_what_has_not_ended_has_work(self):
        type(self).steps += 1
        assert self.rows(LOST) == []
        self.ledger.check(self.rows(REQUESTS))

    @invariant()
    def p2_nothing_is_there_twice(self):
        assert self.rows(TWICE) == []

    @invariant()
    def p4_no_provider_saw_more_than_it_allows(self):
        assert_within_limits(WALK, self.made)
        (counts,) = self.rows(COUNTS)
        assert counts.charged + counts.unsettled == counts.traced
        assert counts.known <= sum(map(len, self.made.values())) <= counts.traced + counts.claimed

    def _drain(self):
        """With the faults over, and those who were stopped awake, everything ends and nothing is left."""
        self.mood, READER.fixed = "ok", True
        while self.stalled:
            self._wake(self.stalled.pop())
        for _ in range(400):
            self._look_after_all()
            if all(row.status not in OPEN for row in self.rows(REQUESTS)):
                break
            self.clock.advance(700)
        for _ in range(20):  # calls that were out when their request ended still come back
            self.clock.advance(40)
            self._look_after_all()
        self.p1_what_has_not_ended_has_work()
        self.p2_nothing_is_there_twice()
        self.p4_no_provider_saw_more_than_it_allows()
        assert [row for row in self.rows(REQUESTS) if row.status in OPEN] == []
        assert self.rows(LEFT) == []
        type(self).completed += sum(row.status == "COMPLETE" for row in self.rows(REQUESTS))

    def _look_after_all(self):
        for name in ("unsent", "orphaned", "expired", "stuck_probes", "check_and_cancel_long_running_tasks"):
            self.sweep(name)
        self.sweep_quarantine()
        self.take_a_turn()
        while self.messages:
            self._work(self.messages.pop())


@pytest.mark.scaled
@pytest.mark.timeout(2400)
def test_p1_p2_p4_hold_whatever_order_things_come_in(servers, template):
    LifecycleMachine.completed = 0
    play(LifecycleMachine, servers, template, steps=STEPS, planned=PLANNED)
    assert LifecycleMachine.completed
