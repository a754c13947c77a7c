"""What every sink has to do, as tests for pytest. Any distribution with a sink can run them against its own server.

A test module of the distribution imports the tests and has a fixture `stand` that gives a `Stand`: a server, and a place in it that is empty:

    from beat_actors.events.sinks.conformance import *  # noqa: F403

    @pytest.fixture
    def stand(tmp_path):
        with my_server(tmp_path) as server:
            yield MyStand(server)

The tests are coroutines: run them with pytest and pytest-asyncio, whose `asyncio_mode` is `auto`. The stand's methods may block: nothing else needs the
event loop meanwhile. `tests/conformance/stands/` of Beat's repository has the stands of Beat's own sinks.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

import pytest

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Event, Place, Refusal, Sink, SinkUnavailable, Trouble

PATIENCE = 60.0
"""Seconds in which a sink has to publish again after its server is back."""


class Arrived(NamedTuple):
    """An event as a consumer reads it: the attributes `id`, `subject`, `sequence` as a number, `replay`, `traceparent`, and the data as JSON text."""

    id: str
    subject: str
    sequence: int
    data: str
    replay: bool = False
    trace: str | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, str], data: str) -> Self:
        """As the attributes of the CloudEvent say. Raises `KeyError` for one that is missing."""
        sequence, replay = int(attributes["sequence"]), attributes.get("replay") == "true"
        return cls(attributes["id"], attributes["subject"], sequence, data, replay, attributes.get("traceparent"))


class Stand(Protocol):
    """A server for one test. `place`: where nothing has been published to. `make`: the sink of a place.

    `secrets`: what may stand in no error. `once`: an event that is sent twice is there once; otherwise both copies have the same id.
    """

    place: Place
    secrets: Collection[str]
    once: bool

    def make(self, place: Place) -> Sink: ...

    async def arrived(self) -> Sequence[Arrived]:
        """All that is there, in the order in which a consumer reads it."""

    def stop(self) -> None:
        """Make the server unavailable as a crash does; what it has confirmed stays. A second call does nothing."""

    def start(self) -> None:
        """Make it available again, and return when it is."""

    def fill(self) -> bool:
        """Leave the server no room for what is published. False if this server cannot be filled in a test."""

    def drain(self) -> None:
        """Make room again, and keep what was published."""

    def wrong_login(self) -> Place | None:
        """The place with a login that the server refuses; None if it has no logins."""


def made(count: int, *, first: int = 1, subjects: int = 7, size: int = 100) -> list[Event]:
    """Events in the order of the log."""
    return [event(seq, subject=f"scrape_request/{seq % subjects}", size=size) for seq in range(first, first + count)]


def event(seq: int, *, subject: str = "scrape_request/1", size: int = 100, data: str | None = None) -> Event:
    filled = json.dumps({"seq": seq, "filled": "x" * size}) if data is None else data
    return Event(
        seq,
        str(uuid.uuid4()),
        "beat.scrape_request.complete",
        subject,
        seq,
        "account",
        "2026-01-02T03:04:05.678901Z",
        filled,
        trace=f"00-{seq:032x}-{seq:016x}-0{seq % 2}" if seq % 3 else None,
    )


class Relay:
    """What a relay does, without a database: it sends again what was not taken, and goes back where a server has lost something."""

    def __init__(self, stand: Stand, sink: Sink) -> None:
        self._stand = stand
        self._sink = sink
        self.invalid: list[Event] = []
        self.troubles: list[Trouble] = []
        self._done: list[Event] = []

    async def send(self, events: Sequence[Event], *, batch: int = 100) -> None:
        """Return when all events are stored or refused for good. Fails after `PATIENCE` seconds without an event that was taken."""
        waiting, until = list(events), time.monotonic() + PATIENCE
        is_open = True
        while waiting:
            try:
                if not is_open:
                    await self._sink.close()
                    await self._sink.open(max((one.seq for one in self._done), default=0))
                    is_open = True
                sent = self._batch(waiting, batch)
                refused = await self._sink.publish(sent)
            except SinkUnavailable as error:
                in_time(until, f"still unavailable: {error}")
                self.notice(str(error), error.trouble)
                if error.trouble is Trouble.LOST and error.stored is not None:
                    waiting = [one for one in self._done if one.seq > error.stored] + waiting
                    self._done = [one for one in self._done if one.seq <= error.stored]
                is_open = False
                await asyncio.sleep(0.05)
                continue
            self._check(sent, refused)
            for refusal in refused.values():
                self.notice(refusal.reason, refusal.trouble)
            ended = {
                one.id
                for number, one in enumerate(sent)
                if number not in refused or refused[number].trouble is Trouble.INVALID
            }
            self.invalid += [sent[number] for number, refusal in refused.items() if refusal.trouble is Trouble.INVALID]
            self._done += [one for number, one in enumerate(sent) if number not in refused]
            waiting = [one for one in waiting if one.id not in ended]
            if ended:
                until = time.monotonic() + PATIENCE
            else:
                in_time(until, f"still refused: {refused}")
                await asyncio.sleep(0.05)

    def _batch(self, waiting: list[Event], most: int) -> list[Event]:
        if self._sink.in_order:
            return waiting[:most]
        first = dict[str, Event]()
        for one in waiting:
            first.setdefault(one.subject, one)
        return list(first.values())[:most]

    def _check(self, sent: Sequence[Event], refused: Mapping[int, Refusal]) -> None:
        """A refusal belongs to an event of the batch, and one of an ordered sink has no event behind it that was taken."""
        assert set(refused) <= set(range(len(sent)))
        held = [number for number, refusal in refused.items() if refusal.trouble is not Trouble.INVALID]
        if self._sink.in_order and held:
            assert set(range(min(held), len(sent))) == set(refused) - set(range(min(held)))

    def notice(self, reason: str, trouble: Trouble) -> None:
        self.troubles.append(trouble)
        assert reason
        assert not [secret for secret in self._stand.secrets if secret in reason]


def in_time(until: float, found: str) -> None:
    assert time.monotonic() < until, found


@asynccontextmanager
async def opened(stand: Stand, place: Place | None = None) -> AsyncIterator[Sink]:
    sink = stand.make(place or stand.place)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def holds(stand: Stand, events: Iterable[Event], *, once: bool | None = None) -> None:
    """Each of these events is there, with its data, in the order of its subject by first occurrence; and nothing else."""
    found = [one for one in await stand.arrived() if not one.replay]
    wanted = {one.id: one for one in events}
    first = {one.id: one for one in reversed(found)}
    assert set(first) == set(wanted)
    for key, one in first.items():
        assert (one.subject, one.sequence) == (wanted[key].subject, wanted[key].seq)
        assert json.loads(one.data) == json.loads(wanted[key].data)
        assert one.trace == wanted[key].trace
    seen = dict.fromkeys(one.id for one in found)
    last = dict[str, int]()
    for key in seen:
        assert last.get(first[key].subject, 0) < first[key].sequence
        last[first[key].subject] = first[key].sequence
    if stand.once if once is None else once:
        assert len(found) == len(wanted)


async def test_events_arrive_in_the_order_of_their_subjects(stand: Stand) -> None:
    events = made(700)
    async with opened(stand) as sink:
        await Relay(stand, sink).send(events)
        assert sink.trouble() is None
    await holds(stand, events, once=True)


async def test_calls_in_flight_keep_their_order(stand: Stand) -> None:
    events = made(500)
    async with opened(stand) as sink:
        if sink.in_order:
            batches = [events[at : at + 100] for at in range(0, len(events), 100)]
            assert await asyncio.gather(*(sink.publish(batch) for batch in batches)) == [{}] * 5
        else:
            await Relay(stand, sink).send(events)
    await holds(stand, events, once=True)


async def test_whole_cloud_events_arrive_too(stand: Stand) -> None:
    events = made(50)
    async with opened(stand, replace(stand.place, structured=True)) as sink:
        await Relay(stand, sink).send(events)
    await holds(stand, events, once=True)


async def test_what_is_sent_again_keeps_its_id(stand: Stand) -> None:
    events = made(300)
    async with opened(stand) as sink:
        await Relay(stand, sink).send(events[:200])
    async with opened(stand) as sink:
        await Relay(stand, sink).send(events[100:])
        await Relay(stand, sink).send(events[250:])
    await holds(stand, events)


async def test_an_event_that_cannot_be_sent_harms_no_other(stand: Stand) -> None:
    events = made(20)
    events[7] = events[7]._replace(type="no type\n")
    async with opened(stand) as sink:
        relay = Relay(stand, sink)
        await relay.send(events)
        assert relay.invalid == [events[7]]
        assert set(relay.troubles) == {Trouble.INVALID}
    await holds(stand, [*events[:7], *events[8:]], once=True)


async def test_odd_events_arrive_as_they_are(stand: Stand) -> None:
    subjects = (
        "scrape_request//",
        "/",
        "a.b",
        "*",
        ">",
        "with space",
        "ünïcödé/✓",
        "x" * 300,
        "{}",
        "a\\b\"c'",
        "%s%00",
    )
    texts = (
        "{}",
        '{"a":"\\u0000\\r\\n"}',
        json.dumps({"emoji": "🦉 ß ✓"}, ensure_ascii=False),
        json.dumps({"x": "y" * 65_000}),
    )
    events = [
        event(number + 1, subject=subject, data=texts[number % len(texts)]) for number, subject in enumerate(subjects)
    ]
    events += [event(len(events) + number + 1, subject="same", data=text) for number, text in enumerate(texts)]
    async with opened(stand) as sink:
        await Relay(stand, sink).send(events)
    await holds(stand, events, once=True)


async def test_a_replay_arrives_once_more_and_says_so(stand: Stand) -> None:
    events = made(20)
    async with opened(stand) as sink:
        await Relay(stand, sink).send(events)
        assert await sink.publish([events[1]._replace(replay=True)]) == {}
        await Relay(stand, sink).send(made(5, first=21))
    replayed = [one for one in await stand.arrived() if one.replay]
    sent = events[1]
    assert [(one.id, one.sequence, json.loads(one.data), one.trace) for one in replayed] == [
        (sent.id, 2, json.loads(sent.data), sent.trace)
    ]


async def test_an_empty_call_is_no_error(stand: Stand) -> None:
    async with opened(stand) as sink:
        assert await sink.publish([]) == {}
    await holds(stand, [])


async def test_it_publishes_again_after_each_of_three_crashes_without_a_restart(stand: Stand) -> None:
    events = made(80)
    async with opened(stand) as sink:
        relay = Relay(stand, sink)
        await relay.send(events[:20])
        for number in range(1, 4):
            stand.stop()
            with pytest.raises(SinkUnavailable) as raised:
                await sink.publish(events[20 * number : 20 * number + 1])
            relay.notice(str(raised.value), raised.value.trouble)
            assert raised.value.trouble in (Trouble.UNREACHABLE, Trouble.NO_CONFIRM)
            await sink.close()
            with pytest.raises(SinkUnavailable) as raised:
                await sink.open()
            relay.notice(str(raised.value), raised.value.trouble)
            assert raised.value.trouble is Trouble.UNREACHABLE
            stand.start()
            await relay.send(events[20 * number : 20 * number + 20])
    await holds(stand, events)


async def test_nothing_is_lost_or_out_of_order_where_crashes_meet_calls_in_flight(stand: Stand) -> None:
    events = made(2_000, subjects=200)
    async with opened(stand) as sink:
        relay = Relay(stand, sink)
        sending = asyncio.create_task(relay.send(events, batch=20))
        for _ in range(3):
            await asyncio.sleep(0.1)
            stand.stop()
            await asyncio.sleep(0.1)
            stand.start()
        await sending
        # A loss is noticed with the next event.
        await relay.send(last := made(1, first=2_001))
    await holds(stand, [*events, *last])


async def test_a_full_server_is_named_and_nothing_is_lost_when_there_is_room_again(stand: Stand) -> None:
    events = made(40)
    async with opened(stand) as sink:
        relay = Relay(stand, sink)
        await relay.send(events[:10])
        if not stand.fill():
            return
        try:
            async with asyncio.timeout(PATIENCE):
                sending = asyncio.create_task(relay.send(events[10:], batch=5))
                while not {Trouble.FULL, Trouble.NACKED, Trouble.BLOCKED} & {*relay.troubles, *_trouble_of(sink)}:
                    assert not sending.done()
                    await asyncio.sleep(0.05)
        finally:
            stand.drain()
        await sending
    await holds(stand, events)


async def test_a_refused_login_is_named(stand: Stand) -> None:
    place = stand.wrong_login()
    if place is None:
        return
    sink = stand.make(place)
    with pytest.raises(SinkUnavailable) as raised:
        await sink.open()
    assert raised.value.trouble is Trouble.AUTH
    assert not [secret for secret in stand.secrets if secret in f"{raised.value} {raised.value!r}"]
    await sink.close()


async def test_close_never_raises(stand: Stand) -> None:
    sink = stand.make(stand.place)
    await sink.close()
    await sink.open()
    calls = [asyncio.create_task(sink.publish([one])) for one in made(20, subjects=20)]
    await asyncio.sleep(0)
    await sink.close()
    ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
    assert {type(one) for one in ended} <= {dict, SinkUnavailable}
    with pytest.raises(SinkUnavailable):
        await sink.publish(made(1))
    await sink.open()
    stand.stop()
    await sink.close()
    await sink.close()
    stand.start()


async def test_what_cannot_be_used_is_refused_before_anything_is_sent(stand: Stand) -> None:
    for place in (
        replace(stand.place, options={**stand.place.options, "no_such_option": "1"}),
        replace(stand.place, url=f"{stand.place.url.partition(':')[0]}://[half-an-address"),
    ):
        with pytest.raises(BadSettings) as raised:
            stand.make(place)
        assert not [secret for secret in stand.secrets if secret in str(raised.value)]


def _trouble_of(sink: Sink) -> tuple[Trouble, ...]:
    found = sink.trouble()
    return () if found is None else (found.trouble,)
