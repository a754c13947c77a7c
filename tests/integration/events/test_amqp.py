"""The sink of RabbitMQ before a server that does what a real one does not do on demand (`tests/amqp_stub.py`)."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from beat_actors.events.sink import Event, SinkUnavailable, Trouble
from beat_actors.events.sinks.amqp import AmqpSink
from beat_actors.events.sinks.amqp.connection import Limits
from tests.amqp_stub import PASSWORD, Message, Session, Stub, confirm, hold, serving
from tests.certificates import certificate

pytestmark = pytest.mark.slow

SOON = Limits(connect=30.0, confirm=0.2, close=0.3, tick=0.05)
GIVES_UP = replace(SOON, give_up=3.0)
"""Long enough that a busy machine sees the trouble before."""
ENOUGH = 30.0
"""Seconds until a test gives up waiting for what has to happen."""


def event(seq: int, **other: str) -> Event:
    made = Event(seq, str(uuid.uuid4()), "beat.alert.opened", f"alert/{seq}", None, None, "2026-11-29T12:00:00Z", "{}")
    return made._replace(**other)


def events(count: int, size: int = 2) -> list[Event]:
    return [event(seq, data='{"x":"' + "y" * size + '"}') for seq in range(1, count + 1)]


def sink(stub: Stub, options: str = "", limits: Limits = SOON, **place: str) -> AmqpSink:
    made = AmqpSink(stub.place(options, **place))
    made.limits = limits
    return made


@asynccontextmanager
async def opened(stub: Stub, options: str = "", limits: Limits = SOON) -> AsyncIterator[AmqpSink]:
    async with serving(stub):
        one = sink(stub, options, limits)
        await one.open()
        try:
            yield one
        finally:
            await one.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(ENOUGH):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def refused(doing: Awaitable[object]) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as raised:
        async with asyncio.timeout(ENOUGH):
            await doing
    assert PASSWORD not in str(raised.value)
    return raised.value


# What is declared, and what the client says of itself


async def test_the_exchange_is_the_only_thing_declared_and_it_is_durable() -> None:
    """All that Beat asks of a server. RabbitMQ 4.3 refuses what is not durable, `basic.qos` for a connection, and several arguments."""
    stub = Stub()
    async with opened(stub) as one:
        assert await one.publish(events(3)) == {}
    declared = [method for method in stub.declared if method.name != "Confirm.Select"]
    assert [method.name for method in declared] == ["Exchange.Declare", "Exchange.Declare"]
    asked, made = declared
    assert (asked.exchange, asked.passive) == ("beat.dx", True)
    assert (made.exchange, made.exchange_type, made.durable) == ("beat.dx", "topic", True)
    assert (made.passive, made.auto_delete, made.internal, made.arguments) == (False, False, False, {})


async def test_an_exchange_that_exists_is_taken_as_it_is() -> None:
    stub = Stub(exchanges={"mine"})
    async with opened(stub, "?exchange=mine") as one:
        assert await one.publish(events(1)) == {}
    assert [method.passive for method in stub.declared if method.name == "Exchange.Declare"] == [True]
    assert stub.session.messages[0].method.exchange == "mine"


async def test_the_client_says_that_it_understands_notices() -> None:
    stub = Stub()
    async with opened(stub):
        login = next(method for method in stub.session.methods if method.name == "Connection.StartOk")
    wanted = {"connection.blocked", "publisher_confirms", "consumer_cancel_notify", "authentication_failure_close"}
    assert wanted <= {name for name, able in login.client_properties["capabilities"].items() if able}


# Confirmations


async def test_calls_return_when_their_own_events_are_confirmed() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub) as one:
        calls = [asyncio.create_task(one.publish(part)) for part in (events(2), events(3))]
        await until(lambda: len(stub.session.messages) == 5)
        stub.session.ack(4)
        stub.session.ack(2, multiple=True)
        assert await calls[0] == {}
        assert not calls[1].done()
        stub.session.ack(5, multiple=True)
        assert await calls[1] == {}


async def test_calls_are_sent_in_their_order() -> None:
    stub = Stub()
    async with opened(stub) as one:
        parts = [events(50, 20_000), events(1), events(40, 10), events(2)]
        assert await asyncio.gather(*(one.publish(part) for part in parts)) == [{}] * 4
    assert [message.id for message in stub.session.messages] == [one.id for part in parts for one in part]


async def test_a_refused_event_is_named_by_its_place() -> None:
    def third_is_refused(session: Session, message: Message) -> None:
        session.nack(3) if message.tag == 3 else session.ack(message.tag)

    async with opened(Stub(on_publish=third_is_refused)) as one:
        found = await one.publish(events(4))
    assert {place: refusal.trouble for place, refusal in found.items()} == {2: Trouble.NACKED}


async def test_an_event_without_a_queue_is_returned_before_its_confirmation() -> None:
    """Others are confirmed in between, and one confirmation is for several."""

    def at_the_end(session: Session, message: Message) -> None:
        if message.tag == 4:
            session.give_back(session.messages[1])
            session.ack(1)
            session.give_back(session.messages[3])
            session.ack(4, multiple=True)

    async with opened(Stub(on_publish=at_the_end)) as one:
        found = await one.publish(events(4))
    assert {place: refusal.trouble for place, refusal in found.items()} == {
        1: Trouble.UNROUTABLE,
        3: Trouble.UNROUTABLE,
    }
    assert "beat.alert.opened" in found[1].reason


class Fates:
    """A server that decides by chance what becomes of a message, and confirms in any order, several at once where it can."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.of: dict[str, Trouble | None] = {}
        self._waiting: dict[int, bool] = {}

    def __call__(self, session: Session, message: Message) -> None:
        fate = self.random.choices((None, Trouble.UNROUTABLE, Trouble.NACKED), (8, 1, 1))[0]
        self.of[message.id] = fate
        if fate is Trouble.UNROUTABLE:
            session.give_back(message)
        self._waiting[message.tag] = fate is not Trouble.NACKED
        if self.random.random() < 0.3:
            asyncio.get_running_loop().call_later(self.random.random() / 50, self._confirm, session)

    def _confirm(self, session: Session) -> None:
        """Some of what waits, all of it in the end."""
        tags = list(self._waiting)
        for tag in self.random.sample(tags, self.random.randint(0, len(tags))):
            if tag not in self._waiting:
                continue
            ack = self._waiting[tag]
            same = [other for other in self._waiting if other <= tag]
            multiple = all(self._waiting[other] is ack for other in same)
            for other in same if multiple else [tag]:
                del self._waiting[other]
            session.ack(tag, multiple=multiple) if ack else session.nack(tag, multiple=multiple)
        if self._waiting:
            asyncio.get_running_loop().call_later(0.01, self._confirm, session)


