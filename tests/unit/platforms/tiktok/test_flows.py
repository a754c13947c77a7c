"""What may be asked of TikTok, and what is fetched for it."""

from importlib.metadata import entry_points
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadInput, UnknownFlow
from beat_actors.platforms import tiktok
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.registry import platforms
from beat_actors.platforms.tiktok import TikTokAccount, TikTokComment, TikTokCrawler, TikTokPost, platform

PROFILES = platform.flows["refresh_tiktok_profiles"]
ACCOUNT = TikTokAccount(profile_id="42", handle="somebody", sec_uid="MS4w", media_count=90)
POSTS = [TikTokPost(post_id="1")]


def asked(**params: Any) -> tuple[FetchSpec, dict[str, Any]]:
    validated = PROFILES.validate({"handle": "@Some.Body", **params})
    return PROFILES.first(validated), msgspec.to_builtins(validated)


def test_s10_3_the_platform_is_found_by_its_entry_point_with_its_named_types() -> None:
    (entry,) = entry_points(group="beat.platforms", name="tiktok")
    assert entry.load() is platforms()["tiktok"] is platform
    names = {"TikTokAccount", "TikTokPost", "TikTokComment", "TikTokCrawler"}
    assert names <= set(vars(tiktok))
    assert {type(source).__name__ for source in platform.sources.values()} == {"Tikwm", "Api23"}
    # The crawler's registry: whom each operation may be asked of, by the names under which the sources are known.
    assert {name for chain in TikTokCrawler.chains.values() for name in chain} == set(platform.sources)
    assert [entity.record for entity in platform.entities] == [TikTokAccount, TikTokPost, TikTokComment]
    assert [entity.log for entity in platform.entities] == ["profile_log", "post_log", None]
    assert platform.chains is TikTokCrawler.chains


def test_s10_4_refresh_tiktok_profiles_has_five_workers_of_five() -> None:
    assert (PROFILES.workers, PROFILES.concurrency) == (5, 5)
    assert next(iter(platform.flows)) == PROFILES.name


def test_s10_5_an_unknown_flow_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownFlow, match="refresh_tiktok_profiles"):
        platform.flow("refresh_tiktok_profile")


def test_a_profile_is_followed_by_pages_of_posts_until_there_are_enough() -> None:
    first, params = asked(posts=60)
    assert (first.operation, first.params) == ("profile_by_handle", {"handle": "some.body"})
    (page,) = PROFILES.follow_ups(first, params, Parsed([ACCOUNT]), 1)
    assert page == TikTokCrawler.fetch_posts_by_id("42", "somebody", "MS4w")
    answered = FetchSpec(page.operation, page.params, source="api23")
    (second,) = PROFILES.follow_ups(answered, params, Parsed(POSTS, "17"), 31)
    assert (second.cursor, second.page, second.source, second.params) == ("17", 2, "api23", page.params)
    assert PROFILES.follow_ups(second, params, Parsed(POSTS, "16"), 61) == ()


def test_paging_ends() -> None:
    first, params = asked(posts=2000)
    page = FetchSpec("posts_by_id", {"profile_id": "42"}, "17", "tikwm", 2)
    assert PROFILES.follow_ups(page, params, Parsed(POSTS, None), 31) == ()
    for account in (
        msgspec.structs.replace(ACCOUNT, is_private=True),
        msgspec.structs.replace(ACCOUNT, media_count=0),
    ):
        assert PROFILES.follow_ups(first, params, Parsed([account]), 1) == ()
    _, params = asked(posts=0)
    assert PROFILES.follow_ups(first, params, Parsed([ACCOUNT]), 1) == ()


def test_comments_are_paged_to_the_limit() -> None:
    flow = platform.flows["refresh_tiktok_comments"]
    validated = flow.validate({"post_id": "7000000000000000001", "limit": 100})
    first, params = flow.first(validated), msgspec.to_builtins(validated)
    comments = [TikTokComment(comment_id="1", post_id="7000000000000000001")]
    (second,) = flow.follow_ups(first, params, Parsed(comments, "50"), 50)
    assert (second.operation, second.cursor, second.page) == ("comments_by_post", "50", 2)
    assert flow.follow_ups(second, params, Parsed(comments, "100"), 100) == ()


@pytest.mark.parametrize(
    ("flow", "params"),
    [
        ("refresh_tiktok_profiles", {}),
        ("refresh_tiktok_profiles", {"handle": ""}),
        ("refresh_tiktok_profiles", {"handle": "some body"}),
        ("refresh_tiktok_profiles", {"handle": "some/body"}),
        ("refresh_tiktok_profiles", {"handle": "somebody\n"}),
        ("refresh_tiktok_profiles", {"handle": "a" * 25}),
        ("refresh_tiktok_profiles", {"handle": "شكرا"}),
        ("refresh_tiktok_profiles", {"handle": "somebody", "posts": -1}),
        ("refresh_tiktok_profiles", {"handle": "somebody", "likes": 1}),
        ("refresh_tiktok_post", {"post_id": "abc"}),
        ("refresh_tiktok_comments", {"post_id": "1", "limit": 0}),
    ],
)
def test_bad_parameters_are_met_with_a_sentence(flow: str, params: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=flow):
        platform.flows[flow].validate(params)
