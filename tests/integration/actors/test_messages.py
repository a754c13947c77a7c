"""P6: a message harms only itself. Whatever lies in a queue, its neighbours run, it does not, and what it was is on record."""

import hmac
import pickle
import random
import threading
import time
from typing import Any

import dramatiq
import psycopg
import pytest
import redis
from psycopg.rows import namedtuple_row

from actors.encoder import MAX_BYTES
from beat_actors import quarantine
from beat_actors.settings import Settings, parse_keys
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.integration.actors.conftest import Post, post_over, until

pytestmark = pytest.mark.slow

SECRET = "hunter2-do-not-keep-me"


def rows(url: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True, row_factory=namedtuple_row) as connection:
        return connection.execute("SELECT * FROM quarantine ORDER BY id").fetchall()


def strangers(post: Post, stranger: Post) -> dict[str, tuple[bytes, str]]:
    """What may lie in a queue that should not: (bytes, a part of the reason)."""
    good = post.sealed([7])
    header, body = good.rsplit(b" ", 1)[0], good.split(b" ", 3)[3]
    dramatiqs = dramatiq.JSONEncoder().encode(dramatiq.Message("ingest", "ingest", ([666],), {}, {}).asdict())
    return {
        "empty": (b"", "not signed"),
        "garbage": (b"{not json " + SECRET.encode(), "not signed"),
        "binary": (random.Random(1).randbytes(2000), "not signed"),
        "unsigned": (dramatiqs, "not signed"),
        "pickled": (pickle.dumps({"actor_name": "ingest", "secret": SECRET}), "not signed"),
        "truncated": (good[:-20], "forged, or changed"),
        "changed": (good.replace(b"[7]", b"[666]"), "forged, or changed"),
        "another's signature": (header + b" " + post.sealed([666]).split(b" ", 3)[3], "forged, or changed"),
        "another's key": (stranger.sealed([666]), "does not hold"),
        "another's key by our key's name": (
            stranger.sealed([666]).replace(b" other ", b" test "),
            "forged, or changed",
        ),
        "huge": (b'{"token": "' + SECRET.encode() * 200_000 + b'"}', "larger than"),
        "just too large": (b"x" * (MAX_BYTES + 1), "larger than"),
        "deep": (b"[" * 60_000, "not signed"),
        "deep and signed": (_signed(b'{"args": ' + b"[" * 30_000), "nested too deeply"),
        "no fields": (_signed(b"{}"), "missing required field"),
        "a callback": (_signed(body.replace(b'"options":{}', b'"options":{"on_success":"x"}')), "unknown field"),
        "an unknown actor": (post.sealed([666], actor_name="rm"), "there is no actor 'rm'"),
        "an actor with NUL": (post.sealed([666], actor_name="r\0m"), "there is no actor"),
        "the quarantine": (post.sealed("x", actor_name="quarantine"), "an actor that gets no messages"),
        "another queue": (post.sealed([666], queue_name="process"), "it is for queue 'process'"),
        "no argument": (post.sealed(), "its arguments are not"),
        "two arguments": (post.sealed([666], [667]), "its arguments are not"),
        "a text": (post.sealed("666"), "its arguments are not"),
        "no ids": (post.sealed([]), "its arguments are not"),
        "too many ids": (post.sealed(list(range(1, 502))), "its arguments are not"),
        "a negative id": (post.sealed([-666]), "its arguments are not"),
        "a huge id": (post.sealed([2**63]), "its arguments are not"),
        "a true id": (post.sealed([True]), "its arguments are not"),
    }


def _signed(body: bytes) -> bytes:
    key = parse_keys(MESSAGE_KEYS)["test"]
    return b"beat1 test %b %b" % (hmac.digest(key, body, "sha256").hex().encode(), body)


@pytest.fixture
def stranger(settings: Settings) -> Post:
    return post_over(
        settings.model_copy(update={"message_keys": type(settings.message_keys)(f"other{VAULT_KEYS[4:]}")})
    )


def test_p6_what_is_no_message_is_set_aside_and_its_neighbours_run(
    post: Post, stranger: Post, database_url: str
) -> None:
    bad = strangers(post, stranger)
    deliveries = [("good", post.sealed([n])) for n in range(1, 61)] + [(name, data) for name, (data, _) in bad.items()]
    random.Random(6).shuffle(deliveries)
    for n, (name, data) in enumerate(deliveries):
        post.put(f"{n} {name}", data)
    with post.working() as worker:
        consumers = {consumer: consumer.consumer for consumer in worker.consumers.values()}
        until(post.is_empty, "something is left")
        assert all(consumer.is_alive() for consumer in consumers)
        # Not even begun again: no batch was thrown away.
        assert all(consumer.consumer is first for consumer, first in consumers.items() if first is not None)
    assert sorted(post.arrived) == [[n] for n in range(1, 61)]
    assert post.dead() == []
    kept = rows(database_url)
    assert len(kept) == len(bad)
    reasons = [row.error for row in kept]
    for name, (_, why) in bad.items():
        assert any(why in reason for reason in reasons), name
    assert {(row.kind, row.operation) for row in kept} == {("message", "ingest")}
    assert {row.detail["bytes"] for row in kept} == {len(data) for data, _ in bad.values()}
    assert all(len(row.detail["sample"]) <= 600 for row in kept)
    assert "hunter2" not in repr(kept)


