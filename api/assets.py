"""/assets/{public_id}: the picture of an asset, from the CDN, from the bucket, or fetched now. `<img src>` names this path.

The path names a row, so nobody can make Beat fetch a URL. What is not known gets 404; a known asset without a picture gets 404 with a neutral
picture as its body, which a page shows.
"""

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import msgspec
from falcon.asgi import Request, Response

from api.access import PUBLIC, Scopes, caller_if_any, reader_of
from api.calls import Call, Calls, up_to
from api.cold import NOBODY, Asker, Brought, network_of
from api.conditions import Span, has_it, span_of
from api.deadline import bounds_itself, in_time, left
from api.parameters import whole
from api.resource import Resource
from beat_actors.access.reader import Reader
from beat_actors.assets.serving.bodies import PART, WHOLE, ObjectDamaged
from beat_actors.assets.serving.damaged import upload_again
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.serving.shelf import Asset, Step, Variant, Wanted, step
from beat_actors.errors import NotFound, ObjectMissing, ObjectsUnavailable, StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.media.picture import Kind
from beat_actors.media.variants import kind_of, width_of

log = get_logger(__name__)

PUBLIC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FOR = 30
"""Seconds for which callers and proxies may keep an answer of this path. With `shelf.FRESH` a forgotten picture is gone after 40 s, except where a caller
keeps an answer for a version."""
FOR_EVER = 31_536_000
ALWAYS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""The path is made for pages of other sites. What it serves runs nothing, also where somebody opens it as a page."""
PLACEHOLDER = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a4944415478da6378070000f000ef5de1542c0000000049"
    "454e44ae426082"
)
"""A grey PNG of one pixel."""
WIDEST = 4096
"""Pixels that can be asked for."""
REDUCIBLE = frozenset(kind.media_type for kind in Kind if kind is not Kind.GIF)
"""Types of which smaller pictures are made. A GIF may move, and a video does."""
SHOWN_BY_ALL = frozenset({Kind.JPEG.media_type, Kind.PNG.media_type})
UNKNOWN = "there is no such asset, or the key may not see it"
LEAST_VERSION = 16
"""Digits of a version, so that another picture does not have the same by chance."""
VERSION = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{LEAST_VERSION},64}}$")]
# The last one also lets generators of clients know that these are bytes.
ANY_MEDIA = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/avif",
    "video/mp4",
    "application/octet-stream",
)
QUERY = {"w": up_to(WIDEST, least=1), "v": VERSION}
HEADERS = {
    "Accept": "With `w`: which types of pictures the caller reads.",
    "If-None-Match": "The `ETag` of the picture that the caller has.",
    "Range": "A part of the picture.",
}
ANSWER_HEADERS = {
    "Location": "Where the picture lies.",
    "ETag": "The SHA-256 of the picture.",
    "Cache-Control": "How long the answer may be kept.",
}
ANSWERS = {200: None, 206: None, 302: None, 304: None}
MEDIA = {200: ANY_MEDIA, 206: ANY_MEDIA, 404: ("image/png",)}


class AssetPicture(Resource):
    """GET, HEAD: the picture of an asset."""

    scopes: Scopes = {"GET": PUBLIC, "HEAD": PUBLIC}
    calls: Calls = {
        "GET": Call(
            "Get the picture of an asset. It is fetched and stored if it is not stored yet.",
            ANSWERS,
            query=QUERY,
            headers=HEADERS,
            answer_headers=ANSWER_HEADERS,
            media=MEDIA,
        ),
        "HEAD": Call(
            "Get the headers of the picture of an asset.",
            ANSWERS,
            query=QUERY,
            headers=HEADERS,
            answer_headers=ANSWER_HEADERS,
            named="check_asset",
            media=MEDIA,
        ),
    }

    @bounds_itself
    async def on_get(self, req: Request, resp: Response, public_id: str) -> None:
        for name, value in ALWAYS.items():
            resp.set_header(name, value)
        asset = await self._find(req, public_id)
        if step(asset) is Step.SERVE:
            await self._serve(req, resp, asset)
            return
        brought = await self._brought(req, asset)
        if brought.asset.content is not None:
            await self._serve(req, resp, brought.asset)
        else:
            _send_placeholder(req, resp, brought.retry_after)

    @bounds_itself
    async def on_head(self, req: Request, resp: Response, public_id: str) -> None:
        await self.on_get(req, resp, public_id)

    async def _find(self, req: Request, public_id: str) -> Asset:
        """Raises `NotFound`, also for what the caller may not see."""
        shelf = self._provider.services.shelf
        number = _uuid(public_id)
        asset = await shelf.assets.find(number, within=left())
        if asset is not None and step(asset) is not Step.SERVE:
            asset = await shelf.assets.find(number, within=left(), anew=True)
        if asset is None or (asset.owner and not await in_time(shelf.may_read(asset, _reader(req)))):
            raise NotFound(UNKNOWN)
        return asset

    async def _brought(self, req: Request, asset: Asset) -> Brought:
        try:
            brought = await self._provider.cold.bring(asset, self._asker(req))
        except StorageUnavailable:
            if asset.content is None:
                raise
            return Brought(asset, FOR)
        if brought is None:
            raise NotFound(UNKNOWN)
        return brought

    async def _serve(self, req: Request, resp: Response, asset: Asset) -> None:
        """Answer with the asset's content, or with a smaller picture of it."""
        assert asset.content is not None
        content, media_type, size = asset.content, asset.media_type or "application/octet-stream", asset.bytes or 0
        keeps = asset.is_current
        if asked := whole(req, "w", default=0, most=WIDEST):
            resp.set_header("Vary", "Accept")
            if (wanted := wanted_of(asset, asked, req.get_header("Accept"))) is not None:
                variant = await self._variant(req, wanted)
                if variant is None:
                    keeps = False  # the smaller picture comes soon
                elif variant.variant != asset.content:
                    content, media_type, size = variant.variant, variant.shown_as, variant.bytes
        place = self._provider.services.places.url_of(content)
        if place is not None:
            resp.status = 302
            resp.set_header("Location", place)
        else:
            try:
                await self._send(req, resp, content, media_type, size)
            except ObjectMissing as error:
                log.error("object_missing", asset=str(asset.public_id), error=str(error))
                if isinstance(error, ObjectDamaged):
                    with suppress(StorageUnavailable):
                        await in_time(upload_again(self._provider.services.database, content))
                _send_placeholder(req, resp, FOR)
                return
        _set_lifetime(req, resp, asset, keeps=keeps, immutable=place is None)

    async def _variant(self, req: Request, wanted: Wanted) -> Variant | None:
        """The variant, which is made now if that takes a short time."""
        variants, cold = self._provider.services.shelf.variants, self._provider.cold
        try:
            found = await variants.find(wanted, within=left())
            if found is None and not await cold.make(wanted, self._asker(req)):
                found = await variants.find(wanted, within=left())
        except StorageUnavailable:
            return None
        return found

    async def _send(self, req: Request, resp: Response, content: bytes, media_type: str, size: int) -> None:
        """Answer with an object of the bucket. Raises `ObjectMissing`, `ObjectsUnavailable`, `RangeUnsatisfiable`, `TooManyStreams`."""
        mark = content.hex()
        known = has_it(req.get_header("If-None-Match"), mark)
        span = None if known else span_of(req.get_header("Range"), req.get_header("If-Range"), mark, size)
        first, length = span or Span(0, size)
        if not known and req.method != "HEAD":
            await self._fill(resp, content, first, length, size)
        resp.set_header("ETag", f'"{mark}"')
        resp.set_header("Accept-Ranges", "bytes")
        if known:
            resp.status = 304
            return
        resp.content_type, resp.content_length = media_type, length
        if span is not None:
            resp.status = 206
            resp.set_header("Content-Range", f"bytes {first}-{first + length - 1}/{size}")

    async def _fill(self, resp: Response, content: bytes, first: int, length: int, size: int) -> None:
        bodies = self._provider.services.bodies
        if bodies is None:
            said = "this process has neither BEAT_ASSET_BASE_URL nor BEAT_ASSET_BUCKET, so it cannot say or read where pictures lie"
            raise ObjectsUnavailable(said, reason="no_bucket")
        key = key_of(content)
        if size <= WHOLE:
            body = await bodies.whole(content, key)
            resp.data = body if length == size else body[first : first + length]
            return
        bodies.check_room()
        head = await bodies.part(key, first, min(PART, length))
        resp.stream = bodies.rest(head, key, first, length)

    def _asker(self, req: Request) -> Asker:
        caller = caller_if_any(req)
        if caller is not None:
            return Asker(caller.key_id, None)
        return Asker(NOBODY, network_of(address_of(req, self._provider.services.database.settings.api_proxies)))


