"""The publisher as a process, over real servers: what is written arrives in the stream of Valkey, whoever is killed."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
import redis.asyncio as redis

from tests.integration.events.world import sink_row, until, write
from tests.integration.webhooks.world import process

STREAM = "beat:events:test"


def publishing(
    settings, url: str, stream: str, more: str = ""
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    sinks = f'{{{more}"bus": {{"url": "redis:?stream={stream}", "begin": "start"}}}}'
    return process(settings, url, "actors.publish", event_sinks=sinks)


@pytest.fixture
async def stream(settings) -> AsyncIterator[str]:
    name = f"{STREAM}:{uuid4().hex[:8]}"
    yield name
    async with redis.Redis.from_url(str(settings.redis_url)) as client:
        await client.delete(name)


async def entries(settings, stream: str) -> list[tuple[str, str, str]]:
    """The id, subject and version of each entry, in order."""
    async with redis.Redis.from_url(str(settings.redis_url), decode_responses=True) as client:
        found = await client.xrange(stream)
    return [(key, fields["subject"], fields.get("subjectversion", "")) for key, fields in found]


@pytest.mark.exhaustive
@pytest.mark.timeout(180)
async def test_a_publisher_that_is_killed_again_and_again_loses_nothing_and_sends_nothing_twice(
    settings, process_url, database, stream: str
) -> None:
    for killed in range(3):
        async with publishing(settings, process_url, stream) as started:
            for number in range(10):
                await write(database, f"subject {number}", range(killed * 6 + 1, killed * 6 + 7))
            await until(lambda killed=killed: _more(settings, stream, killed * 60), 60)
            started.send_signal(signal.SIGKILL)
            await started.wait()
    async with publishing(settings, process_url, stream) as started:
        await until(lambda: _all(settings, stream, 180), 60)
        await until(lambda: _held_by(database, started.pid), 60)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 20) == 0
    found = await entries(settings, stream)
    assert [key for key, _, _ in found] == [f"{seq}-0" for seq in range(1, 181)]
    versions: dict[str, list[int]] = {}
    for _, subject, version in found:
        versions.setdefault(subject, []).append(int(version))
    assert all(each == list(range(1, len(each) + 1)) for each in versions.values())
    row = await sink_row(database)
    assert (row.seq, row.holder) == (180, None), "the lease was given back"


async def _held_by(database, pid: int) -> bool:
    return ((await sink_row(database)).holder or "").endswith(f":{pid}")


async def _more(settings, stream: str, before: int) -> bool:
    return len(await entries(settings, stream)) > before


async def _all(settings, stream: str, count: int) -> bool:
    return len(await entries(settings, stream)) == count


@pytest.mark.slow
async def test_two_publishers_share_the_work_and_one_takes_over(settings, process_url, database, stream: str) -> None:
    async with (
        publishing(settings, process_url, stream) as first,
        publishing(settings, process_url, stream) as second,
    ):
        await write(database, "a", range(1, 11))
        await until(lambda: _all(settings, stream, 10), 60)
        holder = (await sink_row(database)).holder
        assert holder is not None
        leads = first if holder.endswith(f":{first.pid}") else second
        leads.send_signal(signal.SIGTERM)
        await leads.wait()
        await write(database, "a", range(11, 21))
        await until(lambda: _all(settings, stream, 20), 60)
    assert [int(version) for _, _, version in await entries(settings, stream)] == list(range(1, 21))


async def test_a_sink_that_cannot_be_made_harms_no_other(settings, process_url, database, stream: str) -> None:
    async with publishing(settings, process_url, stream, '"bad": {"url": "nosuch://x"}, '):
        await write(database, "a", range(1, 4))
        await until(lambda: _all(settings, stream, 3), 60)
