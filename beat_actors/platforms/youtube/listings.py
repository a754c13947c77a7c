"""Playlists and searches, which return the ids of videos and little else."""

import msgspec

from beat_actors.platforms.interface import FetchSpec, Parsed, Tells, Told
from beat_actors.platforms.reading import Id, decoder
from beat_actors.platforms.youtube.entities import YouTubePost
from beat_actors.platforms.youtube.payloads import Page, Resource, Status, the_id

PLAYLIST_TELLS: Tells = {YouTubePost: Told(always=frozenset(), sometimes=frozenset({"post_id", "privacy_status"}))}
SEARCH_TELLS: Tells = {}
# How a playlist marks a video that is no longer public: in its title, and in its status where that is asked for.
GONE = {"Private video": "private", "Deleted video": "deleted"}
STATUS_GONE = {"private": "private", "privacyStatusUnspecified": "deleted"}


class ResourceId(Resource):
    """What a search found: a video, a channel or a playlist."""

    kind: str | None = None
    video_id: Id | None = None


class ItemSnippet(Resource):
    title: str | None = None
    thumbnails: dict[str, msgspec.Raw] | None = None
    resource_id: ResourceId | None = None


class ItemDetails(Resource):
    video_id: Id | None = None


class PlaylistItem(Resource):
    """A video of a playlist. The details and the status name it, or the snippet."""

    content_details: ItemDetails | None = None
    status: Status | None = None
    snippet: ItemSnippet | None = None


class Found(Resource):
    id: ResourceId


decode_playlist = decoder(Page[PlaylistItem])
decode_found = decoder(Page[Found])


def parse_playlist(body: bytes, _spec: FetchSpec) -> Parsed:
    """The ids of the videos that are there, and a record of each that is gone, because no other answer mentions it."""
    page = decode_playlist(body)
    items = [listed(item, f"$.items[{i}]") for i, item in enumerate(page.all())]
    gone = [YouTubePost(post_id=post_id, privacy_status=how) for post_id, how in items if how is not None]
    return Parsed(gone, page.next_page_token or None, [post_id for post_id, how in items if how is None])


def parse_search(body: bytes, _spec: FetchSpec) -> Parsed:
    page = decode_found(body)
    ids = [
        the_id(item.id.video_id, f"$.items[{i}].id.videoId")
        for i, item in enumerate(page.all())
        if item.id.kind in (None, "youtube#video")
    ]
    return Parsed((), page.next_page_token or None, ids)


def listed(item: PlaylistItem, at: str) -> tuple[str, str | None]:
    """The id of a playlist's video, and how it is gone: `private` or `deleted`; `None` where it is there."""
    snippet = item.snippet or ItemSnippet()
    of_snippet = snippet.resource_id.video_id if snippet.resource_id else None
    of_details = item.content_details.video_id if item.content_details else None
    status = item.status.privacy_status if item.status else None
    found = the_id(of_snippet if of_details is None else of_details, f"{at}.contentDetails.videoId")
    # A video with such a title is there if it has pictures.
    called = None if snippet.thumbnails else GONE.get(snippet.title or "")
    return found, STATUS_GONE.get(status or "") or called
