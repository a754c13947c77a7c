"""The evidence of pictures, and the arithmetic over it: rows of assets, rows of objects, the bytes in the bucket, and what the origin has.

The module does no I/O. `wrong` is empty where the promises about pictures held.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from beat_actors.assets.serving import places
from beat_actors.database import Composed

OPEN = frozenset({"PENDING", "PROCESSING", "WAITING"})
"""States of an asset that is not over. One that is REFETCH waits for a fresh URL, until tomorrow if its entity was asked for today.
One that is WAITING because its origin does not have it is asked for several times within hours, so a run does not wait for it."""
SHOWN = 10


class Asset(NamedTuple):
    """A row of `asset_log`. `content`: SHA-256 in hex. `failure`: begins with a short word and a colon."""

    id: str
    status: str
    url: str
    failure: str | None
    content: str | None


class Truth(NamedTuple):
    """What the origin has under a URL, now that the fault is over. `content`: the SHA-256, in hex, of what may be stored of it; None where that is nothing,
    or only a decoder knows. `is_picture`: whether something may be stored of it."""

    is_picture: bool
    content: str | None


class Served(NamedTuple):
    """What a reader of a picture got. `status`: 0 where the connection broke. `sha256`: of the body, in hex."""

    status: int
    sha256: str


class Held(NamedTuple):
    """An upload that was in flight when a process was killed."""

    id: str
    fence: int


ASSETS = Composed(
    "chaos/pictures.assets",
    "SELECT public_id::text AS id, status, url, failure, encode(content, 'hex') AS content FROM asset_log ORDER BY id",
    Asset,
)
OBJECTS = Composed(
    "chaos/pictures.objects",
    "SELECT encode(content, 'hex') AS content FROM asset_object UNION SELECT encode(variant, 'hex') FROM asset_variant",
    str,
)
HELD = Composed(
    "chaos/pictures.held",
    "SELECT public_id::text AS id, fence FROM asset_log WHERE status = 'PROCESSING'",
    Held,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEvidence:
    """`rows`: contents that rows name. `hashes`: of the bytes in the bucket, by key. `truths`: by URL. `in_flight`: uploads of killed processes, at most.
    `before`: contents by asset that were COMPLETE before the fault. `excused`: by URL, the words of failures for which the origin gave a reason.
    `served`: what readers got, by asset; empty where nobody read.
    """

    assets: Sequence[Asset]
    rows: Set[str]
    hashes: Mapping[str, str]
    truths: Mapping[str, Truth]
    in_flight: int = 0
    before: Mapping[str, str] = field(default_factory=dict)
    excused: Mapping[str, Set[str]] = field(default_factory=dict)
    served: Mapping[str, Served] = field(default_factory=dict)


def key_of(content: str) -> str:
    """The key of an object, from its SHA-256 in hex."""
    return places.key_of(bytes.fromhex(content))


def orphans(evidence: PictureEvidence) -> list[str]:
    """Keys of the bucket that no row names."""
    named = {key_of(content) for content in evidence.rows}
    return sorted(evidence.hashes.keys() - named)


def wrong(evidence: PictureEvidence) -> list[str]:
    """Each promise about pictures that did not hold, in words; of the same kind, ten at most."""
    found = [
        *_shown(
            f"asset {asset.id} is {asset.status} ({asset.failure})"
            for asset in evidence.assets
            if asset.status in OPEN and (asset.status, word_of(asset)) != ("WAITING", "gone")
        ),
        *_shown(_not_there(evidence)),
        *_shown(_other_pictures(evidence)),
        *_shown(_without_reason(evidence)),
        *_shown(_gone(evidence)),
        *_shown(_not_served(evidence)),
    ]
    lost = orphans(evidence)
    if len(lost) > evidence.in_flight:
        found.append(f"{len(lost)} objects without a row, and {evidence.in_flight} uploads were in flight: {lost[:3]}")
    return found


def _not_there(evidence: PictureEvidence) -> list[str]:
    """Contents that rows name and the bucket does not have, or has with other bytes; and what is COMPLETE with none."""
    named = evidence.rows | {asset.content for asset in evidence.assets if asset.content is not None}
    found = [
        f"asset {asset.id} is COMPLETE with no content"
        for asset in evidence.assets
        if asset.status == "COMPLETE" and not asset.content
    ]
    for content in sorted(named):
        stored = evidence.hashes.get(key_of(content))
        if stored is None:
            found.append(f"the bucket has no object {key_of(content)}")
        elif stored != content:
            found.append(f"the object {key_of(content)} has bytes with the SHA-256 {stored}")
    unknown = {asset.content for asset in evidence.assets if asset.content is not None} - evidence.rows
    return [
        *found,
        *(f"an asset has the content {content}, and no row of an object names it" for content in sorted(unknown)),
    ]


def _other_pictures(evidence: PictureEvidence) -> list[str]:
    """Assets with another picture than the origin has under their URL."""
    return [
        f"asset {asset.id} has the content {asset.content}, and its origin has {truth.content}"
        for asset in evidence.assets
        if asset.status == "COMPLETE"
        and (truth := evidence.truths.get(asset.url)) is not None
        and (not truth.is_picture or truth.content not in (None, asset.content))
    ]


def _without_reason(evidence: PictureEvidence) -> list[str]:
    """Assets that were given up, whose picture the origin has. Those are excused whose URL got a reason for this failure."""
    return [
        f"asset {asset.id} is {asset.status} ({asset.failure}), and its origin has the picture; {asset.url} got no such answer"
        for asset in evidence.assets
        if asset.status not in OPEN
        and asset.status != "COMPLETE"
        and (truth := evidence.truths.get(asset.url)) is not None
        and truth.is_picture
        and word_of(asset) not in evidence.excused.get(asset.url, ())
    ]


def _gone(evidence: PictureEvidence) -> list[str]:
    """Pictures that were there before the fault."""
    now = {asset.id: asset.content for asset in evidence.assets}
    return [
        f"asset {id} had the content {content}, and has none"
        for id, content in evidence.before.items()
        if not now.get(id)
    ]


def _not_served(evidence: PictureEvidence) -> list[str]:
    """Pictures that a reader did not get, or got with other bytes."""
    contents = {asset.id: asset.content for asset in evidence.assets}
    return [
        f"asset {id} was answered with {served.status} and bytes with the SHA-256 {served.sha256}, not {contents.get(id)}"
        for id, served in evidence.served.items()
        if served != (200, contents.get(id))
    ]


def word_of(asset: Asset) -> str:
    """The short word for the failure of an asset."""
    return (asset.failure or "").partition(":")[0]


def _shown(found: Iterable[str]) -> list[str]:
    lines = list(found)
    more = [f"and {len(lines) - SHOWN} more of these"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]
