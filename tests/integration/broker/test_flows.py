"""How much of a flow is out at once: what it declares, what an operator makes of it while it runs, and that it holds up nobody."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import UNSET

from beat_actors import audit
from beat_actors.broker import flows
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import BadInput, UnknownFlow
from beat_actors.platforms.interface import Answer, Endpoint, Many
from beat_actors.platforms.registry import platforms
from beat_actors.requests import explain, intake, states
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.observing import rows
from tests.stages import retrieve
from tests.worlds import TOY, First, ScriptedClient, answer, engine_with, registered


class Free(First):
    name = "busy-free"
    limits = ()


class Shared(Free):
    """Answers three at once."""

    name = "busy-shared"
    endpoints = {
        "look": Endpoint(
            First.endpoints["look"].build,
            First.endpoints["look"].parse,
            many=Many(3, lambda specs: specs[0], lambda body, specs: [body] * len(specs)),
        )
    }


LOOK = TOY.flows["look"]
SMALL = replace(LOOK, name="small", workers=2, concurrency=2)
LARGE = replace(LOOK, name="large")
BUSY = replace(
    TOY,
    name="busy",
    sources={Free.name: Free()},
    chains={"look": (Free.name,)},
    flows={"small": SMALL, "large": LARGE},
)
SHARING = replace(BUSY, name="sharing", sources={Shared.name: Shared()}, chains={"look": (Shared.name,)})


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(lambda *_: answer()))
    with registered(BUSY), registered(SHARING):
        await engine.credentials.add(Free.name, {"key": "a"})
        await engine.credentials.add(Shared.name, {"key": "b"})
        yield engine
    await engine.close()


async def ask(engine: Engine, flow: str, count: int, platform: str = "busy") -> list[int]:
    wanted = [NewRequest(platform, flow, {"name": f"{flow}{n}"}) for n in range(count)]
    return [one.id for one in await intake.accept(engine.database, wanted)]


async def change(engine: Engine, name: str = "small", **changes):
    return await flows.change(
        engine.database, name, changes.pop("platform", "busy"), actor="test", reason="overload", **changes
    )


async def out(engine: Engine, platform: str = "busy") -> dict[str, int]:
    return {view.flow: view.out for view in await flows.overview(engine.database, platform=platform)}


async def test_s2_8_no_more_of_a_flow_is_out_than_it_declares_and_each_that_ends_makes_room(engine: Engine) -> None:
    await ask(engine, "small", 10)
    first = (await turn(engine.database, BUSY)).leased
    assert len(first) == 4
    assert (await turn(engine.database, BUSY)).leased == []
    ended = await retrieve(engine, first[:1])
    assert ended.wake == {"busy"}  # who ends a call wakes the broker: nothing waits for a timer
    assert len((await turn(engine.database, BUSY)).leased) == 1
    assert await out(engine) == {"small": 4, "large": 0}


async def test_a_full_flow_holds_up_no_other_though_it_came_first(engine: Engine) -> None:
    await ask(engine, "small", 500)
    await ask(engine, "large", 30)
    assert len((await turn(engine.database, BUSY)).leased) == 34
    assert await out(engine) == {"small": 4, "large": 30}


async def test_what_lies_behind_the_first_priority_of_a_flow_counts_too(engine: Engine) -> None:
    for priority in states.Priority:
        wanted = [NewRequest("busy", "small", {"name": f"{priority}{n}"}, priority=priority) for n in range(3)]
        await intake.accept(engine.database, wanted)
    leased = (await turn(engine.database, BUSY, seed=0)).leased
    found = await rows(engine.database, "SELECT priority FROM scrape_fetch WHERE id = ANY(%s) ORDER BY 1", [leased])
    assert found == [(1,), (1,), (1,), (2,)]


async def test_s2_12_and_s7_6_a_flow_is_given_more_or_less_while_it_runs(engine: Engine) -> None:
    """In force for the next lease, without a restart; what is out ends."""
    await ask(engine, "small", 60)
    assert len((await turn(engine.database, BUSY)).leased) == 4
    view = await change(engine, workers=5, concurrency=4)
    assert (view.limit, view.declared_workers, view.declared_concurrency, view.out) == (20, 2, 2, 4)
    more = (await turn(engine.database, BUSY)).leased
    assert len(more) == 16
    view = await change(engine, workers=1, concurrency=3)
    assert (view.limit, view.out) == (3, 20)
    assert (await turn(engine.database, BUSY)).leased == []
    await retrieve(engine, more)
    assert (await turn(engine.database, BUSY)).leased == []  # four are still out, and three may be
    assert (await change(engine, workers=None, concurrency=None)).limit == 4
    assert (await change(engine, workers=3)).limit == 6
    assert len((await turn(engine.database, BUSY)).leased) == 2
    async with engine.database.transaction() as transaction:
        entries = await audit.entries(transaction, target="flow/busy/small")
    assert [entry.detail for entry in entries] == [
        {"workers": 3, "reason": "overload"},
        {"workers": None, "concurrency": None, "reason": "overload"},
        {"workers": 1, "concurrency": 3, "reason": "overload"},
        {"workers": 5, "concurrency": 4, "reason": "overload"},
    ]


async def test_a_paused_flow_waits_and_its_requests_say_why(engine: Engine) -> None:
    await change(engine, paused=True)
    (request,) = await ask(engine, "small", 1)
    await ask(engine, "large", 1)
    assert len((await turn(engine.database, BUSY)).leased) == 1
    async with engine.database.transaction() as transaction:
        told = await explain.why(transaction, request)
        to_operator = await explain.why(transaction, request, operator=True)
    (blocker,) = told.fetches[0].blockers
    assert (blocker.until, blocker.source) == (None, None)
    assert blocker.why == "the flow small is paused"
    assert (
        to_operator.fetches[0].blockers[0].why
        == "the flow small is paused (`beat flows resume small --platform busy --reason …`)"
    )
    assert (told.eta, told.next_attempt_at) == (None, None)
    assert "paused" in told.summary
    view = await change(engine, paused=False)
    assert (view.paused, view.waiting, view.limit) == (False, 1, 4)
    assert len((await turn(engine.database, BUSY)).leased) == 1


async def test_a_request_behind_a_full_flow_says_so_and_what_to_do(engine: Engine) -> None:
    *_, last = await ask(engine, "small", 5)
    await turn(engine.database, BUSY)
    async with engine.database.transaction() as transaction:
        told = await explain.why(transaction, last)
        to_operator = await explain.why(transaction, last, operator=True)
    (blocker,) = told.fetches[0].blockers
    assert blocker.why == "the flow small has reached its limit of calls in flight"
    assert blocker.until is not None
    (blocker,) = to_operator.fetches[0].blockers
    assert "its limit is 4" in blocker.why
    assert "beat flows set small" in blocker.why


async def test_fetches_that_share_a_call_are_one_call_of_the_flow(engine: Engine) -> None:
    await ask(engine, "small", 30, "sharing")
    heads = (await turn(engine.database, SHARING)).leased
    assert len(heads) == 4
    ((leased,),) = await rows(engine.database, "SELECT count(*) FROM scrape_fetch WHERE stage = 'LEASED'")
    assert leased == 12
    assert (await out(engine, "sharing"))["small"] == 4


async def test_a_fetch_that_goes_back_to_the_broker_stays_in_its_flow(engine: Engine) -> None:
    engine.client.script = lambda *_: Answer(503, {}, b"")
    await ask(engine, "small", 4)
    await retrieve(engine, (await turn(engine.database, BUSY)).leased)
    await turn(engine.database, BUSY)
    found = await rows(engine.database, "SELECT DISTINCT l.flow FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id")
    assert found == [("small",)]
    assert await out(engine) == {"small": 0, "large": 0}


async def test_s10_4_refresh_tiktok_profiles_has_five_workers_of_five_and_no_more_calls_are_out(engine: Engine) -> None:
    tiktok = platforms()["tiktok"]
    flow = tiktok.flows["refresh_tiktok_profiles"]
    (view,) = await flows.overview(engine.database, "refresh_tiktok_profiles")
    assert (view.workers, view.concurrency, view.limit) == (5, 5, 25)
    source = type(tiktok.sources["tikwm"])
    unlimited = replace(tiktok, sources={"tikwm": type("Unlimited", (source,), {"limits": ()})()})
    with registered(replace(unlimited, name="tiktok-free")) as free:
        async with engine.database.transaction() as transaction:
            await transaction.run(
                "INSERT INTO credential (platform, source, label, fingerprint, key_id, secret) VALUES (%s, 'tikwm', 'a', '', '', '')",
                (free.name,),
            )
        wanted = [NewRequest(free.name, flow.name, {"handle": f"creator.{n}"}) for n in range(40)]
        await intake.accept(engine.database, wanted)
        assert len((await turn(engine.database, free)).leased) == 25


async def test_what_cannot_be_is_refused_and_changes_nothing(engine: Engine) -> None:
    for changes in ({"workers": 0}, {"concurrency": 1001}, {}, {"workers": UNSET, "concurrency": UNSET}):
        with pytest.raises(BadInput):
            await change(engine, **changes)
    with pytest.raises(UnknownFlow):
        await change(engine, "none", paused=True)
    with pytest.raises(BadInput, match="busy, sharing"):
        await change(engine, platform=None, paused=True)
    with pytest.raises(BadInput):
        await flows.change(engine.database, "small", "busy", paused=True, actor="test", reason=" ")
    assert await rows(engine.database, "SELECT * FROM flow_setting") == []


def test_a_flow_that_declares_nothing_is_bounded_by_the_broker_alone() -> None:
    settings = Settings.model_fields["broker_in_flight"].default
    assert LARGE.workers * LARGE.concurrency == settings
