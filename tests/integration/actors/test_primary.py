"""A Redis that takes no writes any more: its connections end, and work goes on over new ones."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from dramatiq.errors import ConnectionClosed

from actors.broker import BeatBroker, build_broker, redis_client
from actors.mailbox import Mailbox
from beat_actors.chaos.proxy import Proxy
from beat_actors.database import Database
from beat_actors.errors import LimitsUnavailable
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import ValkeyServer, running
from beat_actors.primary import WrongServer
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.settings import Settings
from tests.certificates import certificate
from tests.integration.actors.conftest import until


@pytest.fixture
def alone(settings: Settings) -> Iterator[Settings]:
    """Settings with a Redis that no other test uses."""
    with temporary_home() as home:
        valkey = ValkeyServer.at(home)
        with running(home, valkey):
            yield settings.model_copy(update={"redis_url": valkey.url})


def demote(settings: Settings, *, to: tuple[str, str] = ("127.0.0.1", "1")) -> None:
    with redis.Redis.from_url(str(settings.redis_url)) as admin:
        admin.replicaof(*to)


async def test_a_replica_keeps_no_connection(alone: Settings) -> None:
    client, mailbox = redis_client(alone), Mailbox(alone)
    before = client.client_id()
    assert await mailbox.ping()
    demote(alone)
    for write in (
        lambda: client.set("k", 1),
        lambda: client.eval("redis.call('set', 'k', 1)", 0),
        lambda: _piped(client),
    ):
        with pytest.raises(WrongServer, match="takes no writes"):
            write()
    assert not await mailbox.ping()
    assert not await mailbox.wake("toy")
    demote(alone, to=("NO", "ONE"))
    assert client.client_id() != before
    assert await mailbox.ping()
    assert await mailbox.send("retrieve", [1])
    mailbox.close()
    client.close()


async def test_limits_on_a_replica_are_not_known(alone: Settings, database: Database) -> None:
    database.settings = alone
    limiter = StackedLimiter(database)
    stack = next(iter(limiter.stacks.values()))
    demote(alone)
    with pytest.raises(LimitsUnavailable):
        await limiter.take(stack, "somebody", 2)
    demote(alone, to=("NO", "ONE"))
    await limiter.take(stack, "somebody", 2)
    await limiter.close()


def test_wake_ups_follow_to_the_server_that_takes_writes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the process was refused and found the old server once more, because the name still led to it."""
    monkeypatch.setattr("actors.broker.LISTEN_FOR", 0.02)
    with contextlib.ExitStack() as life:
        homes = [life.enter_context(temporary_home()) for _ in range(2)]
        first = ValkeyServer.at(homes[0])
        second = replace(ValkeyServer.at(homes[1]), password=first.password)
        for home, server in zip(homes, (first, second), strict=True):
            life.enter_context(running(home, server))
        proxy = life.enter_context(Proxy.running(first.port))
        broker = build_broker(settings.model_copy(update={"redis_url": replace(first, port=proxy.port).url}))
        old, new = (life.enter_context(redis.Redis.from_url(server.url)) for server in (first, second))
        until(lambda: _takes(broker) and _listeners(old, broker) == 1, "nobody listens to the first server")
        old.replicaof("127.0.0.1", "1")
        for _ in range(20):
            assert not _takes(broker)
        until(lambda: not broker.wake_ups._renew.is_set(), "the subscription was not renewed")
        proxy.lead_to(second.port)
        until(
            lambda: _takes(broker) and (_listeners(old, broker), _listeners(new, broker)) == (0, 1),
            "the subscription is on the old server",
        )


def _takes(broker: BeatBroker) -> bool:
    """Whether a consumer could fetch, and with it write."""
    try:
        next(broker.consume("toy"))
    except ConnectionClosed:
        return False
    return True


def _listeners(client: redis.Redis, broker: BeatBroker) -> int:
    ((_, count),) = client.pubsub_numsub(broker.wake_ups.channel)
    return int(count)


def _piped(client: redis.Redis) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.set("k", 1).execute()


async def test_a_url_with_tls_is_called_with_tls_and_the_certificate_is_verified(settings, tmp_path: Path) -> None:
    """redis-py lets the class of its connections decide, and not the URL."""
    own, other = certificate(tmp_path / "own.pem"), certificate(tmp_path / "other.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(4096):
            writer.write(b"+PONG\r\n" if b"PING" in sent else b"+OK\r\n" * sent.count(b"*"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]

        def at(certificates: Path) -> Settings:
            url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates}&protocol=2"
            return settings.model_copy(update={"redis_url": url})

        def pinged(certificates: Path) -> bool:
            with redis_client(at(certificates)) as client:
                return bool(client.ping())

        assert await asyncio.to_thread(pinged, own)
        with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
            await asyncio.to_thread(pinged, other)
        limiter = StackedLimiter(SimpleNamespace(settings=at(own)))  # type: ignore[arg-type]
        assert await limiter._redis.ping()
        await limiter.close()
