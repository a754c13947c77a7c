"""The client, and the commands that use it, against an API, workers and a provider that all run."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import resources

import pytest

from beat_actors.cli.app import invoke
from beat_actors.client import (
    Accepted,
    Away,
    BadRequest,
    Client,
    NotAllowed,
    NotThere,
    Problem,
    Refused,
)
from tests.integration.engine.conftest import System

FLOW = "refresh_profile_by_handle"
pytestmark = pytest.mark.timeout(240)


def key_of(system: System) -> str:
    return system.stack.authorization["Authorization"].removeprefix("Bearer ")


@pytest.fixture
async def beat(system: System) -> AsyncIterator[Client]:
    async with Client(system.stack.api_url, key_of(system)) as client:
        yield client


@pytest.mark.slow
async def test_what_is_asked_for_is_waited_for_and_read(beat: Client) -> None:
    request = await beat.scrape("instagram", FLOW, {"handle": "creator_000001"}, tags={"for": "report"})
    assert (request.status, request.ended, request.error) == ("COMPLETE", True, None)
    assert request.tags == {"for": "report"}
    profile = await beat.get("profiles", "instagram", "creator_000001", posts=3)
    assert profile.dimensions["handle"] == "creator_000001"
    assert profile.metrics["followers"] >= 0
    assert profile.freshness.mode == "fresh"
    assert profile.freshness.as_of is not None
    assert abs(profile.freshness.as_of - request.scraped_at) < timedelta(seconds=60)  # type: ignore[operator]
    newest = [item["id"] for item in profile.lists["posts"]]
    assert len(newest) == 3
    listed = [item.id async for item in beat.listed("profiles", "instagram", "creator_000001", "posts", limit=2)]
    assert listed[:3] == newest
    assert len(listed) == len(set(listed)) > 4
    (snapshot,) = [one async for one in beat.history("profiles", "instagram", "creator_000001")]
    assert snapshot.request_id == request.id


async def test_what_is_unknown_is_fetched_where_it_may_not_be_stale(beat: Client) -> None:
    with pytest.raises(NotThere):
        await beat.get("profiles", "instagram", "creator_000002")
    await beat.scrape("instagram", FLOW, {"handle": "creator_000002"})
    before = await beat.get("profiles", "instagram", "creator_000002")
    after = await beat.get("profiles", "instagram", "creator_000002", max_age=0, allow_stale=False, timeout=60)
    assert after.freshness.as_of > before.freshness.as_of  # type: ignore[operator]


async def test_many_have_an_outcome_each(beat: Client, system: System) -> None:
    def wanted(handle: str) -> dict[str, object]:
        return {"platform": "instagram", "flow": FLOW, "params": {"handle": handle}}

    key = uuid.uuid4().hex
    batch = [wanted("creator_000003"), wanted("no such handle!"), wanted("creator_000004")]
    first, bad, second = await beat.submit_many(batch, idempotency_key=key)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(bad, Problem)
    assert bad.code == "bad_input"
    assert bad.field is not None
    again = await beat.submit_many(batch, idempotency_key=key)
    assert again == [first, bad, second]
    (refused,) = await beat.submit_many([wanted("no such handle!")])
    assert isinstance(refused, Problem)
    await system.all_ended([first.id, second.id])
    found = [request.id async for request in beat.requests(status="COMPLETE", limit=1)]
    assert {first.id, second.id} <= set(found)
    assert found == sorted(found, reverse=True)


async def test_more_than_one_call_can_carry_go_in_several(beat: Client, system: System) -> None:
    body = {"platform": "instagram", "flow": FLOW, "params": {"handle": "creator_000005"}}
    outcomes = await beat.submit_many([body] * 1001)
    assert len(outcomes) == 1001
    ids = {outcome.id for outcome in outcomes if isinstance(outcome, Accepted)}
    assert len(ids) == 1001
    await system.all_ended(sorted(ids))


async def test_a_refusal_says_what_is_wrong(beat: Client, system: System) -> None:
    with pytest.raises(BadRequest) as bad:
        await beat.submit("instagram", FLOW, {"handle": "no such handle!"})
    assert bad.value.code == "bad_input"
    assert bad.value.problem.field is not None
    with pytest.raises(BadRequest, match="flow"):
        await beat.submit("instagram", "refresh_nothing", {})
    with pytest.raises(NotThere):
        await beat.request(4_711_000)
    key = uuid.uuid4().hex
    accepted = await beat.submit("instagram", FLOW, {"handle": "creator_000006"}, idempotency_key=key)
    with pytest.raises(Refused):
        await beat.submit("instagram", FLOW, {"handle": "creator_000007"}, idempotency_key=key)
    async with Client(system.stack.api_url, "beat_nobody") as stranger:
        with pytest.raises(NotAllowed):
            await stranger.request(accepted.id)
    await system.all_ended([accepted.id])


async def test_what_waits_is_explained_cancelled_and_run_again(beat: Client) -> None:
    accepted = await beat.submit("shopify", "refresh_store", {"store": "no-credential.myshopify.com"})
    explained = await beat.explain(accepted.id)
    assert explained.request.status in ("PENDING", "PROCESSING")
    assert explained.summary
    assert await beat.cancel(accepted.id, "not wanted") == "CANCELLED"
    assert (await beat.request(accepted.id)).status == "CANCELLED"
    await beat.retry(accepted.id)
    assert (await beat.request(accepted.id)).ended is False
    assert await beat.cancel(accepted.id) == "CANCELLED"
    retried = await beat.retry_matching(platform="shopify", status="CANCELLED")
    assert (retried.retried, retried.refused) == (1, 0)
    await beat.cancel(accepted.id)


async def test_a_profile_is_refreshed_on_demand_and_twice_said_is_once_done(beat: Client) -> None:
    key = uuid.uuid4().hex
    first = await beat.refresh("instagram", "creator_000011", priority="customer", idempotency_key=key)
    again = await beat.refresh("instagram", "creator_000011", priority="customer", idempotency_key=key)
    assert first == again
    assert first.deferred_to is None
    assert (await beat.wait(first.id)).status == "COMPLETE"


@asynccontextmanager
async def proxied(*answers: bytes) -> AsyncIterator[str]:
    """A server that answers the calls with these bytes, one after the other."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


