"""Smaller pictures: made once of a stored one when the first reader wants them, and stored like any other picture.

The API asks for one with a message and waits for its row. A message that is lost costs nothing but that wait: the reader gets the whole picture, and
the next reader asks again.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping
from typing import NamedTuple, Protocol

from beat_actors.assets.serving.places import key_of
from beat_actors.assets.storing import CACHE_CONTROL
from beat_actors.database import Database, Statements
from beat_actors.errors import ObjectMissing, ObjectsUnavailable, StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.media.conversion import ConversionUnavailable
from beat_actors.media.picture import NotStored, Picture
from beat_actors.transport.objects import ObjectStore

log = get_logger(__name__)

MOST_BYTES = 20_000_000
"""Bytes of a picture of which smaller ones are made: as many as a picture may have."""
AT_ONCE = 4
"""Variants that a process works on. More wait, so that they take a known part of its memory."""


class Source(NamedTuple):
    """A stored picture. `made`: whether the variant exists already."""

    bytes: int
    made: bool


SQL = Statements(__file__)
SOURCE, ADD = SQL("source", Source), SQL("add", bool)


class Convert(Protocol):
    """What is used of `conversion.Converters`."""

    def __call__(self, data: bytes, width: int, accept: str | None) -> Awaitable[Picture]: ...


class Maker:
    """One for each process that uploads, inside its event loop."""

    def __init__(self, database: Database, convert: Convert, store: ObjectStore) -> None:
        self._database, self._convert, self._store = database, convert, store
        self._places = asyncio.Semaphore(AT_ONCE)

    async def make(self, content: bytes, width: int, media_type: str) -> bool:
        """Make a variant of a stored picture, unless it exists. Whether it exists now. Never raises."""
        try:
            async with self._places:
                return await self._make(content, width, media_type)
        except (ConversionUnavailable, ObjectMissing, ObjectsUnavailable, StorageUnavailable) as error:
            log.warning("variant_not_made", content=content.hex(), width=width, error=str(error))
        return False

    async def _make(self, content: bytes, width: int, media_type: str) -> bool:
        wanted = {"content": content, "width": width, "media_type": media_type}
        async with self._database.statements() as alone:
            source = await alone.row(SOURCE, wanted)
        if source is None or source.made or source.bytes > MOST_BYTES:
            return source is not None and source.made
        whole = await self._store.read(key_of(content))
        picture = await self._converted(whole, width, media_type)
        # What was in the bucket without a row might be deleted just now. After the first turn it has one.
        return await self._stored(wanted, whole, picture) or await self._stored(wanted, whole, picture)

    async def _stored(self, wanted: Mapping[str, object], whole: bytes, picture: Picture | None) -> bool:
        """Store the picture and add the variant. False where the object was in the bucket and had no row."""
        if picture is None:
            values: dict[str, object] = {"variant": wanted["content"], "bytes": len(whole), "made": False}
            values |= dict.fromkeys(("shown_as", "shown_width", "shown_height"))
        else:
            body, kind = picture.data, picture.media_type
            variant = hashlib.sha256(body).digest()
            made = await self._store.put(
                key_of(variant), body, content_type=kind, cache_control=CACHE_CONTROL, sha256=variant
            )
            values = {"variant": variant, "bytes": len(body), "made": made, "shown_as": kind}
            values |= {"shown_width": picture.width, "shown_height": picture.height}
        async with self._database.transaction() as transaction:
            return bool(await transaction.value(ADD, {**wanted, **values}))

    async def _converted(self, whole: bytes, width: int, media_type: str) -> Picture | None:
        """The smaller picture; `None` where the whole one is the smallest that can be made."""
        try:
            picture = await self._convert(whole, width, media_type)
        except NotStored as refused:
            log.info("variant_refused", reason=refused.reason, found=str(refused))
            return None
        return picture if len(picture.data) < len(whole) else None
