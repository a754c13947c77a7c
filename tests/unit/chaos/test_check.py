"""The checker against evidence with one defect each: what is wrong is counted, under its own name and no other."""

from dataclasses import asdict, replace

import pytest

from beat_actors.chaos.check import (
    Effect,
    Event,
    Evidence,
    Fetch,
    Payload,
    Request,
    Trace,
    Turn,
    check,
    first_success,
    recovery,
)
from beat_actors.chaos.published import Entry, Logged, Published
from beat_actors.failpoints.armed import Fired

LOG = [
    Logged(7, "a", "scrape_request/1", 1, 1, 9.0, 4, 4),
    Logged(8, "b", "scrape_request/2", 1, 2, 9.1, 4, 4),
    Logged(9, "c", "scrape_request/1", 2, 3, 11.0, 4, 4),
    Logged(12, "d", "credential/5", None, 4, 11.5, 4, 4),
]
STREAM = [Entry(event.seq or 0, event.event_id) for event in LOG]
GOOD = Evidence(
    keys=frozenset({"a", "b"}),
    ids={"a": {1}, "b": {2}},
    requests=[Request(1, "a", "COMPLETE", None, 2, 0, 11.0), Request(2, "b", "COMPLETE", None, 1, 0, 12.0)],
    fetches=[
        Fetch(10, 1, "profile", "{}", None, 1, "DONE"),
        Fetch(11, 1, "posts", "{}", None, 1, "DONE"),
        Fetch(20, 2, "profile", "{}", None, 1, "DONE"),
    ],
    effects=[Effect(1, 10, "profile x"), Effect(1, 11, "post y"), Effect(2, 20, "profile z")],
    events=[Event("scrape_request/1", "complete"), Event("scrape_request/2", "complete")],
    payloads=[Payload(10, 1), Payload(11, 1), Payload(20, 1)],
    traces=[
        Trace(10, 1, "profile", "ok", "", 5.0),
        Trace(11, 1, "profile", "ok", "", 5.0),
        Trace(20, 1, "profile", "ok", "", 5.0),
    ],
    turns=[Turn(9.0, 2)],
    charged=3,
    calls=3,
    good_calls=3,
    over_limit=0,
    published=Published(events=LOG, entries=STREAM),
)


def wrong(evidence: Evidence) -> dict[str, int]:
    """The counts that are not as in good evidence."""
    good, found = asdict(check(GOOD)), asdict(check(evidence))
    return {name: found[name] for name in found if name != "reasons" and found[name] != good[name]}


def test_good_books_have_nothing_wrong() -> None:
    found = check(GOOD)
    assert (found.accepted, found.done, found.failed) == (2, 2, 0)
    assert (found.lost, found.dup, found.nonterminal, found.over_issued, found.unaccounted, found.extra_calls) == (
        0,
    ) * 6
    assert found.reasons == []


