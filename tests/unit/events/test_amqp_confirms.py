"""Which events a confirmation is for, in any order, and what a returned message is matched with."""

from hypothesis import given
from hypothesis import strategies as st

from beat_actors.events.sink import Event, Refusal, Trouble
from beat_actors.events.sinks.amqp.confirms import Batch, Confirms, by_place

NACKED = Refusal(Trouble.NACKED, "full")


def event(seq: int, event_id: str | None = None) -> Event:
    return Event(
        seq, event_id or f"id-{seq}", "beat.alert.opened", f"alert/{seq}", None, None, "2026-11-29T12:00:00Z", "{}"
    )


def sent(confirms: Confirms, *events: Event) -> Batch:
    batch = Batch(events, 0.0)
    confirms.sent(batch, range(len(events)), 0.0)
    batch.whole()
    return batch


async def test_one_confirmation_may_be_for_several_calls() -> None:
    confirms = Confirms()
    first, second = sent(confirms, event(1), event(2)), sent(confirms, event(3), event(4))
    confirms.confirm(3, True, None)
    assert (first.done.done(), second.done.done(), confirms.waiting()) == (True, False, 1)
    confirms.confirm(4, False, None)
    assert (second.done.done(), confirms.waiting(), confirms.oldest()) == (True, 0, None)


async def test_tag_0_means_all() -> None:
    confirms = Confirms()
    first, second = sent(confirms, event(1)), sent(confirms, event(2))
    confirms.confirm(0, True, None)
    assert first.done.done()
    assert second.done.done()


async def test_a_refusal_of_several_spares_what_was_confirmed_before() -> None:
    confirms = Confirms()
    batch = sent(confirms, event(1), event(2), event(3))
    confirms.confirm(2, False, None)
    confirms.confirm(3, True, NACKED)
    assert by_place(batch) == {0: NACKED, 2: NACKED}


async def test_events_that_were_not_sent_have_no_tag() -> None:
    confirms = Confirms()
    batch = Batch([event(1), event(2), event(3)], 0.0)
    confirms.sent(batch, [0, 2], 0.0)
    batch.whole()
    confirms.confirm(2, False, NACKED)
    confirms.confirm(1, False, None)
    assert by_place(batch) == {2: NACKED}


async def test_a_call_that_was_left_is_still_confirmed() -> None:
    confirms = Confirms()
    left = Batch([event(1), event(2)], 0.0)
    confirms.sent(left, [0], 0.0)
    left.whole()
    next_one = sent(confirms, event(3))
    confirms.confirm(2, True, None)
    assert next_one.done.done()
    assert confirms.waiting() == 0


async def test_a_returned_message_is_the_oldest_with_its_id() -> None:
    confirms = Confirms()
    first, second = sent(confirms, event(1, "same"), event(2)), sent(confirms, event(1, "same"))
    assert confirms.returned("same", "nobody wants it")
    confirms.confirm(2, True, None)
    assert confirms.returned("same", "nobody wants it")
    assert not confirms.returned("same", "nobody wants it")
    confirms.confirm(3, False, None)
    assert [refusal.trouble for refusal in by_place(first).values()] == [Trouble.UNROUTABLE]
    assert [refusal.trouble for refusal in by_place(second).values()] == [Trouble.UNROUTABLE]


async def test_a_message_that_nobody_sent_cannot_be_returned() -> None:
    confirms = Confirms()
    sent(confirms, event(1))
    assert not confirms.returned("other", "nobody wants it")


@given(st.data())
async def test_every_event_is_confirmed_once_in_any_order(data: st.DataObject) -> None:
    """Against a plain set of tags."""
    confirms = Confirms()
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    batches, tag = [], 1
    for size in sizes:
        batches.append((range(tag, tag + size), sent(confirms, *(event(number) for number in range(tag, tag + size)))))
        tag += size
    waiting, refused = set(range(1, tag)), set()
    answers = data.draw(st.lists(st.tuples(st.integers(1, tag - 1), st.booleans(), st.booleans()), max_size=12))
    for confirmed, multiple, ack in [*answers, (tag - 1, True, True)]:
        confirms.confirm(confirmed, multiple, None if ack else NACKED)
        now = {one for one in waiting if one == confirmed or (multiple and one < confirmed)}
        waiting -= now
        refused |= set() if ack else now
        assert confirms.waiting() == len(waiting)
        for tags, batch in batches:
            assert batch.done.done() == (not waiting & set(tags))
    for tags, batch in batches:
        assert set(by_place(batch)) == {place for place, one in enumerate(tags) if one in refused}
