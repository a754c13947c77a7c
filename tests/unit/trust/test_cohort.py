"""Many records out of range at once: the world moved, the source broke, or people decide; with a bounded number of calls."""

from hypothesis import given
from hypothesis import strategies as st

from beat_actors.trust.cohort import ALONE, MOST_CALLS, SAMPLE, WIDEN_FOR, Cause, Cohort
from beat_actors.trust.counting import BUCKET, WINDOW, Recent
from beat_actors.trust.gate import NORMAL, Widened

NOW = 1_790_000_000.0


def incident(odd: int = 21, *, falls: int = 21, rises: int = 0) -> Cohort:
    cohort = Cohort().counted(180, 0, NOW)
    return cohort.counted(odd, odd, NOW, falls=falls, rises=rises)


def sample(cohort: Cohort, *answers: bool | None) -> Cohort:
    for answer in answers:
        cohort = cohort.asked().witnessed(NOW, confirms=answer)
    return cohort


def test_one_in_a_hundred_is_a_normal_day_and_more_than_one_in_ten_is_not() -> None:
    cohort = Cohort()
    for _ in range(100):
        cohort = cohort.counted(100, 1, NOW)
    assert not cohort.is_sampling
    assert cohort.wanted == 0
    twenty = Cohort().counted(180, 0, NOW).counted(20, 20, NOW)
    assert not twenty.is_sampling
    assert twenty.counted(1, 1, NOW).is_sampling


def test_a_broken_parser_is_noticed_within_200_observations() -> None:
    cohort, seen = Cohort().counted(WINDOW, 1, NOW), 0
    while not cohort.is_sampling:
        cohort, seen = cohort.counted(1, 1, NOW), seen + 1
    assert seen <= (WINDOW + BUCKET) // 10 + 1


def test_a_share_of_11_percent_is_noticed_within_its_window() -> None:
    cohort, seen = Cohort(), 0
    while not cohort.is_sampling:
        cohort, seen = cohort.counted(9, 1, NOW), seen + 9
    assert seen <= WINDOW


def test_eighteen_of_twenty_confirm_that_the_world_moved_and_the_range_is_widened_for_48_hours() -> None:
    cohort = sample(incident(), *[True] * 17, False, False)
    assert cohort.is_sampling
    cohort = sample(cohort, True)
    assert cohort.incident is not None
    assert cohort.incident.cause is Cause.WORLD_MOVED
    assert cohort.widened(NOW + WIDEN_FOR - 1) == Widened(falls=True, rises=False)
    assert cohort.widened(NOW + WIDEN_FOR) == NORMAL
    after = cohort.closed()
    assert (after.incident, after.recent.seen) == (None, 0)
    assert after.widened(NOW) == Widened(falls=True)
    assert sample(incident(falls=2, rises=19), *[True] * 18).widened(NOW) == Widened(rises=True)


def test_five_or_fewer_of_twenty_say_that_the_source_broke() -> None:
    cohort = sample(incident(), *[True] * 5, *[False] * 15)
    assert cohort.incident is not None
    assert cohort.incident.cause is Cause.SOURCE_BROKE
    assert cohort.widened(NOW) == NORMAL


def test_between_people_decide() -> None:
    cohort = sample(incident(), *[True] * 6, *[False] * 3)
    assert cohort.incident is not None
    assert cohort.incident.cause is Cause.UNCLEAR
    assert not cohort.may_ask_alone
    assert cohort.decided(Cause.WORLD_MOVED, NOW).widened(NOW) == Widened(falls=True)


def test_where_no_independent_source_can_be_asked_people_decide_and_no_call_is_made() -> None:
    cohort = incident().unwitnessed(NOW)
    assert cohort.incident is not None
    assert (cohort.incident.cause, cohort.incident.calls, cohort.wanted) == (Cause.UNCLEAR, 0, 0)


def test_a_call_without_an_answer_is_made_for_another_record_and_not_without_end() -> None:
    cohort = incident().asked(SAMPLE)
    assert cohort.wanted == 0
    cohort = cohort.witnessed(NOW, confirms=None)
    assert cohort.wanted == 1
    calls = SAMPLE
    while cohort.is_sampling:
        wanted = cohort.wanted
        calls += wanted
        cohort = cohort.asked(wanted).witnessed(NOW, confirms=None)
    assert cohort.incident is not None
    assert cohort.incident.cause is Cause.UNCLEAR
    assert calls <= MOST_CALLS - ALONE


def test_witnesses_that_were_asked_before_many_were_held_are_the_first_of_the_sample() -> None:
    cohort = Cohort().counted(180, 0, NOW).asked(19).counted(21, 21, NOW, falls=21)
    assert (cohort.is_sampling, cohort.wanted) == (True, 1)
    for _ in range(18):
        cohort = cohort.witnessed(NOW, confirms=True)
    assert cohort.incident is not None
    assert cohort.incident.cause is Cause.WORLD_MOVED
    late = cohort.closed().witnessed(NOW, confirms=True)
    assert (late.in_flight, late.incident) == (0, None)


def test_single_records_have_witnesses_until_many_are_held() -> None:
    cohort, calls = Cohort(), 0
    for _ in range(100):
        if cohort.may_ask_alone:
            cohort, calls = cohort.asked(), calls + 1
        cohort = cohort.counted(1, 1, NOW)
    assert calls <= ALONE
    calm = Cohort().asked()
    for _ in range(100):
        assert calm.may_ask_alone
        calm = calm.counted(100, 1, NOW).asked()


@given(st.lists(st.sampled_from([True, False, None]), max_size=200))
def test_a_sample_never_asks_more_than_it_may_and_its_end_stays(answers: list[bool | None]) -> None:
    cohort, asked = incident(), 0
    for answer in answers:
        wanted = min(1, cohort.wanted)
        if wanted:
            cohort, asked = cohort.asked(wanted), asked + wanted
        before = cohort.incident
        cohort = cohort.witnessed(NOW, confirms=answer)
        if before is not None and before.cause is not None:
            assert cohort.incident == before
    assert asked <= MOST_CALLS - ALONE


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), max_size=50))
def test_the_window_holds_the_last_observations_and_not_many_more(batches: list[tuple[int, int]]) -> None:
    recent = Recent()
    for seen, odd in batches:
        recent = recent.counted(seen, min(seen, odd))
        assert 0 <= recent.odd <= recent.seen
        assert recent.seen < WINDOW + max(BUCKET, *(size for size, _ in batches))
        assert len(recent.buckets) <= 2 * WINDOW // BUCKET + 1
    assert recent.seen >= min(WINDOW, sum(seen for seen, _ in batches))
