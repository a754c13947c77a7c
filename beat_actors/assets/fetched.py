"""How a download of an asset ended, and what an origin's refusal means. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Self

from beat_actors.assets.budget import Part
from beat_actors.platforms import waits

PAUSE = 5.0
"""Seconds until a download is tried again that failed by chance."""
LONGEST_PAUSE = 3600.0
LATER = frozenset({408, 423, 425, 429})
DENIED = frozenset({401, 402, 403})
# The words of CDNs for a URL whose time has passed: Meta's, S3's, CloudFront's, Azure's, Google's.
OVER = re.compile(
    r"signature (?:has )?expired|signature mismatch|bad url (?:timestamp|hash)|url (?:has )?expired|request has expired|expiredtoken"
    r"|not valid in the specified time frame|link (?:has )?expired|token (?:has )?expired",
    re.IGNORECASE,
)
UNPRINTABLE = re.compile(r"[^ -~\u00a0-\ud7ff]+")
SHOWN = 200


class Why(StrEnum):
    """Short stable words for an end that is none of a good one."""

    EXPIRED = "expired"  # the URL is over; a fresh one of the same picture may work
    GONE = "gone"  # the origin has no such picture
    BUSY = "busy"  # 429, 5xx, and answers that say nothing of the picture
    TIMEOUT = "timeout"
    CONNECTION = "connection"  # refused, reset, no TLS, no HTTP
    NAME = "name"  # the host does not resolve
    SHORT = "short"  # fewer bytes than announced
    EMPTY = "empty"  # 200 with nothing
    DENIED = "denied"  # the host denies everything, so this says nothing of the picture
    HOST_DOWN = "host down"  # not asked, because the host answered nobody lately
    HOST_DENIES = "host denies"  # not asked, because the host denied everything lately
    HOST_BUSY = "host busy"  # not asked, because enough downloads of this host are under way
    RESOURCES = "resources"  # this process has no memory, descriptors or disk left
    URL = "url"  # no URL, or not http or https, or with a password
    ADDRESS = "address"  # not a public one
    TOO_LARGE = "too large"
    PACKED = "packed"  # Content-Encoding
    REDIRECTS = "redirects"  # too many


@dataclass(slots=True)
class Got:
    """A whole body: in `data`, or in `file`, which stands at its beginning. `media_type` is as declared, and may be false.

    `announced`: the origin said where the body ends. Otherwise a body that was cut off looks whole.
    `host`: where it came from. It keeps its part of the process's budget until it is closed; `with` closes it.
    """

    size: int
    media_type: str
    host: str
    announced: bool
    data: bytes = b""
    file: BinaryIO | None = None
    part: Part | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the bytes back. More often than once changes nothing."""
        self.data = b""
        if self.file is not None:
            self.file.close()
        if self.part is not None:
            self.part.give_back()


@dataclass(frozen=True, slots=True)
class NotGot:
    """No picture came. `said` is a sentence for people, without the URL; it may quote the origin."""

    why: Why
    said: str
    status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Dead(NotGot):
    """The URL is dead: `EXPIRED` or `GONE`. Only a fresh URL helps, if anything does."""


@dataclass(frozen=True, slots=True)
class Denied(Dead):
    """The URL is dead, or the host denies this process everything: it does not say which."""


@dataclass(frozen=True, slots=True)
class Later(NotGot):
    """It may work after `pause` seconds."""

    pause: float = PAUSE


@dataclass(frozen=True, slots=True)
class Refused(NotGot):
    """Beat does not take what this URL leads to, and will not take it later. `again`: it may lead elsewhere later, since a name server says where."""

    again: bool = False


Fetched = Got | Dead | Later | Refused


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Dead | Later:
    """What a status other than 200 means. `headers`: names in lower case. `body`: its beginning."""
    words = shown(body)
    said = f"HTTP {status}: {words}".rstrip(": ")
    if status in LATER or status >= 500 or status < 400:
        pause = min(waits.asked_for(headers, body) or PAUSE, LONGEST_PAUSE)
        return Later(Why.BUSY, said, status, max(pause, 1.0))
    if OVER.search(words) is not None:
        return Dead(Why.EXPIRED, said, status)
    return Denied(Why.EXPIRED, said, status) if status in DENIED else Dead(Why.GONE, said, status)


def shown(body: bytes) -> str:
    """The beginning of a body for people: one line without control characters."""
    return printable(body.decode("utf-8", "replace"))[:SHOWN]


def printable(text: str) -> str:
    """One line without control characters, of which the database does not take all."""
    return UNPRINTABLE.sub(" ", text).strip()
