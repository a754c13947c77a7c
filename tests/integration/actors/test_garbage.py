"""Whatever lies under the names that Beat reads in Redis: workers go on, sweeps do not stop, and what people look at is shown."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from actors.broker import HEARTBEAT_TIMEOUT
from actors.mailbox import INGEST, PROCESS, RETRIEVE, Mailbox
from actors.queues import Queues
from beat_actors.database import Database
from beat_actors.settings import Settings
from tests.integration.actors.conftest import Post, until
from tests.integration.actors.test_queues import bury, looked

PLANS = [
    "{",
    "[]",
    "7",
    '"text"',
    "null",
    "\x00\xff",
    "{}",
    '{"actor": "", "rate": "many", "died": 1, "at": 1, "passed": 0}',
    '{"actor": "", "rate": 1e999, "died": 1, "at": 1, "passed": 0}',
    '{"actor": "", "rate": 10, "died": 1, "at": -1, "passed": -5}',
    '{"actor": {}, "rate": 10, "died": 1, "at": 1, "passed": 0}',
    '{"rate": 10, "at": 1}' + " " * 2000,
    "[" * 1500,
]


@pytest.fixture
async def queues(settings: Settings) -> AsyncIterator[Queues]:
    queues = Queues(settings)
    yield queues
    queues.close()


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    mailbox = Mailbox(settings)
    yield mailbox
    mailbox.close()


def left(post: Post, key: str) -> None:
    """Something else than the key is for."""
    post.client.delete(key)
    post.client.set(key, "garbage")


def held_by(post: Post) -> str:
    return f"{post.settings.redis_namespace}:__acks__.{post.broker.broker_id}.{INGEST}"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ids", "messages", "held", "heartbeats"])
def test_a_worker_clears_a_key_of_another_type_and_works_on(post: Post, key: str) -> None:
    keys = {
        "ids": post.key(),
        "messages": post.key(".msgs"),
        "held": held_by(post),
        "heartbeats": f"{post.settings.redis_namespace}:__heartbeats__",
    }
    left(post, keys[key])
    with capture_logs() as logs, post.working():
        post.send(7)
        until(lambda: post.arrived == [[7]], "the message did not arrive")
    assert [one["keys"] for one in logs if one["event"] == "redis_keys_unusable"] == [[keys[key]]]


@pytest.mark.parametrize("plan", PLANS)
async def test_a_plan_that_is_none_is_deleted_and_the_others_go_on(
    post: Post, queues: Queues, mailbox: Mailbox, database: Database, plan: str
) -> None:
    bury(post, 5, "ingest", at=2)
    await queues.requeue_dead(database, INGEST, rate=1000, actor="test", reason="fixed")
    again = f"{post.settings.redis_namespace}:__again__"
    post.client.hset(again, INGEST, json.dumps({**json.loads(post.client.hget(again, INGEST)), "at": 1}))
    post.client.hset(again, RETRIEVE, plan.encode("latin-1"))
    assert (await looked(queues, RETRIEVE)).requeueing in (None, 10.0)
    with capture_logs() as logs:
        assert await mailbox.requeue_the_dead() == 5
    assert post.client.hget(again, RETRIEVE) is None
    assert [one["keys"] for one in logs if one["event"] == "redis_keys_unusable"] == [[f"{again}/{RETRIEVE}"]]


@pytest.mark.parametrize("suffix", [".XQ", ".XQ.msgs"])
async def test_dead_letters_of_another_type_stop_no_requeueing(
    post: Post, queues: Queues, mailbox: Mailbox, database: Database, suffix: str
) -> None:
    again = f"{post.settings.redis_namespace}:__again__"
    bury(post, 5, "ingest", at=2)
    for queue in (INGEST, PROCESS):
        await queues.requeue_dead(database, queue, rate=1000, actor="test", reason="fixed")
        post.client.hset(again, queue, json.dumps({**json.loads(post.client.hget(again, queue)), "at": 1}))
    left(post, f"{post.settings.redis_namespace}:{PROCESS}{suffix}")
    if suffix == ".XQ.msgs":
        post.client.zadd(f"{post.settings.redis_namespace}:{PROCESS}.XQ", {"x": 1})
    assert await mailbox.requeue_the_dead() == 5
    left(post, again)
    assert await mailbox.requeue_the_dead() == 0


async def test_messages_of_the_dead_are_returned_beside_a_queue_that_is_none(post: Post, mailbox: Mailbox) -> None:
    namespace = post.settings.redis_namespace
    post.client.zadd(f"{namespace}:__heartbeats__", {"gone": post.client.time()[0] * 1000 - HEARTBEAT_TIMEOUT - 60_000})
    for queue in (RETRIEVE, INGEST):
        post.client.sadd(f"{namespace}:__acks__.gone.{queue}", "m")
        post.client.hset(f"{namespace}:{queue}.msgs", "m", post.sealed([7]))
    left(post, f"{namespace}:{RETRIEVE}")
    left(post, f"{namespace}:{INGEST}.XQ")
    left(post, f"{namespace}:__acks__.gone.{PROCESS}")
    with capture_logs() as logs:
        await mailbox.return_messages_of_the_dead()
    assert [post.client.lrange(f"{namespace}:{queue}", 0, -1) for queue in (RETRIEVE, INGEST)] == [[b"m"], [b"m"]]
    assert [one["count"] for one in logs if one["event"] == "redis_keys_unusable"] == [3]
    left(post, f"{namespace}:__heartbeats__")
    await mailbox.return_messages_of_the_dead()


async def test_who_looks_sees_the_other_queues_and_deletes_nothing(post: Post, queues: Queues) -> None:
    namespace = post.settings.redis_namespace
    post.send(7)
    suffixes = ("", ".msgs", ".XQ", ".XQ.msgs", ".DQ.msgs")
    for suffix in suffixes:
        left(post, f"{namespace}:{RETRIEVE}{suffix}")
    post.client.zadd(f"{namespace}:__heartbeats__", {b"\xff\x00 worker": float("inf"), "old": float("-inf")})
    left(post, f"{namespace}:__acks__.old.{INGEST}")
    for back in range(-1, 8):
        bucket = post.client.time()[0] // 10 - back
        post.client.set(f"{namespace}:__done__.{INGEST}.{bucket}", "many")
    with capture_logs() as logs:
        look = await queues.look()
    assert {view.queue for view in look.queues if view.waiting} == {INGEST}
    assert all(0 <= worker.seen < float("inf") for worker in look.workers)
    assert any(one["event"] == "redis_keys_unusable" for one in logs)
    assert await queues.messages(RETRIEVE) == []
    assert [view.state for view in await queues.messages(INGEST)] == ["waiting"]
    assert all(post.client.exists(f"{namespace}:{RETRIEVE}{suffix}") for suffix in suffixes)
    left(post, f"{namespace}:__again__")
    left(post, f"{namespace}:__heartbeats__")
    assert (await queues.look()).workers == []


@pytest.mark.parametrize("value", ["1", "garbage", "9999999999999", "-1", "nan", None])
@pytest.mark.parametrize("ends", [None, 86_400])
async def test_a_flag_that_is_none_silences_no_platform(
    mailbox: Mailbox, post: Post, value: str | None, ends: int | None
) -> None:
    """The flag's own time counts: another's flag is no wake-up, whenever it ends. `None`: a key of another type."""
    asked = f"{post.settings.redis_namespace}:rung:instagram"
    queue = f"{post.settings.redis_namespace}:credential_broker"
    if value is None:
        post.client.rpush(asked, "garbage")
    else:
        post.client.set(asked, value)
    if ends:
        post.client.expire(asked, ends)
    with capture_logs() as logs:
        assert await mailbox.wake("instagram")
        assert post.client.llen(queue) == 1
        assert await mailbox.wake("instagram")
    assert post.client.llen(queue) == 1, "a wake-up that no turn has answered yet is enough"
    assert 0 < post.client.pttl(asked) <= 2000
    if ends is None or value in (None, "garbage"):
        assert [one["keys"] for one in logs if one["event"] == "redis_keys_unusable"] == [[asked]]


async def test_a_wake_up_that_was_lost_is_sent_again_after_its_time(mailbox: Mailbox, post: Post) -> None:
    asked = f"{post.settings.redis_namespace}:rung:instagram"
    assert await mailbox.wake("instagram")
    post.client.set(asked, int(post.client.get(asked)) - 2000)
    assert await mailbox.wake("instagram")
    assert post.client.llen(f"{post.settings.redis_namespace}:credential_broker") == 2


def test_what_a_worker_holds_is_acknowledged_beside_keys_of_another_type(post: Post) -> None:
    """The worker's own set of messages is spoiled while it works; the message that it ends is not left behind."""
    post.gate.clear()
    with post.working():
        post.send(7)
        until(lambda: bool(post.held()), "the message did not arrive")
        left(post, held_by(post))
        post.gate.set()
        until(lambda: not post.client.exists(post.key(".msgs")), "the message is left")


