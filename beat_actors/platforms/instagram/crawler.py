"""InstagramCrawler: what can be fetched from Instagram, and the chain of sources for each operation, in the order of preference."""

from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import FetchSpec


class InstagramCrawler:
    """Each method names one upstream call; the broker walks the operation's chain until a hop gives an answer."""

    chains: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "profile_by_handle": ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions"),
        "profile_by_id": ("arraybobo", "jotucker", "lama", "bestsolutions"),
        "posts_by_id": ("jotucker", "lama", "arraybobo", "bestsolutions"),
        "posts_by_handle": ("graphapi",),
    }

    @staticmethod
    def fetch_profile_by_handle(handle: str) -> FetchSpec:
        return FetchSpec("profile_by_handle", {"handle": handle})

    @staticmethod
    def fetch_profile_by_id(profile_id: str) -> FetchSpec:
        return FetchSpec("profile_by_id", {"profile_id": profile_id})

    @staticmethod
    def fetch_posts_by_id(profile_id: str) -> FetchSpec:
        """One page of posts, newest first; `posts_by_handle` is the Graph API's way to page what its profile call began."""
        return FetchSpec("posts_by_id", {"profile_id": profile_id})
