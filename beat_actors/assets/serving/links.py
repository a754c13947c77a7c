"""Which URL a reader gets in a media field: ours, which lasts, in place of the provider's, which dies.

Where the picture is stored and a base URL is set, it is the object's. Else it is the path of the API that serves the asset and fetches the picture if
necessary. The provider's URL stands beside it. Without a bucket for assets nothing is looked up, and fields have the provider's URL.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec

from beat_actors.access.reader import Reader, Sees
from beat_actors.assets.serving.cloudfront import places_of
from beat_actors.assets.serving.places import Places
from beat_actors.database import Statements, Transaction
from beat_actors.media.urls import expiry, identity
from beat_actors.platforms.interface import Entity
from beat_actors.settings import Settings
from beat_actors.shapes import one_of

STATUSES = ("PENDING", "WAITING", "PROCESSING", "REFETCH", "COMPLETE", "FAILED", "EXPIRED", "GONE")
"""Of an asset, as `asset_log` has them."""
NOT_TO_BE_HAD = frozenset({"FAILED", "GONE"})
"""Without a stored picture, the API has nothing to serve for an asset in these states."""
AT_ONCE = 20
"""Links that are made without leaving the event loop. More may take a while, where each is signed."""


class MediaLink(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a media field. `source_url`: the provider's URL; `expires_at`: when it stops working, as it says itself. `asset`: the path
    of the API that leads to the picture, now and later; null: Beat has no asset of it. `status`: of the asset."""

    source_url: str
    expires_at: datetime | None
    asset: str | None
    status: Annotated[str, one_of(STATUSES)] | None


class Picture(NamedTuple):
    """An asset of a media field; `asset_log` explains the columns."""

    nth: int
    field: str
    public_id: UUID
    status: str
    url: str
    identity: bytes | None
    expires_at: datetime | None
    content: bytes | None
    content_identity: bytes | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A thing that is shown to a reader. `fields`: those that are known. `as_of`: when it was observed."""

    platform: str
    entity: Entity
    fields: Mapping[str, Any]
    as_of: datetime
    reader: Reader


class Linked(NamedTuple):
    """`fields` with our URLs, and what is known of each media field."""

    fields: Mapping[str, Any]
    media: Mapping[str, MediaLink]


SQL = Statements(__file__)
PICTURES = SQL("pictures", Picture)


class Links:
    """One for each process. Raises `BadSettings`."""

    def __init__(self, settings: Settings, places: Places | None = None) -> None:
        self._places = places or places_of(settings)
        self._api = (settings.public_url or "").rstrip("/")
        self.are_given = settings.asset_bucket is not None

    async def link(self, transaction: Transaction, shown: Sequence[Shown]) -> list[Linked | None]:
        """For each the fields with our URLs, or `None` where nothing changes. One statement for each kind of things with media, and kind of readers."""
        linked: list[Linked | None] = [None] * len(shown)
        groups: dict[tuple[str, Entity, bool], list[int]] = {}
        for place, one in enumerate(shown):
            if self.are_given and one.entity.assets:
                every_owner = one.reader.sees is Sees.ALL
                groups.setdefault((one.platform, one.entity, every_owner), []).append(place)
        for (platform, entity, every_owner), places in groups.items():
            values = {
                "platform": platform,
                "entity": entity.table,
                "keys": [shown[place].fields[entity.key] for place in places],
                "accounts": [shown[place].reader.account_id for place in places],
                "fields": list(entity.assets),
                "every_owner": every_owner,
            }
            found: dict[tuple[int, str], list[Picture]] = {}
            for picture in await transaction.rows(PICTURES, values, binary=True):
                found.setdefault((places[picture.nth - 1], picture.field), []).append(picture)
            make = [(place, {field: found.get((place, field), []) for field in entity.assets}) for place in places]
            made = self._make(shown, make) if len(make) <= AT_ONCE else await asyncio.to_thread(self._make, shown, make)
            for place, one_linked in made:
                linked[place] = one_linked
        return linked

    def _make(
        self, shown: Sequence[Shown], wanted: Sequence[tuple[int, Mapping[str, Sequence[Picture]]]]
    ) -> list[tuple[int, Linked]]:
        return [(place, self._linked(shown[place], pictures)) for place, pictures in wanted]

    def _linked(self, shown: Shown, pictures: Mapping[str, Sequence[Picture]]) -> Linked:
        fields, media = dict(shown.fields), {}
        for field, candidates in pictures.items():
            url = shown.fields.get(field)
            if not isinstance(url, str):
                continue
            picture, ours = self._ours(identity(url), candidates)
            fields[field] = ours or url
            same = picture is not None and picture.url == url
            media[field] = MediaLink(
                source_url=url,
                expires_at=picture.expires_at if picture is not None and same else expiry(url, shown.as_of),
                asset=None if picture is None else self._path(picture),
                status=None if picture is None else picture.status,
            )
        return Linked(fields, media)

    def _ours(self, shown: bytes, candidates: Sequence[Picture]) -> tuple[Picture | None, str | None]:
        """The asset of the picture that is shown, and our URL of it."""
        for picture in candidates:
            if picture.content is not None and picture.content_identity == shown:
                place = self._places.url_of(picture.content)
                return picture, place or f"{self._path(picture)}?v={picture.content.hex()[:16]}"
        for picture in candidates:
            if picture.identity == shown:
                nothing = picture.content is None and picture.status in NOT_TO_BE_HAD
                return picture, None if nothing else self._path(picture)
        return None, None

    def _path(self, picture: Picture) -> str:
        return f"{self._api}/assets/{picture.public_id}"
