"""What operators see of the queues, and what their hands do there, on keys as Dramatiq leaves them."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import psycopg
import pytest
import redis
from psycopg.rows import namedtuple_row

from actors.mailbox import INGEST, MOST_LOOKED_AT, QUEUES, RETRIEVE, Mailbox
from actors.queues import QueueOverview, Queues, QueueView
from beat_actors.database import Database
from beat_actors.errors import BadInput, NotFound, RedisUnavailable
from beat_actors.settings import Settings
from tests.integration.actors.conftest import Post

FILL = """
for n = ARGV[1], ARGV[2] do
    redis.call("rpush", KEYS[1], "m" .. n)
    redis.call("hset", KEYS[2], "m" .. n, ARGV[3])
end
"""
BY = {"actor": "test", "reason": "a test"}


@pytest.fixture
async def queues(settings: Settings) -> AsyncIterator[Queues]:
    queues = Queues(settings)
    yield queues
    queues.close()


async def looked(queues: Queues, name: str = INGEST) -> QueueView:
    (view,) = [queue for queue in (await queues.look()).queues if queue.queue == name]
    return view


def audited(url: str) -> list[tuple[str, str, str, Any]]:
    with psycopg.connect(url, autocommit=True, row_factory=namedtuple_row) as connection:
        return connection.execute("SELECT actor, action, target, detail FROM audit_log ORDER BY id").fetchall()


async def test_a_look_counts_by_queue_actor_and_worker(post: Post, queues: Queues) -> None:
    for n in range(1, 6):
        post.send(n)
    post.broker.fetch(INGEST, 2)
    post.put("stranger", b"{not json")
    found = await queues.look()
    assert [queue.queue for queue in found.queues] == list(QUEUES)
    view = await looked(queues)
    assert (view.waiting, view.in_flight, view.delayed, view.dead) == (4, {post.broker.broker_id: 2}, 0, 0)
    assert view.actors == {"ingest": 3, "unusable": 1}
    assert view.oldest is not None
    assert 0 <= view.oldest < 60
    (worker,) = found.workers
    assert (worker.worker, worker.holds) == (post.broker.broker_id, 2)
    assert (await looked(queues, RETRIEVE)).waiting == 0


async def test_what_was_done_within_the_minute_is_a_rate(post: Post, queues: Queues) -> None:
    """Counted in tens of seconds; the one that has not ended does not count yet."""
    for n in range(1, 4):
        post.send(n)
    post.work()
    keys = post.client.keys(f"{post.settings.redis_namespace}:__done__.ingest.*")
    assert sum(int(post.client.get(key) or 0) for key in keys) == 3
    (newest, *_) = sorted(keys, reverse=True)
    number = int(newest.rpartition(b".")[2])
    post.client.set(newest.rpartition(b".")[0] + b".%d" % (number - 1), 57)
    assert (await looked(queues)).per_second in (0.95, 1.0)  # 57 of a minute, or 60 where the ten seconds just ended


async def test_one_message_is_found_by_its_id_and_read(post: Post, queues: Queues) -> None:
    sent = post.send(41, 42)
    found = await queues.message(sent.message_id)
    assert (found.queue, found.state, found.actor, found.args) == (INGEST, "waiting", INGEST, [[41, 42]])
    assert found.unusable is None
    post.broker.fetch(INGEST, 1)
    held = await queues.message(sent.message_id)
    assert (held.state, held.worker) == ("in flight", post.broker.broker_id)


async def test_a_message_that_cannot_be_used_says_why_and_shows_no_secret(post: Post, queues: Queues) -> None:
    post.put(b"\xff\x00 odd", b'{"token": "hunter2"}')
    (listed,) = await queues.messages(INGEST)
    found = await queues.message(listed.id)
    assert found.unusable == "it is not signed"
    assert "hunter2" not in repr(found)
    with pytest.raises(NotFound):
        await queues.message("no-such-id")


async def test_the_dead_are_listed_and_requeued_and_the_audit_log_says_who(
    post: Post, queues: Queues, database: Database, database_url: str
) -> None:
    sent = post.send(7)
    post.broker.fetch(INGEST, 1)
    message = post.broker.read(
        INGEST, sent.message_id.encode(), 1, post.client.hget(post.key(".msgs"), sent.message_id)
    )
    post.broker.consume(INGEST).nack(message)  # type: ignore[arg-type]
    (dead,) = await queues.messages(INGEST)
    assert (dead.state, dead.id) == ("dead", sent.message_id)
    assert dead.died_at is not None
    was = await queues.requeue(database, dead.id, actor="test", reason="fixed")
    assert was.state == "dead"
    assert (await queues.message(dead.id)).state == "waiting"
    (row,) = audited(database_url)
    assert (row.actor, row.action, row.target) == ("test", "message.requeue", f"message/{dead.id}")
    assert row.detail["reason"] == "fixed"
    post.work()
    assert post.arrived == [[7]]


def bury(post: Post, count: int, actor: str, *, first: int = 0, at: float | None = None) -> None:
    """So many dead letters of an actor, which died now or at a time."""
    died = time.time() * 1000 if at is None else at
    data = post.sealed([7], actor_name=actor)
    pipe = post.client.pipeline()
    for n in range(first, first + count):
        pipe.zadd(post.key(".XQ"), {f"{actor}{n}": died})
        pipe.hset(post.key(".XQ.msgs"), f"{actor}{n}", data)
    pipe.execute()


def hurry(post: Post, seconds: float) -> None:
    """As if so many seconds had passed since the last step."""
    key = f"{post.settings.redis_namespace}:__again__"
    plan = json.loads(post.client.hget(key, INGEST))
    post.client.hset(key, INGEST, json.dumps({**plan, "at": plan["at"] - seconds * 1000}))


async def test_the_dead_of_one_actor_are_requeued_at_a_pace_and_the_others_stay(
    post: Post, queues: Queues, database: Database, database_url: str, settings: Settings
) -> None:
    bury(post, 30, "retrieve", at=1)
    bury(post, 25, "ingest", at=2)
    view = await looked(queues)
    assert (view.dead, view.dead_actors, view.requeueing) == (55, {"ingest": 25, "retrieve": 25}, None)
    mailbox = Mailbox(settings)
    assert await mailbox.requeue_the_dead() == 0  # nobody has asked for it
    planned = await queues.requeue_dead(database, INGEST, of="ingest", rate=10, actor="test", reason="fixed")
    assert (planned.dead, planned.rate, (await looked(queues)).requeueing) == (55, 10, 10)
    bury(post, 1, "ingest", first=100, at=4e12)  # it dies after it was asked for
    assert await mailbox.requeue_the_dead() == 0  # no tenth of a second has passed, or it is one
    hurry(post, 1.0)
    assert 10 <= await mailbox.requeue_the_dead() <= 12
    hurry(post, 60)
    await mailbox.requeue_the_dead()
    view = await looked(queues)
    assert (view.waiting, view.dead, view.requeueing) == (25, 31, None)
    assert view.actors == {"ingest": 25}
    assert "ingest100" in post.dead()
    (row,) = audited(database_url)
    assert (row.actor, row.action, row.target, row.detail["of"]) == (
        "test",
        "queue.requeue",
        f"queue/{INGEST}",
        "ingest",
    )
    for wrong in ({"rate": 0}, {"rate": 1e9}):
        with pytest.raises(BadInput):
            await queues.requeue_dead(database, INGEST, actor="test", reason="x", **wrong)
    mailbox.close()


@pytest.mark.slow
async def test_a_step_of_requeueing_looks_at_no_more_than_so_many_however_many_are_dead(
    post: Post, queues: Queues, database: Database, settings: Settings
) -> None:
    data, mailbox = post.sealed([7]), Mailbox(settings)
    post.client.config_resetstat()
    for start in range(0, 200_000, 50_000):
        fill = post.client.pipeline(transaction=False)
        fill.zadd(post.key(".XQ"), {f"m{n}": n for n in range(start, start + 50_000)})
        fill.hset(post.key(".XQ.msgs"), mapping={f"m{n}": data[:20] for n in range(start, start + 50_000)})
        fill.execute()
    try:
        await queues.requeue_dead(database, INGEST, of="ingest", rate=1000, actor="test", reason="x")
        for _ in range(3):  # none of them is this actor's: each step passes over a part
            hurry(post, 10)
            before = _commands(post.client)
            assert await mailbox.requeue_the_dead() == 0
            assert _commands(post.client) - before < 2 * MOST_LOOKED_AT + 20
        await queues.requeue_dead(database, INGEST, rate=1000, actor="test", reason="x")
        hurry(post, 10)
        assert await mailbox.requeue_the_dead() == MOST_LOOKED_AT
    finally:
        post.client.unlink(*(post.key(suffix) for suffix in ("", ".msgs", ".XQ", ".XQ.msgs")))
        mailbox.close()


async def test_a_held_message_is_given_to_another_worker(post: Post, queues: Queues, database: Database) -> None:
    sent = post.send(7)
    post.broker.fetch(INGEST, 1)
    await queues.requeue(database, sent.message_id, **BY)
    assert post.held() == set()
    post.work()
    assert post.arrived == [[7]]


async def test_what_is_dropped_is_passed_over(post: Post, queues: Queues, database: Database) -> None:
    first, second = post.send(1), post.send(2)
    await queues.drop(database, first.message_id, **BY)
    assert (await looked(queues)).waiting == 1
    post.work()
    assert post.arrived == [[2]]
    with pytest.raises(NotFound):
        await queues.drop(database, second.message_id, **BY)


async def test_a_purge_leaves_what_workers_hold(
    post: Post, queues: Queues, database: Database, database_url: str
) -> None:
    for n in range(1, 9):
        post.send(n)
    held = post.broker.fetch(INGEST, 3)
    assert await queues.purge(database, INGEST, "waiting", **BY) == 5
    view = await looked(queues)
    assert (view.waiting, sum(view.in_flight.values())) == (0, 3)
    for redis_id, _, data in held:
        assert post.client.hget(post.key(".msgs"), redis_id) == data
        post.broker.acknowledge(INGEST, redis_id)
    assert post.is_empty()
    assert [row.action for row in audited(database_url)] == ["queue.purge"]


async def test_what_cannot_be_recorded_is_not_done(post: Post, queues: Queues, settings: Settings) -> None:
    away = Database(settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}), name="test")
    sent = post.send(1)
    with pytest.raises(Exception, match="PostgreSQL did not answer"):
        await queues.drop(away, sent.message_id, **BY)
    assert (await queues.message(sent.message_id)).state == "waiting"
    await away.close()


async def test_bad_questions_are_answered_with_what_there_is(queues: Queues, database: Database) -> None:
    for question in (
        queues.messages("nonsense"),
        queues.messages(INGEST, 0),
        queues.purge(database, "nonsense", "dead", **BY),
        queues.purge(database, INGEST, "in flight", **BY),
    ):
        with pytest.raises(BadInput):
            await question


async def test_a_redis_that_is_away_is_said_so(settings: Settings) -> None:
    queues = Queues(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    with pytest.raises(RedisUnavailable, match="Redis does not answer"):
        await queues.look()


@pytest.mark.exhaustive
async def test_looking_costs_the_same_at_a_million_messages(post: Post, queues: Queues, database: Database) -> None:
    """Commands that run and bytes that come back, for every question and the two hands that are no purge."""

    async def cost(question: Callable[[], Any]) -> tuple[int, int]:
        before, sent = _commands(post.client), post.client.info("stats")["total_net_output_bytes"]
        await question()
        return _commands(post.client) - before, post.client.info("stats")["total_net_output_bytes"] - sent

    post.client.config_resetstat()  # other tests ask this server too, and may scan it
    data = post.sealed([7])
    fill = post.client.register_script(FILL)
    questions: dict[str, Callable[[], Any]] = {
        "look": queues.look,
        "list": lambda: queues.messages(INGEST),
        "show": lambda: queues.message("m60"),
        "drop": lambda: queues.drop(database, "m60", **BY),
    }
    fill(keys=[post.key(), post.key(".msgs")], args=[1, 200, data])
    few = {name: await cost(question) for name, question in questions.items()}
    post.client.delete(post.key(), post.key(".msgs"))
    for start in range(1, 1_000_001, 10_000):
        fill(keys=[post.key(), post.key(".msgs")], args=[start, start + 9_999, data[:20]])
    try:
        assert (await looked(queues)).waiting == 1_000_000
        many = {name: await cost(question) for name, question in questions.items()}
        for name, (commands, sent) in many.items():
            assert commands <= few[name][0] + 5, name
            assert sent <= few[name][1] + 5_000, name
        assert await queues.purge(database, INGEST, "waiting", **BY) == 999_999
    finally:
        post.client.unlink(post.key(), post.key(".msgs"))


def _commands(client: redis.Redis) -> int:
    counted = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
    assert not {"cmdstat_scan", "cmdstat_hscan", "cmdstat_hgetall", "cmdstat_hkeys"} & counted.keys()
    return sum(calls for name, calls in counted.items() if name not in ("cmdstat_info", "cmdstat_script|load"))


async def test_a_look_is_one_round_trip(queues: Queues, post: Post) -> None:
    await queues.look()
    before = post.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    found = await queues.look()
    assert isinstance(found, QueueOverview)
    assert post.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1


async def test_everything_is_json(queues: Queues, post: Post) -> None:
    post.put(b"\xff", b"\xff\xfe")
    json.loads(msgspec.json.encode([await queues.look(), await queues.messages(INGEST)]))
