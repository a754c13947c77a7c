"""The gate: which records are written, held and rejected, by the rules of the platforms that Beat has."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import EntityRules, Number, Record
from beat_actors.platforms.registry import platforms
from beat_actors.platforms.shopify.entities import ShopifyOrder
from beat_actors.platforms.tiktok.entities import TikTokPost
from beat_actors.platforms.youtube.entities import YouTubeAccount
from beat_actors.trust.gate import NORMAL, SLACK, Asked, Gate, Widened, step
from beat_actors.trust.judgement import WHOLE, Judgement, Ruling
from beat_actors.trust.memory import DAY, NOTHING, Known, Memory, encode

NOW = 1_790_000_000
TODAY = datetime.fromtimestamp(NOW, UTC)
COUNTS = st.integers(0, 2_000_000_000)


def gate(platform: str, record: type[Record]) -> Gate:
    trust = platforms()[platform].trust
    return Gate(next(rules for rules in trust.entities if rules.record is record), trust.since)


PROFILES = gate("instagram", InstagramAccount)
POSTS = gate("instagram", InstagramPost)
CHANNELS = gate("youtube", YouTubeAccount)
CLIPS = gate("tiktok", TikTokPost)


class Plain(Record, frozen=True, kw_only=True):
    """A thing with a number that is judged by the rule for falls alone."""

    key: str
    size: int | None = None


PLAIN = Gate(EntityRules(Plain, 1, "key", (Number("size", drop_from=1),)), datetime(2010, 1, 1, tzinfo=UTC))


def profile(**told: Any) -> InstagramAccount:
    return InstagramAccount(**{"profile_id": "1", "handle": "ada", **told})


def post(likes: int | None = None, *, days: float = 100, shortcode: str = "a", **told: Any) -> InstagramPost:
    return InstagramPost(shortcode=shortcode, likes=likes, taken_at=TODAY - timedelta(days=days), **told)


def seen(number: str = "followers", value: int = 10_000, **known: int) -> Memory:
    """An entity whose number was accepted a day ago."""
    return Memory({number: Known(value, NOW - int(DAY), **known)})


def followers(value: int, memory: Memory, widened: Widened = NORMAL) -> Judgement:
    return PROFILES.judge(profile(followers=value), memory, at=NOW, widened=widened)


def rules_of(judgement: Judgement) -> list[tuple[str, str]]:
    return [(reason.rule, reason.field) for reason in judgement.reasons]


@pytest.mark.parametrize("before", [100, 1000, 123_400, 3_600_000])
def test_s8_9_the_rule_for_falls_passes_89_percent_and_holds_90(before: int) -> None:
    memory = seen("size", before)
    passed = PLAIN.judge(Plain(key="1", size=before * 11 // 100), memory, at=NOW)
    held = PLAIN.judge(Plain(key="1", size=before // 10), memory, at=NOW)
    assert (passed.ruling, passed.score) == (Ruling.ACCEPT, 100)
    assert (held.ruling, held.score, rules_of(held)) == (Ruling.HOLD, 0, [("drop", "size")])


def test_s8_9_a_profile_that_loses_89_percent_is_held_by_its_own_range_and_90_by_the_rule_for_falls() -> None:
    assert rules_of(followers(1100, seen())) == [("range", "followers")]
    assert rules_of(followers(1000, seen())) == [("drop", "followers")]


def test_s8_9_during_a_confirmed_purge_89_percent_pass_and_90_are_held() -> None:
    purge = Widened(falls=True)
    assert followers(1100, seen(), purge).ruling is Ruling.ACCEPT
    assert followers(1000, seen(), purge).ruling is Ruling.HOLD
    assert followers(200_000, seen(), purge).ruling is Ruling.HOLD


def test_s8_9_each_judgement_has_a_score_from_0_to_100() -> None:
    scores = [followers(value, seen(moves=30, spread=1500)).score for value in (10_000, 9_500, 9_200, 8_800, 8_000, 0)]
    assert scores == sorted(scores, reverse=True)
    assert (scores[0], scores[-1]) == (100, 0)
    assert 50 < scores[2] < 100


@pytest.mark.parametrize("before", [1, 9, 10, 10_000])
def test_s8_4_followers_that_are_suddenly_zero_are_held(before: int) -> None:
    judgement = followers(0, seen(value=before))
    assert (judgement.ruling, rules_of(judgement)) == (Ruling.HOLD, [("zero", "followers")])
    assert judgement.withheld == {"followers"}


def test_s8_4_a_zero_of_an_unknown_profile_is_noted_and_counts_for_its_cohort() -> None:
    judgement = followers(0, NOTHING)
    assert judgement.ruling is Ruling.NOTE
    assert judgement.is_odd
    assert not followers(5, NOTHING).is_odd


@pytest.mark.parametrize(
    ("platform", "record"),
    [
        ("instagram", profile(followers=-1)),
        ("instagram", post(-1)),
        ("youtube", YouTubeAccount(profile_id="1", views=-5)),
        ("tiktok", TikTokPost(post_id="1", shares=-1)),
        ("shopify", ShopifyOrder(platform_order_id="1", store="s", total_price=Decimal("-0.01"))),
    ],
)
def test_s8_8_a_negative_count_is_rejected(platform: str, record: Record) -> None:
    judgement = gate(platform, type(record)).judge(record, at=NOW)
    assert (judgement.ruling, judgement.score) == (Ruling.REJECT, 0)
    assert {reason.rule for reason in judgement.reasons} == {"negative"}


def test_s8_4_a_count_beyond_int64_is_rejected_and_one_beyond_all_accounts_is_held() -> None:
    assert rules_of(followers(2**63, NOTHING)) == [("beyond_int64", "followers")]
    assert followers(2**63, NOTHING).ruling is Ruling.REJECT
    assert followers(2**63 - 1, NOTHING).ruling is Ruling.HOLD


@pytest.mark.parametrize(
    ("taken_at", "rule"),
    [
        (datetime(2010, 10, 5, tzinfo=UTC), None),
        (datetime(2010, 10, 4, tzinfo=UTC), "before_the_platform"),
        (datetime(1970, 1, 1, tzinfo=UTC), "before_the_platform"),
        (TODAY + timedelta(hours=24), None),
        (TODAY + timedelta(hours=25), "in_the_future"),
    ],
)
def test_s8_4_a_date_before_the_platform_or_in_the_future_is_rejected(taken_at: datetime, rule: str | None) -> None:
    judgement = POSTS.judge(InstagramPost(shortcode="a", taken_at=taken_at), at=NOW)
    assert [reason.rule for reason in judgement.reasons] == ([] if rule is None else [rule])
    assert judgement.ruling is (Ruling.ACCEPT if rule is None else Ruling.REJECT)


def test_s8_4_more_likes_than_views_are_rejected_where_the_platform_forbids_it() -> None:
    videos = gate("tiktok", TikTokPost)
    assert videos.judge(TikTokPost(post_id="1", likes=20_000, views=19_999), at=NOW).ruling is Ruling.REJECT
    assert videos.judge(TikTokPost(post_id="1", likes=20_000, views=20_000), at=NOW).ruling is Ruling.ACCEPT
    assert videos.judge(TikTokPost(post_id="1", likes=9_999, views=1), at=NOW).ruling is Ruling.ACCEPT
    assert rules_of(POSTS.judge(post(20_000, plays=1_000), at=NOW)) == [("more_than_usual", "likes")]


def test_what_is_unusual_for_others_and_was_accepted_once_is_usual_for_this_one() -> None:
    strange = post(100, comments=3000)
    assert rules_of(POSTS.judge(strange, at=NOW)) == [("more_than_usual", "comments")]
    known = Memory({"likes": Known(100, NOW), "comments": Known(2990, NOW)})
    assert POSTS.judge(strange, known, at=NOW).ruling is Ruling.ACCEPT


@pytest.mark.parametrize(
    ("asked", "ruling"),
    [
        (Asked("profile_by_handle", {"handle": "@Ada "}), Ruling.ACCEPT),
        (Asked("profile_by_handle", {"handle": "eve"}), Ruling.REJECT),
        (Asked("profile_by_id", {"profile_id": "1"}), Ruling.ACCEPT),
        (Asked("profile_by_id", {"profile_id": "2"}), Ruling.REJECT),
        # Lists hold other accounts than the one that was asked for.
        (Asked("followers_by_id", {"profile_id": "2"}), Ruling.ACCEPT),
        (Asked("profile_by_handle", {"handle": "ada"}, known_key="1"), Ruling.ACCEPT),
        (Asked("profile_by_handle", {"handle": "ada"}, known_key="2"), Ruling.HOLD),
    ],
)
def test_s8_4_somebody_elses_answer_is_rejected_and_a_handle_that_moved_is_held(asked: Asked, ruling: Ruling) -> None:
    assert PROFILES.judge(profile(), at=NOW, asked=asked).ruling is ruling


def test_a_rename_is_noted_and_costs_nothing() -> None:
    known = PROFILES.learn(NOTHING, profile(), PROFILES.accepted, at=NOW)
    judgement = PROFILES.judge(profile(handle="ada.lovelace"), known, at=NOW)
    assert (judgement.ruling, judgement.score, rules_of(judgement)) == (Ruling.NOTE, 100, [("renamed", "handle")])


def test_s8_4_a_lost_verification_is_held_and_the_other_fields_are_written() -> None:
    known = PROFILES.learn(NOTHING, profile(is_verified=True, followers=100), PROFILES.accepted, at=NOW)
    judgement = PROFILES.judge(profile(is_verified=False, followers=101), known, at=NOW)
    assert (judgement.ruling, judgement.withheld) == (Ruling.HOLD, {"is_verified"})
    assert PROFILES.judge(profile(is_verified=None), known, at=NOW).ruling is Ruling.ACCEPT
    learnt = PROFILES.learn(known, profile(is_verified=False, followers=101), judgement, at=NOW + 1)
    assert learnt.is_verified
    assert learnt.numbers["followers"].value == 101


def test_s8_4_name_picture_and_biography_that_change_at_once_hold_the_whole_record() -> None:
    face = {"full_name": "Ada", "biography": "Numbers", "profile_pic_url": "https://a.test/x/ada.jpg?sig=1"}
    known = PROFILES.learn(NOTHING, profile(**face), PROFILES.accepted, at=NOW)
    moved = {**face, "profile_pic_url": "https://b.test/y/ada.jpg?sig=2", "full_name": "A.", "biography": "Engines"}
    assert PROFILES.judge(profile(**moved), known, at=NOW).ruling is Ruling.ACCEPT
    judgement = PROFILES.judge(profile(**{**moved, "profile_pic_url": "https://b.test/eve.jpg"}), known, at=NOW)
    assert (judgement.ruling, judgement.withheld) == (Ruling.HOLD, {WHOLE})
    learnt = PROFILES.learn(known, profile(**moved), judgement, at=NOW)
    assert (learnt.numbers, learnt.face, learnt.held_since) == (known.numbers, known.face, NOW)


def test_s8_4_three_likes_on_most_posts_of_one_answer_are_held() -> None:
    posts = [post(3, shortcode=str(n)) for n in range(4)] + [post(250, shortcode=str(n)) for n in range(4, 7)]
    known = [NOTHING] * 6 + [Memory({"likes": Known(240, NOW - 60)})]
    judged = POSTS.judge_answer(posts, known, at=NOW)
    assert [rules_of(one) for one in judged] == [[("placeholder", "likes")]] * 4 + [[]] * 3
    assert all(one.withheld == {"likes"} for one in judged[:4])
    half = POSTS.judge_answer(posts[1:], known[1:], at=NOW)
    assert all(one.is_written for one in half)
    few = POSTS.judge_answer(posts[:4], known[:4], at=NOW)
    assert all(one.is_written for one in few)


def test_three_likes_that_were_accepted_before_stay() -> None:
    known = [Memory({"likes": Known(3, NOW)})] * 6
    assert all(one.is_written for one in POSTS.judge_answer([post(3)] * 6, known, at=NOW))


def test_a_quiet_profile_has_a_narrow_range_and_a_lively_one_a_wide_one_from_one_point_on() -> None:
    assert followers(8_500, seen()).ruling is Ruling.HOLD
    assert followers(8_500, seen(moves=30, spread=100)).ruling is Ruling.HOLD
    assert followers(8_500, seen(moves=30, spread=4000)).ruling < Ruling.HOLD
    assert followers(9_600, seen(moves=30)).ruling is Ruling.ACCEPT


def test_a_step_of_a_rounded_count_is_never_held() -> None:
    memory = seen("followers", 1_000_000, moves=30)
    for value in (1_010_000, 990_000, 1_000_000 - step(1_000_000, 3)):
        channel = YouTubeAccount(profile_id="1", followers=value)
        assert CHANNELS.judge(channel, memory, at=NOW, source="ytapi").ruling is Ruling.ACCEPT


def test_views_of_a_young_post_may_rise_and_those_of_any_post_do_not_fall() -> None:
    views = seen("views", 100_000)
    assert POSTS.judge(post(days=2, views=2_000_000), views, at=NOW).ruling is Ruling.ACCEPT
    assert POSTS.judge(post(days=200, views=2_000_000), views, at=NOW).ruling is Ruling.HOLD
    assert POSTS.judge(post(days=2, views=99_000), views, at=NOW).ruling is Ruling.HOLD
    assert POSTS.judge(post(days=2, views=99_700), views, at=NOW).ruling < Ruling.HOLD


def test_an_unknown_number_is_neither_judged_nor_forgotten() -> None:
    memory = seen()
    assert PROFILES.judge(profile(followers=None), memory, at=NOW).ruling is Ruling.ACCEPT
    assert PROFILES.learn(memory, profile(), PROFILES.accepted, at=NOW).numbers == memory.numbers


@given(COUNTS, st.integers(0, 30), st.integers(0, 1_000_000), st.floats(0, 400 * DAY))
def test_a_value_equal_to_the_last_is_never_held(value: int, moves: int, spread: int, later: float) -> None:
    memory = Memory({name: Known(value, NOW, moves, spread) for name in ("likes", "comments", "views", "plays")})
    same = post(value, comments=value, views=value, plays=value, days=300)
    assert POSTS.judge(same, memory, at=NOW + later).ruling is Ruling.ACCEPT
    assert all(one.is_written for one in POSTS.judge_answer([same] * 6, [memory] * 6, at=NOW + later))


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 30), st.integers(0, 30_000), st.booleans())
def test_a_larger_deviation_is_never_judged_more_mildly(
    before: int, one: int, other: int, moves: int, spread: int, purge: bool
) -> None:
    memory, widened = seen(value=before, moves=moves, spread=spread), Widened(falls=purge)
    if (one < before) != (other < before):
        return
    near, far = sorted((one, other), key=lambda value: abs(value - before))
    mild, severe = followers(near, memory, widened), followers(far, memory, widened)
    assert severe.ruling >= mild.ruling
    assert severe.score <= mild.score


@given(st.lists(COUNTS, min_size=1, max_size=40))
def test_held_values_never_teach(values: list[int]) -> None:
    memory, taught = NOTHING, NOTHING
    for day, value in enumerate(values):
        record, at = profile(followers=value), NOW + day * DAY
        judgement = PROFILES.judge(record, memory, at=at)
        memory = PROFILES.learn(memory, record, judgement, at=at)
        if judgement.is_written:
            taught = PROFILES.learn(taught, record, PROFILES.accepted, at=at)
    assert memory.numbers == taught.numbers


@given(st.lists(COUNTS, max_size=20), COUNTS)
def test_the_judged_value_is_no_part_of_its_own_baseline(values: list[int], last: int) -> None:
    memory = NOTHING
    for day, value in enumerate(values):
        memory = PROFILES.learn(memory, profile(followers=value), PROFILES.accepted, at=NOW + day * DAY)
    before = encode(memory)
    first = PROFILES.judge(profile(followers=last), memory, at=NOW + 50 * DAY)
    assert encode(memory) == before
    assert PROFILES.judge(profile(followers=last), memory, at=NOW + 50 * DAY) == first


RECORDS = {PROFILES: InstagramAccount, POSTS: InstagramPost, CHANNELS: YouTubeAccount, CLIPS: TikTokPost, PLAIN: Plain}
FEW = st.sampled_from([None, 0, 3, 1500, 20_000])
TEXTS = st.sampled_from([None, "", "ada", "grace", "https://one.example/a.jpg?x=1", "https://two.example/a.jpg"])


@st.composite
def observations(draw: st.DrawFn) -> tuple[Gate, list[Record]]:
    """Two observations of a thing, of which many a field is the same."""
    found = draw(st.sampled_from(list(RECORDS)))
    dates = st.sampled_from(
        [None, TODAY - timedelta(days=100), TODAY + timedelta(days=3), datetime(1990, 1, 1, tzinfo=UTC)]
    )
    values: dict[str, st.SearchStrategy[Any]] = {number.name: FEW for number in found.rules.numbers}
    values |= dict.fromkeys(found.rules.dates, dates)
    values |= dict.fromkeys(found.rules.face, TEXTS)
    if found.rules.verified:
        values[found.rules.verified] = st.sampled_from([None, True, False])
    fixed = {field.name: "1" for field in msgspec.structs.fields(RECORDS[found]) if field.required} | {
        found.rules.key: "1"
    }
    if found.rules.handle:
        values[found.rules.handle] = st.sampled_from(["ada", "grace"])
    before = {name: draw(each) for name, each in values.items()}
    after = {name: draw(st.one_of(st.just(before[name]), each)) for name, each in values.items()}
    return found, [RECORDS[found](**(fixed | told)) for told in (before, after)]


@given(observations(), st.integers(-1, 3), st.booleans())
@settings(max_examples=1000)
def test_what_is_learnt_in_one_pass_is_what_the_rules_say(
    of: tuple[Gate, list[Record]], days: int, is_held: bool
) -> None:
    found, (before, after) = of
    memory = found.learn(NOTHING, before, found.accepted, at=NOW)
    memory = memory.holding(NOW) if is_held else memory
    at = NOW + days * int(DAY)
    steady = found.steady(found.read(after), memory, at, datetime.fromtimestamp(at, UTC) + SLACK)
    judgement = found.judge(after, memory, at=at)
    if steady is None:
        known = [memory.numbers.get(number.name) for number in found.rules.numbers]
        told = [getattr(after, number.name) for number in found.rules.numbers]
        assert (
            judgement is not found.accepted
            or at < NOW
            or not memory.numbers
            or any(new is not None and (old is None or old.value != new) for new, old in zip(told, known, strict=True))
            or msgspec.structs.astuple(found.learn(memory, after, judgement, at=at))[1:3]
            != msgspec.structs.astuple(memory)[1:3]
        )
        return
    assert judgement is found.accepted
    assert steady == found.learn(memory, after, judgement, at=at)


@given(observations())
def test_a_steady_record_is_held_where_another_one_was_asked_for(of: tuple[Gate, list[Record]]) -> None:
    found, (before, _) = of
    memory = found.learn(NOTHING, before, found.accepted, at=NOW)
    values = found.read(before)
    steady = found.steady(values, memory, NOW, TODAY + SLACK)
    asked = Asked("any", {}, known_key="another")
    (judgement,) = found.judge_read([values], [memory], NOW, "", asked, NORMAL, [steady])
    assert [reason.rule for reason in judgement.reasons if reason.rule == "handle_moved"] == ["handle_moved"]
    assert judgement.ruling >= Ruling.HOLD
