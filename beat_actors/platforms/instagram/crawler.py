"""InstagramCrawler: what can be fetched from Instagram, and the chain of sources for each operation, in the order of preference."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from beat_actors.platforms.interface import FetchSpec

DEMOGRAPHICS = ("follower_demographics", "reached_audience_demographics", "engaged_audience_demographics")
# source: Meta's changelog of 21 May 2024. A follower's demographics are of now; the others of this week or month.
TIMEFRAMES = {"reached_audience_demographics": "this_month", "engaged_audience_demographics": "this_month"}
BREAKDOWNS = ("country", "city", "gender,age")


class InstagramCrawler:
    """Each method names one upstream call; the broker walks the operation's chain until a hop gives an answer."""

    chains: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "profile_by_handle": ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions"),
        "profile_by_id": ("arraybobo", "jotucker", "lama", "bestsolutions"),
        "posts_by_id": ("jotucker", "lama", "arraybobo", "bestsolutions"),
        "posts_by_handle": ("graphapi", "arraybobo"),
        "post_by_shortcode": ("arraybobo", "jotucker", "lama"),
        "reels_by_id": ("arraybobo", "lama"),
        "tagged_by_id": ("arraybobo", "lama"),
        "stories_by_id": ("arraybobo", "lama"),
        "comments_by_shortcode": ("jotucker", "lama"),
        "followers_by_id": ("jotucker", "lama"),
        "following_by_id": ("jotucker", "lama"),
        "hashtag_posts": ("jotucker", "lama"),
        # What only its owner may ask: there is no other source, and no other credential.
        "own_profile": ("graphapi",),
        "own_posts": ("graphapi",),
        "own_tagged": ("graphapi",),
        "own_stories": ("graphapi",),
        "own_post": ("graphapi",),
        "own_story": ("graphapi",),
        "own_children": ("graphapi",),
        "own_comments": ("graphapi",),
        "profile_insights": ("graphapi",),
        "profile_insights_daily": ("graphapi",),
        "post_insights": ("graphapi",),
        "story_insights": ("graphapi",),
        "story_navigation": ("graphapi",),
    }

    @staticmethod
    def fetch_profile_by_handle(handle: str) -> FetchSpec:
        return FetchSpec("profile_by_handle", {"handle": handle})

    @staticmethod
    def fetch_profile_by_id(profile_id: str) -> FetchSpec:
        return FetchSpec("profile_by_id", {"profile_id": profile_id})

    @staticmethod
    def fetch_posts_by_id(profile_id: str) -> FetchSpec:
        """One page of posts, newest first. The Graph API goes on with what its profile call began, also by `posts_by_handle` where
        it returns no id."""
        return FetchSpec("posts_by_id", {"profile_id": profile_id})

    @staticmethod
    def fetch_post_by_shortcode(shortcode: str) -> FetchSpec:
        return FetchSpec("post_by_shortcode", {"shortcode": shortcode})

    @staticmethod
    def fetch_of_profile(operation: str, profile_id: str) -> FetchSpec:
        """The first page of a list that belongs to an account: `reels_by_id`, `tagged_by_id`, `stories_by_id`, `followers_by_id`…"""
        return FetchSpec(operation, {"profile_id": profile_id})

    @staticmethod
    def fetch_comments_by_shortcode(shortcode: str) -> FetchSpec:
        return FetchSpec("comments_by_shortcode", {"shortcode": shortcode})

    @staticmethod
    def fetch_hashtag_posts(hashtag: str) -> FetchSpec:
        return FetchSpec("hashtag_posts", {"hashtag": hashtag})

    @staticmethod
    def fetch_own(operation: str, user_id: str, **params: str) -> FetchSpec:
        """What an account's own credential alone may ask; `user_id` is the Graph API's id of the account."""
        return FetchSpec(operation, {"user_id": user_id, **params}, owner=user_id)

    @staticmethod
    def fetch_profile_insights(user_id: str) -> Sequence[FetchSpec]:
        """One call answers one metric by one breakdown: nine of them."""
        return [
            InstagramCrawler.fetch_own(
                "profile_insights",
                user_id,
                metric=metric,
                breakdown=breakdown,
                **({"timeframe": TIMEFRAMES[metric]} if metric in TIMEFRAMES else {}),
            )
            for metric in DEMOGRAPHICS
            for breakdown in BREAKDOWNS
        ]

    @staticmethod
    def fetch_profile_insights_daily(user_id: str, metric: str, since: int | None, until: int | None) -> FetchSpec:
        """A number for each day. `since` and `until` are seconds since the epoch; without them the Graph API returns its last two days."""
        bounds = {name: at for name, at in (("since", since), ("until", until)) if at is not None}
        return FetchSpec("profile_insights_daily", {"user_id": user_id, "metric": metric, **bounds}, owner=user_id)