@pytest.mark.parametrize("seed", range(5))
async def test_each_event_of_each_call_gets_the_answer_that_the_server_gave(seed: int) -> None:
    fates = Fates(seed)
    async with opened(Stub(on_publish=fates), limits=Limits()) as one:
        parts = [events(fates.random.randint(1, 60), fates.random.choice((2, 9000))) for _ in range(12)]
        async with asyncio.timeout(ENOUGH):
            found = await asyncio.gather(*(one.publish(part) for part in parts))
        assert one.trouble() is None
    for part, refusals in zip(parts, found, strict=True):
        assert [refusals[place].trouble if place in refusals else None for place in range(len(part))] == [
            fates.of[each.id] for each in part
        ]


async def test_an_unknown_message_that_comes_back_ends_the_connection() -> None:
    """Else an event that no queue took would count as stored."""

    def another(session: Session, message: Message) -> None:
        session.give_back(message, message_id="another")
        session.ack(message.tag)

    async with opened(Stub(on_publish=another)) as one:
        assert (await refused(one.publish(events(1)))).trouble is Trouble.UNREACHABLE


async def test_an_event_that_cannot_be_sent_is_refused_alone() -> None:
    stub = Stub(frame_max=8192)
    async with opened(stub) as one:
        wrong = [event(1), event(2, time="yesterday"), event(3), event(4, subject="s" * 9000), event(5, data="no JSON")]
        found = await one.publish(wrong)
        assert await one.publish([event(6, id="")]) != {}
    assert {place: refusal.trouble for place, refusal in found.items()} == dict.fromkeys((1, 3, 4), Trouble.INVALID)
    assert [message.id for message in stub.session.messages] == [wrong[0].id, wrong[2].id]