def test_an_id_that_is_no_id_harms_nobody(post: Post, database_url: str) -> None:
    post.send(1)
    post.put(b"x" * 5_000_000, post.sealed([666]))
    post.put(b"\xff\xfe\x00", post.sealed([2]))
    post.client.rpush(post.key(), "of no message")
    post.send(3)
    post.work()
    assert sorted(post.arrived) == [[1], [2], [3]]
    assert [row.error for row in rows(database_url)] == ["it, or its id, is larger than a message may be"]


def test_a_message_under_another_id_is_acknowledged_where_it_lies(post: Post) -> None:
    """Dramatiq believes what a message says of its own id: a copy would take away the original, and stay itself."""
    original = post.send(1)
    data = post.client.hget(post.key(".msgs"), original.message_id)
    assert data is not None
    for n in range(40):
        post.put(f"copy {n}", bytes(data))
    post.gate.clear()
    with post.working(threads=2):
        until(lambda: len(post.held()) == 4, "it fetches as many as it may")
        post.send(2)
        assert len(post.held()) == 4
        post.gate.set()
        until(post.is_empty, "copies are left")
    assert sorted(post.arrived) == [[1]] * 41 + [[2]]


def test_keys_rotate_while_messages_lie_in_the_queue(settings: Settings, database_url: str) -> None:
    old, new = MESSAGE_KEYS, f"new{VAULT_KEYS[4:]}"

    def with_keys(*ring: str) -> Post:
        return post_over(settings.model_copy(update={"message_keys": type(settings.message_keys)(",".join(ring))}))

    before, between, after = with_keys(old), with_keys(new, old), with_keys(new)
    before.send(1)
    between.send(2)
    between.work()
    assert sorted(between.arrived) == [[1], [2]]
    between.send(3)
    before.send(4)
    after.work()
    assert after.arrived == [[3]]
    (refused,) = rows(database_url)
    assert "BEAT_MESSAGE_KEYS does not hold" in refused.error


