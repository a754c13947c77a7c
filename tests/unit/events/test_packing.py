"""A run of events is one well-formed command of Redis."""

import pytest

from beat_actors.events.envelope import MOST_DATA, attributes, body
from beat_actors.events.sink import Place, Refusal, Trouble
from beat_actors.events.sinks.conformance import event, made
from beat_actors.events.sinks.packing import MOST_BYTES, MOST_EVENTS, SCRIPT, runs

PLACE = Place("a", "redis://x")


def words(command: bytes) -> list[bytes]:
    """The words of one command, read as the server reads them."""
    count, _, rest = command.removeprefix(b"*").partition(b"\r\n")
    found = []
    for _ in range(int(count)):
        size, _, rest = rest.removeprefix(b"$").partition(b"\r\n")
        found.append(rest[: int(size)])
        assert rest[int(size) :][:2] == b"\r\n"
        rest = rest[int(size) + 2 :]
    assert rest == b""
    return found


@pytest.mark.parametrize("structured", [False, True])
def test_every_word_is_where_the_script_looks_for_it(structured: bool) -> None:
    events = [
        event(7, subject="é ✓"),
        event(9, data='{"text":"ünïcödé"}'),
        event(10)._replace(account_id=None, version=None),
        event(11)._replace(trace=None),
    ]
    place = Place("a", "redis://x", structured=structured)
    (run,) = runs(events, place, {})
    found = words(b"".join(run.script("beat:events", stored=5, ahead=100)))
    assert found[:8] == [b"EVAL", SCRIPT, b"1", b"beat:events", b"log", b"5", b"100", b"4"]
    rest = found[8:]
    for one in events:
        assert rest[:2] == [str(one.seq).encode(), one.id.encode()]
        fields, rest = rest[3 : 3 + int(rest[2])], rest[3 + int(rest[2]) :]
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        if structured:
            assert list(named) == [b"event"]
        else:
            assert named.pop(b"data").decode() == one.data
            assert {name.decode(): value.decode() for name, value in named.items()} == attributes(one, place)
    assert rest == []


def test_a_run_is_bounded_by_events_and_by_bytes_and_keeps_the_order() -> None:
    small, large = made(600), made(40, first=601, size=60_000)
    found = list(runs([*small, *large], PLACE, {}))
    assert [number for run in found for number in run.places] == list(range(640))
    assert all(len(run.events) <= MOST_EVENTS and run.size <= MOST_BYTES for run in found)
    assert [(run.first, run.last) for run in found][:2] == [(1, 256), (257, 512)]


def test_replays_are_runs_of_their_own_and_what_is_invalid_is_in_none() -> None:
    events = made(6)
    events[1] = events[1]._replace(data="no object")
    events[3] = events[3]._replace(replay=True)
    refused: dict[int, Refusal] = {}
    assert [(run.replay, run.places) for run in runs(events, PLACE, refused)] == [
        (False, [0, 2]),
        (True, [3]),
        (False, [4, 5]),
    ]
    assert {number: refusal.trouble for number, refusal in refused.items()} == {1: Trouble.INVALID}


def test_a_transaction_and_its_reply_are_well_formed() -> None:
    (run,) = runs(made(2, first=99), PLACE, {})
    *_, rest = b"".join(run.transaction("beat:events")).partition(b"MULTI\r\n")
    command = rest.removesuffix(b"*1\r\n$4\r\nEXEC\r\n")
    second = command.rindex(b"*30\r\n")
    for one, part in zip(run.events, (command[:second], command[second:]), strict=True):
        assert words(part)[:4] == [b"XADD", b"beat:events", b"NOMKSTREAM", f"{one.seq}-0".encode()]
        assert words(part)[-2:] == [b"data", one.data.encode()]
    assert run.reply() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$4\r\n99-0\r\n$5\r\n100-0\r\n"


def test_the_quick_way_packs_what_the_mapping_of_the_attributes_has() -> None:
    plain = event(12)
    events = [
        plain,
        plain._replace(account_id=None),
        plain._replace(account_id=""),
        plain._replace(version=None),
        plain._replace(version=12),
        plain._replace(subject="é ✓"),
        plain._replace(data='{"text":"ünïcödé"}'),
        plain._replace(data='{"text":"' + "x" * (MOST_DATA - 11) + '"}'),
        plain._replace(data='{"text":"' + "x" * MOST_DATA + '"}'),
        plain._replace(type="beat.nothing.that.is.known"),
    ]
    # The first of a type is packed in the general way.
    events = [events[0], events[-1], *events]
    for one in events:
        (run,) = runs([one], PLACE, {})
        fields = words(b"*%d\r\n" % run.counts[0] + run.fields[0])
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        assert named.pop(b"data") == body(one)
        assert {name.decode(): value.decode() for name, value in named.items()} == attributes(one, PLACE)