async def test_no_frame_is_larger_than_the_server_allows() -> None:
    stub = Stub(frame_max=4096)
    async with opened(stub) as one:
        assert await one.publish(events(3, 30_000)) == {}
    assert max(stub.session.sizes) <= 4096
    assert all(len(message.body) == 30_008 for message in stub.session.messages)


async def test_a_call_that_was_given_up_is_still_counted() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub) as one:
        left = asyncio.create_task(one.publish(events(3)))
        await until(lambda: len(stub.session.messages) == 3)
        left.cancel()
        call = asyncio.create_task(one.publish(events(1)))
        await until(lambda: len(stub.session.messages) == 4)
        await asyncio.gather(left, return_exceptions=True)
        stub.session.ack(1)
        stub.session.give_back(stub.session.messages[1])
        stub.session.ack(3, multiple=True)
        stub.session.nack(4)
        assert [refusal.trouble for refusal in (await call).values()] == [Trouble.NACKED]


# Waiting


async def test_a_missing_confirmation_is_reported_and_then_the_connection_is_given_up() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub, limits=GIVES_UP) as one:
        call = asyncio.create_task(one.publish(events(3)))
        await until(one.trouble)
        trouble = one.trouble()
        assert trouble is not None
        assert trouble.trouble is Trouble.NO_CONFIRM
        assert "3 events" in trouble.reason
        assert not call.done()
        assert (await refused(call)).trouble is Trouble.NO_CONFIRM
        assert len(stub.session.messages) == 3, "nothing was sent again on the living connection"
        assert one.trouble() is None
        assert (await refused(one.publish(events(1)))).trouble is Trouble.NO_CONFIRM
        stub.on_publish = confirm
        await one.open()
        assert await one.publish(events(3)) == {}


async def test_what_is_confirmed_late_is_no_trouble_any_more() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub) as one:
        call = asyncio.create_task(one.publish(events(2)))
        await until(one.trouble)
        stub.session.ack(2, multiple=True)
        assert await call == {}
        assert one.trouble() is None


async def test_nothing_is_written_while_the_server_is_blocked() -> None:
    stub = Stub()
    async with opened(stub) as one:
        stub.session.blocked("low on memory")
        await until(one.trouble)
        calls = [asyncio.create_task(one.publish(events(3))) for _ in range(3)]
        await asyncio.sleep(1.5)  # Longer than a missing confirmation is waited for.
        trouble = one.trouble()
        assert trouble is not None
        assert (trouble.trouble, "low on memory" in trouble.reason) == (Trouble.BLOCKED, True)
        assert stub.session.messages == []
        stub.session.unblocked()
        assert await asyncio.gather(*calls) == [{}] * 3
        assert one.trouble() is None


async def test_a_blocked_server_is_not_given_up_for_confirmations_it_cannot_send() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub, limits=GIVES_UP) as one:
        call = asyncio.create_task(one.publish(events(2)))
        await until(lambda: len(stub.session.messages) == 2)
        stub.session.blocked()
        await asyncio.sleep(3.5)  # Longer than `give_up`.
        assert not call.done()
        stub.session.unblocked()
        stub.session.ack(2, multiple=True)
        assert await call == {}


async def test_a_blocked_server_that_falls_silent_is_gone() -> None:
    stub = Stub()
    async with opened(stub, "?heartbeat=2") as one:
        stub.session.blocked()
        await until(one.trouble)
        stub.session.beats = False
        assert (await refused(one.publish(events(1)))).trouble is Trouble.UNREACHABLE
        assert one.trouble() is None


