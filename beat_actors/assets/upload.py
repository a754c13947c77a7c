"""One upload, from a claimed asset to its end: fetch, check, store. Nothing is final without evidence.

What an origin says of the picture decides: that it has none, or that the URL is over, or bytes that are not stored. Trouble on the way, at the origin or
at the bucket, only puts the upload off.
"""

import asyncio
import hashlib
import random
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import BinaryIO, Protocol
from uuid import UUID

from beat_actors.assets.claims import Claimed
from beat_actors.assets.commits import End, Spent, State, Stored
from beat_actors.assets.fetched import Dead, Fetched, Got, Later, Refused, Why
from beat_actors.assets.origin import IMAGE, VIDEO, Limits
from beat_actors.assets.storing import BucketDown, Content, Storing
from beat_actors.errors import ObjectsUnavailable, StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.media import placeholders
from beat_actors.media.conversion import ConversionBusy, ConversionUnavailable, DecoderLost
from beat_actors.media.picture import WORTH_ANOTHER_FETCH, NotStored, Picture, Reason
from beat_actors.media.video import cleaned

ON_THE_LOOP = 131_072
"""Bytes up to which a picture is checked and hashed on the event loop: some 100 µs. Larger ones go to a thread."""
FIRST, LONGEST = 5.0, 3600.0
"""Seconds until the second attempt, and at most. Each pause is twice as long as the one before."""
REFUSED_AGAIN = (60.0, 600.0, 3600.0, 7200.0)
"""Seconds until the next attempts where a name leads to an address that is not public: name servers err for a while. Then it is believed."""
GONE_AGAIN = (60.0, 600.0, 3600.0)
"""Seconds until the next attempts where an origin says that it has no such picture (404): a CDN may not have the file yet."""
GONE_FOR_GOOD = frozenset({410, 451})
BLOCK = 1 << 20
FETCHES_OF_DAMAGED = 3
LOST_DECODERS, REMEMBERED = 3, 4096
"""Decoders that one picture may lose until it is the picture's fault, and pictures of which that is remembered."""
PATIENCE, VIDEO_PATIENCE = 60.0, 300.0
"""Seconds that an upload waits for its turn at a busy host and for its answer. Then others get its slot."""
FILM = re.compile(r"^[^?#]+\.(?:mp4|mov|m4v)(?:[?#]|$)", re.IGNORECASE)
NOTHING = Spent()
NOT_ASKED = frozenset({Why.HOST_DOWN, Why.HOST_DENIES, Why.HOST_BUSY})
NO_ATTEMPT = NOT_ASKED | {Why.RESOURCES}


class Fetcher(Protocol):
    """What is used of `origin.Origin`."""

    async def fetch(self, url: str, limits: Limits) -> Fetched: ...


class Checker(Protocol):
    """Makes of bytes a picture that may be stored. Raises `NotStored` and `ConversionUnavailable`."""

    async def __call__(self, data: bytes) -> Picture: ...


class _IsVideo(Exception):
    """A video was downloaded as a picture."""


