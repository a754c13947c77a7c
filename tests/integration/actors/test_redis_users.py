"""The users of Redis: each kind of process does its real work as its own user, and none reaches what is not Beat's or the server's."""

import asyncio
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from actors.mailbox import INGEST, QUEUES, Mailbox
from actors.queues import Queues
from api.app import create_app
from api.services import Services
from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.cli.session import queue_depths
from beat_actors.database import Database
from beat_actors.events.sink import Event, Place
from beat_actors.events.sinks.redis_streams import RedisStreams
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import ValkeyServer, valkey_binary
from beat_actors.quotas.limiter import StackedLimiter
from beat_actors.quotas.stack import stacks
from beat_actors.redis_users import COMMANDS, STREAM, rules
from beat_actors.settings import Settings
from tests.images import ROOT
from tests.integration.actors.conftest import Post, post_over, until
from tests.integration.api.promised import Promised
from tests.integration.local.processes import eventually

Users = Callable[[str], Settings]


@pytest.fixture
def admin(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(str(settings.redis_url), decode_responses=True) as client:
        yield client


def known_rules(admin: redis.Redis, settings: Settings, role: str) -> list[str]:
    """Without `client|setinfo` where the server is too old to know it, as the documentation says."""
    given = rules(role, namespace=settings.redis_namespace, limit_prefix=settings.limit_prefix)
    version = tuple(map(int, admin.info("server")["redis_version"].split(".")[:2]))
    return [rule for rule in given if version >= (7, 2) or rule != "+client|setinfo"]


@pytest.fixture
def as_user(settings: Settings, admin: redis.Redis) -> Iterator[Users]:
    """Settings of a process of this role. At the end nothing that such a process did was refused."""
    made: list[str] = []

    def make(role: str) -> Settings:
        name = f"{role}-{uuid.uuid4().hex[:8]}"
        given = known_rules(admin, settings, role)
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *given)
        made.append(name)
        host = str(settings.redis_url).rpartition("@")[2]
        return settings.model_copy(update={"redis_url": f"redis://{name}:secret@{host}"})

    yield make
    refused = [entry for entry in admin.acl_log(128) if entry["username"] in made]
    admin.execute_command("ACL", "DELUSER", *made)
    assert [(entry["reason"], entry["object"], entry["username"]) for entry in refused] == []


async def test_the_api_serves_as_its_user(as_user: Users, database: Database, post: Post) -> None:
    own = as_user("api")
    async with database.transaction() as transaction:
        key = await keys.create(transaction, NewKey("test", (Scope.ADMIN,)), actor="test")

    def opened() -> Services:
        mailbox = Mailbox(own)
        return Services(Database(own, name="api"), mailbox.wake, mailbox.ping, mailbox.close)

    for n in range(1, 4):
        post.send(n)
    async with Promised(create_app(opened), headers={"Authorization": f"Bearer {key.minted.text}"}) as api:
        wanted = {"platform": "instagram", "flow": "refresh_profile_basic", "params": {"handle": "x"}}
        answer = await api.simulate_post("/v1/scrape-requests", json=wanted)
        assert (answer.status_code, answer.headers["RateLimit-Limit"]) == (202, "6000")
        assert (await api.simulate_get("/readyz")).json["checks"]["redis"] == "ok"
        refreshed = await api.simulate_post("/v1/profiles/instagram/somebody/refresh", json={})
        assert refreshed.status_code == 202, refreshed.text
        assert (await api.simulate_get("/v1/limits")).status_code == 200
        await done(api, "/v1/limits/refresh_profile_insta_daily/reset")
        queues = {one["queue"]: one for one in (await api.simulate_get("/v1/queues")).json["queues"]}
        assert queues[INGEST]["waiting"] == 3
        assert queues["credential_broker"]["waiting"] == 1  # the broker was woken
        first, *_ = (await api.simulate_get(f"/v1/queues/{INGEST}")).json["messages"]
        for change in ("requeue", "drop"):
            if change == "requeue":
                assert len(post.broker.fetch(INGEST, 1)) == 1  # what is held can be given back
            await done(api, f"/v1/messages/{first['id']}/{change}")
        await done(api, f"/v1/queues/{INGEST}/purge", state="waiting")
        await done(api, f"/v1/queues/{INGEST}/requeue", rate=10)


async def done(api: Any, where: str, **body: Any) -> None:
    answer = await api.simulate_post(where, json={"reason": "a test", **body})
    assert answer.status_code in (200, 202), answer.text