without_two = {
    "requests": GOOD.requests[:1],
    "fetches": GOOD.fetches[:2],
    "effects": GOOD.effects[:2],
    "events": GOOD.events[:1],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(without_two, {"done": 1, "lost": 1}, id="an accepted request is gone"),
        pytest.param({"keys": GOOD.keys | {"c"}}, {"lost": 1}, id="one was never accepted"),
        pytest.param({"events": GOOD.events[:1]}, {"lost": 1}, id="an end without its event"),
        pytest.param({"effects": GOOD.effects[1:]}, {"lost": 1}, id="complete without its effect"),
        pytest.param(
            {"effects": [*GOOD.effects, Effect(2, 20, "profile z")]},
            {"dup": 2},
            id="an effect twice, and one not counted",
        ),
        pytest.param({"ids": {"a": {1, 2}, "b": {2}}}, {"dup": 1}, id="two requests for a key"),
        pytest.param(
            {"fetches": [*GOOD.fetches, Fetch(12, 1, "posts", "{}", None, 1, "DONE")]},
            {"dup": 1},
            id="a follow-up twice",
        ),
        pytest.param({"payloads": [*GOOD.payloads, Payload(20, 1)]}, {"dup": 1}, id="a payload twice"),
        pytest.param(
            {
                "traces": [*GOOD.traces, Trace(20, 1, "profile", "ok", "", 5.0)],
                "charged": 4,
                "calls": 4,
                "good_calls": 4,
            },
            {"dup": 1, "extra_calls": 1},
            id="a call traced twice",
        ),
        pytest.param({"events": [*GOOD.events, Event("scrape_request/2", "failed")]}, {"dup": 1}, id="it ended twice"),
        pytest.param(
            {"requests": [GOOD.requests[0], GOOD.requests[1]._replace(status="PROCESSING", ended_at=None)]},
            {"done": 1, "nonterminal": 1},
            id="a request that does not end",
        ),
        pytest.param(
            {"fetches": [*GOOD.fetches[:2], GOOD.fetches[2]._replace(stage="WAITING")]},
            {"nonterminal": 1},
            id="complete with an open fetch",
        ),
        pytest.param({"over_limit": 3}, {"over_issued": 3}, id="calls over a limit"),
        pytest.param({"calls": 4}, {"unaccounted": 1}, id="a call that is in no count"),
        pytest.param({"calls": 2}, {"unaccounted": 1}, id="a call that nobody made"),
        pytest.param({"charged": 2}, {"unaccounted": 1}, id="a call that was not charged"),
        pytest.param({"counted": 2}, {"unaccounted": 1}, id="a call that the metrics do not count"),
        pytest.param(
            {
                "calls": 4,
                "good_calls": 4,
                "charged": 4,
                "traces": [*GOOD.traces, Trace(20, 2, "profile", "ok", "", 5.0)],
            },
            {"extra_calls": 1},
            id="paid for twice",
        ),
        pytest.param(
            {
                "calls": 4,
                "good_calls": 4,
                "charged": 4,
                "traces": [*GOOD.traces, Trace(20, 2, "profile", "unknown", "", 5.0)],
            },
            {"unknown": 1, "extra_calls": 1},
            id="a call of unknown outcome that had arrived",
        ),
        pytest.param(
            {
                "calls": 5,
                "good_calls": 5,
                "charged": 5,
                "traces": [*GOOD.traces, *[Trace(None, None, "credential_check", "ok", "", 5.0)] * 2],
            },
            {},
            id="two credentials were checked",
        ),
        pytest.param(
            {
                "charged": 4,
                "calls": 4,
                "good_calls": 4,
                "traces": [*GOOD.traces, Trace(20, 2, "profile", "upstream_down", "timeout", 5.0)],
            },
            {"late": 1, "extra_calls": 1},
            id="a call that was answered after it was given up",
        ),
        pytest.param(
            {"charged": 4, "traces": [*GOOD.traces, Trace(20, 2, "profile", "unknown", "", 5.0)]},
            {"unknown": 1},
            id="a call of unknown outcome that had not",
        ),
        pytest.param(
            {"charged": 4, "traces": [*GOOD.traces, Trace(20, 2, "profile", "upstream_down", "connection", 5.0)]},
            {"unaccounted": 1},
            id="a call that never arrived where the network is well",
        ),
        pytest.param(
            {
                "severed": True,
                "charged": 4,
                "traces": [*GOOD.traces, Trace(20, 2, "profile", "upstream_down", "connection", 5.0)],
            },
            {"severed": 1},
            id="a call that never arrived where the fault breaks connections",
        ),
        pytest.param({"severed": True, "calls": 2}, {"unaccounted": 1}, id="a good call that never arrived"),
    ],
)
def test_what_is_wrong_is_counted_under_its_name(change: dict[str, object], expected: dict[str, int]) -> None:
    assert wrong(replace(GOOD, **change)) == expected


def swapped(first: Logged, second: Logged) -> list[Logged]:
    """The log in which two events have each other's places."""
    places = {first.id: second.seq, second.id: first.seq}
    return [event._replace(seq=places.get(event.id, event.seq)) for event in LOG]


