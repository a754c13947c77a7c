"""Each fault does what its name says, to whom it is meant for, and for as long."""

import asyncio
import zlib
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from beat_actors.simulator import SimulatorClient, SimulatorRefused
from beat_actors.simulator.faults import Fault, FaultBoard
from tests.integration.simulator.conftest import PEOPLE, Caller, Got

SOURCES = ("graphapi", "arraybobo", "jotucker", "bestsolutions", "lama")


async def test_an_outage_is_html_or_json(caller: Caller, admin: SimulatorClient) -> None:
    fault = await admin.add_fault("outage", "jotucker")
    got = await caller.profile("jotucker")
    assert (got.status, got.headers["content-type"][:9]) == (503, "text/html")
    await admin.remove_fault(fault.id)
    await admin.add_fault("outage", "jotucker", status=500, body="json")
    got = await caller.profile("jotucker")
    assert got.status == 500
    assert got.json()
    assert (await caller.profile("lama")).status == 200


@pytest.mark.parametrize("kind", ["timeout", "hang"])
async def test_a_hanging_call_has_no_answer_and_is_in_the_ledger(
    caller: Caller, admin: SimulatorClient, kind: str
) -> None:
    await admin.add_fault(kind, "lama")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await caller.profile("lama")
    entry = (await admin.ledger())["by_source"]["lama"]
    assert (entry["calls"], entry["ok"], entry["faulted"], entry["statuses"]) == (1, 0, 1, {"none": 1})