class Upload:
    """How a process uploads one asset."""

    def __init__(self, origin: Fetcher, check: Checker, storing: Storing) -> None:
        self._origin = origin
        self._check = check
        self._storing = storing
        self._lost: OrderedDict[UUID, int] = OrderedDict()

    async def __call__(self, asset: Claimed) -> End:
        """Never raises but for what is not foreseen, and `CancelledError`."""
        if asset.dead:
            return End(asset, State.REFETCH, failure="expired: its URL says that it is dead by now")
        try:
            try:
                return await self._fetched(asset, as_video=FILM.search(asset.url) is not None)
            except _IsVideo:  # its name does not tell; now it is downloaded into a file
                return await self._fetched(asset, as_video=True)
        except TimeoutError:
            return _later(asset, "busy: its host had no slot in time", random.uniform(1.0, 5.0), counts=False)

    async def _fetched(self, asset: Claimed, *, as_video: bool) -> End:
        async with asyncio.timeout(VIDEO_PATIENCE if as_video else PATIENCE):
            fetched = await self._origin.fetch(asset.url, VIDEO if as_video else IMAGE)
        with fetched:
            hit("upload.after_fetch", asset.public_id)
            match fetched:
                case Got():
                    end = await self._got(asset, fetched)
                case Dead(why=Why.GONE) if fetched.status not in GONE_FOR_GOOD and asset.attempts <= len(GONE_AGAIN):
                    end = _again(asset, fetched, GONE_AGAIN)
                case Dead():
                    end = End(asset, State.REFETCH, failure=f"{fetched.why}: {fetched.said}", spent=Spent(requests=1))
                case Refused() if fetched.again and asset.attempts <= len(REFUSED_AGAIN):
                    end = _again(asset, fetched, REFUSED_AGAIN)
                case Refused():
                    end = End(asset, State.FAILED, failure=f"{fetched.why}: {fetched.said}", spent=Spent(requests=1))
                case Later():
                    counts = fetched.why not in NO_ATTEMPT
                    delay = max(fetched.pause * random.uniform(1.0, 1.5), backoff(asset.attempts) if counts else 0.0)
                    spent = Spent(requests=int(fetched.why not in NOT_ASKED))
                    end = _later(asset, f"{fetched.why}: {fetched.said}", delay, counts=counts, spent=spent)
        return end

    async def _got(self, asset: Claimed, got: Got) -> End:
        spent = Spent(requests=1, fetched=got.size)
        try:
            content = await (
                self._picture(asset.url, got.data) if got.file is None else asyncio.to_thread(_film, got.file)
            )
        except NotStored as refused:
            if refused.reason is Reason.VIDEO and got.file is None:
                raise _IsVideo from None
            failure = f"{refused.reason}: {refused}"
            if refused.reason in WORTH_ANOTHER_FETCH and asset.attempts < FETCHES_OF_DAMAGED:
                return _later(asset, failure, backoff(asset.attempts), spent=spent)
            return End(asset, State.FAILED, failure=failure, spent=spent)
        except ConversionBusy as busy:
            return _later(
                asset, f"conversion: {busy}", busy.pause * random.uniform(1.0, 1.2), counts=False, spent=spent
            )
        except ConversionUnavailable as error:
            if isinstance(error, DecoderLost) and self._loses(asset) >= LOST_DECODERS:
                failure = f"{Reason.TOO_COSTLY}: each of {LOST_DECODERS} decoders was lost with it; the last: {error}"
                return End(asset, State.FAILED, failure=failure, spent=spent)
            return _later(asset, f"conversion: {error}", max(20.0, backoff(asset.attempts)), spent=spent)
        got.data = b""  # what is stored may be a copy, and may wait for the bucket for seconds
        try:
            placed = await self._storing.place(content, soon=asset.wanted)
        except (BucketDown, StorageUnavailable):
            return End(asset, State.PENDING, counts=False, spent=spent)
        except ObjectsUnavailable as error:
            return _later(asset, f"bucket: {error.reason}", random.uniform(2.0, 10.0), counts=False, spent=spent)
        hit("upload.after_put", asset.public_id)
        stored = Stored(content.digest, placed.how, content.size, content.media_type, content.width, content.height)
        spent = Spent(1, got.size, placed.puts, content.size if placed.puts else 0)
        return End(asset, State.COMPLETE, stored, spent=spent)

    def _loses(self, asset: Claimed) -> int:
        """Decoders that this process has lost with the picture."""
        lost = self._lost.pop(asset.public_id, 0) + 1
        self._lost[asset.public_id] = lost
        if len(self._lost) > REMEMBERED:
            self._lost.popitem(last=False)
        return lost

    async def _picture(self, url: str, data: bytes) -> Content:
        picture = await self._check(data)
        placeholders.check(url, picture)
        small = len(picture.data) <= ON_THE_LOOP
        digest = _hashed(picture.data) if small else await asyncio.to_thread(_hashed, picture.data)
        return Content(digest, picture.media_type, len(picture.data), picture.width, picture.height, picture.data)


def backoff(attempts: int) -> float:
    """Seconds until the next attempt after so many."""
    return min(FIRST * 2.0 ** min(attempts - 1, 16), LONGEST) * random.uniform(0.75, 1.25)


def _again(asset: Claimed, refusal: Dead | Refused, delays: Sequence[float]) -> End:
    """One refusal is no evidence, several in hours are."""
    delay = delays[asset.attempts - 1] * random.uniform(0.75, 1.25)
    return _later(asset, f"{refusal.why}: {refusal.said}", delay, spent=Spent(requests=1))


def _later(asset: Claimed, failure: str, delay: float, *, counts: bool = True, spent: Spent = NOTHING) -> End:
    return End(asset, State.WAITING, failure=failure, delay=delay, counts=counts, spent=spent)


def _hashed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _film(file: BinaryIO) -> Content:
    """Clean a video in its file. Blocks. Raises `NotStored`."""
    video = cleaned(file)
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    file.seek(0)
    return Content(digest.digest(), video.media_type, video.octets, video.width, video.height, file=file)
