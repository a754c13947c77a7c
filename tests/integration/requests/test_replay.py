"""Reading anew what could not be read: from what is kept, once, at a pace, and with no call that is not needed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from beat_actors import quarantine
from beat_actors.broker.turn import turn
from beat_actors.errors import BadInput, Malformed
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Endpoint, FetchSpec, Flow, Parsed
from beat_actors.requests import intake, replay, sweeps
from beat_actors.requests.intake import NewRequest
from tests.stages import retrieve
from tests.worlds import TOY, First, Look


class Parser:
    """Cannot read what some sources answer, until it is fixed: what they answer to names with `part` in them."""

    def __init__(self) -> None:
        self.broken = set(TOY.sources)
        self.part = ""

    def __call__(self, _body, spec):
        if spec.source in self.broken and self.part in spec.params["name"]:
            raise Malformed("id is missing", path="$.id")
        return Parsed(())


@pytest.fixture
async def parser(world, monkeypatch: pytest.MonkeyPatch) -> Parser:
    """No source's answers can be read. Each has a credential, so that a request fails with the last of them."""
    for source in ("toy-first", "toy-third"):
        await world.engine.credentials.add(source, {"key": "a"})
    parser = Parser()
    monkeypatch.setitem(First.endpoints, "look", Endpoint(First.endpoints["look"].build, parser))
    return parser


def _lists(spec: FetchSpec, params, _parsed: Parsed, _items: int):
    name = params["name"]
    return [FetchSpec("look", {"name": f"{name}.{n}"}) for n in (1, 2)] if spec.params["name"] == name else ()


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch):
    """A flow whose first page leads to two lists."""
    flow = Flow("lists", Look, lambda params: FetchSpec("look", {"name": params.name}), _lists)
    monkeypatch.setitem(TOY.flows, "lists", flow)

    async def ask(world, **fields):
        wanted = [NewRequest("toy", "lists", {"name": "n"}, **fields)]
        (accepted,) = await intake.accept(world.engine.database, wanted)
        return accepted

    return ask


async def fetches(world):
    """What there is of the run that counts: (name, stage)."""
    found = await world.rows(
        "SELECT f.params->>'name' AS name, f.stage FROM scrape_fetch f JOIN scrape_request_log r "
        "ON r.id = f.request_id AND r.retry_count = f.run ORDER BY f.id"
    )
    return [(row.name, row.stage) for row in found]


async def ask_for_replay(world, *, rate=50.0, **fields):
    selection = quarantine.Selection(kind="malformed", newest=10**9, **fields)
    async with world.engine.database.transaction() as transaction:
        return await quarantine.replay(transaction, selection, actor="test", reason="corrected", rate=rate)


async def sweep(world):
    """One sweep, and what it sends."""
    swept = await replay.due(world.engine.database)
    for stage, ids in swept.send:
        assert stage == "ingest"
        await process(world.engine, (await ingest(world.engine, ids)).next)
    await world.run()
    return swept


async def entries(world):
    return [
        (row.source, row.outcome)
        for row in await world.rows("SELECT source, outcome FROM quarantine WHERE kind = 'malformed' ORDER BY id")
    ]


async def test_s6_8_what_is_kept_is_read_by_the_fixed_parser_and_nobody_is_asked(world, parser) -> None:
    asked = await world.ask(force=False)
    waits = await world.ask(force=False)
    await world.run()
    assert await world.statuses() == {asked.id: "FAILED", waits.id: "FAILED"}
    parser.broken.clear()
    assert (await ask_for_replay(world, source="toy-second")).count == 1
    swept = await sweep(world)
    assert (swept.count, len(world.client.calls)) == (1, 3)
    assert await world.statuses() == {asked.id: "COMPLETE", waits.id: "COMPLETE"}
    row = await world.request(asked.id)
    assert (row.retry_count, row.open_fetches, row.data) == (1, 0, {"items": 0, "source": "toy-second"})
    assert sorted(await world.ends()) == sorted(
        (request, end) for request in (asked.id, waits.id) for end in ("FAILED", "COMPLETE")
    )
    assert await entries(world) == [("toy-first", None), ("toy-second", "reparsed"), ("toy-third", None)]
    assert (await replay.due(world.engine.database)).count == 0
    assert (await ask_for_replay(world, source="toy-second")).count == 0
    assert (await ask_for_replay(world)).count == 2
    await world.rows("UPDATE quarantine SET replay_at = clock_timestamp() RETURNING 1")
    await sweep(world)
    assert [outcome for _, outcome in await entries(world)] == ["not needed", "reparsed", "not needed"]
    assert (await world.request(asked.id)).retry_count == 1