async def test_hands_mend_a_queue_whose_keys_are_of_another_type(
    post: Post, queues: Queues, database: Database
) -> None:
    namespace = post.settings.redis_namespace
    for state, suffixes in {"waiting": ("", ".msgs"), "delayed": (".DQ.msgs",), "dead": (".XQ", ".XQ.msgs")}.items():
        for suffix in suffixes:
            left(post, f"{namespace}:{INGEST}{suffix}")
        assert await queues.purge(database, INGEST, state, actor="test", reason="garbage") == 0
        assert not any(post.client.exists(f"{namespace}:{INGEST}{suffix}") for suffix in suffixes)
    left(post, f"{namespace}:__again__")
    assert (await queues.requeue_dead(database, INGEST, actor="test", reason="garbage")).dead == 0
    bury(post, 1, "ingest", at=2)
    left(post, f"{namespace}:{INGEST}.msgs")
    (dead,) = await queues.messages(INGEST)
    assert (await queues.requeue(database, dead.id, actor="test", reason="garbage")).state == "dead"
    assert [view.state for view in await queues.messages(INGEST)] == ["waiting"]


async def test_the_age_of_each_queue_is_that_of_its_first_message(mailbox: Mailbox, settings: Settings) -> None:
    assert await mailbox.oldest() == {}
    await mailbox.send("retrieve", [1])
    await mailbox.send("ingest", [2])
    client, queue = mailbox._broker.client, f"{settings.redis_namespace}:process"
    client.set(queue, "of another type")
    client.rpush(f"{settings.redis_namespace}:suspects", "an id without a message")
    oldest = await mailbox.oldest()
    assert oldest.keys() == {"retrieve", "ingest"}
    assert all(0 <= seconds < 60 for seconds in oldest.values())
