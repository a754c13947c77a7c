"""The stream of Redis: one entry for an event, whole runs or nothing, and a size that is bounded."""

import asyncio
import contextlib
import os
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from beat_actors.events.sink import Place, SinkUnavailable, Trouble
from beat_actors.events.sinks import redis_streams
from beat_actors.events.sinks.conformance import event, made
from beat_actors.events.sinks.redis_streams import RedisStreams
from tests.certificates import certificate
from tests.conftest import Servers

Opened = Callable[..., Awaitable[RedisStreams]]


@pytest.fixture
def stream() -> str:
    return f"test:{uuid.uuid4()}"


@pytest.fixture
def client(servers: Servers, stream: str) -> redis.Redis:
    return redis.Redis.from_url(servers.valkey.url, decode_responses=True)


@pytest.fixture
def place(servers: Servers, stream: str) -> Place:
    return Place("test", servers.valkey.url, options={"stream": stream})


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Opened]:
    made: list[RedisStreams] = []

    async def open_(position: int = 0, **changes: object) -> RedisStreams:
        sink = RedisStreams(replace(place, **changes))  # type: ignore[arg-type]
        made.append(sink)
        await sink.open(position)
        return sink

    yield open_
    for sink in made:
        await sink.close()


def ids(client: redis.Redis, stream: str) -> list[str]:
    return [entry for entry, _ in client.xrange(stream)]


async def test_an_entry_has_the_place_of_the_event_as_its_id_and_the_attributes_as_fields(
    opened: Opened, client: redis.Redis, stream: str
) -> None:
    (only,) = events = made(1, first=41)
    assert await (await opened()).publish(events) == {}
    ((entry, fields),) = client.xrange(stream)
    assert entry == "41-0"
    assert fields.pop("data") == only.data
    assert (fields["id"], fields["sequence"], fields["specversion"]) == (only.id, f"{41:020d}", "1.0")


async def test_a_resend_adds_nothing_even_in_part(opened: Opened, client: redis.Redis, stream: str) -> None:
    events = made(600)
    await (await opened()).publish(events[:400])
    assert await (await opened(100)).publish(events[100:]) == {}
    assert ids(client, stream) == [f"{seq}-0" for seq in range(1, 601)]


@pytest.mark.parametrize("structured", [False, True])
async def test_another_event_at_the_same_place_is_told_and_nothing_behind_it_is_stored(
    opened: Opened, client: redis.Redis, stream: str, structured: bool
) -> None:
    events = made(10)
    await (await opened(structured=structured)).publish(events[:6])
    other = [*events[:4], *made(8, first=5)]
    sink = await opened(structured=structured)
    for _ in range(2):  # as long as it is so
        refused = await sink.publish(other)
        assert {number: refusal.trouble for number, refusal in refused.items()} == dict.fromkeys(
            range(4, 12), Trouble.LOST
        )
        assert "has another event at this place" in refused[4].reason
    assert len(ids(client, stream)) == 6


async def test_a_stream_that_is_far_ahead_is_of_another_log(opened: Opened, client: redis.Redis, stream: str) -> None:
    client.xadd(stream, {"a": "b"})
    refused = await (await opened()).publish(made(3))
    assert [refusal.trouble for refusal in refused.values()] == [Trouble.LOST] * 3
    assert "another installation writes to the stream" in refused[0].reason


async def test_a_stream_that_is_gone_is_told_once_and_begins_anew(
    opened: Opened, client: redis.Redis, stream: str
) -> None:
    sink, events = await opened(), made(30)
    await sink.publish(events[:10])
    client.delete(stream)
    with pytest.raises(SinkUnavailable, match="is gone, but had got as far as 10") as raised:
        await sink.publish(events[10:20])
    assert (raised.value.trouble, raised.value.stored) == (Trouble.LOST, 0)
    await sink.close()
    await sink.open(10)
    assert await sink.publish(events[10:20]) == {}
    assert ids(client, stream)[0] == "11-0"
    client.delete(stream)
    with pytest.raises(SinkUnavailable, match="as far as 20"):
        await sink.publish(events[20:])


async def test_what_redis_lost_in_a_crash_can_be_sent_again(opened: Opened, client: redis.Redis, stream: str) -> None:
    events = made(10)
    await (await opened()).publish(events[:4])
    sink = await opened(4)
    with pytest.raises(SinkUnavailable, match="ends at 4, but had got as far as 9") as raised:
        await sink.open(9)
    assert (raised.value.trouble, raised.value.stored) == (Trouble.LOST, 4)
    await sink.open(4)
    assert await sink.publish(events[4:]) == {}
    assert ids(client, stream) == [f"{seq}-0" for seq in range(1, 11)]


async def test_an_event_whose_place_was_passed_without_it_is_appended(
    opened: Opened, client: redis.Redis, stream: str
) -> None:
    sink, events = await opened(), made(10)
    await sink.publish([*events[:3], *events[5:]])
    assert await sink.publish(events[3:5]) == {}
    assert ids(client, stream)[-3:] == ["10-0", "10-1", "10-2"]
    assert await sink.publish(made(1, first=11)) == {}
    assert [fields["sequence"][-2:] for _, fields in client.xrange(stream)][-3:] == ["04", "05", "11"]


