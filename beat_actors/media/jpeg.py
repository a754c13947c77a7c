"""JPEG, by its segments. Nothing is decoded.

Kept: the tables, frames and scans, JFIF without its thumbnail, the ICC profile, Adobe's colour transform, and of EXIF the orientation alone.
Dropped: EXIF, XMP, IPTC, comments, thumbnails, further pictures, and all that follows the end of the image.
"""

import re

from beat_actors.media import exif
from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, Unclean, picture

SEGMENTS = 2_000
"""A photo has about 20. A colour profile takes up to 255, extended XMP some hundreds."""
SCANS = 200
"""Progressive encoders write 10. A decoder goes over the whole picture for each scan, however short."""
PROFILE_OCTETS = 1 << 20
"""A larger colour profile is dropped. Those of displays have 0.5 to 600 kB."""
_WINDOW = 1 << 20

# Within a scan, FF is followed by 00 or by a restart marker. FF with anything else ends the scan.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")

_SOI, _EOI, _SOS, _FILL = 0xD8, 0xD9, 0xDA, 0xFF
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})  # Huffman, arithmetic, quantization, restart interval
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SHOWN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive with Huffman coding: what browsers show."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


def clean(data: bytes, limits: Limits) -> Picture | Unclean:
    """Raises `NotStored`."""
    kept: list[bytes] = [b"\xff\xd8"]
    size: tuple[int, int] | None = None
    profile: list[bytes] = []
    turned, scans, unclean, place = 0, 0, "", 1
    position, end = 2, len(data)
    for _ in range(SEGMENTS):
        if position + 2 > end:
            raise _truncated(size)
        if data[position] != 0xFF or data[position + 1] == 0:
            unclean = "bytes between its segments"
            position = _next_marker(data, position)
            continue
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        if marker == _EOI:
            break
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == _SOI:
            raise NotStored(Reason.DAMAGED, "a JPEG begins inside a JPEG")
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        start, after = position + 4, position + 2 + length
        if after > end or start > end:
            raise _truncated(size)
        if length < 2:
            raise NotStored(Reason.DAMAGED, f"a segment of the JPEG declares a length of {length}")
        if marker == _SOS:
            if size is None:
                raise NotStored(Reason.DAMAGED, "the JPEG has a scan before its frame header")
            scans += 1
            if scans > SCANS:
                raise NotStored(Reason.TOO_MANY_PARTS, f"the JPEG has more than {SCANS} scans")
            after = _next_marker(data, after)
            kept.append(data[position:after])
        elif marker in _TABLES:
            kept.append(data[position:after])
        elif marker in _FRAMES:
            if size is not None:
                raise NotStored(Reason.DAMAGED, "the JPEG has two frame headers")
            size = _frame(data[start:after], limits)
            if marker not in _SHOWN or data[start] != 8:
                unclean = "a coding that browsers do not show"
            kept.append(data[position:after])
        elif marker == 0xE0 and data.startswith(b"JFIF\0", start) and length >= 16:
            kept.append(b"\xff\xe0\0\x10" + data[start : start + 12] + b"\0\0")
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start) and not turned:
            turned = exif.orientation(data[start + 6 : after])
            if turned != 1:
                kept.append(_exif(turned))
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0", start):
            place = place if profile else len(kept)
            profile.append(data[position:after])
        elif marker == 0xEE and data.startswith(b"Adobe", start) and length >= 14:
            kept.append(b"\xff\xee\0\x0e" + data[start : start + 12])
        position = after
    else:
        raise NotStored(Reason.TOO_MANY_PARTS, f"the JPEG has more than {SEGMENTS} segments")
    if size is None or not scans:
        raise NotStored(Reason.DAMAGED, "the JPEG ends before its first scan")
    if unclean:
        return Unclean(Kind.JPEG, unclean, data)
    kept.append(b"\xff\xd9")
    if sum(map(len, profile)) <= PROFILE_OCTETS:
        kept[place:place] = profile
    return picture(Kind.JPEG, size, 1, b"".join(kept), turned or 1)


def _frame(header: bytes, limits: Limits) -> tuple[int, int]:
    if len(header) < 6 or header[5] not in (1, 3, 4) or len(header) != 6 + 3 * header[5]:
        raise NotStored(Reason.DAMAGED, "the frame header of the JPEG does not have the length of its components")
    size = int.from_bytes(header[3:5], "big"), int.from_bytes(header[1:3], "big")
    limits.check_size(*size)
    return size


def _next_marker(data: bytes, position: int) -> int:
    """In windows: one search of 20 MB would hold Python's lock for 0.1 s."""
    while position < len(data):
        found = _END_OF_SCAN.search(data, position, position + _WINDOW)
        if found is not None:
            return found.start()
        position += _WINDOW - 1  # FF at the end of a window may begin a marker
    raise NotStored(Reason.TRUNCATED, "the JPEG has no end-of-image marker")


def _truncated(size: tuple[int, int] | None) -> NotStored:
    shown = "its frame header" if size is None else "its end-of-image marker"
    return NotStored(Reason.TRUNCATED, f"the JPEG ends before {shown}")


def _exif(turned: int) -> bytes:
    body = b"Exif\0\0" + exif.minimal(turned)
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