async def test_s6_8_what_still_cannot_be_read_is_listed_again_and_costs_no_call(world, parser) -> None:
    asked = await world.ask()
    await world.run()
    await ask_for_replay(world, source="toy-second")
    await sweep(world)
    assert await world.statuses() == {asked.id: "FAILED"}
    assert (await entries(world))[1:] == [("toy-second", "reparsed"), ("toy-third", None), ("toy-second", None)]
    assert len(world.client.calls) == 3


async def test_s6_8_only_what_is_kept_no_more_is_asked_for_again(world, parser) -> None:
    asked = await world.ask()
    await world.run()
    await world.rows("DELETE FROM raw_payload RETURNING 1")
    parser.broken.clear()
    await ask_for_replay(world, source="toy-third")
    await sweep(world)
    assert await world.statuses() == {asked.id: "COMPLETE"}
    assert (await entries(world))[2:] == [("toy-third", "refetched")]
    assert len(world.client.calls) == 4


async def test_what_another_source_has_answered_needs_nothing(world, parser) -> None:
    parser.broken = {"toy-first"}
    asked = await world.ask()
    await world.run()
    assert await world.statuses() == {asked.id: "COMPLETE"}
    await ask_for_replay(world)
    await sweep(world)
    assert await entries(world) == [("toy-first", "not needed")]
    assert (await world.request(asked.id)).retry_count == 0


async def test_of_several_answers_that_could_not_be_read_one_is_enough(world, parser) -> None:
    asked = await world.ask()
    await world.run()
    parser.broken.clear()
    assert (await ask_for_replay(world)).count == 3
    await world.rows("UPDATE quarantine SET replay_at = clock_timestamp() RETURNING 1")
    await asyncio.gather(sweep(world), sweep(world))
    assert await world.statuses() == {asked.id: "COMPLETE"}
    assert sorted(outcome for _, outcome in await entries(world)) == ["not needed", "not needed", "reparsed"]
    assert len(world.client.calls) == 3
    assert [end for _, end in await world.ends()] == ["FAILED", "COMPLETE"]


async def test_what_somebody_works_on_is_left_until_later(world, parser, clock) -> None:
    parser.broken = {"toy-first"}
    await world.ask()
    retrieved = await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)
    await ingest(world.engine, retrieved.next)
    leased = (await turn(world.engine.database, TOY)).leased
    assert leased
    await ask_for_replay(world)
    assert (await replay.due(world.engine.database)).count == 0
    assert await entries(world) == [("toy-first", None)]
    await world.work(leased)
    clock.advance(11)
    await sweep(world)
    assert await entries(world) == [("toy-first", "not needed")]


async def test_what_waits_for_another_source_is_read_now(world, parser) -> None:
    """Its payload is paid for; the next source need not be."""
    asked = await world.ask()
    retrieved = await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)
    await ingest(world.engine, retrieved.next)
    await world.rows("UPDATE scrape_fetch SET stage = 'WAITING' RETURNING 1")
    await world.rows("DELETE FROM settlement RETURNING 1")
    parser.broken.clear()
    await ask_for_replay(world)
    await sweep(world)
    assert await world.statuses() == {asked.id: "COMPLETE"}
    assert (await world.request(asked.id)).retry_count == 0
    assert len(world.client.calls) == 1


async def test_a_request_runs_on_with_all_that_is_read_anew_for_it(world, parser, lists) -> None:
    parser.part = "."
    asked = await lists(world)
    await world.run()
    assert (await world.request(asked.id)).status == "FAILED"
    calls = len(world.client.calls)
    parser.broken.clear()
    await ask_for_replay(world, source="toy-third")
    await world.rows("UPDATE quarantine SET replay_at = clock_timestamp() WHERE replay_at IS NOT NULL RETURNING 1")
    await sweep(world)
    row = await world.request(asked.id)
    assert (row.status, row.open_fetches, row.retry_count) == ("COMPLETE", 0, 1)
    assert await fetches(world) == [("n", "DONE"), ("n.1", "DONE"), ("n.2", "DONE")]
    assert len(world.client.calls) == calls


async def test_what_failed_beside_it_is_asked_for_again_and_what_was_done_is_not(world, parser, lists) -> None:
    parser.part = "."
    asked = await lists(world)
    await world.run()
    calls = len(world.client.calls)
    parser.broken.clear()
    await world.rows(
        "DELETE FROM quarantine q USING scrape_fetch f WHERE f.id = q.fetch_id AND f.params->>'name' = 'n.2' RETURNING 1"
    )
    await ask_for_replay(world, source="toy-third")
    await sweep(world)
    row = await world.request(asked.id)
    assert (row.status, row.open_fetches) == ("COMPLETE", 0)
    assert await fetches(world) == [("n", "DONE"), ("n.1", "DONE"), ("n.2", "DONE")]
    assert len(world.client.calls) == calls + 1


