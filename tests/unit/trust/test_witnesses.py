"""Held records: who is asked, what an answer means, and that each of them ends."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.interface import EntityRules, Number, Trust
from beat_actors.platforms.registry import platforms
from beat_actors.trust.gate import Asked, Gate
from beat_actors.trust.memory import DAY, Known, Memory
from beat_actors.trust.witnesses import AGAIN, Held, Meaning, Report, State, Witnesses, agree, reported

NOW = 1_790_000_000.0
CHAIN = ("held", "twin", "other", "third")
RULES = EntityRules(
    InstagramAccount,
    1,
    "profile_id",
    (Number("followers", usual=0.003, drop_from=1, digits={"rounded": 3}), Number("following", usual=0.01)),
    handle="handle",
    verified="is_verified",
    face=("full_name", "biography", "profile_pic_url"),
)
TRUST = Trust(entities=(RULES,), backends={"held": "one", "twin": "one"})
GATE = Gate(RULES, TRUST.since)
WITNESSES = Witnesses(TRUST, RULES)
MEMORY = Memory({"followers": Known(3_600_000, int(NOW - DAY), 10, 200)})


def says(source: str, at: float = NOW, **values: int | str | bool | None) -> Report:
    return Report(source, dict(values), at)


def held(followers: int = 8, chain: tuple[str, ...] = CHAIN) -> Held:
    return WITNESSES.hold(says("held", followers=followers), MEMORY, chain, NOW)


def test_s8_4_a_held_drop_that_an_independent_source_confirms_is_accepted_after_one_call() -> None:
    first = held(8)
    assert (first.state, first.asks) == (State.ASKING, "other")
    done = WITNESSES.answered(first, says("other", followers=8), CHAIN, NOW + 1)
    assert (done.state, done.why) == (State.ACCEPTED, "other says the same")
    assert len(done.witnesses) == 1


def test_s8_4_a_held_drop_that_another_source_does_not_know_of_is_rejected() -> None:
    done = WITNESSES.answered(held(8), says("other", followers=3_590_000), CHAIN, NOW + 1)
    assert (done.state, done.why) == (State.REJECTED, "other says what was known")


def test_sources_that_resell_one_backend_do_not_confirm_each_other() -> None:
    first = held(8)
    assert WITNESSES.answered(first, says("twin", followers=8), CHAIN, NOW + 1).state is State.ASKING
    alone = held(8, ("held", "twin"))
    assert (alone.state, alone.next_at) == (State.WAITING, NOW + AGAIN[0])
    # It can still take back what both have said.
    assert WITNESSES.answered(first, says("twin", followers=3_600_000), CHAIN, NOW + 1).state is State.REJECTED


def test_a_third_value_and_a_silent_source_send_the_question_on() -> None:
    second = WITNESSES.answered(held(8), says("other", followers=70_000), CHAIN, NOW + 1)
    assert (second.state, second.asks) == (State.ASKING, "third")
    waits = WITNESSES.answered(second, says("third", followers=None), CHAIN, NOW + 2)
    assert (waits.state, waits.asked, len(waits.witnesses)) == (State.WAITING, (), 2)


def test_without_a_second_source_the_question_is_put_again_after_1_6_and_24_hours_and_then_to_a_person() -> None:
    case, asked_at = held(8, ("held",)), []
    for hour in range(30):
        now = NOW + hour * 3600
        case = WITNESSES.due(case, ("held",), now)
        if case.state is State.ASKING:
            asked_at.append(hour)
            case = WITNESSES.answered(case, says("held", now, followers=8), ("held",), now)
    assert asked_at == [1, 6, 24]
    assert case.state is State.PERSON
    assert WITNESSES.decided(case, accept=True, by="ada").state is State.ACCEPTED
    assert WITNESSES.decided(case, accept=False, by="ada").why == "by ada"


def test_a_source_that_takes_it_back_ends_it() -> None:
    case = WITNESSES.due(held(8, ("held",)), ("held",), NOW + 3600)
    done = WITNESSES.answered(case, says("held", NOW + 3600, followers=3_601_000), ("held",), NOW + 3600)
    assert done.state is State.REJECTED


def test_a_second_source_that_was_down_is_asked_when_it_is_back() -> None:
    first = WITNESSES.failed(held(8, ("held", "other")), "other", ("held", "other"), NOW + 5)
    assert (first.state, first.next_at) == (State.WAITING, NOW + 3600)
    assert WITNESSES.due(first, ("held", "other"), NOW + 3599) is first
    again = WITNESSES.due(first, ("held", "other"), NOW + 3600)
    assert (again.state, again.asks) == (State.ASKING, "other")


def test_late_answers_change_nothing() -> None:
    done = WITNESSES.answered(held(8), says("other", followers=8), CHAIN, NOW + 1)
    assert WITNESSES.answered(done, says("third", followers=3_600_000), CHAIN, NOW + 2) is done
    assert WITNESSES.failed(done, "other", CHAIN, NOW + 2) is done
    assert WITNESSES.decided(done, accept=False, by="ada") is done
    waiting = held(8)
    assert WITNESSES.failed(waiting, "third", CHAIN, NOW + 2) is waiting


def test_flags_and_faces_are_compared_for_equality() -> None:
    known = GATE.learn(
        Memory(),
        InstagramAccount(
            profile_id="1",
            handle="ada",
            is_verified=True,
            full_name="A",
            biography="b",
            profile_pic_url="https://x.test/1",
        ),
        GATE.accepted,
        at=NOW - DAY,
    )
    taken = InstagramAccount(
        profile_id="1",
        handle="ada",
        is_verified=False,
        full_name="E",
        biography="e",
        profile_pic_url="https://x.test/2",
    )
    judgement = GATE.judge(taken, known, at=NOW, asked=Asked("any"))
    assert {reason.rule for reason in judgement.reasons} == {"verified_lost", "face_changed"}
    told = reported(RULES, taken, judgement, source="held", at=NOW)
    assert set(told.values) == {"is_verified", "profile_id", "full_name", "biography"}
    case = WITNESSES.hold(told, known, CHAIN, NOW)
    assert WITNESSES.meaning(case, Report("other", told.values, NOW)) is Meaning.SAME
    assert WITNESSES.meaning(case, Report("other", {**told.values, "is_verified": True}, NOW)) is Meaning.THIRD
    assert WITNESSES.meaning(case, Report("other", {"is_verified": False}, NOW)) is Meaning.SILENT


def test_a_handle_that_moved_is_confirmed_by_the_same_key_and_refuted_by_another() -> None:
    new = InstagramAccount(profile_id="2", handle="ada")
    judgement = GATE.judge(new, at=NOW, asked=Asked("profile_by_handle", {"handle": "ada"}, known_key="1"))
    case = WITNESSES.hold(reported(RULES, new, judgement, source="held", at=NOW), Memory(), CHAIN, NOW)
    same = reported(RULES, new, judgement, source="other", at=NOW)
    old = reported(RULES, InstagramAccount(profile_id="1", handle="ada"), judgement, source="other", at=NOW)
    assert WITNESSES.answered(case, same, CHAIN, NOW).state is State.ACCEPTED
    assert WITNESSES.answered(case, old, CHAIN, NOW).state is State.REJECTED


@given(st.integers(1, 2_000_000_000), st.booleans())
def test_a_rounded_count_agrees_with_the_exact_one(exact: int, cut: bool) -> None:
    number = Number("followers", digits={"rounded": 3}, agrees=0.0)
    places = max(0, len(str(exact)) - 3)
    shown = exact // 10**places * 10**places if cut else round(exact, -places)
    assert agree(number, exact, "exact", shown, "rounded")
    assert agree(number, shown, "rounded", exact, "exact")


@pytest.mark.parametrize(("exact", "shown"), [(4227, 4.22e3), (133_017, 133e3), (103_538_378, 103e6), (12_345, 12.3e3)])
def test_the_kilo_notation_of_a_page_agrees_with_the_exact_count(exact: int, shown: float) -> None:
    number = Number("followers", digits={"page": 3}, agrees=0.0)
    assert agree(number, exact, "exact", shown, "page")
    assert not agree(number, exact, "exact", shown / 1000, "page")
    assert not agree(number, exact, "exact", shown * 0.85, "page")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(CHAIN), st.sampled_from([8, 3_600_000, 70_000, None, "failed", "due"]), st.floats(0, 30_000)
    ),
    max_size=60,
)


@given(EVENTS)
def test_every_held_record_asks_a_bounded_number_of_calls_and_an_end_stays(
    events: list[tuple[str, int | str | None, float]],
) -> None:
    case, now, calls, ends = held(8), NOW, 1, set()
    for source, event, later in events:
        now, before = now + later, case
        asked = case.asks or source
        if event == "failed":
            case = WITNESSES.failed(case, asked, CHAIN, now)
        elif event == "due":
            case = WITNESSES.due(case, CHAIN, now)
        else:
            assert event is None or isinstance(event, int)
            case = WITNESSES.answered(case, says(asked, now, followers=event), CHAIN, now)
        calls += case.asks != "" and (case.asks != before.asks or len(case.asked) != len(before.asked))
        if case.is_decided:
            ends.add(case.state)
        assert (case.state is State.ASKING) == (case.asks != "")
        assert (case.state is State.WAITING) == (case.next_at is not None)
    assert len(ends) <= 1
    assert calls <= (len(CHAIN) - 2) * (len(AGAIN) + 1) + len(AGAIN)


def test_the_platforms_declare_backends_of_sources_that_they_have() -> None:
    for platform in platforms().values():
        named: Mapping[str, str] = platform.trust.backends
        assert set(named) <= set(platform.sources)
        for rules in platform.trust.entities:
            digits = {source for number in rules.numbers for source in number.digits}
            assert digits <= {"*", *platform.sources}
            assert set(rules.identity) <= set(platform.chains)
            assert {number.name for number in rules.numbers} <= {
                name for entity in platform.entities if entity.record is rules.record for name in entity.metrics
            }