GONE = b"HTTP/1.1 %d Away\r\nRetry-After: \xc2\xb2\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
WELL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


async def test_what_a_proxy_says_of_an_api_that_is_away_is_tried_again() -> None:
    async with proxied(GONE % 502, GONE % 504, CUT_OFF, WELL) as url, Client(url, "beat_any", patience=20) as beat:
        assert await beat.fetch("/v1/anything", dict) == {}
    for answer in (GONE % 502, GONE % 504, CUT_OFF):
        async with proxied(answer) as url, Client(url, "beat_any", patience=0) as beat:
            with pytest.raises(Away):
                await beat.fetch("/v1/anything", dict)


def test_its_types_are_for_who_installs_it_too() -> None:
    assert resources.files("beat_actors").joinpath("py.typed").is_file()


async def test_changes_are_followed_from_a_cursor(beat: Client) -> None:
    await beat.scrape("instagram", FLOW, {"handle": "creator_000008"})
    changes = [change async for change in beat.changes()]
    cursor = changes[-1].cursor
    assert cursor is not None
    assert [change async for change in beat.changes(cursor)] == []
    await beat.scrape("instagram", FLOW, {"handle": "creator_000009"})
    async with asyncio.timeout(60):
        async for change in beat.changes(cursor, follow=0.2, kind="profiles"):
            name = (await beat.get("profiles", "instagram", change.id)).dimensions["handle"]
            assert name == "creator_000009"
            break


@pytest.mark.exhaustive
async def test_a_call_survives_the_end_of_the_process_that_answers_it(beat: Client, system: System) -> None:
    """The answer is lost, the call is made again, and it counts once."""
    before = system.value("SELECT count(*) FROM scrape_request_log")
    calls = [
        asyncio.create_task(beat.submit("instagram", FLOW, {"handle": f"creator_{n:06d}"})) for n in range(60, 100)
    ]
    await asyncio.sleep(0.01)
    (api,) = [status.pid for status in system.stack.supervisor.status() if status.name == "api"]
    assert api is not None
    os.kill(api, signal.SIGKILL)
    ids = [accepted.id for accepted in await asyncio.gather(*calls)]
    assert len(set(ids)) == 40
    assert system.value("SELECT count(*) FROM scrape_request_log") - before == 40
    await system.all_ended(ids)


