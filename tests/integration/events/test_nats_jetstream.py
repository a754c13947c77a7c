"""The stream of NATS: declared if it is missing, left alone if it is there, and named for each way in which it takes nothing."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place, SinkUnavailable, Trouble
from beat_actors.events.sinks import nats_jetstream
from beat_actors.events.sinks.conformance import event, made
from beat_actors.events.sinks.nats_jetstream import JetStream
from tests.conformance.stands.nats import PASSWORD, nats_server, with_context

READER = f', {{ user: reader, password: "{PASSWORD}", permissions: {{ publish: "nothing", subscribe: ">" }} }}'


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with nats_server(tmp_path_factory.mktemp("nats"), READER) as (_, port):
        yield port


@pytest.fixture
def place(port: int) -> Place:
    name = f"test-{uuid.uuid4().hex[:12]}"
    return Place("test", f"nats://beat:{PASSWORD}@127.0.0.1:{port}", options={"stream": name, "prefix": name})


async def test_the_stream_is_declared_with_limits_and_a_window_for_duplicates(place: Place) -> None:
    options = {**place.options, "max_bytes": "5MB", "max_age_days": "2", "duplicate_seconds": "30", "discard": "old"}
    sink = JetStream(replace(place, options=options))
    await sink.open()
    await sink.close()

    async def look(context: JetStreamContext) -> StreamConfig:
        return (await context.stream_info(place.options["stream"])).config

    found = await with_context(place.url, look)
    assert (found.retention, found.max_bytes, found.discard) == ("limits", 5_000_000, "old")
    assert (found.max_age, found.duplicate_window) == (172_800, 30)
    await (again := JetStream(place)).open()
    await again.close()
    assert await with_context(place.url, look) == found, "a stream that is there keeps its settings"


async def test_the_subject_is_the_type_and_the_headers_are_the_attributes(place: Place) -> None:
    sink, sent = JetStream(place), event(1, subject="ünïcödé 100%")
    await sink.open()
    for _ in range(3):
        assert await sink.publish([sent]) == {}
    await sink.close()

    async def look(context: JetStreamContext) -> None:
        (message,) = [await context.get_msg(place.options["stream"], 1)]
        assert message.subject == f"{place.options['prefix']}.beat.scrape_request.complete"
        assert message.headers
        assert (message.headers["Nats-Msg-Id"], message.headers["ce-id"]) == (sent.id, sent.id)
        assert message.headers["ce-subject"] == "%C3%BCn%C3%AFc%C3%B6d%C3%A9%20100%25"
        assert message.headers["content-type"] == "application/json"
        assert (await context.stream_info(place.options["stream"])).state.messages == 1

    await with_context(place.url, look)


async def test_an_event_that_no_stream_takes_is_told_and_harms_no_other(place: Place) -> None:
    sink = JetStream(replace(place, options={"stream": place.options["stream"]}))
    await sink.open()
    refused = await sink.publish([event(1), event(2)._replace(type="other.thing"), event(3)._replace(type="beat..x")])
    await sink.close()
    assert {number: refusal.trouble for number, refusal in refused.items()} == {
        1: Trouble.UNROUTABLE,
        2: Trouble.INVALID,
    }

    async def remove(context: JetStreamContext) -> None:
        await context.delete_stream(place.options["stream"])

    await with_context(place.url, remove)


async def test_a_stream_that_was_deleted_is_told_once_and_declared_again(place: Place) -> None:
    sink = JetStream(place)
    await sink.open()
    await sink.publish(made(5))

    async def remove(context: JetStreamContext) -> None:
        await context.delete_stream(place.options["stream"])

    await with_context(place.url, remove)
    (refusal,) = (await sink.publish([event(6)])).values()
    assert refusal.trouble is Trouble.UNROUTABLE
    with pytest.raises(SinkUnavailable, match="is gone, but had got as far as 5") as raised:
        await sink.open(5)
    assert (raised.value.trouble, raised.value.stored) == (Trouble.LOST, 0)
    await sink.open(5)
    assert await sink.publish([event(6)]) == {}
    await sink.close()


@pytest.mark.slow
async def test_a_user_that_may_not_publish_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_jetstream, "CONNECT_TIMEOUT", 2.0)
    sink = JetStream(replace(place, url=place.url.replace("beat:", "reader:")))
    with pytest.raises(SinkUnavailable, match="permissions violation for publish") as raised:
        await sink.open()
    assert raised.value.trouble is Trouble.AUTH


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stream": "a.b"}, "'stream'"), ({"prefix": "a..b"}, "'prefix'"), ({"discard": "all"}, "'discard'"),
        ({"replicas": "6"}, "'replicas'"), ({"max_bytes": "1"}, "'max_bytes'"), ({"max_age_days": "0"}, "'max_age_days'"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        JetStream(Place("a", "nats://localhost", options=options))