async def test_what_failed_is_read_anew_once_what_is_beside_it_has_ended(world, parser, lists, clock) -> None:
    parser.part = "n.1"
    asked = await lists(world)
    first = await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)
    await process(world.engine, (await ingest(world.engine, first.next)).next)
    unreadable, slow = sorted((await turn(world.engine.database, TOY)).leased)
    await world.work([unreadable])
    assert await fetches(world) == [("n", "DONE"), ("n.1", "FAILED"), ("n.2", "LEASED")]
    parser.broken.clear()
    await ask_for_replay(world, source="toy-third")
    assert (await replay.due(world.engine.database)).count == 0
    await world.work([slow])
    assert (await world.request(asked.id)).status == "FAILED"
    clock.advance(11)
    await sweep(world)
    assert (await world.request(asked.id)).status == "COMPLETE"


async def test_what_follows_it_has_no_deadline_that_has_passed(world, parser, lists, clock) -> None:
    asked = await lists(world, expires_at=datetime.fromtimestamp(clock.now() + 60, UTC))
    await world.run()
    assert (await world.request(asked.id)).status == "FAILED"
    clock.advance(100)
    parser.broken.clear()
    await ask_for_replay(world, source="toy-third")
    await sweep(world)
    row = await world.request(asked.id)
    assert (row.status, row.expires_at) == ("COMPLETE", None)


async def test_what_its_deadline_broke_off_runs_from_the_start(world, parser, lists, clock) -> None:
    """What was out when it ended has left nothing that follows it, so there is no whole run to go on with."""
    parser.part = "n.2"
    asked = await lists(world, expires_at=datetime.fromtimestamp(clock.now() + 60, UTC))
    first = await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)
    await process(world.engine, (await ingest(world.engine, first.next)).next)
    retrieved = await retrieve(world.engine, (await turn(world.engine.database, TOY)).leased)
    await ingest(world.engine, retrieved.next)
    clock.advance(61)
    await sweeps.expired(world.engine.database)
    parser.broken.clear()
    await ask_for_replay(world)
    await sweep(world)
    assert [outcome for _, outcome in await entries(world)] == ["refetched"]
    assert (await world.request(asked.id)).status == "COMPLETE"
    assert await fetches(world) == [("n", "DONE"), ("n.1", "DONE"), ("n.2", "DONE")]


async def test_what_is_asked_for_meanwhile_is_joined(world, parser) -> None:
    failed = await world.ask(force=False)
    await world.run()
    flying = await world.ask(force=False)
    parser.broken.clear()
    await ask_for_replay(world, source="toy-first")
    await sweep(world)
    assert await world.statuses() == {failed.id: "COMPLETE", flying.id: "COMPLETE"}
    assert (await entries(world))[0] == ("toy-first", "refetched")
    assert len(world.client.calls) == 4


async def test_many_are_read_at_a_pace_the_oldest_first(world, clock) -> None:
    await world.rows(
        "INSERT INTO quarantine (kind, platform, source, operation, fetch_id, error) "
        "SELECT 'malformed', 'toy', 'toy-second', 'look', n + 1000, 'x' FROM generate_series(1, 30) n RETURNING 1"
    )
    before = (await world.rows("SELECT clock_timestamp() AS now"))[0].now
    found = await ask_for_replay(world, rate=0.1)
    assert found.count == 30
    assert found.last_at is not None
    assert timedelta(seconds=289) < found.last_at - before < timedelta(seconds=300)
    assert (await replay.due(world.engine.database)).count == 1
    clock.advance(100)
    assert (await replay.due(world.engine.database)).count == 10
    done = await world.rows("SELECT max(id) AS id FROM quarantine WHERE outcome = 'gone'")
    waiting = await world.rows("SELECT min(id) AS id FROM quarantine WHERE outcome IS NULL")
    assert done[0].id < waiting[0].id
    async with world.engine.database.transaction() as transaction:
        (cluster,) = await quarantine.clusters(transaction)
    assert (cluster.count, cluster.replaying) == (19, 19)


async def test_what_is_not_of_the_leader_is_left_alone(world, parser) -> None:
    await world.ask()
    await world.run()
    await ask_for_replay(world)
    assert (await replay.due(world.engine.database, 999)).count == 0


@pytest.mark.parametrize(
    ("kind", "rate", "field"), [("message", 1.0, "kind"), ("malformed", 0.0, "rate"), ("malformed", 51.0, "rate")]
)
async def test_what_cannot_be_read_anew_is_refused(world, kind: str, rate: float, field: str) -> None:
    async with world.engine.database.transaction() as transaction:
        with pytest.raises(BadInput) as refused:
            await quarantine.replay(
                transaction, quarantine.Selection(kind=kind, newest=1), rate=rate, actor="test", reason="x"
            )
    assert refused.value.field == field
