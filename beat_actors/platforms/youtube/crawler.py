"""YouTubeCrawler: what can be fetched from YouTube, and the chain of sources for each operation, in the order of preference."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from beat_actors.platforms.interface import FetchSpec


class YouTubeCrawler:
    """Each method names one upstream call; the broker walks the operation's chain until a hop gives an answer.

    What many requests ask of single channels or videos is asked in calls of fifty; a listing's videos are one fetch from the start.
    """

    chains: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "profile_by_id": ("ytapi",),
        "profile_by_handle": ("ytapi",),
        "profile_by_username": ("ytapi",),
        "posts_by_playlist": ("ytapi",),
        "posts_by_search": ("ytapi",),
        "post_by_id": ("ytapi",),
        "posts_by_ids": ("ytapi",),
        "comments_by_post": ("ytapi",),
        "replies_by_comment": ("ytapi",),
    }

    @staticmethod
    def fetch_profile_by_id(profile_id: str) -> FetchSpec:
        return FetchSpec("profile_by_id", {"profile_id": profile_id})

    @staticmethod
    def fetch_profile_by_handle(handle: str) -> FetchSpec:
        return FetchSpec("profile_by_handle", {"handle": handle})

    @staticmethod
    def fetch_profile_by_username(username: str) -> FetchSpec:
        """By the name of an account from before there were handles."""
        return FetchSpec("profile_by_username", {"username": username})

    @staticmethod
    def fetch_posts_by_playlist(playlist_id: str) -> FetchSpec:
        """The first page of a playlist; a channel's uploads are one, newest first. It names videos and no more."""
        return FetchSpec("posts_by_playlist", {"playlist_id": playlist_id})

    @staticmethod
    def fetch_posts_by_search(**given: str | None) -> FetchSpec:
        """The first page of a search, which names videos and no more. `given`: q, profile_id, published_after, published_before,
        order, region, language; times are ISO 8601 text, and what is None is not said."""
        return FetchSpec("posts_by_search", {name: value for name, value in given.items() if value is not None})

    @staticmethod
    def fetch_post_by_id(post_id: str) -> FetchSpec:
        return FetchSpec("post_by_id", {"post_id": post_id})

    @staticmethod
    def fetch_posts_by_ids(post_ids: Sequence[str]) -> FetchSpec:
        """Up to fifty videos. Those that are not there are left out."""
        return FetchSpec("posts_by_ids", {"post_ids": list(post_ids)})

    @staticmethod
    def fetch_comments_by_post(post_id: str, order: str = "time") -> FetchSpec:
        """The first page of a video's threads, each with at most five of its answers. `order` is time or relevance."""
        return FetchSpec("comments_by_post", {"post_id": post_id, "order": order})

    @staticmethod
    def fetch_replies_by_comment(post_id: str, comment_id: str) -> FetchSpec:
        """The first page of what answers a comment on that video."""
        return FetchSpec("replies_by_comment", {"post_id": post_id, "comment_id": comment_id})
