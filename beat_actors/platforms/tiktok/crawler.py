"""TikTokCrawler: what can be fetched from TikTok, and the chain of sources for each operation, in the order of preference."""

from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import FetchSpec


class TikTokCrawler:
    """Each method names one upstream call; the broker walks the operation's chain until a hop gives an answer."""

    chains: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "profile_by_handle": ("tikwm", "api23"),
        "posts_by_id": ("tikwm", "api23"),
        "post_by_id": ("tikwm", "api23"),
        "comments_by_post": ("tikwm", "api23"),
    }

    @staticmethod
    def fetch_profile_by_handle(handle: str) -> FetchSpec:
        return FetchSpec("profile_by_handle", {"handle": handle})

    @staticmethod
    def fetch_posts_by_id(profile_id: str, handle: str, sec_uid: str | None) -> FetchSpec:
        """One page of posts, newest first. TikTok's web asks by `sec_uid`: without one, tikwm alone can be asked."""
        params = {"profile_id": profile_id, "handle": handle, "sec_uid": sec_uid}
        return FetchSpec("posts_by_id", params, source=None if sec_uid else "tikwm")

    @staticmethod
    def fetch_post_by_id(post_id: str) -> FetchSpec:
        return FetchSpec("post_by_id", {"post_id": post_id})

    @staticmethod
    def fetch_comments_by_post(post_id: str) -> FetchSpec:
        return FetchSpec("comments_by_post", {"post_id": post_id})