@pytest.mark.exhaustive
def test_workers_take_acknowledge_and_give_back_as_their_user(as_user: Users, post: Post) -> None:
    worker = post_over(as_user("worker"))
    for n in range(1, 6):
        post.send(n)
    post.put("bad", b"not a message")
    with worker.working():
        until(lambda: len(worker.arrived) == 5 and post.is_empty(), "all were taken")
        post.send(6)  # a wake-up wakes it
        until(lambda: len(worker.arrived) == 6 and post.is_empty(), "it was read")
    consumer = worker.broker.consume(INGEST, prefetch=3)
    for n in range(7, 10):
        post.send(n)
    taken = [message for message in (next(consumer) for _ in range(20)) if message is not None]
    consumer.nack(taken[0])
    consumer.ack(taken[1])
    consumer.requeue(taken[2:])
    consumer.close()
    assert len(post.dead()) == 1
    mailbox = Mailbox(worker.settings)
    assert asyncio.run(mailbox.send(INGEST, [1, 2, 3]))
    asyncio.run(mailbox.settle(["instagram"]))
    mailbox.turn_begins("instagram")
    mailbox.close()


async def test_the_scheduler_sweeps_as_its_user(
    as_user: Users, post: Post, database: Database, admin: redis.Redis
) -> None:
    own = as_user("scheduler")
    mailbox = Mailbox(own)
    post.send(1)
    post.send(2)
    assert len(post.broker.fetch(INGEST, 1)) == 1
    admin.zadd(f"{own.redis_namespace}:__heartbeats__", {post.broker.broker_id: 1})
    await mailbox.return_messages_of_the_dead()
    assert admin.llen(post.key()) == 2
    assert not post.held()
    assert admin.zcard(f"{own.redis_namespace}:__heartbeats__") == 0
    assert await mailbox.wake("instagram")
    assert await mailbox.send("retrieve", [1])
    consumer = post.broker.consume(INGEST)
    message = next(consumer)
    consumer.nack(message)
    await Queues(own).requeue_dead(database, INGEST, actor="test", reason="a test", rate=1000)
    deadline = time.monotonic() + 20
    while await mailbox.requeue_the_dead() == 0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert mailbox.server_info()["maxmemory_policy"] == "noeviction"
    assert mailbox.listeners() == 1  # the consumer
    theirs = Database(own, name="test")
    limits = StackedLimiter(theirs)
    assert await limits.look(stacks(own)["instagram"])
    await limits.close()
    await theirs.close()
    mailbox.close()


async def test_the_command_line_looks_and_mends_as_its_user(as_user: Users, post: Post, database: Database) -> None:
    own = as_user("operator")
    sent = post.send(1)
    assert queue_depths(own)[INGEST] == 1
    mailbox, queues = Mailbox(own), Queues(own)
    assert mailbox.server_info()
    assert await mailbox.ping()
    assert mailbox.listeners() == 0
    assert [view.queue for view in (await queues.look()).queues] == list(QUEUES)
    assert (await queues.message(sent.message_id)).state == "waiting"
    await queues.drop(database, sent.message_id, actor="test", reason="a test")
    for state in ("waiting", "delayed", "dead"):
        await queues.purge(database, INGEST, state, actor="test", reason="a test")
    theirs = Database(own, name="test")
    limits = StackedLimiter(theirs)
    stack = stacks(own)["instagram"]
    assert await limits.look(stack)
    await limits.reset(stack.limits[0])
    await limits.close()
    await theirs.close()
    queues.close()
    mailbox.close()


REFUSED: list[tuple[Any, ...]] = [
    ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", 0, 1), ("SELECT", 1), ("SHUTDOWN", "NOSAVE"), ("SAVE",), ("BGREWRITEAOF",),
    ("CONFIG", "GET", "*"), ("CONFIG", "SET", "dir", "/tmp"), ("DEBUG", "SLEEP", 0), ("MONITOR",), ("SLOWLOG", "GET"),
    ("KEYS", "*"), ("SCAN", 0), ("RANDOMKEY",), ("SCRIPT", "FLUSH"), ("SCRIPT", "KILL"), ("FUNCTION", "LIST"),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("ACL", "LIST"), ("ACL", "SETUSER", "default", "nopass"),
    ("REPLICAOF", "127.0.0.1", 1), ("MIGRATE", "127.0.0.1", 1, "x", 0, 1), ("MODULE", "LIST"),
    ("SET", "theirs", 1), ("GET", "theirs"), ("DEL", "theirs"), ("PUBLISH", "theirs", "x"),
    ("EVAL", "return redis.call('get', 'theirs')", 0), ("EVAL", "return redis.call('set', KEYS[1], 1)", 1, "theirs"),
    ("EVAL", "return redis.call('flushall')", 0), ("EVAL", "return redis.call('config', 'get', '*')", 0),
]  # fmt: skip