def wanted_of(asset: Asset, asked: int, accept: str | None) -> Wanted | None:
    """The smaller picture for a reader that shows it `asked` pixels wide; `None` where the picture itself is what it gets."""
    width, media_type = width_of(asked), kind_of(accept).media_type
    if asset.content is None or asset.media_type not in REDUCIBLE:
        return None
    if asset.width is not None and asset.width <= width and asset.media_type in SHOWN_BY_ALL | {media_type}:
        return None
    return Wanted(asset.content, width, media_type)


def address_of(req: Request, proxies: int) -> str | None:
    """Who calls. `proxies`: how many proxies of the installation a call passes; each adds the address that it was called from to X-Forwarded-For, and
    what stands before these addresses is the caller's own word."""
    if proxies:
        passed = [each.strip() for each in (req.get_header("X-Forwarded-For") or "").split(",")]
        if len(passed) >= proxies and passed[-proxies]:
            return passed[-proxies]
    return req.remote_addr


def _reader(req: Request) -> Reader:
    caller = caller_if_any(req)
    return Reader() if caller is None else reader_of(caller)


def _uuid(text: str) -> uuid.UUID:
    """Raises `NotFound` for what is not written as the ids of assets are."""
    if PUBLIC_ID.fullmatch(text) is None:
        raise NotFound(UNKNOWN)
    return uuid.UUID(text)


def _set_lifetime(req: Request, resp: Response, asset: Asset, *, keeps: bool, immutable: bool) -> None:
    """How long callers and proxies may keep the answer: a moment, since the picture of an asset changes; for ever where the call names the version."""
    if not keeps:
        resp.set_header("Cache-Control", "no-store")
        return
    whose = "private" if asset.owner else "public"
    version = req.get_param("v") or ""
    if immutable and len(version) >= LEAST_VERSION and (asset.content or b"").hex().startswith(version):
        resp.set_header("Cache-Control", f"{whose}, max-age={FOR_EVER}, immutable")
    else:
        resp.set_header("Cache-Control", f"{whose}, max-age={FOR}")


def _send_placeholder(req: Request, resp: Response, retry_after: int) -> None:
    resp.status = 404
    resp.set_header("Cache-Control", "no-store")
    resp.set_header("Retry-After", str(retry_after))
    resp.content_type, resp.content_length = "image/png", len(PLACEHOLDER)
    if req.method != "HEAD":
        resp.data = PLACEHOLDER