async def test_a_server_that_does_not_read_is_waited_for_without_filling_the_memory() -> None:
    """What may wait to be written is bounded, whatever is asked."""
    stub = Stub(on_publish=hold)
    async with opened(stub, limits=GIVES_UP) as one:
        stub.session.pause()
        calls = [asyncio.create_task(one.publish(events(400, 60_000))) for _ in range(4)]
        await until(one.trouble)
        assert one._connection is not None
        assert one._connection._writer.transport.get_write_buffer_size() < 3 << 20
        troubles = {(await refused(call)).trouble for call in calls}
    assert troubles == {Trouble.NO_CONFIRM}


# Heartbeats


async def test_heartbeats_are_sent_and_expected() -> None:
    stub = Stub(heartbeat=2)
    async with opened(stub) as one:
        await until(lambda: stub.session.heartbeats)
        tuned = next(method for method in stub.session.methods if method.name == "Connection.TuneOk")
        assert tuned.heartbeat == 2
        stub.session.beats = False
        assert one._connection is not None
        await until(lambda: one._connection.failure)
        gone = await refused(one.publish(events(1)))
    assert (gone.trouble, "heartbeat" in str(gone)) == (Trouble.UNREACHABLE, True)


# How a connection begins and ends


@pytest.mark.parametrize("closes", [True, False], ids=["says so", "hangs up"])
async def test_a_refused_login_is_named(closes: bool) -> None:
    stub = Stub()
    stub.capabilities["authentication_failure_close"] = closes
    async with serving(stub):
        assert (await refused(sink(stub, password="wrong").open())).trouble is Trouble.AUTH


async def test_what_the_server_repeats_of_the_password_is_not_passed_on() -> None:
    stub = Stub()
    async with serving(stub):
        wrong = sink(stub, password="h%75nter2")
        text = str(await refused(wrong.open()))
    assert "hunter2" not in text
    assert "***" in text