async def test_a_reset_tears_the_connection(caller: Caller, admin: SimulatorClient) -> None:
    await admin.add_fault("reset", "lama")
    parts = urlsplit(caller.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /lama/a2/user?username=creator_000042 HTTP/1.1\r\nHost: x\r\nx-access-key: k\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    assert (await admin.ledger())["by_source"]["lama"]["statuses"] == {"none": 1}


@pytest.mark.parametrize("source", SOURCES)
async def test_a_storm_of_429_comes_with_the_wait(caller: Caller, admin: SimulatorClient, source: str) -> None:
    await admin.add_fault("rate_limit", source, retry_after=120)
    got = await caller.profile(source)
    assert got.status == (403 if source == "graphapi" else 429)
    assert got.headers["retry-after"] == "120"
    if source == "graphapi":
        assert '"estimated_time_to_regain_access":2' in got.headers["x-business-use-case-usage"]


async def test_a_fault_may_hit_one_key_one_operation_a_share_or_a_while(caller: Caller, admin: SimulatorClient) -> None:
    await admin.set_limits(enabled=False)
    shown = await admin.add_fault("revoked", "arraybobo", credential="key-1")
    assert shown.fault.credential != "key-1"
    assert (await caller.profile("arraybobo", key="key-1")).status == 403
    assert (await caller.profile("arraybobo", key="key-2")).status == 200
    await admin.clear_faults("arraybobo")
    await admin.add_fault("outage", "jotucker", operation="posts_by_id")
    assert (await caller.profile("jotucker")).status == 200
    assert (await caller.get("jotucker", "/medias_v2", {"user_id": str(PEOPLE.person(1).pk)})).status == 503  # type: ignore[union-attr]
    await admin.add_fault("outage", "lama", rate=0.5)
    statuses = [(await caller.profile("lama")).status for _ in range(60)]
    assert 10 < statuses.count(503) < 50
    await admin.clear_faults()
    assert await admin.faults() == []


def test_a_fault_ends_by_itself() -> None:
    now = [0.0]
    board = FaultBoard(clock=lambda: now[0])
    board.add(Fault(kind="outage", seconds=5))
    board.add(Fault(kind="quota", times=2))
    assert [str(hit[0]) if (hit := board.hit("lama", "posts_by_id", "x")) else None for _ in range(3)] == [
        "quota", "quota", "outage",
    ]  # fmt: skip
    now[0] = 5.0
    assert board.hit("lama", "posts_by_id", "x") is None
    assert board.active() == []


async def damaged(caller: Caller, admin: SimulatorClient, source: str, kind: str, **details: Any) -> Got:
    await admin.add_fault(kind, source, **details)
    return await caller.profile(source)


@pytest.mark.parametrize("source", SOURCES)
async def test_malformed_variants(caller: Caller, admin: SimulatorClient, source: str) -> None:
    await admin.set_limits(enabled=False)
    whole = (await caller.profile(source)).body
    got = await damaged(caller, admin, source, "malformed")
    assert got.status == 200
    assert b'"username"' not in got.body
    got = await damaged(caller, admin, source, "malformed", variant="wrong_type")
    assert b'{"value":' in got.body
    got = await damaged(caller, admin, source, "truncated")
    assert whole.startswith(got.body)
    assert len(got.body) == len(whole) // 2
    with pytest.raises(msgspec.DecodeError):
        got.json()
    got = await damaged(caller, admin, source, "nested")
    assert got.body.count(b"[") == 50_000
    got = await damaged(caller, admin, source, "unstorable")
    assert b'\\u0000\\ud800"' in got.body or source == "graphapi"  # which was asked for no text
    assert b'"creator_000042"' in got.body
    got = await damaged(caller, admin, source, "huge")
    assert b":" + b"9" * 100 in got.body
    got = await damaged(caller, admin, source, "html")
    assert (got.status, got.body[:9]) == (200, b"<!DOCTYPE")
    got = await damaged(caller, admin, source, "wrong_user")
    assert b'"creator_000043"' in got.body
    assert b'"username":"creator_000042"' not in got.body
    got = await damaged(caller, admin, source, "corrupt")
    assert followers(got.json()) == 0
    got = await damaged(caller, admin, source, "corrupt", body="negative")
    assert followers(got.json()) < 0
    assert (await admin.ledger())["by_source"][source]["ok"] == 1


def followers(value: Any) -> Any:
    for key, each in value.items():
        if key in ("followers_count", "follower_count"):
            return each
        if key == "edge_followed_by":
            return each["count"]
        if isinstance(each, dict) and (found := followers(each)) is not None:
            return found
    return None


async def test_hostile_answers(caller: Caller, admin: SimulatorClient) -> None:
    await admin.set_limits(enabled=False)
    await admin.add_fault("redirect", "lama")
    got = await caller.profile("lama")
    assert (got.status, got.headers["location"].startswith("https://elsewhere.invalid/lama/a2/user")) == (302, True)
    await admin.add_fault("redirect", "lama", body="loop")
    assert (await caller.profile("lama")).headers["location"].startswith("/lama/a2/user")

    await admin.add_fault("gigabyte", "lama")
    async with caller.session.get(
        f"{caller.url}/lama/a2/user?username=creator_000042", headers={"x-access-key": "k"}
    ) as response:
        read = 0
        while read < 5_000_000:
            read += len(await response.content.readany())
        response.close()

    await admin.add_fault("gzip_bomb", "lama")
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        squeezed = (await Caller(caller.url, session).profile("lama")).body
    assert len(squeezed) < 1_000_000
    inflate = zlib.decompressobj(wbits=31)
    assert len(inflate.decompress(squeezed, 50_000_000)) == 50_000_000

    await admin.add_fault("slow_loris", "lama", delay=0.05)
    async with caller.session.get(
        f"{caller.url}/lama/a2/user?username=creator_000042", headers={"x-access-key": "k"}
    ) as response:
        assert len(await response.content.readany()) < int(response.headers["content-length"])
        response.close()

    await admin.clear_faults()
    await admin.add_fault("slow", "lama", delay=0.01)
    assert (await caller.profile("lama")).status == 200
    assert (await admin.ledger())["by_source"]["lama"]["statuses"] == {"302": 2, "200": 4}


async def test_what_makes_no_sense_is_refused_in_a_sentence(admin: SimulatorClient) -> None:
    for wrong, said in (
        ({"kind": "earthquake"}, "no fault kind 'earthquake'"),
        ({"kind": "outage", "source": "nobody"}, "there is no simulated provider 'nobody'"),
        ({"kind": "outage", "source": "lama", "operation": "no"}, "lama has no operation 'no'"),
        ({"kind": "outage", "rate": 2}, "rate is a share"),
        ({"kind": "outage", "when": "now"}, "unknown field"),
    ):
        with pytest.raises(SimulatorRefused, match=said):
            await admin.add_fault(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SimulatorRefused, match="no fault"):
        await admin.remove_fault(7)


async def test_latency_is_added_and_state_is_reported(caller: Caller, admin: SimulatorClient) -> None:
    await admin.set_latency(0.01, jitter=0.01)
    assert (await caller.profile("lama")).status == 200
    state = await admin.state()
    assert state["latency"] == {"seconds": 0.01, "jitter": 0.01}
    assert state["population"] == 500
    await admin.add_fault("outage")
    await admin.reset()
    assert (await admin.ledger())["calls"] == 0
    assert await admin.faults() == []