def test_what_cannot_be_recorded_stays_as_a_dead_letter(
    post: Post, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood does not fill the database: the rest stays in Redis, where people see it, and purge it."""
    monkeypatch.setattr(quarantine, "MOST_MESSAGES", 3)
    for n in range(8):
        post.put(f"bad {n}", b"{not json")
    post.send(1)
    with post.working(threads=1):
        until(lambda: len(post.dead()) == 5 and post.is_empty(), "five are dead letters")
    assert post.arrived == [[1]]
    assert len(rows(database_url)) == 3
    assert set(post.client.hgetall(post.key(".XQ.msgs")).values()) == {b"{not json"}


def test_without_a_database_nothing_is_lost_of_what_was_refused(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    post = post_over(away)
    post.put("bad", b"{not json")
    post.send(1)
    with post.working(threads=1):
        until(lambda: post.dead() == ["bad"] and post.is_empty(), "it is a dead letter")
    assert post.arrived == [[1]]


def test_what_was_fetched_and_not_begun_goes_back_when_the_worker_stops(post: Post) -> None:
    consumer: Any = post.broker.consume("ingest", prefetch=10)
    for n in range(1, 6):
        post.send(n)
    first = next(consumer)
    assert len(post.held()) == 5
    consumer.close()
    assert post.held() == {first.options["redis_message_id"]}
    post.broker.acknowledge("ingest", first.options["redis_message_id"])
    post.work()
    assert sorted([first.args[0], *post.arrived]) == [[1], [2], [3], [4], [5]]


def test_a_worker_with_full_hands_keeps_its_messages(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heartbeat goes on although there is nothing that it could fetch; one that stops loses what it holds."""
    monkeypatch.setattr("actors.broker.IDLE_POLL", 0.05)
    post.gate.clear()
    for n in range(1, 3):
        post.send(n)
    beats = f"{post.settings.redis_namespace}:__heartbeats__"

    def beat() -> float:
        return post.client.zscore(beats, post.broker.broker_id) or 0.0

    with post.working(threads=1):
        until(lambda: len(post.held()) == 2, "both are held")
        seen = beat()
        until(lambda: beat() > seen + 1000, "the heartbeat goes on")
        post.broker.return_messages_of_the_dead(["ingest"])
        assert len(post.held()) == 2
        post.gate.set()
        until(post.is_empty, "both are done")
    assert sorted(post.arrived) == [[1], [2]]


@pytest.mark.exhaustive
def test_s2_7_an_idle_worker_looks_once_in_an_interval_and_one_without_redis_no_oftener(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What wakes it is the subscription, so the interval may be long; a queue that is empty, or away, is not asked all the time."""
    monkeypatch.setattr("actors.broker.IDLE_POLL", 30.0)
    looks = 0
    fetch = post.broker.fetch

    def counted(queue_name: str, count: int) -> list[tuple[bytes, int, bytes | None]]:
        nonlocal looks
        looks += 1
        if away.is_set():
            raise redis.ConnectionError("it is away")
        return fetch(queue_name, count)

    away = threading.Event()
    monkeypatch.setattr(post.broker, "fetch", counted)
    with post.working():
        until(lambda: post.client.pubsub_numsub(post.broker.wake_ups.channel)[0][1] == 1, "it listens")
        for n in range(1, 4):
            post.send(n)
            until(lambda n=n: len(post.arrived) == n, "a wake-up wakes it, though its own look is half a minute away")
        time.sleep(0.5)
        before = looks
        time.sleep(3.0)
        assert looks - before <= 1
        away.set()
        post.send(4)
        until(lambda: looks > before, "it was woken")
        before = looks
        time.sleep(5.0)
        assert looks - before <= 3
        away.clear()
        until(lambda: [4] in post.arrived, "it comes back by itself")


def test_no_worker_is_dead_because_of_its_own_clock(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dramatiq.brokers.redis.current_millis", lambda: 0)
    monkeypatch.setattr("dramatiq.common.current_millis", lambda: 0)
    post.send(1)
    assert len(post.broker.fetch("ingest", 1)) == 1
    other = post_over(post.settings)
    other.broker.return_messages_of_the_dead(["ingest"])
    assert len(post.held()) == 1
    post.client.zadd(f"{post.settings.redis_namespace}:__heartbeats__", {post.broker.broker_id: 1.0})
    other.broker.return_messages_of_the_dead(["ingest"])
    assert post.held() == set()
    other.work()
    assert other.arrived == [[1]]


def test_a_full_redis_takes_acknowledgements_and_so_drains(post: Post) -> None:
    for n in range(1, 4):
        post.send(n)
    held = post.broker.fetch("ingest", 3)
    limit = post.client.config_get("maxmemory")["maxmemory"]
    try:
        post.client.config_set("maxmemory", 1)
        for redis_id, _, _ in held:
            post.broker.acknowledge("ingest", redis_id)
        assert post.is_empty()
    finally:
        post.client.config_set("maxmemory", limit)


def test_a_wake_up_that_is_no_text_is_survived(post: Post) -> None:
    with post.working():
        until(lambda: post.client.pubsub_numsub(post.broker.wake_ups.channel)[0][1] == 1, "it listens")
        post.client.publish(post.broker.wake_ups.channel, b"\xff\xfe")
        post.send(1)
        until(lambda: post.arrived == [[1]], "it arrives")
        (wake_ups,) = [thread for thread in threading.enumerate() if thread is post.broker.wake_ups._thread]
        assert wake_ups.is_alive()


def test_sending_many_is_one_round_trip(post: Post) -> None:
    messages = [dramatiq.Message("ingest", "ingest", ([n],), {}, {}) for n in range(1, 201)]
    post.broker.send(messages[:100])
    before = post.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    post.broker.send(messages[100:])
    assert post.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    post.work()
    assert sorted(post.arrived) == [[n] for n in range(1, 201)]


def test_a_consumer_looks_at_once_when_there_is_room_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where room comes just as it finds that there is none. Its own next look is an hour away."""
    monkeypatch.setattr("actors.broker.IDLE_POLL", 3600.0)
    is_full = iter([True, True, False, False])

    def is_paused(_queue: str) -> bool:
        full = next(is_full, False)
        if full:
            post.broker.wake_ups.wake("ingest")
        return full

    post.send(1)
    post.broker.is_paused = is_paused
    consumer: Any = post.broker.consume("ingest", prefetch=10)
    assert [next(consumer), next(consumer)] == [None, None]
    assert next(consumer).args[0] == [1]


def test_a_process_that_cools_down_gives_back_what_it_fetched_and_leaves_the_rest_to_others(post: Post) -> None:
    consumer: Any = post.broker.consume("ingest", prefetch=10)
    for n in range(1, 4):
        post.send(n)
    first = next(consumer)
    post.broker.is_paused = lambda queue: queue == "ingest"
    assert next(consumer) is None
    assert post.held() == {first.options["redis_message_id"]}
    post.broker.acknowledge("ingest", first.options["redis_message_id"])
    post.broker.is_paused = lambda _queue: False
    post.work()
    assert sorted([first.args[0], *post.arrived]) == [[1], [2], [3]]
