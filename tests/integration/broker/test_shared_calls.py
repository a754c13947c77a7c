"""One call that answers many fetches: charged once, traced once, and each fetch keeps its own part. Also calls that only an
owner's credential may make."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import BadInput, Missing
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Endpoint,
    FetchSpec,
    Flow,
    Limit,
    Many,
    Parsed,
    Platform,
    Secret,
    Source,
)
from beat_actors.requests import explain, intake, lifecycle, sweeps
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.stages import retrieve
from tests.worlds import ERRORS, ScriptedClient, answer, engine_with, registered


def build(spec: FetchSpec, secret: Secret) -> Call:
    return Call("/things", query={"id": spec.params["id"]}, secret_query={"key": secret["key"]})


def join(specs: Sequence[FetchSpec]) -> FetchSpec:
    return FetchSpec("thing", {"id": ",".join(spec.params["id"] for spec in specs)})


def split(body: bytes, specs: Sequence[FetchSpec]) -> list[bytes]:
    there = {thing["id"]: thing for thing in msgspec.json.decode(body)}
    return [msgspec.json.encode([there[i]] if (i := spec.params["id"]) in there else []) for spec in specs]


def parse(body: bytes, _spec: FetchSpec) -> Parsed:
    if not msgspec.json.decode(body):
        raise Missing("there is no such thing")
    return Parsed(())


class Things(Source):
    name = "things"
    base_url = "https://things.invalid"
    secret_fields = ("key",)
    limits = (Limit("day", 1000, 86_400),)
    errors = ERRORS
    endpoints = {"thing": Endpoint(build, parse, many=Many(10, join, split)), "own": Endpoint(build, parse)}

    def owner(self, secret: Secret) -> str:
        return secret["key"].upper()

    def check_secret(self, secret: Secret) -> None:
        if not secret["key"].isalpha():
            raise BadInput("a key of things is letters", field="key")

    def next_cursor(self, answer: Answer) -> str | None:
        return answer.headers.get("next")


class Params(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class Own(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    owner: str


def pages(spec: FetchSpec, _params: Any, parsed: Parsed, _items: int) -> list[FetchSpec]:
    if parsed.next_cursor is None:
        return []
    return [FetchSpec(spec.operation, spec.params, parsed.next_cursor, spec.source, spec.page + 1, spec.owner)]


CROWD = Platform(
    name="crowd",
    sources={"things": Things()},
    chains={"thing": ("things",), "own": ("things",)},
    flows={
        "thing": Flow("thing", Params, lambda params: FetchSpec("thing", {"id": params.id}), pages),
        "own": Flow("own", Own, lambda params: FetchSpec("own", {"id": params.id}, owner=params.owner), pages),
    },
    entities=(),
)


def script(_source: Source, call: Call) -> Answer:
    return answer(body=msgspec.json.encode([{"id": i} for i in call.query["id"].split(",") if i != "gone"]))


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, ScriptedClient(script))
    with registered(CROWD):
        yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def submit(engine: Engine, ids: Sequence[str], flow: str = "thing", **params: str) -> list[int]:
    wanted = [NewRequest("crowd", flow, {"id": i, **params}) for i in ids]
    return [one.id for one in await intake.accept(engine.database, wanted)]


async def run(engine: Engine) -> None:
    """One round through all stages."""
    retrieved = await retrieve(engine, (await turn(engine.database, CROWD)).leased)
    await process(engine, (await ingest(engine, retrieved.next)).next)


async def counts(engine: Engine) -> tuple[int, int]:
    ((charged,),) = await rows(
        engine, "SELECT coalesce(sum(calls), 0)::int FROM credential_usage WHERE limit_name = 'total'"
    )
    ((traced,),) = await rows(engine, "SELECT count(*) FROM trace_log")
    return charged, traced


async def test_one_call_answers_many_and_the_ledger_counts_one(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    requests = await submit(engine, [*(f"n{i}" for i in range(24)), "gone"])
    await run(engine)
    assert len(engine.client.calls) == 3
    await turn(engine.database, CROWD)
    assert await counts(engine) == (3, 3)
    states = await rows(engine, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1 ORDER BY 1")
    assert states == [("COMPLETE", 24), ("FAILED", 1)]
    ((missing,),) = await rows(
        engine, "SELECT data->'error'->>'code' FROM scrape_request_log WHERE id = %s", requests[-1]
    )
    assert missing == "missing"
    assert await rows(engine, "SELECT count(*) AS all, count(DISTINCT fetch_id) FROM raw_payload") == [(25, 25)]


async def test_a_call_that_fails_is_one_failure_and_all_its_fetches_wait_again(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, [f"n{i}" for i in range(10)])
    engine.client.script = lambda *_: answer(429)
    await run(engine)
    await turn(engine.database, CROWD)
    assert await counts(engine) == (1, 1)
    assert await rows(engine, "SELECT stage, rotations, count(*) FROM scrape_fetch GROUP BY 1, 2") == [
        ("WAITING", 1, 10)
    ]
    assert await rows(engine, "SELECT ladder FROM credential") == [(1,)]


async def test_a_worker_that_dies_in_a_shared_call_leaves_one_call_of_unknown_outcome(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, [f"n{i}" for i in range(10)])
    leased = (await turn(engine.database, CROWD)).leased
    assert len(leased) == 1

    def die(*_: Any) -> Answer:
        raise asyncio.CancelledError

    engine.client.script = die
    await retrieve(engine, leased)
    await rows(engine, "UPDATE scrape_fetch SET lease_until = now() - interval '1 s' RETURNING id")
    await sweeps.orphaned(engine.database)
    engine.client.script = script
    await run(engine)
    await turn(engine.database, CROWD)
    assert await counts(engine) == (2, 2)
    assert await rows(engine, "SELECT status, count(*) FROM scrape_request_log GROUP BY 1") == [("COMPLETE", 10)]


async def test_a_shared_lease_that_was_never_used_is_charged_to_nobody(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, [f"n{i}" for i in range(10)])
    leased = (await turn(engine.database, CROWD)).leased
    await rows(engine, "UPDATE scrape_fetch SET use_until = now() - interval '1 s' RETURNING id")
    await retrieve(engine, leased)
    assert engine.client.calls == []
    await turn(engine.database, CROWD)
    assert await counts(engine) == (0, 0)
    assert await rows(engine, "SELECT stage, count(*) FROM scrape_fetch GROUP BY 1") == [("LEASED", 10)]


async def test_only_the_owners_credential_is_used_and_others_are_named_as_the_reason(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "ann"})
    (request,) = await submit(engine, ["n1"], flow="own", owner="BEN")
    result = await turn(engine.database, CROWD)
    assert result.leased == []
    async with engine.database.transaction() as transaction:
        told = await explain.why(transaction, request)
        to_operator = await explain.why(transaction, request, operator=True)
    assert told.fetches[0].blockers[0].why == "it has no credential of this owner"
    assert to_operator.fetches[0].blockers[0].why == "it has no credential of this owner (the owner is BEN)"
    await engine.credentials.add("things", {"key": "ben"})
    await run(engine)
    assert engine.client.calls == [("things", "ben")]


async def test_a_secret_that_is_not_well_formed_is_refused(engine: Engine) -> None:
    with pytest.raises(BadInput, match="is letters"):
        await engine.credentials.add("things", {"key": "https://evil.invalid"})


async def test_a_cursor_in_a_header_leads_to_the_next_page_with_the_same_owner(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "ann"})
    engine.client.script = lambda *_: answer(body=b'[{"id":"x"}]', next="page-2")
    await submit(engine, ["x"], flow="own", owner="ANN")
    await run(engine)
    found = await rows(
        engine, "SELECT page, cursor, cursor_source, owner, stage FROM scrape_fetch WHERE page = 2 ORDER BY id"
    )
    assert found == [(2, "page-2", "things", "ANN", "WAITING")]


async def test_a_cancelled_head_of_a_shared_call_hands_all_its_fetches_back_unused(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, [f"n{i}" for i in range(10)])
    (head,) = (await turn(engine.database, CROWD)).leased
    async with engine.database.transaction() as transaction:
        request = await transaction.value("SELECT request_id FROM scrape_fetch WHERE id = %s", (head,))
        await lifecycle.cancel(transaction, [request], reason="test")
    assert (await retrieve(engine, [head])).next == []
    assert engine.client.calls == []
    await run(engine)
    await turn(engine.database, CROWD)
    assert await counts(engine) == (1, 1)
    done = await rows(
        engine, "SELECT stage, count(*)::int, max(rotations)::int FROM scrape_fetch GROUP BY 1 ORDER BY 1"
    )
    assert done == [("CANCELLED", 1, 0), ("DONE", 9, 0)]


async def test_a_cancelled_follower_leaves_the_shared_call_to_the_others(engine: Engine) -> None:
    await engine.credentials.add("things", {"key": "a"})
    requests = await submit(engine, [f"n{i}" for i in range(10)])
    (head,) = (await turn(engine.database, CROWD)).leased
    async with engine.database.transaction() as transaction:
        follower = await transaction.value("SELECT request_id FROM scrape_fetch WHERE call_of = %s LIMIT 1", (head,))
        await lifecycle.cancel(transaction, [follower], reason="test")
    assert len((await retrieve(engine, [head])).next) == len(requests) - 1
    await turn(engine.database, CROWD)
    assert await counts(engine) == (1, 1)


async def test_what_goes_wrong_before_a_call_is_begun_returns_its_lease_unused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, ["n1", "n2"])
    leased = (await turn(engine.database, CROWD)).leased

    def broken(_claims: Any) -> Any:
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr("beat_actors.pipeline.retrieve.by_call", broken)
        with pytest.raises(RuntimeError):
            await retrieve(engine, leased)
    await run(engine)
    await turn(engine.database, CROWD)
    assert await counts(engine) == (1, 1)
    assert await rows(engine, "SELECT stage, rotations FROM scrape_fetch") == [("DONE", 0)] * 2


async def test_a_call_that_cannot_be_put_together_is_not_charged(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_spec: FetchSpec, _secret: Secret) -> Call:
        raise KeyError("id")

    await engine.credentials.add("things", {"key": "a"})
    await submit(engine, ["n1"], flow="own", owner="A")
    monkeypatch.setitem(Things.endpoints, "own", replace(Things.endpoints["own"], build=broken))
    await retrieve(engine, (await turn(engine.database, CROWD)).leased)
    await turn(engine.database, CROWD)
    assert await counts(engine) == (0, 0)
    assert await rows(engine, "SELECT kind FROM owner_breaker") == []
    assert await rows(engine, "SELECT stage FROM scrape_fetch") == [("FAILED",)]


async def test_a_worker_without_the_vaults_key_leaves_the_lease_to_others_and_blames_nobody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential, _ = await engine.credentials.add("things", {"key": "a"})
    await submit(engine, ["n1", "n2"])
    leased = (await turn(engine.database, CROWD)).leased
    with monkeypatch.context() as patch:
        patch.setitem(vars(engine.vault), "_keys", {"another": None})
        assert (await retrieve(engine, leased)).next == []
        await rows(engine, "UPDATE scrape_fetch SET use_until = clock_timestamp() - interval '1 second' RETURNING 1")
        await retrieve(engine, leased)
        again = (await turn(engine.database, CROWD)).leased
        assert (await retrieve(engine, again)).next == []
    assert (await engine.credentials.info(credential)).state == "ready"
    assert len((await retrieve(engine, again)).next) == 2
    await turn(engine.database, CROWD)
    assert await counts(engine) == (1, 1)
    assert await rows(engine, "SELECT max(rotations)::int FROM scrape_fetch") == [(0,)]
