"""Channels as the Data API returns them, and the accounts that they become."""

import msgspec

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.interface import FetchSpec, Parsed, told
from beat_actors.platforms.reading import Count, Id, count, decoder, instant, name, text
from beat_actors.platforms.youtube.entities import YouTubeAccount
from beat_actors.platforms.youtube.payloads import Page, Resource, Status, Thumbnails, the_id

# What a channel does not have is left out of its snippet. A whole part that is not there says nothing.
OF_SNIPPET = ("full_name", "biography", "country", "language")
PROFILE_TELLS = told(YouTubeAccount, always=OF_SNIPPET)


class ChannelSnippet(Resource):
    title: str | None = None
    description: str | None = None
    custom_url: str | None = None
    published_at: str | None = None
    thumbnails: Thumbnails | None = None
    default_language: str | None = None
    country: str | None = None


class ChannelStatistics(Resource):
    subscriber_count: Count = None
    hidden_subscriber_count: bool | None = None
    video_count: Count = None
    view_count: Count = None


class RelatedPlaylists(Resource):
    uploads: str | None = None


class ChannelDetails(Resource):
    related_playlists: RelatedPlaylists | None = None


class Channel(Resource):
    id: Id
    snippet: ChannelSnippet | None = None
    statistics: ChannelStatistics | None = None
    content_details: ChannelDetails | None = None
    status: Status | None = None


decode_channels = decoder(Page[Channel])


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    items = decode_channels(body).all()
    if not items:
        raise Missing("there is no such channel")
    found, named = account(items[0], "$.items[0]"), items[0].snippet.custom_url if items[0].snippet else None
    if spec.operation == "profile_by_handle" and named and not named.startswith("@"):
        # A name from the time before handles. It does not say whether the handle is the one that was asked for.
        found = msgspec.structs.replace(found, handle=handle(spec.params["handle"]))
    the_channel_asked_for(spec, found)
    return Parsed([found])


def the_channel_asked_for(spec: FetchSpec, found: YouTubeAccount) -> None:
    """Raises `Malformed` where the answer is about another channel. No answer has an old user name, so that one cannot be compared."""
    if spec.operation == "profile_by_id" and found.profile_id != spec.params["profile_id"]:
        said = f"asked for {spec.params['profile_id']!r}, the answer is of {found.profile_id!r}"
        raise Malformed(said, path="$.items[0].id")
    if spec.operation == "profile_by_handle" and found.handle not in (None, handle(spec.params["handle"])):
        said = f"asked for {spec.params['handle']!r}, the answer is of {found.handle!r}"
        raise Malformed(said, path="$.items[0].snippet.customUrl")


def account(channel: Channel, at: str) -> YouTubeAccount:
    snippet = channel.snippet or ChannelSnippet()
    statistics = channel.statistics or ChannelStatistics()
    status = channel.status or Status()
    playlists = (channel.content_details or ChannelDetails()).related_playlists or RelatedPlaylists()
    followers = count(statistics.subscriber_count, f"{at}.statistics.subscriberCount")
    if followers is None and not statistics.hidden_subscriber_count:
        raise Malformed("a channel without its subscriber count", path=f"{at}.statistics.subscriberCount")
    return YouTubeAccount(
        profile_id=the_id(channel.id, f"{at}.id"),
        handle=handle(snippet.custom_url),
        full_name=text(snippet.title),
        biography=text(snippet.description),
        country=text(snippet.country),
        language=text(snippet.default_language),
        profile_pic_url=text(snippet.thumbnails.largest()) if snippet.thumbnails else None,
        uploads_playlist_id=text(playlists.uploads) or None,
        privacy_status=text(status.privacy_status),
        is_made_for_kids=status.made_for_kids,
        is_followers_hidden=statistics.hidden_subscriber_count,
        published_at=instant(snippet.published_at),
        # A hidden number is left out, or is 0.
        followers=None if statistics.hidden_subscriber_count else followers,
        media_count=count(statistics.video_count, f"{at}.statistics.videoCount"),
        views=count(statistics.view_count, f"{at}.statistics.viewCount"),
        hidden=("followers",) if statistics.hidden_subscriber_count else (),
        untold=OF_SNIPPET if channel.snippet is None else (),
    )


def handle(value: str | None) -> str | None:
    """A handle as it is kept and compared: `name` for `@Name`."""
    return name((text(value) or "").removeprefix("@")) or None
