"""Pictures that hosts send in place of one that they do not have. The status of an answer says more: it is examined before the picture.

A host of YouTube answers a missing thumbnail with 404 and a grey picture of 120 × 90. Caches and proxies have been seen to turn the 404 into a 200.
Its bytes are not known here, so no hash is compared. What is known: no picture that is asked for under one of these names is that small. A picture
that is asked for as `default.jpg` has that size, so nothing but the status tells there.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from beat_actors.media.picture import NotStored, Picture, Reason


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`hosts`: suffixes, with all below them. `path`: matches what is asked for. The size is that of the picture that comes instead."""

    hosts: tuple[str, ...]
    path: re.Pattern[str]
    width: int
    height: int


PLACEHOLDERS = (
    Placeholder(
        hosts=("ytimg.com", "img.youtube.com"),
        path=re.compile(
            r"/vi(?:_webp)?/[^/]+/(?:(?:maxres|sd|hq|mq)default|hq720|maxres[123]|sd[123]|hq[123]|mq[123])\w*\.\w+$"
        ),
        width=120,
        height=90,
    ),
)


def check(url: str, picture: Picture) -> None:
    """`url`: where the picture was asked for, before redirects. Raises `NotStored`."""
    alike = [known for known in PLACEHOLDERS if (picture.width, picture.height) == (known.width, known.height)]
    if not alike:
        return
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:  # no URL
        return
    for known in alike:
        if any(host == suffix or host.endswith(f".{suffix}") for suffix in known.hosts) and known.path.search(
            parts.path
        ):
            raise NotStored(
                Reason.PLACEHOLDER,
                f"the picture has {known.width} × {known.height} pixels: {host} sends that for missing ones",
            )