@pytest.mark.parametrize("role", COMMANDS)
def test_what_is_not_its_work_is_refused(settings: Settings, admin: redis.Redis, role: str) -> None:
    given = known_rules(admin, settings, role)
    name = f"refused-{role}"
    admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *given)
    host = str(settings.redis_url).rpartition("@")[2]
    try:
        with redis.Redis.from_url(f"redis://{name}:secret@{host}") as client:
            for command in REFUSED:
                with pytest.raises(
                    redis.ResponseError, match=r"(?i)permission|ACL failure|not allowed|can't (access|run)"
                ):
                    client.execute_command(*command)
            if role == "worker":
                with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
                    client.execute_command("GET", f"{settings.limit_prefix}refresh_profile_insta_daily")
            else:
                with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
                    client.execute_command("LPOP", f"{settings.redis_namespace}:ingest")
    finally:
        admin.execute_command("ACL", "DELUSER", name)


USERS = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("user ")]
"""As the documentation writes them."""
UNKNOWN_BEFORE = (7, 2)


def installed_redis() -> str | None:
    return os.environ.get("BEAT_TEST_REDIS") or shutil.which("redis-server")


def started(binary: str, lines: list[str], log: Path) -> bool:
    """Whether this server starts with these users. If it does, they are who reaches it."""
    with temporary_home() as home:
        server = ValkeyServer(home.path, home.port("redis"), "", {"requirepass": '""'}, binary)
        service = server.service()
        configuration = server.data / "valkey.conf"
        configuration.write_text(configuration.read_text() + "".join(f"{line}\n" for line in lines))
        with (
            log.open("wb") as written,
            subprocess.Popen(service.argv, cwd=service.cwd, stdout=written, stderr=written) as process,
        ):
            try:
                assert eventually(lambda: process.poll() is not None or _reached(server.port, "api")), log.read_text()
                if process.poll() is not None:
                    return False
                assert [_reached(server.port, role) for role in COMMANDS] == [True] * len(COMMANDS)
                assert not _reached(server.port, None)
            finally:
                process.terminate()
    return True


def _reached(port: int, role: str | None) -> bool:
    login = f"{role}:PASSWORD@" if role else ""
    with redis.Redis.from_url(f"redis://{login}127.0.0.1:{port}/0") as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_a_server_takes_the_documented_users_as_they_are_written(tmp_path: Path) -> None:
    assert started(valkey_binary(), USERS, tmp_path / "log")


def test_a_redis_before_7_2_takes_them_without_the_command_that_it_does_not_know(tmp_path: Path) -> None:
    """CI runs the other tests of this folder there as well, with users that lack the command."""
    binary = installed_redis()
    if binary is None:
        pytest.skip("there is no redis-server on this machine")
    said = subprocess.run((binary, "--version"), capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, said.partition("v=")[2].split(".")[:2]))
    log = tmp_path / "log"
    assert started(binary, USERS, log) is (version >= UNKNOWN_BEFORE), log.read_text()
    without = [line.replace(" +client|setinfo", "") for line in USERS]
    assert without != USERS
    assert started(binary, without, log), log.read_text()


async def test_the_publisher_writes_its_stream_as_its_user_without_the_slow_script(
    as_user: Users, admin: redis.Redis
) -> None:
    """A right that is missing would not stop it: it would fall back to the script, which costs Redis several times as much."""
    sink = RedisStreams(Place("stream", str(as_user("publisher").redis_url), options={"stream": STREAM}))
    try:
        await sink.open()
        for seq in (1, 2, 3):
            event = Event(
                seq, f"id {seq}", "beat.batch.ended", "batch/1", seq, None, "2030-01-31T12:00:00.000000Z", "{}"
            )
            assert await sink.publish([event]) == {}
        assert not sink._by_script
        await sink.close()
    finally:
        admin.delete(STREAM)