@pytest.mark.parametrize(
    ("stub", "trouble"),
    [
        (Stub(refuse_vhost="NOT_ALLOWED - vhost / not found"), Trouble.AUTH),
        (Stub(refuse_declare=(403, "ACCESS_REFUSED - configure access refused")), Trouble.AUTH),
        (Stub(refuse_declare=(406, "PRECONDITION_FAILED - inequivalent arg 'type'")), Trouble.AUTH),
        (Stub(mechanisms="EXTERNAL"), Trouble.AUTH),
        (Stub(capabilities={}), Trouble.UNREACHABLE),
        (Stub(greeting=b"AMQP\x00\x01\x00\x00"), Trouble.UNREACHABLE),
        (Stub(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n"), Trouble.UNREACHABLE),
        (Stub(greeting=b"\x01\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff\xce"), Trouble.UNREACHABLE),
    ],
    ids=[
        "vhost",
        "no right to declare",
        "another exchange",
        "no password",
        "no confirms",
        "AMQP 1.0",
        "HTTP",
        "garbage",
    ],
)
async def test_what_does_not_open_says_why(stub: Stub, trouble: Trouble) -> None:
    async with serving(stub):
        assert (await refused(sink(stub).open())).trouble is trouble


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async with serving(Stub(answers=False)) as stub:
        gone = await refused(sink(stub, limits=replace(SOON, connect=0.3)).open())
    assert (gone.trouble, "0 s" in str(gone)) == (Trouble.UNREACHABLE, True)


async def test_no_server_is_unreachable() -> None:
    async with serving(Stub()) as stub:
        pass
    assert (await refused(sink(stub).open())).trouble is Trouble.UNREACHABLE


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    mine, other = certificate(tmp_path / "mine.pem"), certificate(tmp_path / "other.pem")
    async with serving(Stub(certificate=mine)) as stub:
        strange = AmqpSink(stub.place(f"?cafile={other}"))
        assert "TLS" in str(await refused(strange.open()))
        known = AmqpSink(stub.place(f"?cafile={mine}"))
        await known.open()
        assert await known.publish(events(10, 60_000)) == {}
        await known.close()


@pytest.mark.parametrize(
    ("code", "trouble"),
    [(403, Trouble.AUTH), (404, Trouble.UNROUTABLE), (406, Trouble.INVALID), (541, Trouble.UNREACHABLE)],
)
async def test_a_channel_that_the_server_closes_says_why(code: int, trouble: Trouble) -> None:
    def close(session: Session, _: Message) -> None:
        session.close_channel(code, "SAID - by the server")

    stub = Stub(on_publish=close)
    async with opened(stub) as one:
        gone = await refused(one.publish(events(2)))
        assert gone.trouble is trouble
        assert "SAID - by the server" in str(gone)
        stub.on_publish = confirm
        await one.open()
        assert await one.publish(events(2)) == {}


async def test_a_server_that_stops_is_unreachable_and_all_calls_say_so() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub) as one:
        calls = [asyncio.create_task(one.publish(events(2))) for _ in range(3)]
        await until(lambda: len(stub.session.messages) == 6)
        stub.session.ack(1)
        stub.session.close(320, "CONNECTION_FORCED - broker forced connection closure")
        gone = [await refused(call) for call in calls]
    assert {error.trouble for error in gone} == {Trouble.UNREACHABLE}
    assert "CONNECTION_FORCED" in str(gone[0])


@pytest.mark.parametrize(
    "garbage", [b"\x01\x00\x01\x00\x00\x00\x02\x00\x00\x00", b"garbage!" * 20], ids=["no end", "text"]
)
async def test_garbage_ends_the_connection(garbage: bytes) -> None:
    stub = Stub(on_publish=lambda session, _: session.raw(garbage))
    async with opened(stub) as one:
        assert (await refused(one.publish(events(1)))).trouble is Trouble.UNREACHABLE


async def test_a_connection_that_was_cut_is_opened_again() -> None:
    stub = Stub()
    async with opened(stub) as one:
        for _ in range(3):
            stub.on_publish = hold
            call = asyncio.create_task(one.publish(events(5)))
            await until(lambda: len(stub.session.messages) == 5)
            stub.session.cut()
            assert (await refused(call)).trouble is Trouble.UNREACHABLE
            assert (await refused(one.publish(events(1)))).trouble is Trouble.UNREACHABLE
            stub.on_publish = confirm
            await one.open()
            assert await one.publish(events(5)) == {}
    assert len(stub.sessions) == 4


async def test_calls_in_flight_raise_when_the_sink_is_closed() -> None:
    stub = Stub(on_publish=hold)
    async with opened(stub) as one:
        call = asyncio.create_task(one.publish(events(1)))
        await until(lambda: stub.session.messages)
        await one.close()
        assert "was closed" in str(await refused(call))
        assert (await refused(one.publish(events(1)))).trouble is Trouble.UNREACHABLE
        await one.close()
    assert stub.session.methods[-1].name == "Connection.Close"


async def test_a_sink_is_closed_whatever_the_server_does() -> None:
    """Blocked, silent or cut: it does not wait long, and raises nothing."""
    for trouble in (Session.blocked, Session.pause, Session.cut):
        stub = Stub(on_publish=hold)
        async with opened(stub) as one:
            call = asyncio.create_task(one.publish(events(1)))
            await until(lambda stub=stub: stub.session.messages)
            trouble(stub.session)
            async with asyncio.timeout(ENOUGH):
                await one.close()
            await refused(call)


async def test_nothing_is_left_running_when_opening_is_cancelled() -> None:
    async with serving(Stub(answers=False)) as stub:
        before = asyncio.all_tasks()
        opening = asyncio.create_task(sink(stub).open())
        await until(lambda: stub.sessions)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        assert {task.get_name() for task in asyncio.all_tasks() - before if task.get_name().startswith("amqp")} == set()