async def test_patience_has_an_end() -> None:
    async with Client("http://127.0.0.1:9", "beat_any", patience=0.2) as beat:
        with pytest.raises(Away, match="does not answer"):
            await beat.request(1)


Said = tuple[int, str, str]


@pytest.fixture
def remote(system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command line on a machine that has the API's address and a key, and no database."""
    for name in [name for name in os.environ if name.startswith("BEAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEAT_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    monkeypatch.setenv("BEAT_API_KEY", key_of(system))
    monkeypatch.setenv("BEAT_API_URL", "")

    def run(*arguments: str, url: str = system.stack.api_url) -> Said:
        capsys.readouterr()
        code = invoke((*arguments, "--url", url))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_commands_speak_to_an_api_elsewhere(remote: Callable[..., Said]) -> None:
    code, out, err = remote("scrape", "instagram", "creator_000010", "--json")
    assert (code, err) == (0, "")
    (scraped,) = json.loads(out)
    assert scraped["request"]["status"] == "COMPLETE"
    assert scraped["profile"]["dimensions"]["handle"] == "creator_000010"
    assert len(scraped["posts"]) == 12
    number = str(scraped["request"]["id"])
    code, out, _ = remote("requests", "--json", "--status", "complete")
    assert code == 0
    assert number in [str(request["id"]) for request in json.loads(out)]
    code, out, _ = remote("requests", number)
    assert (code, "creator_000010" in out) == (0, True)
    code, out, _ = remote("why", number)
    assert (code, "profile_by_handle" in out) == (0, True)
    code, out, err = remote("cancel", number, "--reason", "test")
    assert (code, out, err) == (1, "0 cancelled\n", f"beat: request {number} was not found or has already ended\n")
    code, _, err = remote("retry", number)
    assert (code, number in err) == (1, True)


def test_what_goes_wrong_elsewhere_has_its_exit_code(
    remote: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote("why", "4711000")[0] == 4
    code, _, err = remote("scrape", "instagram", "no such handle!")
    assert (code, "handle" in err) == (2, True)
    monkeypatch.setenv("BEAT_API_KEY", "beat_nobody")
    assert remote("requests")[0] == 2
    monkeypatch.delenv("BEAT_API_KEY")
    code, _, err = remote("requests")
    assert (code, "BEAT_API_KEY" in err) == (2, True)


@pytest.mark.slow
def test_an_api_that_is_away_is_code_3(remote: Callable[..., Said]) -> None:
    code, out, err = remote("requests", url="http://127.0.0.1:9")
    assert (code, out) == (3, "")
    assert "http://127.0.0.1:9 does not answer" in err


async def test_a_batch_is_followed_to_its_end_and_found_by_its_tags(beat: Client) -> None:
    wanted = [
        {"platform": "instagram", "flow": FLOW, "params": {"handle": f"creator_00003{n}"}, "tags": {"for": "batch"}}
        for n in range(3)
    ]
    submitted = await beat.submit_batch([*wanted, {"platform": "instagram", "flow": "nosuch", "params": {}}])
    assert [type(one) for one in submitted.outcomes] == [Accepted, Accepted, Accepted, Problem]
    batch = await beat.wait_batch(submitted.batch.id, timeout=120)
    assert (batch.state, batch.total, batch.finished) == ("ENDED", 3, 3)
    assert batch.counts is not None
    assert batch.counts["COMPLETE"] == 3
    found = {one.id async for one in beat.requests(tags={"for": "batch"})}
    assert found == {one.id for one in submitted.outcomes if isinstance(one, Accepted)}
    assert found == {one.id async for one in beat.requests(batch_id=batch.id)}
    handles = {item.dimensions["handle"] async for item in beat.known("profiles", "instagram")}
    assert {f"creator_00003{n}" for n in range(3)} <= handles
    assert batch.id in [one.id async for one in beat.batches()]
    assert (await beat.cancel_batch(batch.id)).state == "ENDED"