def of_log(events: list[Logged]) -> Published:
    """A log that the stream has as it is."""
    events = sorted(events, key=lambda event: event.seq or 0)
    return Published(events=events, entries=[Entry(event.seq, event.event_id) for event in events if event.seq])


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        pytest.param(of_log([*LOG, Logged(13, "e", "alert/1", None, None, 12.0, 4, 4)]), {"lost": 1}, id="it pends"),
        pytest.param(of_log([event for event in LOG if event.id != 8]), {"lost": 1}, id="a gap"),
        pytest.param(of_log([event._replace(last=5, sink=5) for event in LOG]), {"lost": 1}, id="a gap at the end"),
        pytest.param(of_log([event._replace(sink=3) for event in LOG]), {"lost": 1}, id="the sink is behind"),
        pytest.param(of_log([event._replace(sink=None) for event in LOG]), {"lost": 1}, id="there is no sink"),
        pytest.param(of_log(swapped(LOG[1], LOG[3])), {}, id="another order of two subjects"),
        # The versions are in another order too.
        pytest.param(of_log(swapped(LOG[0], LOG[2])), {"lost": 2}, id="another order within a subject"),
        pytest.param(of_log([*LOG[:2], LOG[2]._replace(version=3), LOG[3]]), {"lost": 1}, id="a version is missing"),
        pytest.param(of_log([*LOG[:2], LOG[2]._replace(version=1), LOG[3]]), {"lost": 1}, id="a version twice"),
        pytest.param(
            Published(
                events=[*(event._replace(last=5, sink=5) for event in LOG), LOG[3]._replace(seq=5, last=5, sink=5)],
                entries=[*STREAM, Entry(5, "d")],
            ),
            {"dup": 2},
            id="an event has two places",
        ),
        pytest.param(of_log([*LOG[:3], LOG[3]._replace(event_id="c")]), {"dup": 1}, id="two events have one id"),
        pytest.param(Published(events=LOG, entries=STREAM[:3]), {"lost": 1}, id="the stream lacks an event"),
        pytest.param(Published(events=LOG, entries=[*STREAM, STREAM[3]]), {"dup": 1}, id="the stream has one twice"),
        pytest.param(
            Published(events=LOG, entries=[*STREAM[1:], STREAM[0]]), {"lost": 1}, id="the stream has one late"
        ),
        pytest.param(
            Published(events=LOG, entries=[*STREAM[:3], Entry(4, "x")]), {"lost": 1}, id="the stream has another event"
        ),
        pytest.param(
            Published(events=LOG, entries=STREAM[3:], kept_from=11.6),
            {},
            id="the server lost what it had, and no event came after that",
        ),
        pytest.param(
            Published(events=LOG, entries=STREAM[:3], kept_from=11.0),
            {"lost": 1},
            id="the server lost what it had, and an event came after that",
        ),
    ],
)
def test_what_is_wrong_with_the_log_and_the_stream_is_counted(published: Published, expected: dict[str, int]) -> None:
    assert wrong(replace(GOOD, published=published)) == expected


def fired(at: float, subject: str) -> Fired:
    return Fired("x=kill", "x", 1, True, at, 1, subject)


def test_recovery_is_the_first_success_of_what_was_held() -> None:
    assert recovery(GOOD, [fired(10.0, "[10, 11]")]) == 1.0
    assert recovery(GOOD, [fired(10.0, "[10, 20]")]) == 1.0
    assert recovery(GOOD, [fired(10.0, "[20]")]) == 2.0
    assert recovery(GOOD, [fired(8.0, "instagram")]) == 1.0  # the next turn that leased
    assert recovery(GOOD, [fired(11.5, "[10]")]) is None  # it had ended
    assert recovery(GOOD, [fired(8.0, "[20]"), fired(11.0, "[99]")]) == 1.0  # struck again before it was well


def test_the_first_success_counts_from_the_end_of_the_fault() -> None:
    assert first_success(GOOD, 10.5) == 0.5
    assert first_success(GOOD, 13.0) is None