async def test_the_oldest_entries_are_trimmed_by_bytes_and_a_resend_of_them_adds_nothing(
    opened: Opened, client: redis.Redis, stream: str
) -> None:
    sink = await opened(options={"stream": stream, "max_bytes": "1MB"})
    events = made(12_000, size=300)
    for at in range(0, len(events), 500):
        assert await sink.publish(events[at : at + 500]) == {}
    kept = ids(client, stream)
    assert kept[-1] == "12000-0"
    assert 500 < len(kept) < 4_000
    assert client.memory_usage(stream, samples=0) < 1_500_000
    assert await sink.publish(events[-3_000:]) == {}
    assert ids(client, stream) == kept


async def test_a_run_of_events_is_stored_whole_or_not_at_all_without_memory(
    opened: Opened, client: redis.Redis, stream: str
) -> None:
    sink, events = await opened(), made(600)
    await sink.publish(events[:100])
    client.config_set("maxmemory", 1)
    try:
        refused = await sink.publish(events[100:])
    finally:
        client.config_set("maxmemory", 0)
    assert set(refused) == set(range(500))
    assert {refusal.trouble for refusal in refused.values()} == {Trouble.FULL}
    assert client.xlen(stream) == 100
    assert await sink.publish(events[100:]) == {}
    assert ids(client, stream) == [f"{seq}-0" for seq in range(1, 601)]


async def test_no_call_in_flight_overtakes_a_refused_one(
    opened: Opened, client: redis.Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, events = await opened(), made(400)
    client.config_set("maxmemory", 1)
    trim = sink._trim

    async def room_again(stream: str) -> None:
        client.config_set("maxmemory", 0)
        await trim(stream)

    monkeypatch.setattr(sink, "_trim", room_again)
    try:
        refused = await asyncio.gather(*(sink.publish(events[at : at + 100]) for at in range(0, 400, 100)))
        assert [len(one) for one in refused] == [100] * 4
        assert len(await sink.publish(events[100:])) == 300, "made before the relay knew"
        assert await sink.publish(events) == {}
    finally:
        client.config_set("maxmemory", 0)
    assert ids(client, stream) == [f"{seq}-0" for seq in range(1, 401)]


async def test_a_key_that_is_no_stream_is_told(opened: Opened, client: redis.Redis, stream: str) -> None:
    client.set(stream, "x")
    with pytest.raises(SinkUnavailable, match="is no stream") as raised:
        await opened()
    assert raised.value.trouble is Trouble.LOST


async def test_a_user_that_may_not_write_is_told(
    opened: Opened, client: redis.Redis, servers: Servers, stream: str
) -> None:
    rules = "~* +@connection +eval +exists +info +memory|usage +xlen"
    client.execute_command("ACL", "SETUSER", "reader", "reset", "on", ">hidden", *rules.split())
    with pytest.raises(SinkUnavailable) as raised:
        await (await opened(url=f"redis://reader:hidden@127.0.0.1:{servers.valkey.port}/0")).publish([event(1)])
    assert raised.value.trouble is Trouble.AUTH
    assert "hidden" not in str(raised.value)


async def test_the_rules_of_the_documentation_are_enough(
    opened: Opened, client: redis.Redis, servers: Servers, stream: str
) -> None:
    assert redis_streams.__doc__
    commands = redis_streams.__doc__.split("The user needs `")[1].partition("`")[0].split()
    keys = (f"~{stream}", f"~{stream}:replay")
    client.execute_command("ACL", "SETUSER", "publisher", "reset", "on", ">hidden", *keys, *commands)
    sink = await opened(url=f"redis://publisher:hidden@127.0.0.1:{servers.valkey.port}/0")
    assert await sink.publish([event(1), event(2), event(1)._replace(replay=True)]) == {}
    assert await sink.publish([event(4), event(3)]) == {}
    assert await sink.publish(made(300, first=5)) == {}
    assert not sink._by_script
    await sink._command("XTRIM", stream, "MAXLEN", "~", "1", "LIMIT", "10")


async def test_a_server_without_transactions_gets_scripts(
    opened: Opened, client: redis.Redis, servers: Servers, stream: str
) -> None:
    rules = ("~*", "+@all", "-multi")
    client.execute_command("ACL", "SETUSER", "scripts", "reset", "on", ">hidden", *rules)
    sink = await opened(url=f"redis://scripts:hidden@127.0.0.1:{servers.valkey.port}/0")
    assert await sink.publish(made(600)) == {}
    assert sink._by_script
    assert ids(client, stream) == [f"{seq}-0" for seq in range(1, 601)]


async def test_a_server_that_does_not_answer_ends_the_call(
    opened: Opened, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = await opened()
    monkeypatch.setattr(redis_streams, "REPLY_TIMEOUT", 0.2)
    pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SinkUnavailable) as raised:
            await sink.publish([event(1)])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert raised.value.trouble is Trouble.NO_CONFIRM
    await sink.open()
    assert set(await sink.publish([event(2)])) == set()


async def test_rediss_checks_the_certificate(
    servers: Servers, stream: str, client: redis.Redis, tmp_path: Path
) -> None:
    """The server of the tests has no TLS, so that something else has it before the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own := certificate(tmp_path / "own.pem"))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65_536):
            writer.write(part)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", servers.valkey.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(carry(reader, back), carry(there, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"rediss://:{servers.valkey.password}@127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0"
    try:
        sink = RedisStreams(Place("test", url, options={"stream": stream, "ssl_ca_certs": str(own)}))
        await sink.open()
        assert await sink.publish(made(300)) == {}
        assert len(ids(client, stream)) == 300
        await sink.close()
        with pytest.raises(SinkUnavailable, match="certificate verify failed") as raised:
            await RedisStreams(Place("test", url, options={"stream": stream})).open()
        assert raised.value.trouble is Trouble.UNREACHABLE
    finally:
        proxy.close()
